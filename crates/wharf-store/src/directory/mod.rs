//! A blob store in a directory of a local file system.

mod aside;
mod census;
mod files;
mod io;
mod layout;
mod open;
mod pipeline;
mod probe;
mod restoring;
mod root;
mod space;
mod staged;
mod writer;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustix::io::Errno;
use wharf_base::{Clock, DistributionSnapshot, Location, Rng, StoreId, Timestamp, UploadId, failpoint};
use wharf_oci::{Algorithm, Digest};

use self::files::{Files, SystemFiles};
use self::io::{OpenFile, blocking, failed, not_synced, sync};
pub use self::restoring::{Claim, RestoreTargetError, Restoring};
use self::root::Root;
use self::writer::Writer;
use crate::{
    BlobReader, BlobStore, BlobWriter, Checkpoint, Error, ListCursor, Listing, OpenError, Place, Removing, Space,
    StagedBytes, Survey,
};

/// Content in files of one directory, owned by one process.
///
/// The directory is locked until this value and every writer made from it are gone.
#[derive(Debug)]
pub struct DirectoryStore {
    root: Arc<Root>,
}

impl DirectoryStore {
    /// Opens the data directory at `path` and makes it, or what is missing in it, if it is new: a new store id comes
    /// from `clock` and `rng`.
    ///
    /// Blocks, for a moment that does not depend on what is stored: nothing is listed (PR-10).
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. A directory that is in use, belongs to somebody else or has a newer layout is left as it is.
    ///
    /// # Source
    ///
    /// Starting a store (lock, identity), R-005, R-007, S-068, S-083, B-135, B-136.
    pub fn open(path: &Path, clock: &dyn Clock, rng: &dyn Rng) -> Result<Self, OpenError> {
        Self::open_with(Arc::new(SystemFiles), path, clock, rng)
    }

    /// Whether there was no store before it was opened.
    pub fn is_new(&self) -> bool {
        self.root.is_new
    }

    fn open_with(files: Arc<dyn Files>, path: &Path, clock: &dyn Clock, rng: &dyn Rng) -> Result<Self, OpenError> {
        let root = open::open(files, path, clock, rng)?;
        Ok(Self { root: Arc::new(root) })
    }

    /// Runs `work` on the opened directory, on a thread that may block.
    async fn on_root<T, F>(&self, doing: &'static str, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Arc<Root>) -> Result<T, Error> + Send + 'static,
    {
        let root = Arc::clone(&self.root);
        blocking(doing, move || work(&root)).await
    }
}

#[async_trait]
impl BlobStore for DirectoryStore {
    async fn writer(
        &self,
        upload: UploadId,
        algorithm: Algorithm,
        at: Option<&Checkpoint>,
        expected_bytes: Option<u64>,
    ) -> Result<Box<dyn BlobWriter>, Error> {
        let root = Arc::clone(&self.root);
        Ok(Box::new(Writer::open(root, upload, algorithm, at.cloned(), expected_bytes).await?))
    }

    async fn discard(&self, upload: UploadId) -> Result<(), Error> {
        self.on_root("removing staged content", move |root| root.remove_staged(upload)).await
    }

    fn buffer_bytes(&self, expected_bytes: Option<u64>) -> u64 {
        expected_bytes.unwrap_or(u64::MAX).min(pipeline::BUFFERS_BYTES)
    }

    fn is_by_digest(&self) -> bool {
        true
    }

    async fn open(&self, place: &Place, size_bytes: u64) -> Result<Option<BlobReader>, Error> {
        let digest = place.digest;
        // What is wrong is looked at again, and said, where waiting is no harm.
        if let Some(fd) = self.root.open_now(&digest, size_bytes) {
            return Ok(Some(reader(&self.root, fd, size_bytes)));
        }
        self.on_root("opening stored content", move |root| {
            let file = root.open_for_reading(&digest, size_bytes)?;
            Ok(file.map(|fd| reader(root, fd, size_bytes)))
        })
        .await
    }

    async fn stat(&self, place: &Place) -> Result<Option<u64>, Error> {
        let digest = place.digest;
        let found = self.on_root("inspecting stored content", move |root| root.inspect(&digest)).await?;
        Ok(found.map(|found| found.size_bytes))
    }

    async fn list(&self, after: Option<&ListCursor>, limit: usize) -> Result<Listing, Error> {
        let after = after.cloned();
        self.on_root("listing the store", move |root| root.list(after.as_ref(), limit)).await
    }

    async fn survey(&self, places: &[Place]) -> Result<Survey, Error> {
        let digests: Vec<Digest> = places.iter().map(|place| place.digest).collect();
        let survey = move |root: &Arc<Root>| Ok(digests.iter().map(|digest| root.facts(digest)).collect());
        self.on_root("inspecting stored content", survey).await
    }

    async fn survey_staged(&self, uploads: &[UploadId]) -> Result<Survey, Error> {
        let uploads = uploads.to_vec();
        let survey = move |root: &Arc<Root>| Ok(uploads.iter().map(|upload| root.staged_facts(*upload)).collect());
        self.on_root("inspecting staged content", survey).await
    }

    async fn open_staged(&self, upload: UploadId, size_bytes: u64) -> Result<StagedBytes, Error> {
        self.on_root("opening staged content", move |root| {
            let Some(fd) = root.open_staged(upload, size_bytes)? else { return Ok(StagedBytes::Lost) };
            Ok(StagedBytes::Readable(reader(root, fd, size_bytes)))
        })
        .await
    }

    async fn begin_removal(&self, digest: &Digest) -> Removing {
        Removing::new(*digest, self.root.digests.lock(digest).await)
    }

    async fn remove(&self, removing: &Removing, _: &Location) -> Result<bool, Error> {
        // A share of the lock travels with the work.
        let removing = removing.clone();
        self.on_root("removing content", move |root| remove(root, removing.digest())).await
    }

    /// Nothing lies anywhere but where its digest says.
    async fn remove_unnamed(&self, _: &Location) -> Result<bool, Error> {
        Ok(false)
    }

    async fn survey_unnamed(&self, locations: &[Location]) -> Result<Survey, Error> {
        Ok(locations.iter().map(|_| Ok(None)).collect())
    }

    async fn link(&self, _: &Place, _: &str, _: Duration) -> Result<Option<String>, Error> {
        Ok(None)
    }

    async fn set_aside(&self, removing: &Removing, _: &Location, at: Timestamp) -> Result<bool, Error> {
        let removing = removing.clone();
        self.on_root("setting damaged content aside", move |root| root.set_aside(&removing, at)).await
    }

    async fn bring_back(&self, removing: &Removing, size_bytes: u64) -> Result<Option<Location>, Error> {
        let removing = removing.clone();
        let work = move |root: &Arc<Root>| root.bring_back(&removing, size_bytes);
        let is_back = self.on_root("bringing content back", work).await?;
        Ok(is_back.then_some(Location::BY_DIGEST))
    }

    async fn probe(&self) -> Result<(), Error> {
        self.on_root("probing the data directory", |root| probe::probe(root)).await
    }

    async fn space(&self) -> Result<Option<Space>, Error> {
        self.on_root("looking at the data directory", |root| space::look(root).map(Some)).await
    }

    async fn keep_reserve(&self, len_bytes: u64) -> Result<bool, Error> {
        self.on_root("setting space aside", move |root| space::keep_reserve(root, len_bytes)).await
    }

    async fn give_back(&self) -> Result<bool, Error> {
        self.on_root("giving space back", |root| space::give_back(root)).await
    }

    fn sync_seconds(&self) -> DistributionSnapshot {
        self.root.sync_seconds.snapshot()
    }

    fn store_id(&self) -> StoreId {
        self.root.store_id
    }
}

fn reader(root: &Root, fd: OwnedFd, size_bytes: u64) -> BlobReader {
    BlobReader::new(Arc::new(OpenFile { files: Arc::clone(&root.files), fd }), size_bytes)
}

/// The caller holds the digest's lock.
fn remove(root: &Root, digest: &Digest) -> Result<bool, Error> {
    if root.inspect(digest)?.is_none() {
        return Ok(false);
    }
    let Some(directory) = root.content_directory(digest)? else { return Ok(false) };
    match root.files.remove(directory.as_fd(), &layout::content_name(digest)) {
        Ok(()) => failpoint::reach("store.removed"),
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(failed("removing content")(errno)),
    }
    sync(&*root.files, directory.as_fd(), "store.sync-removal").map_err(not_synced("removing content"))?;
    Ok(true)
}

#[cfg(test)]
mod tests;
