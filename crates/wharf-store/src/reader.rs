use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::task::JoinHandle;
use wharf_oci::{Algorithm, Digest};

use crate::HashState;
use crate::hash::Running;

/// How much is read at once. A stream holds at most two of these: one on its way to the client, one read ahead.
const CHUNK_BYTES: u64 = 512 << 10;

/// How much is read and hashed at once when content is verified.
const REHASH_BYTES: u64 = 1 << 20;

/// What a reader reads from. Blocking: called only on blocking threads.
pub(crate) trait Content: Send + Sync + fmt::Debug {
    /// Exactly `len_bytes` bytes from `offset_bytes` on; fewer are [`io::ErrorKind::UnexpectedEof`].
    fn read_exact(&self, offset_bytes: u64, len_bytes: usize) -> io::Result<Bytes>;
}

/// Opened content of a checked size. It stays readable when it is deleted meanwhile.
#[derive(Clone, Debug)]
pub struct BlobReader {
    content: Arc<dyn Content>,
    size_bytes: u64,
}

impl BlobReader {
    pub(crate) fn new(content: Arc<dyn Content>, size_bytes: u64) -> Self {
        Self { content, size_bytes }
    }

    /// The size of the whole content in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Hashes the whole content again.
    pub fn rehash(&self, algorithm: Algorithm) -> Rehash {
        let running = Some(Running::new(algorithm));
        Rehash { content: Arc::clone(&self.content), rest: 0..self.size_bytes, running }
    }

    /// The bytes of `range` (end exclusive), in order, in chunks of at most 512 KiB, one read ahead. Reading begins
    /// when the stream is first polled and never blocks the polling thread.
    ///
    /// # Errors
    ///
    /// The stream ends with an error item, and never early without one: [`io::ErrorKind::InvalidInput`] when `range`
    /// reaches beyond the content, [`io::ErrorKind::UnexpectedEof`] when the content has become shorter, otherwise what
    /// the operating system said.
    pub fn stream(&self, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        if range.end > self.size_bytes {
            let beyond = io::Error::new(io::ErrorKind::InvalidInput, "the range reaches beyond the content");
            return stream::iter([Err(beyond)]).boxed();
        }
        let reading = Reading { content: Arc::clone(&self.content), rest: range, ahead: None };
        stream::unfold(reading, Reading::next).boxed()
    }
}

/// Content being read and hashed again, piece by piece, so that whoever asks can set the pace.
#[derive(Debug)]
pub struct Rehash {
    content: Arc<dyn Content>,
    rest: Range<u64>,
    /// `None` only after a failure.
    running: Option<Running>,
}

impl Rehash {
    /// Reads and hashes the next piece, at most 1 MiB; how many bytes that were, 0 at the end.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] when the content has become shorter, otherwise what the operating system said.
    /// There is no going on after that.
    pub async fn step(&mut self) -> io::Result<u64> {
        let at = self.rest.start;
        let len_bytes = (self.rest.end - at).min(REHASH_BYTES);
        if len_bytes == 0 {
            return Ok(0);
        }
        let mut running = self.running.take().ok_or_else(|| io::Error::other("reading failed before"))?;
        let content = Arc::clone(&self.content);
        let hashed = tokio::task::spawn_blocking(move || {
            let len = usize::try_from(len_bytes).map_err(io::Error::other)?;
            running.update(&content.read_exact(at, len)?);
            Ok::<_, io::Error>(running)
        });
        self.running = Some(hashed.await.map_err(io::Error::other)??);
        self.rest.start += len_bytes;
        Ok(len_bytes)
    }

    /// Whether the bytes hash to `digest`; `false` too if they have not all been read.
    pub fn is(self, digest: &Digest) -> bool {
        self.rest.is_empty() && self.running.is_some_and(|running| running.finish() == *digest)
    }

    /// Whether the bytes are those that `state` was saved after; also if that cannot be told, because it is a state of
    /// another version of the hash.
    pub fn continues(self, state: &HashState) -> bool {
        let (at, Some(running)) = (self.rest.end, self.running) else { return false };
        let is_comparable = Running::load(state, running.algorithm(), at).is_some();
        self.rest.is_empty() && (!is_comparable || running.save(at) == *state)
    }
}

struct Reading {
    content: Arc<dyn Content>,
    /// What has not been asked for yet.
    rest: Range<u64>,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Reading {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let current = self.ahead.take().or_else(|| self.ask())?;
        let chunk = current.await.unwrap_or_else(|lost| Err(io::Error::other(lost)));
        match chunk {
            Ok(_) => self.ahead = self.ask(),
            Err(_) => self.rest = 0..0,
        }
        Some((chunk, self))
    }

    /// Starts reading the next chunk; `None` when all have been asked for.
    fn ask(&mut self) -> Option<JoinHandle<io::Result<Bytes>>> {
        let start = self.rest.start;
        let left = self.rest.end.checked_sub(start).filter(|left| *left > 0)?;
        let len = usize::try_from(left.min(CHUNK_BYTES)).ok()?;
        self.rest.start += len as u64;
        let content = Arc::clone(&self.content);
        Some(tokio::task::spawn_blocking(move || content.read_exact(start, len)))
    }
}
