use std::fmt::Debug;

use async_trait::async_trait;
use wharf_base::{Location, Timestamp, UploadId};
use wharf_oci::Digest;

use crate::{
    Affected, CheckCursor, CheckedBlob, CheckedChange, CheckedDeleted, CheckedLink, CheckedManifest, CheckedTag,
    CheckedUpload, Page, Result,
};

/// What a check reads (`reliability` §12). Every method is one small read transaction, so a check of any length never
/// holds back a checkpoint; what a page says was true at one moment, and only that.
///
/// Digests and names come as the texts that the rows have: a text that is none is what a check is there to find.
#[async_trait]
pub trait Checking: Send + Sync + Debug {
    /// Content rows behind `after`, at most `limit`.
    async fn check_blobs(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedBlob>>;

    /// The content row of `digest` as it is now.
    async fn check_blob(&self, digest: &Digest) -> Result<Option<CheckedBlob>>;

    /// Associations behind `after`, at most `limit`.
    async fn check_links(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedLink>>;

    /// Manifests behind `after` with their bytes and references: at most `limit`, and no more once their bytes are more
    /// than a few mebibytes.
    async fn check_manifests(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedManifest>>;

    /// Tags behind `after`, at most `limit`.
    async fn check_tags(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedTag>>;

    /// Changes of tags behind `after`, at most `limit`.
    async fn check_changes(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedChange>>;

    /// Deleted manifests behind `after` that can be restored, bounded as [`check_manifests`](Self::check_manifests).
    async fn check_deleted(
        &self,
        after: Option<&CheckCursor>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Page<CheckedDeleted>>;

    /// Upload sessions behind `after`, at most `limit`.
    async fn check_uploads(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedUpload>>;

    /// One upload session as it is now.
    async fn check_upload(&self, id: UploadId) -> Result<Option<CheckedUpload>>;

    /// What content that is about to be removed is noted under: the texts behind `after`, at most `limit`.
    async fn check_removals(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<String>>;

    /// Those of `digests` that have no row.
    async fn unnamed(&self, digests: &[Digest]) -> Result<Vec<Digest>>;

    /// Those of `locations` that no row names and that are not noted to be removed.
    async fn unlocated(&self, locations: &[Location]) -> Result<Vec<Location>>;

    /// Those of `ids` that no session has.
    async fn sessionless(&self, ids: &[UploadId]) -> Result<Vec<UploadId>>;

    /// Some of the manifests and tags that need the blob, at most about `limit`.
    async fn affected(&self, digest: &Digest, limit: u32) -> Result<Vec<Affected>>;

    /// What the database's own check of itself complains of, at most a hundred lines. `thorough` compares indexes with
    /// their tables as well. Takes as long as reading the whole file, on a thread and a connection of its own.
    async fn check_database(&self, thorough: bool) -> Result<Vec<String>>;
}
