use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use wharf_base::{DistributionSnapshot, Location, StoreId, Timestamp, UploadId};
use wharf_oci::{Algorithm, Digest};

use crate::{BlobReader, Error, HashState, ListCursor, Listing, Placed, Removing, Survey};

/// Content that somebody has recorded: its digest, and where the store said that it put it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// What it hashes to.
    pub digest: Digest,
    /// Where it lies.
    pub location: Location,
}

impl Place {
    /// Where the digest says, for stores that name content by it.
    pub fn by_digest(digest: Digest) -> Self {
        Self { digest, location: Location::BY_DIGEST }
    }
}

/// Where content is kept: in the place that [`BlobWriter::commit`] names once it is complete, by upload id until then.
///
/// A directory names content by its digest, so all of one digest meet in one place, and the lock of the digest keeps them
/// apart. A bucket gives each upload a key of its own, used once: whoever records it decides which of several is the one, and
/// the others are garbage; no lock is needed beyond the transaction that records it.
///
/// What every implementation promises is written down as tests in the module `contract` (feature `contract`).
#[async_trait]
pub trait BlobStore: Send + Sync + Debug + 'static {
    /// Opens the staged content of `upload` for appending.
    ///
    /// With `at` the content is cut to that checkpoint and goes on from there; without it begins anew and is hashed
    /// with `algorithm`. `expected_bytes` is how many more bytes are announced; if they are many, space for them is reserved
    /// at once, so that a disk that is too small says so before the bytes travel. New content that is small may be opened only
    /// when its writer ends, or has more than a little, and the writer's own calls then report what fails.
    ///
    /// # Errors
    ///
    /// - [`Error::Busy`]: another writer of this upload is alive; it is not disturbed.
    /// - [`Error::StagedLost`]: the staged content is not there, is shorter than the checkpoint, or does not hash to
    ///   the checkpoint's state; the upload cannot be continued. Also: the state is one of another version of the hash, and
    ///   what is staged cannot be read (parts of a large upload to a bucket).
    /// - [`Error::NoSpace`]: the announced bytes do not fit; the upload stands at `at`.
    /// - [`Error::Io`]: the upload stands at `at`.
    async fn writer(
        &self,
        upload: UploadId,
        algorithm: Algorithm,
        at: Option<&Checkpoint>,
        expected_bytes: Option<u64>,
    ) -> Result<Box<dyn BlobWriter>, Error>;

    /// Removes the staged content of `upload`; that there is none is success. A writer that is still alive fails
    /// with [`Error::StagedLost`] when it ends.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: the content may still be there.
    async fn discard(&self, upload: UploadId) -> Result<(), Error>;

    /// How much memory a writer takes for its buffers that is told so many bytes; `None`: nobody knows how many.
    fn buffer_bytes(&self, expected_bytes: Option<u64>) -> u64;

    /// Whether content lies where the digest says, so that nobody needs to look up where else.
    fn is_by_digest(&self) -> bool;

    /// Opens content that the metadata says has `size_bytes`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// - [`Error::Damaged`]: what is there is not a readable regular file of that size (R-008, B-139).
    /// - [`Error::Io`]: the store could not look; says nothing about the content.
    async fn open(&self, place: &Place, size_bytes: u64) -> Result<Option<BlobReader>, Error>;

    /// The size of the content in bytes; `None` when there is none.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), but for the size.
    async fn stat(&self, place: &Place) -> Result<Option<u64>, Error>;

    /// Whether there is content, of whatever size.
    ///
    /// # Errors
    ///
    /// As [`stat`](Self::stat).
    async fn exists(&self, place: &Place) -> Result<bool, Error> {
        Ok(self.stat(place).await?.is_some())
    }

    /// Removes the content under its digest's lock; `false` when there was none. Readers that are open go on undisturbed
    /// in a directory; in a bucket they end with an error, so content is removed a trash period after it can be found.
    ///
    /// Must not be called while holding a [`Placed`]: it would wait for itself.
    ///
    /// # Errors
    ///
    /// - [`Error::Damaged`]: what is there is not a regular file; it is left alone.
    /// - [`Error::Sync`]: removed, but a power cut may bring it back.
    /// - [`Error::Io`]: the content may still be there.
    async fn delete(&self, place: &Place) -> Result<bool, Error> {
        let removing = self.begin_removal(&place.digest).await;
        self.remove(&removing, &place.location).await
    }

    /// What the store holds, and what else lies there: at most about `limit` entries behind `after`.
    ///
    /// What comes and goes while pages are read may be in them or not; all that stays is.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: the page could not be listed. An incomplete one is never answered.
    async fn list(&self, after: Option<&ListCursor>, limit: usize) -> Result<Listing, Error>;

    /// What lies in each of `places`, without reading it. Each has an answer of its own, as [`stat`](Self::stat) has.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: none of them was looked at.
    async fn survey(&self, places: &[Place]) -> Result<Survey, Error>;

    /// What is staged for each of `uploads`, without reading it; [`Error::StagedLost`] for what is no regular file.
    ///
    /// # Errors
    ///
    /// As [`survey`](Self::survey).
    async fn survey_staged(&self, uploads: &[UploadId]) -> Result<Survey, Error>;

    /// The first `size_bytes` bytes that are staged for `upload`. Its writer is not disturbed.
    ///
    /// # Errors
    ///
    /// [`Error::StagedLost`]: it is no regular file; [`Error::Io`].
    async fn open_staged(&self, upload: UploadId, size_bytes: u64) -> Result<StagedBytes, Error>;

    /// Keeps content of `digest` from being placed until the result is dropped, so that the metadata can forget it
    /// first (names before bytes). Must not be called while holding a [`Placed`].
    async fn begin_removal(&self, digest: &Digest) -> Removing;

    /// Removes the content; `false` when there was none. Runs to its end, and under the lock, also when the caller
    /// stops waiting.
    ///
    /// # Errors
    ///
    /// As [`delete`](Self::delete).
    async fn remove(&self, removing: &Removing, location: &Location) -> Result<bool, Error>;

    /// Removes what [`list`](Self::list) found in a location that nothing names; `false` when it was not there. `None` of its
    /// digest is known, so the caller has seen that it is older than any upload that may still be recorded.
    ///
    /// # Errors
    ///
    /// As [`delete`](Self::delete).
    async fn remove_unnamed(&self, location: &Location) -> Result<bool, Error>;

    /// What lies in each location, whatever it is, without reading it.
    ///
    /// # Errors
    ///
    /// As [`survey`](Self::survey).
    async fn survey_unnamed(&self, locations: &[Location]) -> Result<Survey, Error>;

    /// An address from which `lifetime` long everybody who has it can read the content; `None`: there is none, the content
    /// has to be passed on.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: it could not be signed.
    async fn link(&self, place: &Place, content_type: &str, lifetime: Duration) -> Result<Option<String>, Error>;

    /// Moves whatever lies in the place of the content out of the way, without removing it; `false`: nothing does. Then
    /// the content can be placed anew, and `location` is not to be recorded any more. `at` becomes part of its name there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: it is where it was. [`Error::Sync`]: it was moved, and may be back after a power cut.
    async fn set_aside(&self, removing: &Removing, location: &Location, at: Timestamp) -> Result<bool, Error>;

    /// Puts content back that was set aside and is intact, and says where it lies now; `None`: there is none.
    ///
    /// # Errors
    ///
    /// As [`set_aside`](Self::set_aside).
    async fn bring_back(&self, removing: &Removing, size_bytes: u64) -> Result<Option<Location>, Error>;

    /// Writes, syncs, reads back and removes a probe object (reliability rule for starting and for leaving the
    /// write-protected mode, R-002).
    ///
    /// # Errors
    ///
    /// Whatever a write would meet now: [`Error::NoSpace`], [`Error::Sync`], [`Error::Io`].
    async fn probe(&self) -> Result<(), Error>;

    /// How much room there is for content and metadata; `None` where there is always some.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`]: the store is not where it was opened; [`Error::Io`]: it could not be looked at.
    async fn space(&self) -> Result<Option<Space>, Error>;

    /// Takes up `len_bytes` bytes that [`give_back`](Self::give_back) frees on a bad day; `false` where that cannot
    /// be done. Again is fine.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`], [`Error::Io`]; nothing is set aside then.
    async fn keep_reserve(&self, len_bytes: u64) -> Result<bool, Error>;

    /// Frees what was set aside; `false` when nothing was.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: it may still be set aside.
    async fn give_back(&self) -> Result<bool, Error>;

    /// How long syncs of content took, in seconds; costs nothing.
    fn sync_seconds(&self) -> DistributionSnapshot;

    /// The identity of this store, to be compared with the one in the metadata (B-138).
    fn store_id(&self) -> StoreId;
}

/// Appends to the staged content of one upload.
///
/// Dropping a writer at any point leaves the staged content; the next writer cuts it to its checkpoint. After any
/// error, and after a call was abandoned before it was done, a writer is [`Error::Broken`]: its hash no longer belongs
/// to the staged bytes.
#[async_trait]
pub trait BlobWriter: Send {
    /// How many bytes have been handed in, counted from the beginning of the blob.
    fn offset_bytes(&self) -> u64;

    /// Appends `bytes`. Keeps at most about 2 MiB (a directory) or two parts (a bucket) in memory and waits beyond that; an
    /// error may belong to bytes of an earlier call.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`], [`Error::Sync`], [`Error::Io`], [`Error::Broken`]. But for [`Error::Sync`], after which the
    /// staged content is gone, the upload stands at its last checkpoint.
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error>;

    /// Hands everything to the operating system and ends this writer; the staged content stays.
    ///
    /// The checkpoint outlives this process but not necessarily the machine: nothing is synced (PR-3). A store that
    /// meets a checkpoint of an earlier process compares it with the staged bytes before it goes on.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), and [`Error::StagedLost`] when the upload was discarded meanwhile.
    async fn checkpoint(self: Box<Self>) -> Result<Checkpoint, Error>;

    /// Gives the content its final name, if it hashes to `digest`, and ends the upload. When `digest` uses another
    /// algorithm than the upload was begun with, the staged bytes are read once more.
    ///
    /// In a directory the order is: everything written, file synced, digest locked, renamed, directory synced, and
    /// content that is there already is replaced: what was just verified is right, and what is there may have been damaged
    /// since. In a bucket the content is complete, acknowledged and of the right size under a key that nothing else has, and
    /// whoever records it replaces what was recorded.
    ///
    /// # Errors
    ///
    /// - [`Error::DigestMismatch`]: nothing is stored; [`discard`](BlobStore::discard) what is staged, if the upload is still yours.
    /// - [`Error::Sync`]: nothing is stored, the staged content is gone.
    /// - [`Error::StagedLost`]: the upload was discarded meanwhile, or its file was tampered with.
    /// - [`Error::Damaged`]: the final place is taken by something that is not a regular file; the upload stands at
    ///   its last checkpoint.
    /// - [`Error::NoSpace`], [`Error::Io`]: as for [`Error::Damaged`].
    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Placed, Error>;
}

/// What is staged for an upload, for somebody who only looks.
#[derive(Debug)]
pub enum StagedBytes {
    /// Nothing is, or less than was asked for.
    Lost,
    /// It is there, but cannot be read before the upload is complete: parts of a large object in a bucket.
    Opaque,
    /// To be read.
    Readable(BlobReader),
}

/// Room on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Bytes of the whole file system.
    pub total_bytes: u64,
}

/// Where an upload stands: a number of bytes and the state of the hash over exactly these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many bytes are staged, from the beginning of the blob.
    pub offset_bytes: u64,
    /// The running hash over them.
    pub hash_state: HashState,
}
