use std::fmt::Debug;

use async_trait::async_trait;
use wharf_base::Timestamp;
use wharf_oci::{Digest, RepositoryName};
use wharf_policy::Attribution;

use crate::{Backlog, Hold, PreviewCursor, Releasable, Removal, RemovedBlob, RemovedCursor, Result, Reviewed};

/// What the collector needs (`reliability` §4). Every method that changes something is idempotent and may be cut off
/// anywhere: what was not done is due again.
#[async_trait]
pub trait Collecting: Send + Sync + Debug {
    /// Looks at associations that are due, at most `limit`, in one transaction: those that no manifest of their
    /// repository needs end, and content that nothing needs any more is condemned to go at `remove_at`.
    async fn review_blobs(&self, now: Timestamp, remove_at: Timestamp, limit: u32) -> Result<Reviewed>;

    /// Drops reviews of manifests that are due, at most `limit`: manifests without a tag are kept. How many.
    async fn drop_manifest_reviews(&self, now: Timestamp, limit: u32) -> Result<u32>;

    /// Puts off the review that is due first, because it fails again and again.
    async fn put_off_review(&self, now: Timestamp) -> Result<()>;

    /// Condemned content whose time has come, at most `limit`.
    async fn condemned(&self, now: Timestamp, limit: u32) -> Result<Vec<Digest>>;

    /// Forgets condemned content, if its date is not later than `due_by` and it is still unneeded, and notes that its bytes
    /// are to go. The caller
    /// excludes that the same content is being placed.
    async fn forget_blob(&self, digest: &Digest, due_by: Timestamp, now: Timestamp) -> Result<Option<Removal>>;

    /// Removals that were noted and not struck, at most `limit`.
    async fn removals(&self, now: Timestamp, limit: u32) -> Result<Vec<Removal>>;

    /// Whether bytes that were noted may go; if something names them again, the note is struck. The caller excludes
    /// that the same content is being placed.
    async fn confirm_removal(&self, digest: &Digest) -> Result<bool>;

    /// The bytes are gone: strikes the note.
    async fn strike_removal(&self, digest: &Digest) -> Result<()>;

    /// What was removed, the latest first and behind `after`, at most `limit`; only what had `digest` if there is one.
    async fn removed_blobs(
        &self,
        digest: Option<&Digest>,
        after: Option<RemovedCursor>,
        limit: u32,
    ) -> Result<Vec<RemovedBlob>>;

    /// Forgets what was removed before `before`, at most `limit` of it; how much.
    async fn forget_removed_blobs(&self, before: Timestamp, limit: u32) -> Result<u32>;

    /// How much waits for the collector.
    async fn backlog(&self, now: Timestamp) -> Result<Backlog>;

    /// What would end if it were looked at now, a page of at most `limit` entries behind `after`.
    async fn preview_collection(
        &self,
        now: Timestamp,
        after: Option<&PreviewCursor>,
        limit: u32,
    ) -> Result<(Vec<Releasable>, Option<PreviewCursor>)>;

    /// The holds that stand.
    async fn holds(&self, now: Timestamp) -> Result<Vec<Hold>>;

    /// Adds a hold or changes the one of that id; recorded as done by `by`, if somebody did it.
    async fn hold(&self, hold: &Hold, by: Option<&Attribution>, now: Timestamp) -> Result<()>;

    /// Ends a hold; `false` if there is none of that id.
    async fn release_hold(&self, id: &str, by: Option<&Attribution>, now: Timestamp) -> Result<bool>;

    /// When the collector will look at the association; `None`: it will not, because a manifest needed it when it
    /// looked, or because there is none.
    async fn review_due(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Timestamp>>;

    /// The size of a blob that this repository may serve; if the collector would look at it before `not_before`, it will
    /// not before `review_at`.
    async fn keep_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        not_before: Timestamp,
        review_at: Timestamp,
    ) -> Result<Option<u64>>;
}
