use std::fmt::Debug;

use async_trait::async_trait;
use wharf_base::{Location, Timestamp, UploadId};
use wharf_oci::{Digest, RepositoryName};
use wharf_policy::Attribution;

use crate::{ManifestRecord, Result, Unreviewed};

/// What the scrub and repairs change (`reliability` §5, §12). Each method decides on the rows as they are by then, changes
/// only what still needs it, and is recorded as done by `by`. Where content is concerned the caller has locked its digest.
#[async_trait]
pub trait Mending: Send + Sync + Debug {
    /// Live content whose bytes were last seen to be right before `before`, the longest ago first, with its size: at most
    /// `limit`.
    async fn due_for_scrub(&self, before: Timestamp, limit: u32) -> Result<Vec<(Digest, u64)>>;

    /// When the content is due that is next, if there is any: when its bytes were last seen to be right.
    async fn verified_longest_ago(&self) -> Result<Option<Timestamp>>;

    /// The bytes of these were seen to be right at `at`.
    async fn note_verified(&self, digests: &[Digest], at: Timestamp) -> Result<()>;

    /// Live content is damaged or lost: it is served no more, and everything that needs it goes on needing it, until it is
    /// pushed again. `false` if it is not live, or does not lie in `location` any more.
    async fn set_aside_blob(
        &self,
        digest: &Digest,
        location: &Location,
        problem: &str,
        by: &Attribution,
        now: Timestamp,
    ) -> Result<bool>;

    /// Content that was set aside is right after all, and lies in `location` now; `false` if it was not set aside.
    async fn bring_back_blob(
        &self,
        digest: &Digest,
        location: &Location,
        by: &Attribution,
        now: Timestamp,
    ) -> Result<bool>;

    /// Whether the repository's blob is set aside; asked when it is not served, to tell whoever asked for it.
    async fn is_set_aside(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool>;

    /// How many blobs are set aside; counting stops at a bound.
    async fn count_set_aside(&self) -> Result<u64>;

    /// Content that is about to be removed although something needs it stays; `false` if nothing needs it, or it is not
    /// about to be removed.
    async fn rescue_blob(&self, digest: &Digest, by: &Attribution, now: Timestamp) -> Result<bool>;

    /// Has the collector look at associations that no manifest needs and that it does not know of, at `review_at`. How
    /// many of `links` that were.
    async fn review_links(
        &self,
        links: &[Unreviewed],
        by: &Attribution,
        now: Timestamp,
        review_at: Timestamp,
    ) -> Result<u32>;

    /// Records again what a manifest's bytes say; `false` if the repository does not have it with these bytes.
    async fn describe_manifest(&self, record: &ManifestRecord) -> Result<bool>;

    /// When everything is to be listed again; `None` until that was planned for the first time.
    async fn sweep_due(&self) -> Result<Option<Timestamp>>;

    /// Plans that for `due_at`.
    async fn plan_sweep(&self, due_at: Timestamp, now: Timestamp) -> Result<()>;

    /// Ends the time of an open session, so that expiry removes it; `false` if there is none.
    async fn expire_upload(&self, id: UploadId, by: &Attribution, now: Timestamp) -> Result<bool>;
}
