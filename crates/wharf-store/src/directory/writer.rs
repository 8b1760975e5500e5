use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::io::Errno;
use wharf_base::{UploadId, failpoint};
use wharf_oci::{Algorithm, Digest};

use super::io::{blocking, failed, not_synced, sync};
use super::layout;
use super::pipeline::{Batch, Pipeline};
use super::root::Root;
use super::staged::Staged;
use crate::hash::Running;
use crate::sessions::Lease;
use crate::{BlobWriter, Checkpoint, Error, Place, Placed};

/// The writer of one upload into the data directory.
pub(super) struct Writer {
    root: Arc<Root>,
    batch: Batch,
    pipeline: Pipeline,
    offset_bytes: u64,
    /// Whether blocks beyond the end may have to be given back.
    reserved: bool,
    /// Last, so that the upload is free only when everything above is gone.
    lease: Lease,
}

impl Writer {
    pub(super) async fn open(
        root: Arc<Root>,
        upload: UploadId,
        algorithm: Algorithm,
        at: Option<Checkpoint>,
        expected_bytes: Option<u64>,
    ) -> Result<Self, Error> {
        let lease = root.sessions.lease(upload)?;
        let turn = lease.turn().lock_owned().await;
        blocking("opening staged content", move || {
            let offset_bytes = at.as_ref().map_or(0, |at| at.offset_bytes);
            let (staged, running) = match &at {
                None => (Staged::begin(Arc::clone(&root), &lease, turn)?, Running::new(algorithm)),
                Some(at) => Staged::resume(Arc::clone(&root), &lease, turn, algorithm, at)?,
            };
            let reserved = staged.reserve(offset_bytes, expected_bytes.unwrap_or(0))?;
            let pipeline = Pipeline::new(Arc::new(staged), running, offset_bytes);
            Ok(Self { root, batch: Batch::default(), pipeline, offset_bytes, reserved, lease })
        })
        .await
    }
}

#[async_trait]
impl BlobWriter for Writer {
    fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }

    async fn write(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while !bytes.is_empty() {
            let before = bytes.len();
            self.batch.take_from(&mut bytes);
            self.offset_bytes += (before - bytes.len()) as u64;
            if self.batch.is_full() {
                self.pipeline.push(std::mem::take(&mut self.batch)).await?;
            }
        }
        Ok(())
    }

    async fn checkpoint(self: Box<Self>) -> Result<Checkpoint, Error> {
        let Self { batch, pipeline, offset_bytes, reserved, lease, .. } = *self;
        let staged = Arc::clone(pipeline.staged());
        let running = pipeline.finish(batch).await?;
        if reserved {
            blocking("truncating staged content", move || staged.truncate(offset_bytes)).await?;
        }
        lease.check_standing()?;
        Ok(Checkpoint { offset_bytes, hash_state: running.save(offset_bytes) })
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Placed, Error> {
        let Self { root, batch, pipeline, offset_bytes, reserved, lease } = *self;
        let staged = Arc::clone(pipeline.staged());
        let running = pipeline.finish(batch).await?;
        let sealing = Sealing { digest: *digest, size_bytes: offset_bytes, reserved };
        let (lease, staged) = blocking("completing staged content", move || {
            sealing.seal(&staged, running)?;
            Ok((lease, staged))
        })
        .await?;

        failpoint::arrive("store.sealed").await;
        let lock = root.digests.lock(digest).await;
        failpoint::arrive("store.locked").await;
        // From here on the lock, the lease and the file travel with the work, so that a caller who goes away does not
        // release them half-way.
        let digest = *digest;
        blocking("placing content", move || {
            lease.check_standing()?;
            place(&root, lease.upload(), &digest)?;
            drop(staged);
            Ok(Placed::new(Place::by_digest(digest), offset_bytes, lock))
        })
        .await
    }
}

struct Sealing {
    digest: Digest,
    size_bytes: u64,
    reserved: bool,
}

impl Sealing {
    /// The staged file has the size that was hashed, hashes to the digest, and is on stable storage.
    fn seal(&self, staged: &Staged, running: Running) -> Result<(), Error> {
        if staged.size_bytes()? != self.size_bytes {
            return Err(Error::StagedLost);
        }
        let actual = self.hash(staged, running)?;
        if actual != self.digest {
            staged.remove();
            return Err(Error::DigestMismatch { expected: Box::new(self.digest), actual: Box::new(actual) });
        }
        if self.reserved {
            staged.truncate(self.size_bytes)?;
        }
        staged.sync()
    }

    fn hash(&self, staged: &Staged, running: Running) -> Result<Digest, Error> {
        let algorithm = self.digest.algorithm();
        if running.algorithm() == algorithm {
            return Ok(running.finish());
        }
        Ok(staged.rehash(algorithm, self.size_bytes)?.finish())
    }
}

/// Gives the synced staged file of `upload` its final name, durably. The caller holds the digest's lock.
fn place(root: &Root, upload: UploadId, digest: &Digest) -> Result<(), Error> {
    let directory = root.durable_content_directory(digest)?;
    let name = layout::content_name(digest);
    // What is there may have been damaged since it was placed, and what was just verified heals it.
    let was_there = root.inspect(digest)?.is_some();
    match root.files.rename(root.uploads.as_fd(), &layout::staged(upload), directory.as_fd(), &name) {
        Ok(()) => {
            failpoint::reach("store.placed");
            root.sessions.gone(upload);
        }
        Err(Errno::NOENT) => return Err(Error::StagedLost),
        Err(errno) => return Err(failed("placing content")(errno)),
    }
    let begun = Instant::now();
    let synced = sync(&*root.files, directory.as_fd(), "store.sync-directory");
    root.sync_seconds.observe(begun.elapsed());
    // An entry that was there has been synced before: after a power cut it names the old content or the new, and others
    // rely on it.
    if synced.is_err() && !was_there {
        // Otherwise the next push would find the content, sync a directory that the operating system believes clean,
        // and acknowledge an entry that is not there after a power cut.
        let _ = root.files.remove(directory.as_fd(), &name);
    }
    synced.map_err(not_synced("placing content"))
}
