use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::io::Errno;
use tokio::sync::OwnedMutexGuard;
use wharf_base::{UploadId, failpoint};
use wharf_oci::{Algorithm, Digest};

use super::io::{blocking, failed, not_synced, sync};
use super::layout;
use super::pipeline::{BATCH_BYTES, Batch, Pipeline, Rest};
use super::root::Root;
use super::staged::Staged;
use crate::hash::Running;
use crate::sessions::Lease;
use crate::{BlobWriter, Checkpoint, Error, Place, Placed};

/// The writer of one upload into the data directory.
pub(super) struct Writer {
    root: Arc<Root>,
    batch: Batch,
    staging: Staging,
    offset_bytes: u64,
    /// Last, so that the upload is free only when everything above is gone.
    lease: Arc<Lease>,
}

/// Where everything is that is not in the batch.
enum Staging {
    /// There is nothing else, and no file of this writer yet: what fits into one batch is written and hashed in one go, and
    /// synced if it is complete.
    Unopened(Opening),
    Open(Pipeline),
    /// The file could not be opened, or nobody waited for that.
    Broken,
}

/// A staged file to be opened.
struct Opening {
    root: Arc<Root>,
    lease: Arc<Lease>,
    turn: OwnedMutexGuard<()>,
    algorithm: Algorithm,
    at: Option<Checkpoint>,
    reserve_bytes: u64,
}

impl Opening {
    fn offset_bytes(&self) -> u64 {
        self.at.as_ref().map_or(0, |at| at.offset_bytes)
    }

    /// Blocks.
    fn open(self) -> Result<(Staged, Running), Error> {
        let offset_bytes = self.offset_bytes();
        let Self { root, lease, turn, algorithm, at, reserve_bytes } = self;
        let (mut staged, running) = match &at {
            None => (Staged::begin(root, &lease, turn)?, Running::new(algorithm)),
            Some(at) => Staged::resume(root, &lease, turn, algorithm, at)?,
        };
        staged.reserve(offset_bytes, reserve_bytes)?;
        Ok((staged, running))
    }
}

impl Staging {
    async fn open(opening: Opening) -> Result<Self, Error> {
        let offset_bytes = opening.offset_bytes();
        let (staged, running) = blocking("opening staged content", || opening.open()).await?;
        Ok(Self::Open(Pipeline::new(staged, running, offset_bytes)))
    }

    /// Hands a full batch on.
    async fn push(&mut self, batch: Batch) -> Result<(), Error> {
        *self = match std::mem::replace(self, Self::Broken) {
            Self::Unopened(opening) => Self::open(opening).await?,
            other => other,
        };
        let Self::Open(pipeline) = self else { return Err(Error::Broken) };
        pipeline.push(batch).await
    }

    /// Everything before `last` is in the hash and in the file.
    async fn finish(self, last: Batch) -> Result<Remaining, Error> {
        match self {
            Self::Unopened(opening) => Ok(Remaining::All(opening, last)),
            Self::Open(pipeline) => Ok(Remaining::Rest(pipeline.finish(last).await?)),
            Self::Broken => Err(Error::Broken),
        }
    }
}

/// What is still to be written when nothing more comes.
enum Remaining {
    All(Opening, Batch),
    Rest(Rest),
}

impl Remaining {
    /// Everything is in the hash and in the file. Blocks.
    fn write(self) -> Result<(Arc<Staged>, Running), Error> {
        match self {
            Self::All(opening, last) => {
                let offset_bytes = opening.offset_bytes();
                let (staged, running) = opening.open()?;
                Rest::only(staged, running, offset_bytes, last).write()
            }
            Self::Rest(rest) => rest.write(),
        }
    }
}

impl Writer {
    pub(super) async fn open(
        root: Arc<Root>,
        upload: UploadId,
        algorithm: Algorithm,
        at: Option<Checkpoint>,
        expected_bytes: Option<u64>,
    ) -> Result<Self, Error> {
        let lease = Arc::new(root.sessions.lease(upload)?);
        let turn = lease.turn().lock_owned().await;
        let reserve_bytes = expected_bytes.unwrap_or(0);
        let may_wait = at.is_none() && reserve_bytes < BATCH_BYTES as u64;
        let reserve_bytes = if may_wait { 0 } else { reserve_bytes };
        let opening =
            Opening { root: Arc::clone(&root), lease: Arc::clone(&lease), turn, algorithm, at, reserve_bytes };
        let offset_bytes = opening.offset_bytes();
        let staging = if may_wait { Staging::Unopened(opening) } else { Staging::open(opening).await? };
        Ok(Self { root, batch: Batch::default(), staging, offset_bytes, lease })
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
                self.staging.push(std::mem::take(&mut self.batch)).await?;
            }
        }
        Ok(())
    }

    async fn checkpoint(self: Box<Self>) -> Result<Checkpoint, Error> {
        let Self { batch, staging, offset_bytes, lease, .. } = *self;
        let remaining = staging.finish(batch).await?;
        let running = blocking("writing staged content", move || {
            let (staged, running) = remaining.write()?;
            staged.give_back(offset_bytes)?;
            Ok(running)
        })
        .await?;
        lease.check_standing()?;
        Ok(Checkpoint { offset_bytes, hash_state: running.save(offset_bytes) })
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Placed, Error> {
        let Self { root, batch, staging, offset_bytes, lease } = *self;
        let remaining = staging.finish(batch).await?;
        let sealing = Sealing { digest: *digest, size_bytes: offset_bytes };
        let (lease, staged) = blocking("completing staged content", move || {
            let (staged, running) = remaining.write()?;
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
        staged.give_back(self.size_bytes)?;
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
