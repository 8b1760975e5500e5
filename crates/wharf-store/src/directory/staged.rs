//! One staged file: opening it at a checkpoint, appending, hashing it again, syncing it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rustix::io::Errno;
use tokio::sync::OwnedMutexGuard;
use wharf_base::{UploadId, failpoint};
use wharf_oci::Algorithm;

use super::files::Access;
use super::io::{failed, fill, not_synced, sync, uninterrupted, write_all};
use super::layout;
use super::root::Root;
use crate::hash::Running;
use crate::sessions::Lease;
use crate::{Checkpoint, Error};

/// How much is read at once when staged bytes are hashed again.
const REHASH_BYTES: usize = 1 << 20;

/// The staged file of an upload, open for reading and writing. Shared by the writer and by whatever still runs for it
/// on blocking threads; the last of them ends the turn.
#[derive(Debug)]
pub(super) struct Staged {
    root: Arc<Root>,
    file: OwnedFd,
    upload: UploadId,
    /// Whether blocks beyond the end may have to be given back.
    reserved: bool,
    _turn: OwnedMutexGuard<()>,
}

impl Staged {
    fn new(root: Arc<Root>, file: OwnedFd, lease: &Lease, turn: OwnedMutexGuard<()>) -> Self {
        Self { root, file, upload: lease.upload(), reserved: false, _turn: turn }
    }

    /// A new or emptied staged file.
    pub(super) fn begin(root: Arc<Root>, lease: &Lease, turn: OwnedMutexGuard<()>) -> Result<Self, Error> {
        let name = layout::staged(lease.upload());
        let doing = "creating staged content";
        let file = match root.files.open(root.uploads.as_fd(), name.as_below(), Access::Create) {
            Err(Errno::EXIST) => root.files.open(root.uploads.as_fd(), name.as_below(), Access::Modify),
            created => created,
        };
        let staged = Self::new(root, file.map_err(failed(doing))?, lease, turn);
        // Who ended the upload before this found no file to remove.
        if let Err(error) = lease.check_standing() {
            staged.remove();
            return Err(error);
        }
        if staged.size_bytes()? > 0 {
            staged.truncate(0)?;
        }
        failpoint::reach("store.staged-created");
        lease.trust();
        Ok(staged)
    }

    /// The staged file cut to `at`, and the hash over what is left.
    ///
    /// The checkpoint's own state is believed only for bytes that this process has written or compared before: after a
    /// power cut a file may have the right length and the wrong bytes, and a state that says otherwise would let them
    /// pass as the digest of the right ones.
    pub(super) fn resume(
        root: Arc<Root>,
        lease: &Lease,
        turn: OwnedMutexGuard<()>,
        algorithm: Algorithm,
        at: &Checkpoint,
    ) -> Result<(Self, Running), Error> {
        let name = layout::staged(lease.upload());
        let file = match root.files.open(root.uploads.as_fd(), name.as_below(), Access::Modify) {
            Err(Errno::NOENT) => return Err(Error::StagedLost),
            opened => opened.map_err(failed("opening staged content"))?,
        };
        let staged = Self::new(root, file, lease, turn);
        if staged.size_bytes()? < at.offset_bytes {
            return Err(Error::StagedLost);
        }
        staged.truncate(at.offset_bytes)?;
        let recorded = Running::load(&at.hash_state, algorithm, at.offset_bytes);
        let running = match recorded {
            Some(running) if lease.is_trusted() => running,
            _ => staged.compare(algorithm, at, recorded.is_some())?,
        };
        failpoint::reach("store.staged-resumed");
        lease.trust();
        Ok((staged, running))
    }

    /// Hashes the staged bytes again. A recorded state must come out the same; a foreign one cannot be compared, and
    /// the final digest is then the only judge.
    fn compare(&self, algorithm: Algorithm, at: &Checkpoint, comparable: bool) -> Result<Running, Error> {
        let running = self.rehash(algorithm, at.offset_bytes)?;
        if comparable && running.save(at.offset_bytes) != at.hash_state {
            return Err(Error::StagedLost);
        }
        Ok(running)
    }

    /// The hash over the first `len_bytes` staged bytes, read from the file.
    pub(super) fn rehash(&self, algorithm: Algorithm, len_bytes: u64) -> Result<Running, Error> {
        let mut running = Running::new(algorithm);
        let mut buffer = Vec::with_capacity(REHASH_BYTES);
        let mut at = 0;
        while at < len_bytes {
            buffer.clear();
            fill(&*self.root.files, self.file.as_fd(), &mut buffer, at).map_err(failed("reading staged content"))?;
            let left = usize::try_from(len_bytes - at).unwrap_or(usize::MAX);
            buffer.truncate(left);
            if buffer.is_empty() {
                return Err(Error::StagedLost);
            }
            running.update(&buffer);
            at += buffer.len() as u64;
        }
        Ok(running)
    }

    /// Writes all of `parts` from `offset_bytes` on.
    pub(super) fn append(&self, parts: &[Bytes], offset_bytes: u64) -> Result<(), Error> {
        write_all(&*self.root.files, self.file.as_fd(), parts, offset_bytes)
            .map_err(failed("writing staged content"))?;
        failpoint::reach("store.written");
        Ok(())
    }

    /// Reserves space for `len_bytes` bytes from `offset_bytes` on. File systems that cannot are as good as before.
    pub(super) fn reserve(&mut self, offset_bytes: u64, len_bytes: u64) -> Result<(), Error> {
        if len_bytes == 0 {
            return Ok(());
        }
        match uninterrupted(|| self.root.files.reserve(self.file.as_fd(), offset_bytes, len_bytes)) {
            Ok(()) => {
                failpoint::reach("store.reserved");
                self.reserved = true;
                Ok(())
            }
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            // Beyond what a file of this file system, or any file, can be.
            Err(Errno::FBIG | Errno::INVAL) => Err(Error::NoSpace),
            Err(errno) => Err(failed("reserving space for staged content")(errno)),
        }
    }

    /// Gives back what was reserved beyond `size_bytes`, which is all that was written.
    pub(super) fn give_back(&self, size_bytes: u64) -> Result<(), Error> {
        if self.reserved { self.truncate(size_bytes) } else { Ok(()) }
    }

    /// Cuts the file to `size_bytes`.
    fn truncate(&self, size_bytes: u64) -> Result<(), Error> {
        uninterrupted(|| self.root.files.truncate(self.file.as_fd(), size_bytes))
            .map_err(failed("truncating staged content"))?;
        failpoint::reach("store.staged-cut");
        Ok(())
    }

    /// # Errors
    ///
    /// [`Error::StagedLost`] when the file is not a regular one, [`Error::Io`].
    pub(super) fn size_bytes(&self) -> Result<u64, Error> {
        let stat = self.root.files.stat(self.file.as_fd()).map_err(failed("inspecting staged content"))?;
        if stat.is_file() { Ok(stat.size_bytes) } else { Err(Error::StagedLost) }
    }

    /// The sync that the content's durability rests on.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let begun = Instant::now();
        let synced = sync(&*self.root.files, self.file.as_fd(), "store.sync-file");
        self.root.sync_seconds.observe(begun.elapsed());
        self.condemn_if_failed(synced)
    }

    /// A sync under way, so that the last one finds little to do. Its failure counts as much: the operating system
    /// reports one only once.
    pub(super) fn sync_early(&self) -> Result<(), Error> {
        let synced = self.root.files.sync_data(self.file.as_fd());
        failpoint::reach("store.sync-early");
        self.condemn_if_failed(synced)
    }

    fn condemn_if_failed(&self, synced: Result<(), Errno>) -> Result<(), Error> {
        synced.map_err(|errno| {
            self.root.condemn_staged(self.upload);
            not_synced("writing staged content")(errno)
        })
    }

    /// Ends the upload; see [`Root::drop_staged`].
    pub(super) fn remove(&self) {
        self.root.drop_staged(self.upload);
    }
}
