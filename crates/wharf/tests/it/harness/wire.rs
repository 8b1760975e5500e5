//! HTTP/1.1 as bytes: what is sent is what the test wrote, what is read keeps its order and its spelling.
//!
//! Strict on purpose. A reply that a forgiving client would accept (a bare line feed, a folded header, two lengths) is
//! an error here, and so is silence: every wait ends after [`PATIENCE`].

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one step (a connection, a write, a read) may take before the test calls it a hang.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The longest head of a reply that is read.
const HEAD_LIMIT_BYTES: usize = 256 * 1024;

/// A two-way stream of bytes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for T {}

/// Why there is no reply.
#[derive(Debug)]
pub enum WireError {
    /// Nothing happened for [`PATIENCE`].
    TimedOut(&'static str),
    /// The server ended the connection before a reply was complete.
    Closed { received: usize },
    /// The bytes are not HTTP/1.1.
    Malformed(String),
    /// The socket failed.
    Io(std::io::Error),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(doing) => write!(f, "{doing} took more than {PATIENCE:?}"),
            Self::Closed { received } => write!(f, "the connection ended after {received} bytes of a reply"),
            Self::Malformed(why) => write!(f, "the reply is not HTTP/1.1: {why}"),
            Self::Io(error) => write!(f, "the connection failed: {error}"),
        }
    }
}

/// One connection to the server.
pub struct Connection {
    stream: Box<dyn Stream>,
    unread: BytesMut,
}

impl Connection {
    /// A plain connection to `address`.
    pub async fn open(address: SocketAddr) -> Result<Self, WireError> {
        let stream = timed("connecting", TcpStream::connect(address)).await?;
        stream.set_nodelay(true).map_err(WireError::Io)?;
        Ok(Self::over(stream))
    }

    /// A connection over a stream that is open already.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), unread: BytesMut::new() }
    }

    /// Writes `bytes` as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        timed("sending", async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
    }

    /// The next head, interim ones included.
    pub async fn head(&mut self) -> Result<Reply, WireError> {
        let mut searched = 0;
        loop {
            if let Some(end) = find(&self.unread[searched..], b"\r\n\r\n") {
                let head = self.unread.split_to(searched + end + 4);
                return Reply::parse(&head);
            }
            searched = self.unread.len().saturating_sub(3);
            if self.unread.len() > HEAD_LIMIT_BYTES {
                return Err(WireError::Malformed("a head without an end".to_owned()));
            }
            self.fill().await?;
        }
    }

    /// The next final reply with its body. `to_head` says that the request was a HEAD, whose reply has none.
    pub async fn reply(&mut self, to_head: bool) -> Result<Reply, WireError> {
        let mut reply = self.final_head().await?;
        reply.body = self.body(&reply, to_head).await?;
        Ok(reply)
    }

    /// The next final head; interim ones are noted in it.
    pub async fn final_head(&mut self) -> Result<Reply, WireError> {
        let mut interim = Vec::new();
        loop {
            let mut reply = self.head().await?;
            if (100..200).contains(&reply.status) {
                interim.push(reply.status);
                continue;
            }
            reply.interim = interim;
            return Ok(reply);
        }
    }

    /// Up to `most` further bytes of a body, at least one.
    pub async fn some(&mut self, most: usize) -> Result<Bytes, WireError> {
        if self.unread.is_empty() {
            self.fill().await?;
        }
        let length = most.min(self.unread.len());
        Ok(self.unread.split_to(length).freeze())
    }

    /// Everything up to the end of the connection; a reset counts as an end.
    pub async fn until_closed(&mut self) -> Result<Vec<u8>, WireError> {
        loop {
            match self.fill().await {
                Ok(()) => {}
                Err(WireError::Closed { .. } | WireError::Io(_)) => return Ok(self.unread.split().to_vec()),
                Err(error) => return Err(error),
            }
        }
    }

    async fn body(&mut self, reply: &Reply, to_head: bool) -> Result<Vec<u8>, WireError> {
        if to_head || matches!(reply.status, 204 | 304) {
            return Ok(Vec::new());
        }
        if reply.has("transfer-encoding") {
            return self.chunked().await;
        }
        match reply.header("content-length") {
            Some(length) => {
                let length = length.parse().map_err(|_| WireError::Malformed(format!("length `{length}`")))?;
                self.exactly(length).await
            }
            None => self.until_closed().await,
        }
    }

    /// Exactly `length` bytes.
    pub async fn exactly(&mut self, length: usize) -> Result<Vec<u8>, WireError> {
        while self.unread.len() < length {
            self.fill().await?;
        }
        Ok(self.unread.split_to(length).to_vec())
    }

    async fn chunked(&mut self) -> Result<Vec<u8>, WireError> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(&line, 16);
            let size = size.map_err(|_| WireError::Malformed(format!("chunk size `{line}`")))?;
            body.extend(self.exactly(size).await?);
            if !self.line().await?.is_empty() {
                return Err(WireError::Malformed("a chunk without its line end".to_owned()));
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn line(&mut self) -> Result<String, WireError> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line = self.unread.split_to(end);
                self.unread.advance(2);
                return text(&line);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), WireError> {
        const READ_BYTES: usize = 64 * 1024;
        let received = self.unread.len();
        self.unread.reserve(READ_BYTES);
        match timed("waiting for the server", self.stream.read_buf(&mut self.unread)).await? {
            0 => Err(WireError::Closed { received }),
            _ => Ok(()),
        }
    }
}

/// A reply: head in order and as spelled, body as received.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Name and value of each header line.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Status codes of interim replies before this one.
    pub interim: Vec<u16>,
}

impl Reply {
    fn parse(head: &[u8]) -> Result<Self, WireError> {
        let head = text(head)?;
        let mut lines = head.strip_suffix("\r\n\r\n").unwrap_or(&head).split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| WireError::Malformed(format!("status line `{status_line}`")))?;
        let headers = lines.map(header_line).collect::<Result<_, _>>()?;
        Ok(Self { status, headers, ..Self::default() })
    }

    /// The value of the first header called `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The values of every header called `name`, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether there is a header called `name`.
    pub fn has(&self, name: &str) -> bool {
        self.header(name).is_some()
    }

    /// Whether the server will end the connection after this reply.
    pub fn closes(&self) -> bool {
        self.all("connection").any(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("the body is not JSON: {error}\n{self}"))
    }

    /// The code of the first error in the body.
    #[track_caller]
    pub fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap_or_else(|| panic!("no error code\n{self}")).to_owned()
    }

    /// This reply, whose status must be `status`.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "status\n{self}");
        self
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    {}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "    {name}: {value}")?;
        }
        const SHOWN_BYTES: usize = 600;
        let shown = &self.body[..self.body.len().min(SHOWN_BYTES)];
        match std::str::from_utf8(shown) {
            Ok(text) if !text.contains('\0') => writeln!(f, "    ({} bytes) {text}", self.body.len()),
            _ => writeln!(f, "    ({} bytes) {}", self.body.len(), shown.escape_ascii()),
        }
    }
}

fn header_line(line: &str) -> Result<(String, String), WireError> {
    let malformed = || WireError::Malformed(format!("header line `{line}`"));
    let (name, value) = line.split_once(':').ok_or_else(malformed)?;
    if name.is_empty() || name.contains(|c: char| c.is_ascii_whitespace()) || value.contains(['\r', '\n', '\0']) {
        return Err(malformed());
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

fn text(bytes: &[u8]) -> Result<String, WireError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| WireError::Malformed("a head that is not text".to_owned()))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

async fn timed<T>(doing: &'static str, step: impl Future<Output = std::io::Result<T>>) -> Result<T, WireError> {
    match timeout(PATIENCE, step).await {
        Ok(result) => result.map_err(WireError::Io),
        Err(_) => Err(WireError::TimedOut(doing)),
    }
}
