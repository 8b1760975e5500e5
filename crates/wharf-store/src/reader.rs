use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::task::JoinHandle;
use wharf_oci::{Algorithm, Digest};

use crate::HashState;
use crate::hash::Running;

/// How much is read at once. A stream holds at most two of these: one on its way to the client, one read ahead.
const CHUNK_BYTES: u64 = 512 << 10;

/// How much is read at once of what the operating system has in memory: less where the client takes its time, because it is held for
/// so long; more where it does not, because then each call costs more than its memory.
const AT_HAND_BYTES: std::ops::RangeInclusive<u64> = 128 << 10..=1 << 20;

/// A client that has taken a chunk within this time gets a chunk of twice the size.
const QUICKLY: Duration = Duration::from_millis(4);

/// How much of verified content is held back at least until its hash is known.
const HELD_BACK_BYTES: u64 = 64 << 10;

/// Content up to this is hashed by the thread that asks for it, if it is in memory: that takes less than the way to another
/// thread and back.
const HASHED_AT_ONCE_BYTES: u64 = 64 << 10;

/// How much is read and hashed at once when content is verified.
const REHASH_BYTES: u64 = 1 << 20;

/// What a reader reads from. Blocking: called only on blocking threads.
pub(crate) trait Content: Send + Sync + fmt::Debug {
    /// Exactly `len_bytes` bytes from `offset_bytes` on; fewer are [`io::ErrorKind::UnexpectedEof`].
    fn read_exact(&self, offset_bytes: u64, len_bytes: usize) -> io::Result<Bytes>;

    /// The same, if it can be had without waiting for a disk; may be called on any thread.
    fn read_now(&self, offset_bytes: u64, len_bytes: usize) -> Option<Bytes> {
        let _ = (offset_bytes, len_bytes);
        None
    }

    /// All of it, if it is in this process's memory.
    fn bytes(&self) -> Option<&Bytes> {
        None
    }

    /// The file that the content is, from its first byte on, if it is one.
    fn file(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Content that is an open file: for whoever lets the kernel send it, without reading it.
#[derive(Clone, Debug)]
pub struct ContentFile(Arc<dyn Content>);

impl AsFd for ContentFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file().expect("made only from content that is a file")
    }
}

/// What a reader reads from another machine.
pub(crate) trait Remote: Send + Sync + fmt::Debug {
    /// Begins to read `range` when the first piece is asked for.
    fn pieces(&self, range: Range<u64>) -> Box<dyn Pieces>;
}

/// Content on its way here.
#[async_trait]
pub(crate) trait Pieces: Send {
    /// The next `len` bytes exactly; fewer are [`io::ErrorKind::UnexpectedEof`]. Not asked beyond the range, nor after an
    /// error.
    async fn next(&mut self, len: usize) -> io::Result<Bytes>;
}

#[derive(Clone, Debug)]
enum Source {
    Here(Arc<dyn Content>),
    Elsewhere(Arc<dyn Remote>),
}

/// Opened content of a checked size. In a directory it stays readable when it is deleted meanwhile; in a bucket it then ends
/// with an error.
#[derive(Clone, Debug)]
pub struct BlobReader {
    source: Source,
    size_bytes: u64,
}

impl BlobReader {
    pub(crate) fn new(content: Arc<dyn Content>, size_bytes: u64) -> Self {
        Self { source: Source::Here(content), size_bytes }
    }

    pub(crate) fn remote(content: Arc<dyn Remote>, size_bytes: u64) -> Self {
        Self { source: Source::Elsewhere(content), size_bytes }
    }

    pub(crate) fn in_memory(bytes: Bytes) -> Self {
        let size_bytes = bytes.len() as u64;
        Self { source: Source::Here(Arc::new(InMemory(bytes))), size_bytes }
    }

    /// The size of the whole content in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The file with the content at its beginning, if the content is a file. What becomes of its length must be seen by
    /// whoever uses it: it was right when the content was opened.
    pub fn file(&self) -> Option<ContentFile> {
        let Source::Here(content) = &self.source else { return None };
        content.file().is_some().then(|| ContentFile(Arc::clone(content)))
    }

    /// The bytes of `range` (end exclusive), if the content is in memory and has them.
    pub fn bytes(&self, range: &Range<u64>) -> Option<Bytes> {
        let Source::Here(content) = &self.source else { return None };
        let (from, to) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
        content.bytes().filter(|bytes| from <= to && to <= bytes.len()).map(|bytes| bytes.slice(from..to))
    }

    /// All bytes as [`stream`](Self::stream) gives them, and hashed on their way: the last 64 KiB at least are held back
    /// until the hash is known.
    ///
    /// # Errors
    ///
    /// As `stream`, and [`io::ErrorKind::InvalidData`] in the place of the last bytes when they do not hash to `digest`.
    pub fn verified_stream(&self, digest: &Digest) -> BoxStream<'static, io::Result<Bytes>> {
        self.read(0..self.size_bytes, Some(*digest))
    }

    fn read(&self, rest: Range<u64>, digest: Option<Digest>) -> BoxStream<'static, io::Result<Bytes>> {
        match &self.source {
            Source::Here(content) => {
                let pace = Pace { chunk_bytes: CHUNK_BYTES, last: None };
                let reading = Reading { content: Arc::clone(content), rest, ahead: None, digest, pace };
                stream::unfold(reading, Reading::next).boxed()
            }
            Source::Elsewhere(content) => {
                let pieces = content.pieces(rest.clone());
                let running = digest.map(|digest| Running::new(digest.algorithm()));
                stream::unfold(Arriving { pieces, rest, digest, running }, Arriving::next).boxed()
            }
        }
    }

    /// The whole content read into memory, if it hashes to `digest`; `None`: it does not. For small content only.
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream).
    pub async fn verified(&self, digest: &Digest) -> io::Result<Option<Self>> {
        let (digest, len) = (*digest, usize::try_from(self.size_bytes).map_err(io::Error::other)?);
        let is_right = move |bytes: &Bytes| Digest::of(digest.algorithm(), bytes) == digest;
        let bytes = match &self.source {
            Source::Here(content) => {
                if self.size_bytes <= HASHED_AT_ONCE_BYTES
                    && let Some(bytes) = content.read_now(0, len)
                {
                    return Ok(Some(bytes).filter(is_right).map(Self::in_memory));
                }
                let content = Arc::clone(content);
                let read = tokio::task::spawn_blocking(move || {
                    content.read_exact(0, len).map(|bytes| Some(bytes).filter(is_right))
                });
                return Ok(read.await.map_err(io::Error::other)??.map(Self::in_memory));
            }
            Source::Elsewhere(_) if len == 0 => Bytes::new(),
            Source::Elsewhere(content) => content.pieces(0..self.size_bytes).next(len).await?,
        };
        let hashed = tokio::task::spawn_blocking(move || Some(bytes).filter(is_right));
        Ok(hashed.await.map_err(io::Error::other)?.map(Self::in_memory))
    }

    /// Hashes the whole content again.
    pub fn rehash(&self, algorithm: Algorithm) -> Rehash {
        let rest = 0..self.size_bytes;
        let from = match &self.source {
            Source::Here(content) => From::Here(Arc::clone(content)),
            Source::Elsewhere(content) => From::Elsewhere(content.pieces(rest.clone())),
        };
        Rehash { from, rest, running: Some(Running::new(algorithm)) }
    }

    /// The bytes of `range` (end exclusive), in order, in chunks of at most 1 MiB. Reading begins when the stream is
    /// first polled. What the operating system has in memory is read at once; the polling thread never waits for a disk:
    /// other threads do, one chunk ahead.
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
        self.read(range, None)
    }
}

/// Content that has been read.
#[derive(Debug)]
struct InMemory(Bytes);

impl Content for InMemory {
    fn bytes(&self) -> Option<&Bytes> {
        Some(&self.0)
    }

    fn read_exact(&self, offset_bytes: u64, len_bytes: usize) -> io::Result<Bytes> {
        let from = usize::try_from(offset_bytes).map_err(io::Error::other)?;
        let end = from.checked_add(len_bytes).filter(|end| *end <= self.0.len());
        end.map(|end| self.0.slice(from..end)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn read_now(&self, offset_bytes: u64, len_bytes: usize) -> Option<Bytes> {
        self.read_exact(offset_bytes, len_bytes).ok()
    }
}

/// Content being read and hashed again, piece by piece, so that whoever asks can set the pace.
pub struct Rehash {
    from: From,
    rest: Range<u64>,
    /// `None` only after a failure.
    running: Option<Running>,
}

enum From {
    Here(Arc<dyn Content>),
    Elsewhere(Box<dyn Pieces>),
}

impl fmt::Debug for Rehash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rehash").field("rest", &self.rest).finish_non_exhaustive()
    }
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
        let len = usize::try_from(len_bytes).map_err(io::Error::other)?;
        let hashed = match &mut self.from {
            From::Here(content) => {
                let content = Arc::clone(content);
                tokio::task::spawn_blocking(move || {
                    running.update(&content.read_exact(at, len)?);
                    Ok::<_, io::Error>(running)
                })
            }
            From::Elsewhere(pieces) => {
                let piece = pieces.next(len).await?;
                tokio::task::spawn_blocking(move || {
                    running.update(&piece);
                    Ok(running)
                })
            }
        };
        self.running = Some(hashed.await.map_err(io::Error::other)??);
        self.rest.start += len_bytes;
        Ok(len_bytes)
    }

    /// Whether the bytes hash to `digest`; `false` too if they have not all been read.
    pub fn is(self, digest: &Digest) -> bool {
        self.digest() == Some(*digest)
    }

    /// What the bytes hash to; `None`: they have not all been read.
    pub(crate) fn digest(self) -> Option<Digest> {
        self.running.filter(|_| self.rest.is_empty()).map(Running::finish)
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
    ahead: Option<JoinHandle<io::Result<Piece>>>,
    /// What all of it must hash to, if that is to be seen.
    digest: Option<Digest>,
    pace: Pace,
}

/// How quickly chunks are taken.
struct Pace {
    chunk_bytes: u64,
    /// When the last one was.
    last: Option<Instant>,
}

impl Pace {
    /// How long the chunk should be that is taken now.
    fn next(&mut self, now: Instant) -> u64 {
        match self.last.replace(now) {
            None => {}
            Some(last) if now - last < QUICKLY => self.chunk_bytes = (self.chunk_bytes * 2).min(*AT_HAND_BYTES.end()),
            Some(_) => self.chunk_bytes = *AT_HAND_BYTES.start(),
        }
        self.chunk_bytes
    }
}

/// Some bytes, and the hash over everything up to their end, if there is one.
type Piece = (Bytes, Option<Running>);

impl Reading {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let current = match self.ahead.take() {
            Some(current) => current,
            None => {
                if let Some(chunk) = self.take_now() {
                    return Some((Ok(chunk), self));
                }
                self.ask(self.digest.map(|digest| Running::new(digest.algorithm())))?
            }
        };
        let piece = current.await.unwrap_or_else(|lost| Err(io::Error::other(lost)));
        let chunk = piece.and_then(|(chunk, running)| {
            let is_last = self.rest.is_empty();
            match (self.digest, &running) {
                (Some(digest), Some(running)) if is_last && running.clone().finish() != digest => Err(not_right()),
                _ => {
                    self.ahead = self.ask(running);
                    Ok(chunk)
                }
            }
        });
        if chunk.is_err() {
            self.rest = 0..0;
        }
        Some((chunk, self))
    }

    /// The next chunk, if nobody has to wait for it and it need not be hashed.
    fn take_now(&mut self) -> Option<Bytes> {
        let left = self.rest.end.saturating_sub(self.rest.start);
        if left == 0 || self.digest.is_some() {
            return None;
        }
        let len = left.min(self.pace.next(Instant::now()));
        let chunk = self.content.read_now(self.rest.start, usize::try_from(len).ok()?)?;
        self.rest.start += len;
        Some(chunk)
    }

    /// Starts reading the next chunk; `None` when all have been asked for.
    fn ask(&mut self, running: Option<Running>) -> Option<JoinHandle<io::Result<Piece>>> {
        let start = self.rest.start;
        let left = self.rest.end.checked_sub(start).filter(|left| *left > 0)?;
        let len = usize::try_from(self.chunk_bytes(left)).ok()?;
        self.rest.start += len as u64;
        let content = Arc::clone(&self.content);
        Some(tokio::task::spawn_blocking(move || {
            let bytes = content.read_exact(start, len)?;
            let running = running.map(|mut running| {
                running.update(&bytes);
                running
            });
            Ok((bytes, running))
        }))
    }

    fn chunk_bytes(&self, left: u64) -> u64 {
        chunk_bytes(left, self.digest.is_some())
    }
}

/// Content that comes from another machine, passed on piece by piece. Nothing is read ahead: the connection has a buffer.
struct Arriving {
    pieces: Box<dyn Pieces>,
    rest: Range<u64>,
    /// What all of it must hash to, if that is to be seen.
    digest: Option<Digest>,
    running: Option<Running>,
}

impl Arriving {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let left = self.rest.end.checked_sub(self.rest.start).filter(|left| *left > 0)?;
        let len = usize::try_from(chunk_bytes(left, self.digest.is_some())).ok()?;
        let chunk = self.pieces.next(len).await.and_then(|chunk| {
            self.rest.start += len as u64;
            if let Some(running) = &mut self.running {
                running.update(&chunk);
            }
            match self.digest.filter(|_| self.rest.is_empty()) {
                Some(digest) if self.running.take().is_none_or(|running| running.finish() != digest) => {
                    Err(not_right())
                }
                _ => Ok(chunk),
            }
        });
        if chunk.is_err() {
            self.rest = 0..0;
        }
        Some((chunk, self))
    }
}

fn not_right() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the stored content does not hash to its digest")
}

/// The last chunk of verified content is long enough that nobody can do much with what came before it.
fn chunk_bytes(left: u64, is_verified: bool) -> u64 {
    let would_leave_little = left > CHUNK_BYTES && left - CHUNK_BYTES < HELD_BACK_BYTES;
    if is_verified && would_leave_little { left - HELD_BACK_BYTES } else { left.min(CHUNK_BYTES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_for_a_quick_client_and_are_small_for_a_slow_one() {
        let (mut now, mut pace) = (Instant::now(), Pace { chunk_bytes: CHUNK_BYTES, last: None });
        let mut after = |millis| {
            now += Duration::from_millis(millis);
            pace.next(now) >> 10
        };
        assert_eq!([after(50), after(1), after(1)], [512, 1024, 1024], "nobody knows the client at first");
        assert_eq!([after(4), after(40)], [128, 128]);
        assert_eq!([after(3), after(3), after(3), after(3)], [256, 512, 1024, 1024]);
    }

    #[test]
    fn what_is_in_memory_is_given_as_it_is_within_its_bounds() {
        let content = BlobReader::in_memory(Bytes::from_static(b"content"));
        assert_eq!(content.bytes(&(0..7)).as_deref(), Some(&b"content"[..]));
        assert_eq!(content.bytes(&(3..5)).as_deref(), Some(&b"te"[..]));
        assert_eq!(content.bytes(&(3..8)), None);
        assert_eq!(content.bytes(&(7..7)).as_deref(), Some(&b""[..]));
    }
}
