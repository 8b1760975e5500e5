//! A proxy between the store and its bucket that can be told to misbehave.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// They pass.
    Fair,
    /// They pass late.
    Slow(Duration),
    /// The connection is reset before anything is answered.
    Reset,
    /// Nothing is ever answered.
    Blackhole,
    /// They are answered 503 and go nowhere.
    Unavailable,
    /// The answer is cut off after so many bytes.
    Truncated(usize),
    /// The answer comes in drops of this size, each after a tenth of a second.
    Dripping(usize),
    /// Every n-th request is answered 503.
    EveryNth(usize),
}

pub(super) struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: tokio::task::JoinHandle<()>,
}

struct State {
    mood: Mood,
    requests: usize,
}

impl Proxy {
    pub(super) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { mood: Mood::Fair, requests: 0 }));
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server, Arc::clone(&shared)));
            }
        });
        Self { address, state, serving }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn be(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// How many requests have come so far.
    pub(super) fn requests(&self) -> usize {
        self.state.lock().unwrap().requests
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

const BUSY: &[u8] = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// One request a connection, so that each has the mood of its moment.
async fn pass(mut client: TcpStream, server: SocketAddr, state: Arc<Mutex<State>>) {
    let Some(head) = read_head(&mut client).await else { return };
    let (mood, number) = {
        let mut state = state.lock().unwrap();
        state.requests += 1;
        (state.mood, state.requests)
    };
    match mood {
        Mood::Reset => {
            // What was not read makes the kernel reset the connection.
            let _ = client.set_zero_linger();
            return;
        }
        Mood::Blackhole => return std::future::pending().await,
        Mood::Unavailable => return refuse(client, &head).await,
        Mood::EveryNth(n) if number % n == 0 => return refuse(client, &head).await,
        Mood::Slow(delay) => tokio::time::sleep(delay).await,
        _ => {}
    }
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    if upstream.write_all(&closing(&head)).await.is_err() {
        return;
    }
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = upstream.split();
    let there = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let back = async {
        match mood {
            Mood::Truncated(len) => {
                let mut some = from_server.take(len as u64);
                tokio::io::copy(&mut some, &mut to_client).await.map(drop)
            }
            Mood::Dripping(len) => drip(&mut from_server, &mut to_client, len).await,
            _ => tokio::io::copy(&mut from_server, &mut to_client).await.map(drop),
        }
    };
    tokio::select! {
        _ = back => {}
        _ = async { let _ = there.await; std::future::pending::<()>().await } => {}
    }
}

async fn drip(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    len: usize,
) -> std::io::Result<()> {
    let mut buffer = vec![0; len];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A client that is still sending must be able to read the answer.
async fn refuse(mut client: TcpStream, head: &[u8]) {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = text.split("\r\n").find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<u64>().ok());
    let end = text.find("\r\n\r\n").unwrap() + 4;
    let rest = length.unwrap_or(0).saturating_sub((head.len() - end) as u64);
    let _ = tokio::io::copy(&mut (&mut client).take(rest), &mut tokio::io::sink()).await;
    let _ = client.write_all(BUSY).await;
}

async fn read_head(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = client.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&buffer[..read]);
    }
    Some(head)
}

/// The request with `connection: close`, which no signature covers.
fn closing(head: &[u8]) -> Vec<u8> {
    let end = head.windows(2).position(|end| end == b"\r\n").unwrap() + 2;
    [&head[..end], b"connection: close\r\n", &head[end..]].concat()
}
