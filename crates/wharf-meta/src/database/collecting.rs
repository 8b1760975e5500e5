use async_trait::async_trait;
use wharf_base::Timestamp;
use wharf_oci::{Digest, RepositoryName};
use wharf_policy::Attribution;

use super::Database;
use crate::audit::{self, AuditRecord};
use crate::{
    Backlog, Collecting, DueManifest, Hold, ManifestCursor, PreviewCursor, Releasable, Removal, RemovedBlob,
    RemovedCursor, Result, Retired, Reviewed, Untagged, collection, collection_log, retention,
};

#[async_trait]
impl<D: Database> Collecting for D {
    async fn review_blobs(&self, now: Timestamp, remove_at: Timestamp, limit: u32) -> Result<Reviewed> {
        self.write("reviewing blobs", move |tx| collection::review_blobs(tx, now, remove_at, limit)).await
    }

    async fn due_manifests(&self, now: Timestamp, limit: u32) -> Result<Vec<DueManifest>> {
        self.read("looking for manifests to review", move |tx| retention::due(tx, now, limit)).await
    }

    async fn keep_manifests(&self, manifests: &[DueManifest]) -> Result<()> {
        let manifests = manifests.to_vec();
        self.write("keeping manifests", move |tx| {
            manifests.iter().try_for_each(|kept| retention::keep(tx, &kept.repository, &kept.digest))
        })
        .await
    }

    async fn wait_for_manifests(&self, manifests: &[(DueManifest, Timestamp)]) -> Result<()> {
        let manifests = manifests.to_vec();
        self.write("waiting for manifests' ages", move |tx| {
            manifests.iter().try_for_each(|(due, until)| retention::wait(tx, due, *until))
        })
        .await
    }

    async fn enter_untagged(&self, manifests: &[(Untagged, Timestamp)]) -> Result<()> {
        let manifests = manifests.to_vec();
        self.write("entering manifests without a tag", move |tx| {
            manifests.iter().try_for_each(|(untagged, due_at)| retention::enter(tx, untagged, *due_at))
        })
        .await
    }

    async fn retire_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        by: &Attribution,
        now: Timestamp,
        review_at: Timestamp,
    ) -> Result<Retired> {
        let (repository, digest, by) = (repository.clone(), *digest, by.clone());
        self.write("retiring a manifest", move |tx| retention::retire(tx, &repository, &digest, &by, now, review_at))
            .await
    }

    async fn walk_untagged(&self, after: ManifestCursor, span: u32) -> Result<(Vec<Untagged>, Option<ManifestCursor>)> {
        self.read("looking for manifests without a tag", move |tx| retention::walk(tx, after, span)).await
    }

    async fn put_off_review(&self, now: Timestamp) -> Result<()> {
        self.write("putting off a review", move |tx| collection::put_off_review(tx, now)).await
    }

    async fn condemned(&self, now: Timestamp, limit: u32) -> Result<Vec<Digest>> {
        self.read("looking for condemned blobs", move |tx| collection::condemned(tx, now, limit)).await
    }

    async fn forget_blob(&self, digest: &Digest, due_by: Timestamp, now: Timestamp) -> Result<Option<Removal>> {
        let digest = *digest;
        self.write("forgetting a blob", move |tx| collection::forget(tx, &digest, due_by, now)).await
    }

    async fn removals(&self, now: Timestamp, limit: u32) -> Result<Vec<Removal>> {
        self.read("looking for removals", move |tx| collection::removals(tx, now, limit)).await
    }

    async fn confirm_removal(&self, removal: &Removal) -> Result<bool> {
        let removal = removal.clone();
        self.write("confirming a removal", move |tx| collection::confirm_removal(tx, &removal)).await
    }

    async fn strike_removal(&self, removal: &Removal) -> Result<()> {
        let removal = removal.clone();
        self.write("striking a removal", move |tx| collection::strike_removal(tx, &removal)).await
    }

    async fn removed_blobs(
        &self,
        digest: Option<&Digest>,
        after: Option<RemovedCursor>,
        limit: u32,
    ) -> Result<Vec<RemovedBlob>> {
        let digest = digest.copied();
        self.read("listing removed blobs", move |tx| collection_log::page(tx, digest.as_ref(), after, limit)).await
    }

    async fn note_removed_orphan(&self, digest: &Digest, size_bytes: u64, now: Timestamp) -> Result<()> {
        let digest = *digest;
        let doing = "noting the removal of an orphan";
        self.write(doing, move |tx| collection_log::orphan(tx, &digest, size_bytes, now)).await
    }

    async fn forget_removed_blobs(&self, before: Timestamp, limit: u32) -> Result<u32> {
        self.write("forgetting removed blobs", move |tx| collection_log::prune(tx, before, limit)).await
    }

    async fn backlog(&self, now: Timestamp) -> Result<Backlog> {
        self.read("counting what waits for collection", move |tx| collection::backlog(tx, now)).await
    }

    async fn preview_collection(
        &self,
        now: Timestamp,
        after: Option<&PreviewCursor>,
        limit: u32,
    ) -> Result<(Vec<Releasable>, Option<PreviewCursor>)> {
        let after = after.cloned();
        self.read("previewing a collection", move |tx| collection::preview(tx, now, after.as_ref(), limit)).await
    }

    async fn holds(&self, now: Timestamp) -> Result<Vec<Hold>> {
        self.read("listing holds", move |tx| collection::holds(tx, now)).await
    }

    async fn hold(&self, hold: &Hold, by: Option<&Attribution>, now: Timestamp) -> Result<()> {
        let (hold, by) = (hold.clone(), by.cloned());
        self.write("holding collection", move |tx| {
            collection::forget_ended_holds(tx, now)?;
            collection::hold(tx, &hold)?;
            let Some(by) = &by else { return Ok(()) };
            let detail = serde_json::json!({ "reason": hold.reason, "until": hold.until.to_string() });
            audit::append(tx, &AuditRecord::done(by, now, "gc.hold").to(&hold.id).with(detail))
        })
        .await
    }

    async fn renew_hold(&self, id: &str, until: Timestamp, now: Timestamp) -> Result<bool> {
        let id = id.to_owned();
        self.write("renewing a hold", move |tx| collection::renew(tx, &id, until, now)).await
    }

    async fn release_hold(&self, id: &str, by: Option<&Attribution>, now: Timestamp) -> Result<bool> {
        let (id, by) = (id.to_owned(), by.cloned());
        self.write("releasing a hold", move |tx| {
            let released = collection::release(tx, &id)?;
            if let (true, Some(by)) = (released, &by) {
                audit::append(tx, &AuditRecord::done(by, now, "gc.release").to(&id))?;
            }
            Ok(released)
        })
        .await
    }

    async fn review_due(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Timestamp>> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read("looking up a review", move |tx| collection::review_due(tx, &repository, &digest)).await
    }

    async fn keep_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        not_before: Timestamp,
        review_at: Timestamp,
    ) -> Result<Option<u64>> {
        let (repository, digest) = (repository.clone(), *digest);
        self.write("keeping a blob", move |tx| collection::keep_blob(tx, &repository, &digest, not_before, review_at))
            .await
    }
}
