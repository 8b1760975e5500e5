use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use wharf_base::Timestamp;
use wharf_oci::{Digest, RepositoryName, Tag};
use wharf_policy::Attribution;

use crate::{ManifestRecord, Restorable, Restore, Result, TagChange};

/// What has been changed and can be changed back.
#[async_trait]
pub trait Undoing: Send + Sync + Debug {
    /// The changes of a tag before version `before`, the newest first, at most `limit`.
    async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<TagChange>>;

    /// The last change of a tag up to `at`; `None` if there was no such tag yet.
    async fn tag_at(&self, repository: &RepositoryName, tag: &Tag, at: Timestamp) -> Result<Option<TagChange>>;

    /// Deleted manifests that can be restored now, by digest behind `after`, at most `limit`.
    async fn deleted_manifests(
        &self,
        repository: &RepositoryName,
        after: Option<&Digest>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Restorable>>;

    /// Media type and bytes of a deleted manifest that can be restored now.
    async fn deleted_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Option<(String, Bytes)>>;

    /// Records a deleted manifest again, with the tags of `record`, or if it has none with those that it had and that
    /// point at nothing now.
    async fn restore_manifest(&self, record: &ManifestRecord) -> Result<Restore>;

    /// Takes back that content is to go, if it was; the caller excludes that its bytes are being removed.
    async fn revive_blob(&self, repository: &RepositoryName, digest: &Digest, review_at: Timestamp) -> Result<bool>;

    /// Points a tag at a manifest that the repository has; `false` if it does not have it.
    async fn retag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        by: &Attribution,
        now: Timestamp,
        review_at: Timestamp,
    ) -> Result<bool>;

    /// Forgets deleted manifests that cannot be restored any more, at most `limit`. How many.
    async fn forget_deleted_manifests(&self, now: Timestamp, limit: u32) -> Result<u32>;
}
