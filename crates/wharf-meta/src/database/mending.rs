use async_trait::async_trait;
use wharf_base::{Location, Timestamp, UploadId};
use wharf_oci::{Digest, RepositoryName};
use wharf_policy::Attribution;

use super::Database;
use crate::{ManifestRecord, Mending, Result, Unreviewed, mend};

#[async_trait]
impl<D: Database> Mending for D {
    async fn due_for_scrub(&self, before: Timestamp, limit: u32) -> Result<Vec<(Digest, u64)>> {
        self.read("looking for content to scrub", move |tx| mend::due(tx, before, limit)).await
    }

    async fn verified_longest_ago(&self) -> Result<Option<Timestamp>> {
        self.read("looking for content to scrub", mend::longest_ago).await
    }

    async fn note_verified(&self, digests: &[Digest], at: Timestamp) -> Result<()> {
        let digests = digests.to_vec();
        self.write("noting what was verified", move |tx| mend::note_verified(tx, &digests, at)).await
    }

    async fn set_aside_blob(
        &self,
        digest: &Digest,
        location: &Location,
        problem: &str,
        by: &Attribution,
        now: Timestamp,
    ) -> Result<bool> {
        let (digest, location, problem, by) = (*digest, location.clone(), problem.to_owned(), by.clone());
        let doing = "setting a blob aside";
        self.write(doing, move |tx| mend::set_aside(tx, &digest, &location, &problem, &by, now)).await
    }

    async fn bring_back_blob(
        &self,
        digest: &Digest,
        location: &Location,
        by: &Attribution,
        now: Timestamp,
    ) -> Result<bool> {
        let (digest, location, by) = (*digest, location.clone(), by.clone());
        self.write("bringing a blob back", move |tx| mend::bring_back(tx, &digest, &location, &by, now)).await
    }

    async fn is_set_aside(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read("looking up a blob that is set aside", move |tx| mend::is_set_aside(tx, &repository, &digest)).await
    }

    async fn count_set_aside(&self) -> Result<u64> {
        self.read("counting what is set aside", mend::count_set_aside).await
    }

    async fn rescue_blob(&self, digest: &Digest, by: &Attribution, now: Timestamp) -> Result<bool> {
        let (digest, by) = (*digest, by.clone());
        self.write("rescuing a blob", move |tx| mend::rescue(tx, &digest, &by, now)).await
    }

    async fn review_links(
        &self,
        links: &[Unreviewed],
        by: &Attribution,
        now: Timestamp,
        review_at: Timestamp,
    ) -> Result<u32> {
        let (links, by) = (links.to_vec(), by.clone());
        self.write("having associations reviewed", move |tx| mend::review_links(tx, &links, &by, now, review_at)).await
    }

    async fn describe_manifest(&self, record: &ManifestRecord) -> Result<bool> {
        let record = record.clone();
        self.write("mending a manifest", move |tx| mend::describe_manifest(tx, &record)).await
    }

    async fn sweep_due(&self) -> Result<Option<Timestamp>> {
        self.read("looking up the next sweep", mend::sweep_due).await
    }

    async fn plan_sweep(&self, due_at: Timestamp, now: Timestamp) -> Result<()> {
        self.write("planning the next sweep", move |tx| mend::plan_sweep(tx, due_at, now)).await
    }

    async fn expire_upload(&self, id: UploadId, by: &Attribution, now: Timestamp) -> Result<bool> {
        let by = by.clone();
        self.write("ending an upload", move |tx| mend::expire_upload(tx, id, &by, now)).await
    }
}
