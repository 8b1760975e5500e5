use async_trait::async_trait;
use wharf_base::{Location, StoreId, Timestamp, UploadId};
use wharf_oci::{AnyDigest, Digest, Reference, RepositoryName, Tag};
use wharf_policy::Attribution;

use super::Database;
use crate::tags::Change;
use crate::{
    Advance, BeginUpload, BlobMount, BlobRecord, DatabaseFigures, DeletedManifest, DiskRefusal, Error, ManifestHead,
    ManifestRecord, Metadata, NewUpload, RecordBlob, RecordManifest, Referrer, ReferrerCursor, Result, StoredManifest,
    Upload, UploadLimits, blobs, deletion, leases, life, manifests, push, referrers, repositories, tags, uploads,
};

/// Questions go to a reader, changes to the writer; what they do stands in the file of their noun.
#[async_trait]
impl<D: Database> Metadata for D {
    async fn begin_upload(&self, new: &NewUpload, limits: &UploadLimits) -> Result<BeginUpload> {
        let (new, limits) = (new.clone(), *limits);
        self.write("beginning an upload", move |tx| uploads::begin(tx, &new, &limits)).await
    }

    async fn upload(
        &self,
        id: UploadId,
        repository: &RepositoryName,
        owner: &str,
        now: Timestamp,
    ) -> Result<Option<Upload>> {
        let (repository, owner) = (repository.clone(), owner.to_owned());
        self.read("looking up an upload", move |tx| uploads::find(tx, id, &repository, &owner, now)).await
    }

    async fn advance_upload(
        &self,
        id: UploadId,
        from_bytes: u64,
        to_bytes: u64,
        hash_state: &[u8],
        expires_at: Timestamp,
    ) -> Result<Advance> {
        let hash_state = hash_state.to_vec();
        let lease = leases::current();
        let advanced = self.write_last("advancing an upload", move |tx| {
            let advanced = uploads::advance(tx, id, from_bytes, to_bytes, &hash_state, expires_at)?;
            match (advanced, &lease) {
                (Advance::Advanced, lease) => leases::end(tx, lease.as_ref())?,
                // Whoever has lost it shall hear of that first.
                (_, Some(lease)) => leases::hold(tx, lease)?,
                (_, None) => {}
            }
            Ok(advanced)
        });
        leases::ending(advanced, |advanced| *advanced == Advance::Advanced).await
    }

    async fn end_upload(&self, id: UploadId, repository: &RepositoryName, owner: &str) -> Result<bool> {
        let (repository, owner) = (repository.clone(), owner.to_owned());
        self.write("ending an upload", move |tx| uploads::end(tx, id, &repository, &owner)).await
    }

    async fn expired_uploads(&self, now: Timestamp, limit: u32) -> Result<Vec<UploadId>> {
        self.read("listing expired uploads", move |tx| uploads::expired(tx, now, limit)).await
    }

    async fn remove_expired_upload(&self, id: UploadId, now: Timestamp) -> Result<bool> {
        self.write("removing an expired upload", move |tx| uploads::remove_expired(tx, id, now)).await
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        if let Some(size_bytes) = self.memory().and_then(|memory| memory.blob(repository, digest)) {
            return Ok(Some(size_bytes));
        }
        let generation = self.memory().map(|memory| memory.generation(repository));
        let (name, digest) = (repository.clone(), *digest);
        let found = self.read("looking up a blob", move |tx| blobs::size(tx, &name, &digest)).await?;
        if let (Some(memory), Some(generation), Some(size_bytes)) = (self.memory(), generation, found) {
            memory.keep_blob(generation, repository, &digest, size_bytes);
        }
        Ok(found)
    }

    async fn located_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<(u64, Location)>> {
        let (name, digest) = (repository.clone(), *digest);
        self.read("looking up a blob and where it lies", move |tx| blobs::located(tx, &name, &digest)).await
    }

    async fn locations(&self, digests: &[Digest]) -> Result<Vec<Location>> {
        let digests = digests.to_vec();
        self.read("looking up where blobs lie", move |tx| blobs::locations(tx, &digests)).await
    }

    async fn record_blob(&self, record: &BlobRecord) -> Result<RecordBlob> {
        let record = record.clone();
        let lease = leases::current();
        let recorded = self.write_last("recording a blob", move |tx| {
            let recorded = blobs::record(tx, &record)?;
            leases::end(tx, lease.as_ref())?;
            Ok(recorded)
        });
        leases::ending(recorded, |_| true).await
    }

    async fn mount_blob(&self, mount: &BlobMount) -> Result<bool> {
        let mount = mount.clone();
        self.write("mounting a blob", move |tx| blobs::mount(tx, &mount)).await
    }

    async fn repositories_with_blob(&self, digest: &Digest, limit: u32) -> Result<Vec<RepositoryName>> {
        let digest = *digest;
        self.read("looking for a blob", move |tx| blobs::repositories_with(tx, &digest, limit)).await
    }

    async fn delete_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        by: &Attribution,
        now: Timestamp,
        review_at: Timestamp,
    ) -> Result<bool> {
        let (repository, digest, by) = (repository.clone(), *digest, by.clone());
        self.write("deleting a blob", move |tx| blobs::delete(tx, &repository, &digest, &by, now, review_at)).await
    }

    fn manifest_in_memory(&self, repository: &RepositoryName, reference: &Reference) -> Option<StoredManifest> {
        self.memory()?.manifest(repository, reference)
    }

    async fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<StoredManifest>> {
        if let Some(manifest) = self.manifest_in_memory(repository, reference) {
            return Ok(Some(manifest));
        }
        let generation = self.memory().map(|memory| memory.generation(repository));
        let (name, wanted) = (repository.clone(), reference.clone());
        let mut found = self.read("reading a manifest", move |tx| manifests::find(tx, &name, &wanted)).await?;
        if let (Some(memory), Some(generation), Some(manifest)) = (self.memory(), generation, &mut found) {
            memory.keep_manifest(generation, repository, reference, manifest);
        }
        Ok(found)
    }

    async fn manifest_head(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<ManifestHead>> {
        // Whoever asks for the head often asks for the rest next.
        if self.memory().is_some() {
            return Ok(self.manifest(repository, reference).await?.map(ManifestHead::from));
        }
        let (repository, reference) = (repository.clone(), reference.clone());
        self.read("looking up a manifest", move |tx| manifests::head(tx, &repository, &reference)).await
    }

    async fn record_manifest(&self, record: &ManifestRecord) -> Result<RecordManifest> {
        let push = push::Push::from(record.clone());
        self.write("recording a manifest", move |tx| push::record(tx, &push)).await
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        by: &Attribution,
        now: Timestamp,
        review_at: Timestamp,
    ) -> Result<Option<DeletedManifest>> {
        let (repository, digest, by) = (repository.clone(), *digest, by.clone());
        self.write("deleting a manifest", move |tx| deletion::delete(tx, &repository, &digest, &by, now, review_at))
            .await
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        by: &Attribution,
        now: Timestamp,
        review_at: Timestamp,
    ) -> Result<bool> {
        let (name, tag, by) = (repository.clone(), tag.clone(), by.clone());
        self.write("deleting a tag", move |tx| {
            tx.lock(|locks| locks.repository(&name))?;
            let Some(repository) = repositories::find(tx, &name)? else { return Ok(false) };
            tags::delete(tx, &Change { repository, name: &name, by: &by, now, review_at }, &tag)
        })
        .await
    }

    async fn tags(&self, repository: &RepositoryName, after: Option<&str>, limit: u32) -> Result<Option<Vec<Tag>>> {
        let (repository, after) = (repository.clone(), after.map(str::to_owned));
        self.read("listing tags", move |tx| tags::page(tx, &repository, after.as_deref(), limit)).await
    }

    async fn repositories(&self, after: Option<&str>, limit: u32) -> Result<Vec<RepositoryName>> {
        let after = after.map(str::to_owned);
        self.read("listing repositories", move |tx| repositories::page(tx, after.as_deref(), limit)).await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &AnyDigest,
        artifact_types: &[String],
        after: Option<&ReferrerCursor>,
        limit: u32,
    ) -> Result<Vec<Referrer>> {
        let (repository, subject, artifact_types, after) =
            (repository.clone(), subject.clone(), artifact_types.to_vec(), after.copied());
        self.read("listing referrers", move |tx| {
            referrers::page(tx, &repository, &subject, &artifact_types, after.as_ref(), limit)
        })
        .await
    }

    async fn store_id(&self) -> Result<Option<StoreId>> {
        self.read("reading the store's id", life::store).await
    }

    async fn set_store_id(&self, id: StoreId) -> Result<()> {
        let recorded = self.write("recording the store's id", move |tx| life::set_store(tx, id)).await?;
        if recorded == id { Ok(()) } else { Err(Error::OtherStore { recorded, given: id }) }
    }

    async fn clock_mark(&self) -> Result<Option<Timestamp>> {
        self.read("reading the clock's mark", life::clock_mark).await
    }

    async fn set_clock_mark(&self, now: Timestamp) -> Result<()> {
        self.write("noting the time", move |tx| life::set_clock_mark(tx, now)).await
    }

    async fn storage_failed(&self) {
        Database::storage_failed(self).await;
    }

    async fn disk_refused(&self) -> DiskRefusal {
        Database::disk_refused(self).await
    }

    fn figures(&self) -> DatabaseFigures {
        Database::figures(self)
    }

    async fn open_uploads(&self, now: Timestamp, limit: u32) -> Result<u32> {
        self.read("counting uploads", move |tx| uploads::count_open(tx, now, limit)).await
    }

    async fn ping(&self) -> Result<()> {
        self.read("answering a ping", life::store).await?;
        // Nothing to write: shows that the writer runs, and costs no sync.
        self.write("answering a ping", |_| Ok(())).await
    }

    async fn close(&self) -> Result<()> {
        Database::close(self).await
    }
}
