//! Placing and removing the same digest exclude each other.
//!
//! One process owns a directory, so a lock in memory is enough; in a bucket nothing depends on it, because no two uploads
//! share a key. The locks are striped: a fixed number, shared by digests
//! that end in the same byte, so that nothing has to be created or cleaned up. Whoever holds one must not wait for
//! another.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use wharf_base::Location;
use wharf_oci::Digest;

use crate::Place;

const STRIPES: usize = 256;

pub(crate) struct DigestLocks(Vec<Arc<Mutex<()>>>);

/// One digest (and those that share its stripe) locked until this is dropped.
#[derive(Debug)]
pub(crate) struct DigestLock {
    _guard: OwnedMutexGuard<()>,
}

impl DigestLocks {
    pub(crate) fn new() -> Self {
        Self((0..STRIPES).map(|_| Arc::default()).collect())
    }

    pub(crate) async fn lock(&self, digest: &Digest) -> DigestLock {
        let last = digest.as_bytes().last().copied().unwrap_or_default();
        let stripe = Arc::clone(&self.0[usize::from(last) % STRIPES]);
        DigestLock { _guard: stripe.lock_owned().await }
    }
}

impl fmt::Debug for DigestLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestLocks").finish_non_exhaustive()
    }
}

/// Content that is on stable storage under its digest, and that digest's lock.
///
/// Keep it until the metadata has recorded the content: as long as it lives, the content cannot be removed. Holding
/// one while committing or deleting another digest may wait for ever, because digests share locks.
#[derive(Debug)]
#[must_use = "the digest is locked, so that the content can be recorded, only while this lives"]
pub struct Placed {
    place: Place,
    size_bytes: u64,
    leaves_staged: bool,
    _lock: DigestLock,
}

impl Placed {
    pub(crate) fn new(place: Place, size_bytes: u64, lock: DigestLock) -> Self {
        Self { place, size_bytes, leaves_staged: false, _lock: lock }
    }

    /// With something of the upload left behind.
    pub(crate) fn leaving_staged(self) -> Self {
        Self { leaves_staged: true, ..self }
    }

    /// Whether the upload has left something that is of no use once the content is recorded: then
    /// [`discard`](crate::BlobStore::discard) it, and not before, because until then another process may go on with it.
    pub fn leaves_staged(&self) -> bool {
        self.leaves_staged
    }

    /// What was placed, and where.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What was placed.
    pub fn digest(&self) -> &Digest {
        &self.place.digest
    }

    /// Where it lies; to be recorded.
    pub fn location(&self) -> &Location {
        &self.place.location
    }

    /// Its size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

/// A digest that nothing can be placed under, because its content is about to go.
#[derive(Clone, Debug)]
#[must_use = "content of the digest can be placed again as soon as this is dropped"]
pub struct Removing {
    digest: Digest,
    _lock: Arc<DigestLock>,
}

impl Removing {
    pub(crate) fn new(digest: Digest, lock: DigestLock) -> Self {
        Self { digest, _lock: Arc::new(lock) }
    }

    /// Whose content.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}
