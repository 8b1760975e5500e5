//! As much of an HTTP/1.1 client as measuring takes: one connection, one request at a time, bodies that can be thrown away
//! without having been copied. A full client would cost more processor time than a good server.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::RecvFlags;
use rustls::{ClientConnection, StreamOwned};

use crate::Error;
use crate::records::Records;
use crate::target::Address;

/// How long one read or write may stand still.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The largest head of an answer.
const HEAD_MAX_BYTES: usize = 64 << 10;

/// From this length on a body over TLS is thrown away as it comes, which ends the connection: another handshake weighs less.
const UNDECRYPTED_FROM_BYTES: u64 = 16 << 20;

/// How much is read at once.
const BUFFER_BYTES: usize = 256 << 10;

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, Records>>),
}

/// A connection to a server, reopened when the server has closed it.
pub(crate) struct Connection {
    address: Arc<Address>,
    stream: Option<Stream>,
    buffer: Box<[u8]>,
    /// What has been read and not been used yet.
    unread: std::ops::Range<usize>,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    text: String,
    length: Length,
    closes: bool,
}

#[derive(Clone, Copy, Debug)]
enum Length {
    Bytes(u64),
    Chunked,
    ToTheEnd,
}

impl Head {
    /// The value of the header `name`, which is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.text, name)
    }
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

impl Connection {
    pub(crate) fn new(address: Arc<Address>) -> Self {
        Self { address, stream: None, buffer: vec![0; BUFFER_BYTES].into(), unread: 0..0 }
    }

    /// Sends a request: `head` without its empty line, and the parts of its body. Once more on a new connection if the
    /// server had closed this one meanwhile.
    ///
    /// `has_body` is false for answers that have none whatever their head says.
    pub(crate) fn ask(&mut self, head: &str, body: &[&[u8]], has_body: bool) -> Result<Head, Error> {
        let is_old = self.stream.is_some();
        match self.ask_once(head, body, has_body) {
            Err(error) if is_old && error.is_broken_off() => {
                self.stream = None;
                self.ask_once(head, body, has_body)
            }
            asked => asked,
        }
    }

    fn ask_once(&mut self, head: &str, body: &[&[u8]], has_body: bool) -> Result<Head, Error> {
        if self.stream.is_none() {
            self.unread = 0..0;
            self.stream = Some(self.connect()?);
        }
        let asked = self.send(head, body).and_then(|()| self.read_head(has_body));
        if asked.is_err() {
            self.stream = None;
        }
        asked
    }

    fn connect(&self) -> Result<Stream, Error> {
        let address = &*self.address;
        let failed = |source| Error::Connect { url: address.url.to_string(), source };
        let socket = TcpStream::connect((&*address.host, address.port)).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        socket.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
        socket.set_write_timeout(Some(TIMEOUT)).map_err(failed)?;
        let Some((config, name)) = &address.tls else { return Ok(Stream::Plain(socket)) };
        let session = ClientConnection::new(Arc::clone(config), name.clone());
        let session = session.map_err(|error| failed(io::Error::other(error)))?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(session, Records::new(socket)))))
    }

    fn send(&mut self, head: &str, body: &[&[u8]]) -> Result<(), Error> {
        let body_bytes: usize = body.iter().map(|part| part.len()).sum();
        let mut message = Vec::with_capacity(head.len() + 2 + body_bytes.min(BUFFER_BYTES));
        message.extend_from_slice(head.as_bytes());
        message.extend_from_slice(b"\r\n");
        let mut parts = body;
        // Small bodies leave together with the head.
        while let Some((part, rest)) = parts.split_first()
            && message.len() + part.len() <= BUFFER_BYTES
        {
            message.extend_from_slice(part);
            parts = rest;
        }
        self.write(&message)?;
        parts.iter().try_for_each(|part| self.write(part))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = match &mut self.stream {
            Some(Stream::Plain(socket)) => socket.write_all(bytes),
            Some(Stream::Tls(stream)) => stream.write_all(bytes).and_then(|()| stream.flush()),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        written.map_err(|source| self.address.broke(source))
    }

    fn read_head(&mut self, has_body: bool) -> Result<Head, Error> {
        let end = loop {
            let unread = &self.buffer[self.unread.clone()];
            if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break self.unread.start + end;
            }
            if unread.len() > HEAD_MAX_BYTES {
                return Err(self.address.wrong("the head of an answer is too long"));
            }
            self.fill()?;
        };
        let text = String::from_utf8_lossy(&self.buffer[self.unread.start..end]).into_owned();
        self.unread.start = end + 4;
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| self.address.wrong("what came is no HTTP answer"))?;
        let length = header(&text, "content-length").and_then(|length| length.parse().ok());
        let is_chunked =
            header(&text, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        let length = match length {
            _ if !has_body || status == 204 || status == 304 => Length::Bytes(0),
            _ if is_chunked => Length::Chunked,
            Some(bytes) => Length::Bytes(bytes),
            None => Length::ToTheEnd,
        };
        let closes = header(&text, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(Head { status, text, length, closes })
    }

    /// Reads more behind what is unread.
    fn fill(&mut self) -> Result<(), Error> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.end == self.buffer.len() {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        let room = &mut self.buffer[self.unread.end..];
        let read = match &mut self.stream {
            Some(Stream::Plain(socket)) => socket.read(room),
            Some(Stream::Tls(stream)) => stream.read(room),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        match read {
            Ok(0) => Err(self.address.broke(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                self.unread.end += read;
                Ok(())
            }
            Err(source) => Err(self.address.broke(source)),
        }
    }

    /// Hands the body of `head` to `each`, and says how long it was.
    pub(crate) fn read_body(&mut self, head: &Head, mut each: impl FnMut(&[u8])) -> Result<u64, Error> {
        let read = match head.length {
            Length::Bytes(bytes) => self.read_some(bytes, &mut each).map(|()| bytes),
            Length::Chunked => self.read_chunks(&mut each),
            Length::ToTheEnd => self.read_to_the_end(&mut each),
        };
        if read.is_err() || head.closes || matches!(head.length, Length::ToTheEnd) {
            self.stream = None;
        }
        read
    }

    /// The whole body, which is small.
    pub(crate) fn collect(&mut self, head: &Head) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        self.read_body(head, |bytes| body.extend_from_slice(bytes))?;
        Ok(body)
    }

    /// Throws the body away, and says how long it was. Without TLS the kernel does it without copying; with TLS a long one is not
    /// decrypted.
    pub(crate) fn discard(&mut self, head: &Head) -> Result<u64, Error> {
        if let (Length::Bytes(bytes @ UNDECRYPTED_FROM_BYTES..), Some(Stream::Tls(stream))) =
            (head.length, &mut self.stream)
        {
            // What came with the head has been decrypted, and nothing behind it.
            let thrown = stream.sock.throw_away(bytes - self.unread.len() as u64);
            self.stream = None;
            return thrown.map(|()| bytes).map_err(|source| self.address.broke(source));
        }
        let (Length::Bytes(bytes), Some(Stream::Plain(socket))) = (head.length, &self.stream) else {
            return self.read_body(head, |_| {});
        };
        let here = bytes.min(self.unread.len() as u64);
        self.unread.start += usize::try_from(here).unwrap_or(0);
        let mut left = bytes - here;
        while left > 0 {
            let some = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            // With TRUNC nothing is written into the buffer, and its length does not limit what is thrown away; but one
            // that is large enough keeps this true of any kernel.
            match rustix::net::recv(socket, &mut self.buffer[..some], RecvFlags::TRUNC) {
                Ok((_, 0)) => return Err(self.address.broke(io::ErrorKind::UnexpectedEof.into())),
                Ok((_, read)) => left -= read as u64,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(self.address.broke(errno.into())),
            }
        }
        if head.closes {
            self.stream = None;
        }
        Ok(bytes)
    }

    fn read_some(&mut self, mut left: u64, each: &mut impl FnMut(&[u8])) -> Result<(), Error> {
        while left > 0 {
            if self.unread.is_empty() {
                self.fill()?;
            }
            let some = usize::try_from(left).unwrap_or(usize::MAX).min(self.unread.len());
            each(&self.buffer[self.unread.start..self.unread.start + some]);
            self.unread.start += some;
            left -= some as u64;
        }
        Ok(())
    }

    fn read_chunks(&mut self, each: &mut impl FnMut(&[u8])) -> Result<u64, Error> {
        let mut whole = 0;
        loop {
            let line = self.read_line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| self.address.wrong("a chunk has no size"))?;
            if size == 0 {
                while !self.read_line()?.is_empty() {}
                return Ok(whole);
            }
            self.read_some(size, each)?;
            self.read_line()?;
            whole += size;
        }
    }

    fn read_line(&mut self) -> Result<String, Error> {
        let mut line = Vec::new();
        loop {
            if self.unread.is_empty() {
                self.fill()?;
            }
            let byte = self.buffer[self.unread.start];
            self.unread.start += 1;
            match byte {
                b'\n' => return Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
                _ if line.len() > HEAD_MAX_BYTES => return Err(self.address.wrong("a line of an answer is too long")),
                byte => line.push(byte),
            }
        }
    }

    fn read_to_the_end(&mut self, each: &mut impl FnMut(&[u8])) -> Result<u64, Error> {
        let mut whole = 0;
        loop {
            let some = self.unread.len() as u64;
            self.read_some(some, each)?;
            whole += some;
            match self.fill() {
                Ok(()) => {}
                Err(Error::Broke { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => return Ok(whole),
                Err(error) => return Err(error),
            }
        }
    }
}
