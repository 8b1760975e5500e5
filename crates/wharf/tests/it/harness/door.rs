//! Something between a server and what it needs: its bucket, its database.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// Everything passes.
    Open,
    /// Connections are there, and nothing passes.
    Held,
    /// Connections break.
    Shut,
}

/// A door that can be held and shut.
pub struct Door {
    address: SocketAddr,
    stand: watch::Sender<Stand>,
    /// Connections that go through it.
    passing: watch::Sender<usize>,
}

impl Door {
    /// An open one before `server`.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self {
            address: listener.local_addr().unwrap(),
            stand: watch::Sender::new(Stand::Open),
            passing: watch::Sender::new(0),
        };
        let (stand, passing) = (door.stand.subscribe(), door.passing.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (stand, passing) = (stand.clone(), passing.clone());
                passing.send_modify(|count| *count += 1);
                tokio::spawn(async move {
                    let _passed = Passed(passing);
                    pass(client, server, stand).await;
                });
            }
        });
        door
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing goes through it any more when this returns.
    pub async fn shut(&self) {
        self.stand.send_replace(Stand::Shut);
        self.passing.subscribe().wait_for(|count| *count == 0).await.unwrap();
    }

    /// Whatever goes through it stands still from now on.
    pub fn hold(&self) {
        self.stand.send_replace(Stand::Held);
    }

    /// Everything goes on.
    pub fn open(&self) {
        self.stand.send_replace(Stand::Open);
    }
}

struct Passed(watch::Sender<usize>);

impl Drop for Passed {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

async fn pass(client: TcpStream, server: SocketAddr, mut stand: watch::Receiver<Stand>) {
    if *stand.borrow() == Stand::Shut {
        return;
    }
    let Ok(upstream) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    let ((from, to), (back_from, back_to)) = (client.into_split(), upstream.into_split());
    tokio::select! {
        () = carry(from, back_to, stand.clone()) => {}
        () = carry(back_from, to, stand.clone()) => {}
        _ = stand.wait_for(|stand| *stand == Stand::Shut) => {}
    }
}

/// Carries bytes as long as the door is open, until one side ends.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut stand: watch::Receiver<Stand>) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = match from.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if stand.wait_for(|stand| *stand != Stand::Held).await.is_err() || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
