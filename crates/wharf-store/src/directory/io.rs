//! Whole reads and writes out of system calls that may do less, and errno into errors.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;
use wharf_base::failpoint;

use super::files::Files;
use crate::Error;
use crate::reader::Content;

/// How many slices one `pwritev` takes (`UIO_MAXIOV`).
const SLICES_MAX: usize = 1024;

/// The error for a failed call of `doing`.
pub(super) fn failed(doing: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| match errno {
        Errno::NOSPC | Errno::DQUOT => Error::NoSpace,
        _ => Error::Io { doing, source: errno.into() },
    }
}

/// The error for a failed sync of `doing`.
pub(super) fn not_synced(doing: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::Sync { doing, source: errno.into() }
}

/// Runs `work` on a thread that may block.
pub(super) async fn blocking<T, F>(doing: &'static str, work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|lost| Err(Error::Io { doing, source: io::Error::other(lost) }))
}

/// `call` again as long as signals interrupt it.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

/// Syncs `file`; at the failpoint `name` a test can leave that out, or end the process when it is done.
pub(super) fn sync(files: &dyn Files, file: BorrowedFd<'_>, name: &'static str) -> Result<(), Errno> {
    if !failpoint::skips(name) {
        files.sync(file)?;
    }
    failpoint::reach(name);
    Ok(())
}

/// Writes all of `parts`, one after the other, from `offset_bytes` on (R-003: short writes go on where they stopped).
pub(super) fn write_all(
    files: &dyn Files,
    file: BorrowedFd<'_>,
    parts: &[Bytes],
    mut offset_bytes: u64,
) -> Result<(), Errno> {
    let mut slices: Vec<IoSlice<'_>> =
        parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let some = &rest[..rest.len().min(SLICES_MAX)];
        let written = uninterrupted(|| files.write(file, some, offset_bytes))?;
        if written == 0 {
            return Err(Errno::IO);
        }
        offset_bytes += written as u64;
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// Appends to `buffer` until its capacity is full or the file ends.
pub(super) fn fill(
    files: &dyn Files,
    file: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    offset_bytes: u64,
) -> Result<(), Errno> {
    let before = buffer.len();
    while buffer.len() < buffer.capacity() {
        let at = offset_bytes + (buffer.len() - before) as u64;
        if uninterrupted(|| files.read(file, buffer, at))? == 0 {
            break;
        }
    }
    Ok(())
}

/// Up to this, asking whether something is in memory costs more than a buffer in vain.
const UNPROBED_BYTES: usize = 64 << 10;

/// An open file as the source of a reader.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) files: Arc<dyn Files>,
    pub(super) fd: OwnedFd,
}

impl Content for OpenFile {
    fn read_exact(&self, offset_bytes: u64, len_bytes: usize) -> io::Result<Bytes> {
        let mut buffer = Vec::with_capacity(len_bytes);
        fill(&*self.files, self.fd.as_fd(), &mut buffer, offset_bytes)?;
        if buffer.len() < len_bytes {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stored content is shorter than recorded"));
        }
        buffer.truncate(len_bytes);
        Ok(buffer.into())
    }

    fn read_now(&self, offset_bytes: u64, len_bytes: usize) -> Option<Bytes> {
        let read_now = |buffer: &mut [u8]| uninterrupted(|| self.files.read_now(self.fd.as_fd(), buffer, offset_bytes));
        // A byte tells, before there is a large buffer for all of them.
        if len_bytes > UNPROBED_BYTES && read_now(&mut [0]) != Ok(1) {
            return None;
        }
        let mut buffer = vec![0; len_bytes];
        let read = read_now(&mut buffer);
        // Less than all is read again by whoever may wait, and who then says what is wrong.
        (read == Ok(len_bytes)).then(|| buffer.into())
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}
