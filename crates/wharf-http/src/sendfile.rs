//! Files that the kernel sends by itself.
//!
//! hyper writes what a body gives it. A [`FilePiece`] is a piece of a body whose bytes are not in memory: in their place it
//! shows a single byte, its *marker*. [`FileSender`] stands between hyper and the socket, knows the markers of its
//! connection by their addresses, and where it meets one it lets the kernel send from the file (`sendfile`). It answers
//! how many bytes that were, and hyper advances the piece by as many; so back-pressure, ranges, keep-alive and
//! connections that break are what they are for any other body.
//!
//! Whoever else reads such a piece would get the marker. So there is none without a [`Lane`], which only connections
//! without TLS have, and `service` uses it for HTTP/1 only: HTTP/2 copies what it frames.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Buf;
use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How much one call sends at most; and how much is brought into memory at once when it is not there.
const CALL_BYTES: u64 = 2 << 20;

/// After so much the thread's other tasks have their turn, however fast the client is.
const TURN_BYTES: u64 = 8 << 20;

/// From this length on, segments are filled up before they leave. Shorter answers gain nothing, and a client with a very
/// small window would wait for the kernel's timer.
const CORKED_FROM_BYTES: u64 = 256 << 10;

/// Up to here the pieces of an answer, its head and its body, are copied together: the kernel takes one piece faster than
/// a list of two, by more than the copy takes.
const TOGETHER_MAX_BYTES: usize = 4 << 10;

/// How far apart the bytes are that are asked whether they are in memory.
const PROBES_APART_BYTES: usize = 512 << 10;

/// How much is read at once, only so that it is in memory.
const WARMING_BYTES: usize = 128 << 10;

/// A file to be sent.
pub(crate) type File = Box<dyn AsFd + Send + Sync>;

/// The files that are being sent on a connection without TLS: none, or one, or few if the client pipelines.
#[derive(Clone, Default)]
pub(crate) struct Lane(Arc<Mutex<Vec<Arc<Slice>>>>);

impl Lane {
    /// A piece of a body: `range` of `file`. When it has been sent, or will not be, `end` gets to know how much of it was,
    /// and why not all of it if the file is the reason.
    pub(crate) fn piece(
        &self,
        file: File,
        range: Range<u64>,
        end: impl FnOnce(u64, Option<&io::Error>) + Send + 'static,
    ) -> FilePiece {
        let slice = Arc::new(Slice {
            marker: [0],
            file,
            at: AtomicU64::new(range.start),
            in_memory_to: AtomicU64::new(range.start),
            failure: OnceLock::new(),
            range: range.clone(),
        });
        self.slices().push(Arc::clone(&slice));
        FilePiece { lane: self.clone(), slice, left_bytes: range.end - range.start, end: Some(Box::new(end)) }
    }

    /// The first of `buffers` that is a marker, and what it stands for.
    fn find(&self, buffers: &[IoSlice<'_>]) -> Option<(usize, Arc<Slice>)> {
        let slices = self.slices();
        if slices.is_empty() {
            return None;
        }
        buffers.iter().enumerate().find_map(|(index, buffer)| {
            let slice = slices.iter().find(|slice| std::ptr::eq(slice.marker.as_ptr(), buffer.as_ptr()))?;
            Some((index, Arc::clone(slice)))
        })
    }

    fn remove(&self, gone: &Arc<Slice>) {
        self.slices().retain(|slice| !Arc::ptr_eq(slice, gone));
    }

    fn slices(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Slice>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a file on its way. Nobody but the sender moves its positions.
struct Slice {
    /// Its address is all that counts. It is nobody else's as long as this is alive, and that is as long as it is in the
    /// lane.
    marker: [u8; 1],
    file: File,
    range: Range<u64>,
    /// What comes before has been sent.
    at: AtomicU64,
    /// What comes before has been found in memory, or brought there.
    in_memory_to: AtomicU64,
    /// Why no more can be sent, if it is the file.
    failure: OnceLock<io::Error>,
}

impl Slice {
    fn at(&self) -> u64 {
        self.at.load(Ordering::Relaxed)
    }

    /// The part that is sent next.
    fn next(&self) -> Range<u64> {
        let at = self.at();
        at..self.range.end.min(at + CALL_BYTES)
    }

    fn is_corked(&self) -> bool {
        self.range.end - self.range.start >= CORKED_FROM_BYTES
    }

    /// Whether `part` is in memory, as far as a few bytes of it tell.
    fn is_in_memory(&self, part: &Range<u64>) -> bool {
        let is_there = |at| {
            let read =
                rustix::io::preadv2(&self.file, &mut [io::IoSliceMut::new(&mut [0])], at, ReadWriteFlags::NOWAIT);
            // The end of the file, where there should be none, is met again by whoever sends.
            read.is_ok()
        };
        part.clone().step_by(PROBES_APART_BYTES).chain([part.end - 1]).all(is_there)
    }

    /// Waits until `part` is in memory, and has the system begin with what comes next.
    fn bring(&self, part: &Range<u64>) -> io::Result<()> {
        let ahead = std::num::NonZeroU64::new(part.end - part.start + CALL_BYTES);
        // Only a hint: where it does nothing, reading is slower.
        let _ = rustix::fs::fadvise(&self.file, part.start, ahead, Advice::WillNeed);
        let mut scratch = vec![0; WARMING_BYTES];
        let mut at = part.start;
        while at < part.end {
            match rustix::io::pread(&self.file, &mut scratch[..], at) {
                Ok(0) => break,
                Ok(read) => at += read as u64,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// The error for the connection; the reason is kept for [`FilePiece`].
    fn broke(&self, reason: io::Error) -> io::Error {
        let kind = reason.kind();
        let _ = self.failure.set(reason);
        kind.into()
    }
}

/// Told once, when a piece has gone.
type End = Box<dyn FnOnce(u64, Option<&io::Error>) + Send>;

/// A piece of a body that is part of a file.
pub(crate) struct FilePiece {
    lane: Lane,
    slice: Arc<Slice>,
    left_bytes: u64,
    end: Option<End>,
}

impl Buf for FilePiece {
    fn remaining(&self) -> usize {
        usize::try_from(self.left_bytes).unwrap_or(usize::MAX)
    }

    fn chunk(&self) -> &[u8] {
        if self.left_bytes == 0 { &[] } else { &self.slice.marker }
    }

    fn advance(&mut self, count: usize) {
        self.left_bytes = self.left_bytes.checked_sub(count as u64).expect("no more is advanced than there is");
    }
}

impl Drop for FilePiece {
    fn drop(&mut self) {
        self.lane.remove(&self.slice);
        if let Some(end) = self.end.take() {
            end(self.slice.at() - self.slice.range.start, self.slice.failure.get());
        }
    }
}

/// A connection that sends the files of its lane.
pub(crate) struct FileSender {
    socket: TcpStream,
    lane: Lane,
    is_corked: bool,
    /// Sent since other tasks had their turn.
    turn_bytes: u64,
    bringing: Option<JoinHandle<io::Result<()>>>,
}

impl FileSender {
    pub(crate) fn new(socket: TcpStream, lane: Lane) -> Self {
        Self { socket, lane, is_corked: false, turn_bytes: 0, bringing: None }
    }

    fn poll_write_bytes(
        &self,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
        flags: SendFlags,
    ) -> Poll<io::Result<usize>> {
        let flags = flags | SendFlags::NOSIGNAL;
        let len: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let mut together;
        let bytes = match buffers {
            [bytes] => bytes,
            _ if len <= TOGETHER_MAX_BYTES => {
                together = [0; TOGETHER_MAX_BYTES];
                copy_together(buffers, &mut together)
            }
            _ => {
                return self.poll_call(context, |socket| {
                    rustix::net::sendmsg(socket, buffers, &mut SendAncillaryBuffer::default(), flags)
                });
            }
        };
        self.poll_call(context, |socket| rustix::net::send(socket, bytes, flags))
    }

    fn poll_send(&mut self, context: &mut Context<'_>, slice: &Arc<Slice>) -> Poll<io::Result<usize>> {
        if self.turn_bytes >= TURN_BYTES {
            self.turn_bytes = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_bring(context, slice))?;
        self.cork(slice.is_corked())?;
        let part = slice.next();
        let len = usize::try_from(part.end - part.start).unwrap_or(usize::MAX);
        let sent = ready!(self.poll_call(context, |socket| {
            rustix::fs::sendfile(socket, &slice.file, Some(&mut part.start.clone()), len)
        }));
        let sent = match sent {
            Ok(0) => {
                let shorter = "the stored content is shorter than recorded";
                return Poll::Ready(Err(slice.broke(io::Error::new(io::ErrorKind::UnexpectedEof, shorter))));
            }
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                return Poll::Ready(Err(slice.broke(error)));
            }
            sent => sent?,
        };
        let at = part.start + sent as u64;
        slice.at.store(at, Ordering::Relaxed);
        self.turn_bytes += sent as u64;
        if at == slice.range.end {
            self.cork(false)?;
        }
        Poll::Ready(Ok(sent))
    }

    /// Ready when what is sent next can be without waiting for a disk; other threads wait.
    fn poll_bring(&mut self, context: &mut Context<'_>, slice: &Arc<Slice>) -> Poll<io::Result<()>> {
        if slice.at() < slice.in_memory_to.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let part = slice.next();
        if self.bringing.is_none() && !slice.is_in_memory(&part) {
            let (slice, part) = (Arc::clone(slice), part.clone());
            self.bringing = Some(tokio::task::spawn_blocking(move || slice.bring(&part)));
        }
        if let Some(bringing) = &mut self.bringing {
            let brought = ready!(Pin::new(bringing).poll(context)).map_err(io::Error::other).flatten();
            self.bringing = None;
            brought.map_err(|reason| slice.broke(reason))?;
        }
        slice.in_memory_to.store(part.end, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn cork(&mut self, wanted: bool) -> io::Result<()> {
        if self.is_corked != wanted {
            rustix::net::sockopt::set_tcp_cork(&self.socket, wanted)?;
            self.is_corked = wanted;
        }
        Ok(())
    }

    fn poll_call(
        &self,
        context: &mut Context<'_>,
        mut call: impl FnMut(&TcpStream) -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(context))?;
            match self.socket.try_io(Interest::WRITABLE, || Ok(call(&self.socket)?)) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

/// The bytes of all `buffers`, which must not be more than there is room for.
fn copy_together<'a>(buffers: &[IoSlice<'_>], room: &'a mut [u8]) -> &'a [u8] {
    let mut at = 0;
    for buffer in buffers {
        room[at..at + buffer.len()].copy_from_slice(buffer);
        at += buffer.len();
    }
    &room[..at]
}

impl AsyncRead for FileSender {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for FileSender {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.lane.find(buffers) {
            None => self.poll_write_bytes(context, buffers, SendFlags::empty()),
            Some((0, slice)) => self.poll_send(context, &slice),
            // Held back until the file's first bytes are there to fill the segment.
            Some((index, _)) => self.poll_write_bytes(context, &buffers[..index], SendFlags::MORE),
        }
    }

    /// What makes hyper hand on the pieces as they are instead of copying small ones together.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
