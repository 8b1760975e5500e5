//! The opened data directory, and the small steps that everything else is made of. All of it blocks.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use wharf_base::{Distribution, StoreId, UploadId, failpoint};
use wharf_oci::{Algorithm, Digest};

use super::files::{Access, Files, Stat};
use super::io::{failed, not_synced, sync};
use super::layout::{self, Name};
use crate::Error;
use crate::lock::DigestLocks;
use crate::sessions::Sessions;

/// The data directory of a running store.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) files: Arc<dyn Files>,
    /// As it was configured.
    pub(super) path: PathBuf,
    /// Device and inode of what was found there.
    pub(super) place: (u64, u64),
    /// The data directory itself.
    pub(super) directory: OwnedFd,
    pub(super) uploads: OwnedFd,
    pub(super) layers: OwnedFd,
    /// Open as long as the directory is ours (B-136).
    pub(super) _lock: OwnedFd,
    pub(super) store_id: StoreId,
    /// Whether it was made when it was opened.
    pub(super) is_new: bool,
    pub(super) digests: DigestLocks,
    pub(super) sessions: Arc<Sessions>,
    pub(super) prefixes: Prefixes,
    pub(super) probing: Mutex<()>,
    /// How long the syncs took that acknowledged content waited for.
    pub(super) sync_seconds: Distribution,
}

/// Which prefix directories have durable entries in their parents.
///
/// That a directory can be opened does not say so: another request may have made it a moment ago and not have synced
/// it yet. Content must not be acknowledged before.
#[derive(Debug)]
pub(super) struct Prefixes {
    sha256: [AtomicBool; 256],
    sha512: [AtomicBool; 256],
    making: Mutex<()>,
}

impl Prefixes {
    /// The directories of SHA-256 were made and synced together with the store; those of SHA-512 are on first use.
    pub(super) fn new() -> Self {
        Self {
            sha256: std::array::from_fn(|_| AtomicBool::new(true)),
            sha512: std::array::from_fn(|_| AtomicBool::new(false)),
            making: Mutex::new(()),
        }
    }

    fn durable(&self, digest: &Digest) -> &AtomicBool {
        let prefixes = match digest.algorithm() {
            Algorithm::Sha256 => &self.sha256,
            Algorithm::Sha512 => &self.sha512,
        };
        &prefixes[usize::from(layout::prefix_byte(digest))]
    }
}

impl Root {
    /// What is stored under `digest`, without opening it for reading; `None`: nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] when it is not a regular file, [`Error::Io`].
    pub(super) fn inspect(&self, digest: &Digest) -> Result<Option<Stat>, Error> {
        let Some(file) = self.open_content(digest, Access::Inspect)? else { return Ok(None) };
        self.check_file(digest, &file).map(Some)
    }

    /// The content of `digest`, opened for reading; `None`: nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] when it is not a readable regular file of `size_bytes` bytes, [`Error::Io`].
    pub(super) fn open_for_reading(&self, digest: &Digest, size_bytes: u64) -> Result<Option<OwnedFd>, Error> {
        let Some(file) = self.open_content(digest, Access::Read)? else { return Ok(None) };
        self.check_length(digest, &file, size_bytes)?;
        Ok(Some(file))
    }

    /// The same content, if it is there as it should be and can be opened without waiting for a disk.
    pub(super) fn open_now(&self, digest: &Digest, size_bytes: u64) -> Option<OwnedFd> {
        let file = self.files.open(self.layers.as_fd(), &layout::content(digest), Access::ReadNow).ok()?;
        self.check_length(digest, &file, size_bytes).is_ok().then_some(file)
    }

    fn check_length(&self, digest: &Digest, file: &OwnedFd, size_bytes: u64) -> Result<(), Error> {
        let found = self.check_file(digest, file)?.size_bytes;
        if found != size_bytes {
            let reason = if found < size_bytes { "shorter than recorded" } else { "longer than recorded" };
            return Err(Error::Damaged { digest: *digest, reason });
        }
        Ok(())
    }

    fn open_content(&self, digest: &Digest, access: Access) -> Result<Option<OwnedFd>, Error> {
        let damaged = |reason| Err(Error::Damaged { digest: *digest, reason });
        match self.files.open(self.layers.as_fd(), &layout::content(digest), access) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => damaged("a symbolic link"),
            Err(Errno::ACCESS) => damaged("not readable"),
            Err(Errno::NOTDIR | Errno::ISDIR | Errno::NXIO | Errno::XDEV) => damaged("not a regular file"),
            Err(errno) => Err(failed("opening stored content")(errno)),
        }
    }

    fn check_file(&self, digest: &Digest, file: &OwnedFd) -> Result<Stat, Error> {
        let stat = self.files.stat(file.as_fd()).map_err(failed("inspecting stored content"))?;
        if !stat.is_file() {
            return Err(Error::Damaged { digest: *digest, reason: "not a regular file" });
        }
        Ok(stat)
    }

    /// The directory that the content of `digest` is in; `None`: it does not exist.
    pub(super) fn content_directory(&self, digest: &Digest) -> Result<Option<OwnedFd>, Error> {
        match self.files.open(self.layers.as_fd(), &layout::content_directory(digest), Access::Directory) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("opening a content directory")(errno)),
        }
    }

    /// The directory that the content of `digest` goes into, made if it does not exist, its entry durable.
    pub(super) fn durable_content_directory(&self, digest: &Digest) -> Result<OwnedFd, Error> {
        let durable = self.prefixes.durable(digest);
        if durable.load(Ordering::Acquire)
            && let Some(directory) = self.content_directory(digest)?
        {
            return Ok(directory);
        }
        let _making = self.prefixes.making.lock().unwrap_or_else(PoisonError::into_inner);
        durable.store(false, Ordering::Release);
        let algorithm = self.make_durable(self.layers.as_fd(), &layout::algorithm(digest.algorithm()))?;
        let directory = self.make_durable(algorithm.as_fd(), &layout::prefix(layout::prefix_byte(digest)))?;
        durable.store(true, Ordering::Release);
        Ok(directory)
    }

    /// Makes `name` in `parent` if it does not exist, syncs `parent`, and opens it.
    pub(super) fn make_durable(&self, parent: BorrowedFd<'_>, name: &Name) -> Result<OwnedFd, Error> {
        let made = match self.files.make_directory(parent, name) {
            Ok(()) => {
                failpoint::reach("store.prefix-made");
                true
            }
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(failed("making a content directory")(errno)),
        };
        if let Err(errno) = sync(&*self.files, parent, "store.sync-prefix") {
            if made {
                // Made anew the next time, so that the next sync has something to write.
                let _ = self.files.remove_directory(parent, name);
            }
            return Err(not_synced("making a content directory")(errno));
        }
        self.files.open(parent, name.as_below(), Access::Directory).map_err(failed("opening a content directory"))
    }

    /// Removes the staged file of `upload`; that there is none is success.
    pub(super) fn remove_staged(&self, upload: UploadId) -> Result<(), Error> {
        match self.files.remove(self.uploads.as_fd(), &layout::staged(upload)) {
            Ok(()) | Err(Errno::NOENT) => {
                failpoint::reach("store.staged-removed");
                self.sessions.gone(upload);
                Ok(())
            }
            Err(errno) => Err(failed("removing staged content")(errno)),
        }
    }

    /// Removes the staged file of an upload that has ended anyway. If that fails the file stays until the session
    /// expires; the outcome of the request does not depend on it.
    pub(super) fn drop_staged(&self, upload: UploadId) {
        if let Err(error) = self.remove_staged(upload) {
            tracing::warn!(upload.id = %upload, error = ?error, "staged content of upload {upload} was left behind");
        }
    }

    /// Ends an upload whose staged file could not be synced: a second sync could succeed without having
    /// written anything.
    pub(super) fn condemn_staged(&self, upload: UploadId) {
        self.sessions.unsynced(upload);
        self.drop_staged(upload);
    }
}
