use async_trait::async_trait;
use wharf_base::{Location, Timestamp, UploadId};
use wharf_oci::Digest;

use super::Database;
use crate::{
    Affected, CheckCursor, CheckedBlob, CheckedChange, CheckedDeleted, CheckedLink, CheckedManifest, CheckedTag,
    CheckedUpload, Checking, Page, Result, check,
};

#[async_trait]
impl<D: Database> Checking for D {
    async fn check_blobs(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedBlob>> {
        let after = after.cloned();
        self.read("checking blobs", move |tx| check::blobs(tx, after.as_ref(), limit)).await
    }

    async fn check_blob(&self, digest: &Digest) -> Result<Option<CheckedBlob>> {
        let digest = *digest;
        self.read("checking a blob", move |tx| check::one_blob(tx, &digest)).await
    }

    async fn check_links(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedLink>> {
        let after = after.cloned();
        self.read("checking associations", move |tx| check::links(tx, after.as_ref(), limit)).await
    }

    async fn check_manifests(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedManifest>> {
        let after = after.cloned();
        self.read("checking manifests", move |tx| tx.at_one_moment(|tx| check::manifests(tx, after.as_ref(), limit)))
            .await
    }

    async fn check_tags(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedTag>> {
        let after = after.cloned();
        self.read("checking tags", move |tx| check::tags(tx, after.as_ref(), limit)).await
    }

    async fn check_changes(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedChange>> {
        let after = after.cloned();
        self.read("checking the history of tags", move |tx| check::changes(tx, after.as_ref(), limit)).await
    }

    async fn check_deleted(
        &self,
        after: Option<&CheckCursor>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Page<CheckedDeleted>> {
        let after = after.cloned();
        self.read("checking deleted manifests", move |tx| check::deleted(tx, after.as_ref(), now, limit)).await
    }

    async fn check_uploads(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedUpload>> {
        let after = after.cloned();
        self.read("checking upload sessions", move |tx| check::uploads(tx, after.as_ref(), limit)).await
    }

    async fn check_upload(&self, id: UploadId) -> Result<Option<CheckedUpload>> {
        self.read("checking an upload session", move |tx| check::one_upload(tx, id)).await
    }

    async fn check_removals(&self, after: Option<&CheckCursor>, limit: u32) -> Result<Page<String>> {
        let after = after.cloned();
        self.read("checking removals", move |tx| check::removals(tx, after.as_ref(), limit)).await
    }

    async fn unnamed(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        let digests = digests.to_vec();
        self.read("looking for content without a row", move |tx| check::unnamed(tx, &digests)).await
    }

    async fn unlocated(&self, locations: &[Location]) -> Result<Vec<Location>> {
        let locations = locations.to_vec();
        self.read("looking for content without a row", move |tx| check::unlocated(tx, &locations)).await
    }

    async fn sessionless(&self, ids: &[UploadId]) -> Result<Vec<UploadId>> {
        let ids = ids.to_vec();
        self.read("looking for staged content without a session", move |tx| check::sessionless(tx, &ids)).await
    }

    async fn affected(&self, digest: &Digest, limit: u32) -> Result<Vec<Affected>> {
        let digest = *digest;
        self.read("looking for what needs a blob", move |tx| check::affected(tx, &digest, limit)).await
    }

    async fn check_database(&self, thorough: bool) -> Result<Vec<String>> {
        Database::check(self, thorough).await
    }
}
