use std::fmt::Debug;

use async_trait::async_trait;
use wharf_base::{DistributionSnapshot, Location, StoreId, Timestamp, UploadId};
use wharf_oci::{AnyDigest, Digest, Reference, RepositoryName, Tag};
use wharf_policy::Attribution;

use crate::{
    Advance, AuditLog, BackingUp, BeginUpload, BlobMount, BlobRecord, Browsing, Checking, Collecting, DeletedManifest,
    Identities, KeptAnswers, Leasing, ManifestHead, ManifestRecord, Mending, NewUpload, RecordBlob, RecordManifest,
    Referrer, ReferrerCursor, Result, Rules, Sessions, StoredManifest, Undoing, Upload, UploadLimits, Usage,
};

/// Why the disk did not take a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskRefusal {
    /// There was no room for it.
    Full,
    /// Something else, which whoever looks after the disk finds out.
    Failed,
}

/// How a database does.
#[derive(Clone, Debug)]
pub struct DatabaseFigures {
    /// How long commits took, in seconds: the sync that all changes in them waited for.
    pub commit_seconds: DistributionSnapshot,
    /// How many changes shared a commit.
    pub commit_changes: DistributionSnapshot,
    /// How large the write-ahead log is on the disk, in bytes, if there is one.
    pub log_bytes: Option<u64>,
}

/// Everything that must last besides blob content.
///
/// Each method is one transaction. One that changes something returns after its commit is on stable storage,
/// is finished even if the caller stops waiting, and changes nothing if it answers an error — with the one
/// exception that [`Error::StorageFailed`](crate::Error::StorageFailed) names. Doing the same again ends in the same
/// state. From the moment one returns, every other sees its effect (PR-1, PR-4).
///
/// # Errors
///
/// All methods fail alike: [`Error::Unavailable`](crate::Error::Unavailable) when the database did not answer,
/// [`Error::Full`](crate::Error::Full) when it has no room to grow,
/// [`Error::Corrupt`](crate::Error::Corrupt) when what it holds contradicts itself,
/// [`Error::Closed`](crate::Error::Closed) after [`close`](Self::close). None of them says that something is absent.
#[async_trait]
pub trait Metadata:
    Identities
    + Sessions
    + Rules
    + AuditLog
    + BackingUp
    + Browsing
    + Checking
    + Collecting
    + KeptAnswers
    + Leasing
    + Mending
    + Undoing
    + Usage
    + Send
    + Sync
    + Debug
    + 'static
{
    /// Opens a session, if `limits` allow one more; only open sessions that have not expired count (P-138, P-146).
    async fn begin_upload(&self, new: &NewUpload, limits: &UploadLimits) -> Result<BeginUpload>;

    /// The session, or `None` if it is unknown, expired, of another repository or of another owner: one answer for all
    /// (S-013).
    async fn upload(
        &self,
        id: UploadId,
        repository: &RepositoryName,
        owner: &str,
        now: Timestamp,
    ) -> Result<Option<Upload>>;

    /// Moves the session's offset from `from_bytes` to `to_bytes` (not smaller; both from the beginning of the blob)
    /// together with the hash state that covers it, and its end to `expires_at`.
    async fn advance_upload(
        &self,
        id: UploadId,
        from_bytes: u64,
        to_bytes: u64,
        hash_state: &[u8],
        expires_at: Timestamp,
    ) -> Result<Advance>;

    /// Cancels an open session; `false` if there is none of that id, repository and owner (P-190, P-191).
    async fn end_upload(&self, id: UploadId, repository: &RepositoryName, owner: &str) -> Result<bool>;

    /// Sessions whose time is over, finished ones included, the oldest first, at most `limit`.
    async fn expired_uploads(&self, now: Timestamp, limit: u32) -> Result<Vec<UploadId>>;

    /// Forgets a session if its time is over *now*; `false` if it has gone on or is not there.
    async fn remove_expired_upload(&self, id: UploadId, now: Timestamp) -> Result<bool>;

    /// The size in bytes of a blob that this repository may serve (S-011).
    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>>;

    /// The same, and where its content lies.
    async fn located_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<(u64, Location)>>;

    /// Where the content of each digest lies; where its digest says, if no row says anything else.
    async fn locations(&self, digests: &[Digest]) -> Result<Vec<Location>>;

    /// Records a blob whose bytes are on stable storage: content, association, review, end of the session
    /// (`reliability` §2.2 step 8).
    async fn record_blob(&self, record: &BlobRecord) -> Result<RecordBlob>;

    /// Lets a second repository serve a blob of a first; `false` if the first may not serve it (S-012, P-152 … P-160).
    async fn mount_blob(&self, mount: &BlobMount) -> Result<bool>;

    /// Some repositories that may serve a blob, at most `limit`; the caller chooses those its principal may pull
    /// (P-155).
    async fn repositories_with_blob(&self, digest: &Digest, limit: u32) -> Result<Vec<RepositoryName>>;

    /// Ends this repository's association with a blob, referenced or not (F-03, P-135); `false` if there is none.
    async fn delete_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        by: &Attribution,
        now: Timestamp,
        review_at: Timestamp,
    ) -> Result<bool>;

    /// A manifest of this repository with its bytes (P-197).
    async fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<StoredManifest>>;

    /// The same if it is in memory and still holds, without any waiting; `None` does not say that there is none.
    fn manifest_in_memory(&self, repository: &RepositoryName, reference: &Reference) -> Option<StoredManifest>;

    /// A manifest of this repository without its bytes.
    async fn manifest_head(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<ManifestHead>>;

    /// Records a manifest with its references and moves all of its tags to it, or changes nothing
    /// (`reliability` §2.4, S-014, S-017).
    async fn record_manifest(&self, record: &ManifestRecord) -> Result<RecordManifest>;

    /// Deletes a manifest, its tags and its references (F-02); `None` if the repository does not have it. Until
    /// `review_at` it can be restored.
    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        by: &Attribution,
        now: Timestamp,
        review_at: Timestamp,
    ) -> Result<Option<DeletedManifest>>;

    /// Deletes a tag; its manifest stays (P-250). `false` if the repository does not have the tag.
    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        by: &Attribution,
        now: Timestamp,
        review_at: Timestamp,
    ) -> Result<bool>;

    /// At most `limit` tags in byte order, strictly after `after`, which need not be a tag; `None` for an unknown
    /// repository (P-255 … P-261).
    async fn tags(&self, repository: &RepositoryName, after: Option<&str>, limit: u32) -> Result<Option<Vec<Tag>>>;

    /// At most `limit` names of repositories with a manifest in byte order, strictly after `after` (P-283).
    async fn repositories(&self, after: Option<&str>, limit: u32) -> Result<Vec<RepositoryName>>;

    /// At most `limit` manifests of this repository whose subject is `subject`, by push time and then digest, strictly
    /// after `after`; only those of one of `artifact_types` unless that is empty (P-269 … P-278).
    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &AnyDigest,
        artifact_types: &[String],
        after: Option<&ReferrerCursor>,
        limit: u32,
    ) -> Result<Vec<Referrer>>;

    /// The blob store that this database belongs to, once it has been told (B-138).
    async fn store_id(&self) -> Result<Option<StoreId>>;

    /// Binds the database to a blob store, once and for all; again with the same id is fine.
    ///
    /// # Errors
    ///
    /// [`Error::OtherStore`](crate::Error::OtherStore) if it belongs to another one.
    async fn set_store_id(&self, id: StoreId) -> Result<()>;

    /// The latest time that this registry is known to have run at; `None` before the first was noted.
    async fn clock_mark(&self) -> Result<Option<Timestamp>>;

    /// Notes that it runs at `now`.
    async fn set_clock_mark(&self, now: Timestamp) -> Result<()>;

    /// Resolves when a commit could not be brought to stable storage, or another process has taken the database meanwhile,
    /// and never otherwise. Every later change answers
    /// [`Error::StorageFailed`](crate::Error::StorageFailed), and only opening the database again tells what lasted: the
    /// process should end.
    async fn storage_failed(&self);

    /// Resolves when the disk did not take a change, once for each time since it was last asked (several may count as one),
    /// and says why. Nothing was changed; somebody should look at the disk. For one caller at a time.
    async fn disk_refused(&self) -> DiskRefusal;

    /// How the database does; costs nothing.
    fn figures(&self) -> DatabaseFigures;

    /// How many upload sessions are open, counted up to `limit`.
    async fn open_uploads(&self, now: Timestamp, limit: u32) -> Result<u32>;

    /// Whether reads and writes would be answered now.
    async fn ping(&self) -> Result<()>;

    /// Finishes what was begun, and notes that the end was orderly. Afterwards every method but this one answers
    /// [`Error::Closed`](crate::Error::Closed); this one succeeds again.
    async fn close(&self) -> Result<()>;
}
