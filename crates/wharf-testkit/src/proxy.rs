//! A way to a server that can be told to misbehave: what a network and a tired neighbour do to a database or a bucket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of what passes. It counts for connections that are there as well as for new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It passes.
    Fair,
    /// Every piece of it, of up to 64 KiB, is so late.
    Late(Duration),
    /// Connections are reset.
    Reset,
    /// Connections are there, and nothing passes, nor does their end. It passes when the mood is another one: so late can a
    /// request arrive that everybody has given up.
    Blackhole,
    /// So many bytes a second pass in each direction.
    Slow(usize),
    /// What the server sends ends after so many bytes, and the connection with it.
    Truncated(usize),
    /// Requests are answered with this status and go nowhere. Before HTTP only.
    Status(u16),
    /// Every n-th request is answered 503. Before HTTP only.
    EveryNth(usize),
}

/// How many bytes are carried at once.
const PIECE_BYTES: usize = 64 * 1024;

/// How often a slow way moves.
const TICK: Duration = Duration::from_millis(100);

/// A listener on a free port of this machine before one server. It is gone when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    /// Connections that go through it.
    passing: watch::Sender<usize>,
    requests: Arc<AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

/// What a connection knows of the proxy.
#[derive(Clone)]
struct Way {
    server: SocketAddr,
    is_http: bool,
    mood: watch::Receiver<Mood>,
    passing: watch::Sender<usize>,
    requests: Arc<AtomicUsize>,
}

impl Proxy {
    /// Before a server of any protocol.
    pub async fn before(server: SocketAddr) -> Self {
        Self::start(server, false).await
    }

    /// Before a server of HTTP/1.1, with one request a connection, so that each has the mood of its moment.
    pub async fn before_http(server: SocketAddr) -> Self {
        Self::start(server, true).await
    }

    async fn start(server: SocketAddr, is_http: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mood, passing) = (watch::Sender::new(Mood::Fair), watch::Sender::new(0));
        let requests = Arc::new(AtomicUsize::new(0));
        let way =
            Way { server, is_http, mood: mood.subscribe(), passing: passing.clone(), requests: Arc::clone(&requests) };
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                way.passing.send_modify(|count| *count += 1);
                tokio::spawn(way.clone().pass(client));
            }
        });
        Self { address, mood, passing, requests, serving }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As an address.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on.
    pub fn be(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Resets connections, and returns when none is left.
    pub async fn shut(&self) {
        self.be(Mood::Reset);
        self.passing.subscribe().wait_for(|count| *count == 0).await.unwrap();
    }

    /// How many requests of HTTP have come so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Way {
    async fn pass(self, mut client: TcpStream) {
        let passing = self.passing.clone();
        let mut mood = self.mood.clone();
        let _ = client.set_nodelay(true);
        tokio::select! {
            _ = mood.wait_for(|mood| *mood == Mood::Reset) => {}
            _ = self.carry_both(&mut client) => {}
        }
        if *mood.borrow() == Mood::Reset {
            let _ = client.set_zero_linger();
        }
        drop(client);
        passing.send_modify(|count| *count -= 1);
    }

    async fn carry_both(mut self, client: &mut TcpStream) -> Option<()> {
        let mut head = Vec::new();
        if self.is_http {
            head = read_head(client).await?;
            let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
            let mood = *self.mood.borrow();
            match mood {
                Mood::Status(status) => return refuse(client, &head, status).await,
                Mood::EveryNth(n) if number.is_multiple_of(n) => return refuse(client, &head, 503).await,
                _ => head = closing(&head),
            }
        }
        self.mood.wait_for(|mood| *mood != Mood::Blackhole).await.ok()?;
        let mut upstream = TcpStream::connect(self.server).await.ok()?;
        upstream.set_nodelay(true).ok()?;
        let ((from, to), (back_from, mut back_to)) = (client.split(), upstream.split());
        back_to.write_all(&head).await.ok()?;
        let there = Carrier { from, to: back_to, mood: self.mood.clone(), is_answer: false, left: None };
        let back = Carrier { from: back_from, to, mood: self.mood, is_answer: true, left: None };
        // Whichever side ends first ends the connection.
        tokio::select! {
            _ = there.carry() => {}
            _ = back.carry() => {}
        }
        Some(())
    }
}

/// One direction of a connection.
struct Carrier<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    mood: watch::Receiver<Mood>,
    is_answer: bool,
    /// How much of a truncated answer may still pass.
    left: Option<usize>,
}

impl Carrier<'_> {
    async fn carry(mut self) -> Option<()> {
        let mut bytes = vec![0; PIECE_BYTES];
        loop {
            let read = self.from.read(&mut bytes).await;
            self.mood.wait_for(|mood| *mood != Mood::Blackhole).await.ok()?;
            match read {
                Ok(0) => return self.to.shutdown().await.ok(),
                Ok(read) => self.send(&bytes[..read]).await?,
                Err(_) => return None,
            }
        }
    }

    /// Nothing if that is all.
    async fn send(&mut self, bytes: &[u8]) -> Option<()> {
        let mood = *self.mood.borrow();
        match mood {
            Mood::Late(by) => tokio::time::sleep(by).await,
            Mood::Slow(bytes_per_second) => return self.drip(bytes, bytes_per_second).await,
            Mood::Truncated(len) if self.is_answer => {
                let left = *self.left.get_or_insert(len);
                let passes = left.min(bytes.len());
                self.to.write_all(&bytes[..passes]).await.ok()?;
                self.left = Some(left - passes);
                if left == passes {
                    let _ = self.to.shutdown().await;
                    return None;
                }
                return Some(());
            }
            _ => self.left = None,
        }
        self.to.write_all(bytes).await.ok()
    }

    async fn drip(&mut self, bytes: &[u8], bytes_per_second: usize) -> Option<()> {
        let drop_bytes = (bytes_per_second / 10).max(1);
        for piece in bytes.chunks(drop_bytes) {
            self.to.write_all(piece).await.ok()?;
            // It may be over with the slowness meanwhile, or with everything.
            let is_slow = |mood: &Mood| matches!(mood, Mood::Slow(_));
            let _ = tokio::time::timeout(TICK, self.mood.wait_for(|mood| !is_slow(mood))).await;
            self.mood.wait_for(|mood| *mood != Mood::Blackhole).await.ok()?;
        }
        Some(())
    }
}

/// A client that is still sending must be able to read the answer.
async fn refuse(client: &mut TcpStream, head: &[u8], status: u16) -> Option<()> {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = text.split("\r\n").find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<u64>().ok());
    let end = text.find("\r\n\r\n").unwrap() + 4;
    let rest = length.unwrap_or(0).saturating_sub((head.len() - end) as u64);
    tokio::io::copy(&mut (&mut *client).take(rest), &mut tokio::io::sink()).await.ok()?;
    let answer = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    client.write_all(answer.as_bytes()).await.ok()?;
    client.shutdown().await.ok()
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
