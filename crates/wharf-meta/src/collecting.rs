use std::fmt::Debug;

use async_trait::async_trait;
use wharf_base::Timestamp;
use wharf_oci::{Digest, RepositoryName};
use wharf_policy::Attribution;

use crate::{
    Backlog, DueManifest, Hold, ManifestCursor, PreviewCursor, Releasable, Removal, RemovedBlob, RemovedCursor, Result,
    Retired, Reviewed, Untagged,
};

/// What the collector needs (`reliability` §4). Every method that changes something is idempotent and may be cut off
/// anywhere: what was not done is due again.
#[async_trait]
pub trait Collecting: Send + Sync + Debug {
    /// Looks at associations that are due, at most `limit`, in one transaction: those that no manifest of their
    /// repository needs end, and content that nothing needs any more is condemned to go at `remove_at`.
    async fn review_blobs(&self, now: Timestamp, remove_at: Timestamp, limit: u32) -> Result<Reviewed>;

    /// Manifests that lost a tag and whose time has come, at most `limit`. Each shall be kept, waited for or retired.
    async fn due_manifests(&self, now: Timestamp, limit: u32) -> Result<Vec<DueManifest>>;

    /// Nobody looks at these manifests again until their tags change.
    async fn keep_manifests(&self, manifests: &[DueManifest]) -> Result<()>;

    /// Manifests are looked at again when the ages that their rules ask for are over.
    async fn wait_for_manifests(&self, manifests: &[(DueManifest, Timestamp)]) -> Result<()>;

    /// Manifests that nobody would have looked at are looked at then.
    async fn enter_untagged(&self, manifests: &[(Untagged, Timestamp)]) -> Result<()>;

    /// Deletes a manifest that no tag names, no index lists and that refers to nothing that is there, on behalf of `by`;
    /// until `review_at` it can be restored.
    async fn retire_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        by: &Attribution,
        now: Timestamp,
        review_at: Timestamp,
    ) -> Result<Retired>;

    /// Manifests without a tag that nobody will look at, of the next `span` behind `after` in the order in which they
    /// were recorded; and where to go on, `None` at the end.
    async fn walk_untagged(&self, after: ManifestCursor, span: u32) -> Result<(Vec<Untagged>, Option<ManifestCursor>)>;

    /// Puts off the review that is due first, because it fails again and again.
    async fn put_off_review(&self, now: Timestamp) -> Result<()>;

    /// Condemned content whose time has come, at most `limit`.
    async fn condemned(&self, now: Timestamp, limit: u32) -> Result<Vec<Digest>>;

    /// Forgets condemned content, if its date is not later than `due_by`, it is still unneeded and no hold stands, and notes
    /// that its bytes are to go. The caller
    /// excludes that the same content is being placed.
    async fn forget_blob(&self, digest: &Digest, due_by: Timestamp, now: Timestamp) -> Result<Option<Removal>>;

    /// Removals that were noted and not struck, at most `limit`.
    async fn removals(&self, now: Timestamp, limit: u32) -> Result<Vec<Removal>>;

    /// Whether bytes that were noted may go; if something names them again, the note is struck. The caller excludes
    /// that the same content is being placed.
    async fn confirm_removal(&self, removal: &Removal) -> Result<bool>;

    /// The bytes are gone: strikes the note.
    async fn strike_removal(&self, removal: &Removal) -> Result<()>;

    /// What was removed, the latest first and behind `after`, at most `limit`; only what had `digest` if there is one.
    async fn removed_blobs(
        &self,
        digest: Option<&Digest>,
        after: Option<RemovedCursor>,
        limit: u32,
    ) -> Result<Vec<RemovedBlob>>;

    /// Notes for that list that content which no row named is gone.
    async fn note_removed_orphan(&self, digest: &Digest, size_bytes: u64, now: Timestamp) -> Result<()>;

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

    /// Lets a hold that stands end at `until` instead; `false` if none of that id stands any more, so that something may
    /// have been collected since.
    async fn renew_hold(&self, id: &str, until: Timestamp, now: Timestamp) -> Result<bool>;

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
