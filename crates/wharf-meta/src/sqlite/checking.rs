use async_trait::async_trait;
use wharf_base::{Timestamp, UploadId};
use wharf_oci::Digest;

use super::SqliteMetadata;
use crate::{
    Affected, CheckCursor, CheckedBlob, CheckedChange, CheckedDeleted, CheckedLink, CheckedManifest, CheckedTag,
    CheckedUpload, Checking, Page, Result, check,
};

#[async_trait]
impl Checking for SqliteMetadata {
    async fn check_blobs(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedBlob>> {
        self.readers.read("checking blobs", |tx| check::blobs(tx, after, limit)).await
    }

    async fn check_blob(&self, digest: &Digest) -> Result<Option<CheckedBlob>> {
        self.readers.read("checking a blob", |tx| check::one_blob(tx, digest)).await
    }

    async fn check_links(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedLink>> {
        self.readers.read("checking associations", |tx| check::links(tx, after, limit)).await
    }

    async fn check_manifests(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedManifest>> {
        let manifests = |tx: &_| check::at_one_moment(tx, |tx| check::manifests(tx, after, limit));
        self.readers.read("checking manifests", manifests).await
    }

    async fn check_tags(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedTag>> {
        self.readers.read("checking tags", |tx| check::tags(tx, after, limit)).await
    }

    async fn check_changes(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedChange>> {
        self.readers.read("checking the history of tags", |tx| check::changes(tx, after, limit)).await
    }

    async fn check_deleted(
        &self,
        after: Option<&CheckCursor>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Page<CheckedDeleted>> {
        self.readers.read("checking deleted manifests", |tx| check::deleted(tx, after, now, limit)).await
    }

    async fn check_uploads(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedUpload>> {
        self.readers.read("checking upload sessions", |tx| check::uploads(tx, after, limit)).await
    }

    async fn check_upload(&self, id: UploadId) -> Result<Option<CheckedUpload>> {
        self.readers.read("checking an upload session", |tx| check::one_upload(tx, id)).await
    }

    async fn check_removals(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<String>> {
        self.readers.read("checking removals", |tx| check::removals(tx, after, limit)).await
    }

    async fn unnamed(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        self.readers.read("looking for content without a row", |tx| check::unnamed(tx, digests)).await
    }

    async fn sessionless(&self, ids: &[UploadId]) -> Result<Vec<UploadId>> {
        self.readers.read("looking for staged content without a session", |tx| check::sessionless(tx, ids)).await
    }

    async fn affected(&self, digest: &Digest, limit: u32) -> Result<Vec<Affected>> {
        self.readers.read("looking for what needs a blob", |tx| check::affected(tx, digest, limit)).await
    }

    async fn check_database(&self, thorough: bool) -> Result<Vec<String>> {
        self.readers.read_long("checking the database", move |tx| check::database(tx, thorough)).await
    }
}
