//! Damaged content is moved out of the way and never removed: somebody may still get something out of it, and what looked
//! damaged to a failing controller may read well in another machine.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use wharf_base::Timestamp;
use wharf_oci::{Algorithm, Digest};

use super::files::Access;
use super::io::{OpenFile, failed, not_synced};
use super::layout::{self, Name};
use super::root::Root;
use crate::hash::Running;
use crate::reader::Content as _;
use crate::{Error, Removing};

/// How many copies of one digest are looked at when it is to be brought back.
const COPIES_MAX: usize = 100;

/// How much is read at once when a copy is hashed.
const PIECE_BYTES: u64 = 1 << 20;

impl Root {
    /// Moves whatever lies in the place of the digest's content into `quarantine`; `false`: nothing does. The caller
    /// holds the digest's lock.
    pub(super) fn set_aside(&self, removing: &Removing, at: Timestamp) -> Result<bool, Error> {
        let doing = "setting damaged content aside";
        let digest = removing.digest();
        let Some(directory) = self.content_directory(digest)? else { return Ok(false) };
        let quarantine = self.make_durable(self.directory.as_fd(), &layout::quarantine())?;
        let name = self.free_name(&quarantine, digest, at)?;
        match self.files.rename(directory.as_fd(), &layout::content_name(digest), quarantine.as_fd(), &name) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(failed(doing)(errno)),
        }
        wharf_base::failpoint::reach("store.set_aside");
        self.sync_both(&quarantine, &directory, doing)?;
        Ok(true)
    }

    /// Moves content that was set aside and hashes to its digest back into its place; `false`: there is none. Nothing
    /// lies in its place; the caller holds the digest's lock.
    pub(super) fn bring_back(self: &Arc<Self>, removing: &Removing, size_bytes: u64) -> Result<bool, Error> {
        let doing = "bringing content back";
        let digest = removing.digest();
        let quarantine =
            match self.files.open(self.directory.as_fd(), layout::quarantine().as_below(), Access::Directory) {
                Ok(quarantine) => quarantine,
                Err(Errno::NOENT) => return Ok(false),
                Err(errno) => return Err(failed(doing)(errno)),
            };
        let of_digest = format!("{}.", digest.hex());
        for name in self.names(&quarantine, of_digest.as_bytes(), COPIES_MAX)? {
            let Some(name) = layout::quarantined_of(digest, &name) else { break };
            if !self.is_intact(&quarantine, &name, digest, size_bytes)? {
                continue;
            }
            let directory = self.durable_content_directory(digest)?;
            self.files
                .rename(quarantine.as_fd(), &name, directory.as_fd(), &layout::content_name(digest))
                .map_err(failed(doing))?;
            wharf_base::failpoint::reach("store.brought_back");
            self.sync_both(&directory, &quarantine, doing)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// A name for it that nothing has yet, so that nothing is overwritten.
    fn free_name(&self, quarantine: &OwnedFd, digest: &Digest, mut at: Timestamp) -> Result<Name, Error> {
        loop {
            let name = layout::quarantined(digest, at);
            match self.files.open(quarantine.as_fd(), name.as_below(), Access::Inspect) {
                Err(Errno::NOENT) => return Ok(name),
                Ok(_) | Err(Errno::LOOP) => at = at.plus(Duration::from_micros(1)),
                Err(errno) => return Err(failed("setting damaged content aside")(errno)),
            }
        }
    }

    fn is_intact(
        self: &Arc<Self>,
        directory: &OwnedFd,
        name: &Name,
        digest: &Digest,
        size_bytes: u64,
    ) -> Result<bool, Error> {
        let Ok(fd) = self.files.open(directory.as_fd(), name.as_below(), Access::Read) else { return Ok(false) };
        let stat = self.files.stat(fd.as_fd()).map_err(failed("inspecting content that was set aside"))?;
        if !stat.is_file() || stat.size_bytes != size_bytes {
            return Ok(false);
        }
        let file = OpenFile { files: Arc::clone(&self.files), fd };
        // What cannot be read is no copy to rely on.
        Ok(hash(&file, digest.algorithm(), size_bytes).is_ok_and(|found| found == *digest))
    }

    /// The new entry first: after a power cut in between there are two names, and not none.
    fn sync_both(&self, new: &OwnedFd, old: &OwnedFd, doing: &'static str) -> Result<(), Error> {
        self.files.sync(new.as_fd()).map_err(not_synced(doing))?;
        self.files.sync(old.as_fd()).map_err(not_synced(doing))
    }
}

fn hash(file: &OpenFile, algorithm: Algorithm, size_bytes: u64) -> std::io::Result<Digest> {
    let (mut running, mut at) = (Running::new(algorithm), 0);
    while at < size_bytes {
        let len = (size_bytes - at).min(PIECE_BYTES);
        running.update(&file.read_exact(at, usize::try_from(len).map_err(std::io::Error::other)?)?);
        at += len;
    }
    Ok(running.finish())
}
