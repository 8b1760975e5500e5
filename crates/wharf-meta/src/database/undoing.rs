use async_trait::async_trait;
use bytes::Bytes;
use wharf_base::Timestamp;
use wharf_oci::{Digest, RepositoryName, Tag};
use wharf_policy::Attribution;

use super::Database;
use crate::{ManifestRecord, Restorable, Restore, Result, TagChange, Undoing, undo};

#[async_trait]
impl<D: Database> Undoing for D {
    async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<TagChange>> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.read("reading a tag's history", move |tx| undo::history(tx, &repository, &tag, before, limit)).await
    }

    async fn tag_at(&self, repository: &RepositoryName, tag: &Tag, at: Timestamp) -> Result<Option<TagChange>> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.read("looking up what a tag was", move |tx| undo::tag_at(tx, &repository, &tag, at)).await
    }

    async fn deleted_manifests(
        &self,
        repository: &RepositoryName,
        after: Option<&Digest>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Restorable>> {
        let (repository, after) = (repository.clone(), after.copied());
        self.read("listing deleted manifests", move |tx| undo::deleted(tx, &repository, after.as_ref(), now, limit))
            .await
    }

    async fn deleted_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Option<(String, Bytes)>> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read("reading a deleted manifest", move |tx| undo::deleted_body(tx, &repository, &digest, now)).await
    }

    async fn restore_manifest(&self, record: &ManifestRecord) -> Result<Restore> {
        let record = record.clone();
        self.write("restoring a manifest", move |tx| undo::restore(tx, &record)).await
    }

    async fn revive_blob(&self, repository: &RepositoryName, digest: &Digest, review_at: Timestamp) -> Result<bool> {
        let (repository, digest) = (repository.clone(), *digest);
        self.write("reviving a blob", move |tx| undo::revive(tx, &repository, &digest, review_at)).await
    }

    async fn retag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: &Digest,
        by: &Attribution,
        now: Timestamp,
        review_at: Timestamp,
    ) -> Result<bool> {
        let (repository, tag, digest, by) = (repository.clone(), tag.clone(), *digest, by.clone());
        self.write("restoring a tag", move |tx| undo::retag(tx, &repository, &tag, &digest, &by, now, review_at)).await
    }

    async fn forget_deleted_manifests(&self, now: Timestamp, limit: u32) -> Result<u32> {
        self.write("forgetting deleted manifests", move |tx| undo::forget(tx, now, limit)).await
    }
}
