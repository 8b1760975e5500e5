//! A way to a server that closes after so many bytes: what was begun stands still, and the test is told.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::PATIENCE;

/// The way; its threads end with the test's process.
pub struct Gate {
    address: SocketAddr,
    closed: Receiver<()>,
}

impl Gate {
    /// The way to `server`, which closes when clients have sent `limit_bytes`.
    pub fn before(server: SocketAddr, limit_bytes: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, closed) = channel();
        let sent = Arc::new(AtomicU64::new(0));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(server).unwrap();
                let (mut back_from, mut back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (sent, tell) = (Arc::clone(&sent), tell.clone());
                std::thread::spawn(move || pass(client, server, &sent, limit_bytes, &tell));
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut back_from, &mut back_to);
                    let _ = back_to.shutdown(Shutdown::Write);
                });
            }
        });
        Self { address, closed }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Until nothing gets through any more.
    #[track_caller]
    pub fn wait_until_closed(&self) {
        self.closed.recv_timeout(PATIENCE).expect("the way never closed: too little was sent");
    }
}

fn pass(mut client: TcpStream, mut server: TcpStream, sent: &AtomicU64, limit_bytes: u64, tell: &Sender<()>) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length) = client.read(&mut buffer) {
        if length == 0 {
            let _ = server.shutdown(Shutdown::Write);
            return;
        }
        if sent.fetch_add(length as u64, Ordering::SeqCst) + length as u64 > limit_bytes {
            let _ = tell.send(());
            // What is open stays open, as on a network that lost its route.
            loop {
                std::thread::park();
            }
        }
        if server.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}
