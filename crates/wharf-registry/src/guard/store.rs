//! A blob store whose errors the guard sees.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use wharf_base::{DistributionSnapshot, Location, StoreId, Timestamp, UploadId};
use wharf_oci::{Algorithm, Digest};
use wharf_store::{
    BlobReader, BlobStore, BlobWriter, Checkpoint, Error, ListCursor, Listing, Place, Placed, Removing, Space,
    StagedBytes, Survey,
};

use super::Guard;

/// `inner`, watched by the guard.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) inner: Arc<dyn BlobStore>,
    pub(crate) guard: Arc<Guard>,
}

struct WatchedWriter {
    inner: Box<dyn BlobWriter>,
    guard: Arc<Guard>,
}

impl Guard {
    fn see<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.inspect_err(|error| self.saw(error))
    }
}

#[async_trait]
impl BlobStore for Watched {
    async fn writer(
        &self,
        upload: UploadId,
        algorithm: Algorithm,
        at: Option<&Checkpoint>,
        expected_bytes: Option<u64>,
    ) -> Result<Box<dyn BlobWriter>, Error> {
        let inner = self.guard.see(self.inner.writer(upload, algorithm, at, expected_bytes).await)?;
        Ok(Box::new(WatchedWriter { inner, guard: Arc::clone(&self.guard) }))
    }

    async fn discard(&self, upload: UploadId) -> Result<(), Error> {
        self.guard.see(self.inner.discard(upload).await)
    }

    fn buffer_bytes(&self, expected_bytes: Option<u64>) -> u64 {
        self.inner.buffer_bytes(expected_bytes)
    }

    fn is_by_digest(&self) -> bool {
        self.inner.is_by_digest()
    }

    async fn open(&self, place: &Place, size_bytes: u64) -> Result<Option<BlobReader>, Error> {
        self.guard.see(self.inner.open(place, size_bytes).await)
    }

    async fn stat(&self, place: &Place) -> Result<Option<u64>, Error> {
        self.guard.see(self.inner.stat(place).await)
    }

    async fn list(&self, after: Option<&ListCursor>, limit: usize) -> Result<Listing, Error> {
        self.guard.see(self.inner.list(after, limit).await)
    }

    async fn survey(&self, places: &[Place]) -> Result<Survey, Error> {
        self.guard.see(self.inner.survey(places).await)
    }

    async fn survey_staged(&self, uploads: &[UploadId]) -> Result<Survey, Error> {
        self.guard.see(self.inner.survey_staged(uploads).await)
    }

    async fn open_staged(&self, upload: UploadId, size_bytes: u64) -> Result<StagedBytes, Error> {
        self.guard.see(self.inner.open_staged(upload, size_bytes).await)
    }

    async fn begin_removal(&self, digest: &Digest) -> Removing {
        self.inner.begin_removal(digest).await
    }

    async fn remove(&self, removing: &Removing, location: &Location) -> Result<bool, Error> {
        self.guard.see(self.inner.remove(removing, location).await)
    }

    async fn remove_unnamed(&self, location: &Location) -> Result<bool, Error> {
        self.guard.see(self.inner.remove_unnamed(location).await)
    }

    async fn survey_unnamed(&self, locations: &[Location]) -> Result<Survey, Error> {
        self.guard.see(self.inner.survey_unnamed(locations).await)
    }

    async fn link(&self, place: &Place, content_type: &str, lifetime: Duration) -> Result<Option<String>, Error> {
        self.guard.see(self.inner.link(place, content_type, lifetime).await)
    }

    async fn set_aside(&self, removing: &Removing, location: &Location, at: Timestamp) -> Result<bool, Error> {
        self.guard.see(self.inner.set_aside(removing, location, at).await)
    }

    async fn bring_back(&self, removing: &Removing, size_bytes: u64) -> Result<Option<Location>, Error> {
        self.guard.see(self.inner.bring_back(removing, size_bytes).await)
    }

    /// The guard's own question, so it is not told.
    async fn probe(&self) -> Result<(), Error> {
        self.inner.probe().await
    }

    async fn space(&self) -> Result<Option<Space>, Error> {
        self.guard.see(self.inner.space().await)
    }

    async fn keep_reserve(&self, len_bytes: u64) -> Result<bool, Error> {
        self.guard.see(self.inner.keep_reserve(len_bytes).await)
    }

    async fn give_back(&self) -> Result<bool, Error> {
        self.guard.see(self.inner.give_back().await)
    }

    fn sync_seconds(&self) -> DistributionSnapshot {
        self.inner.sync_seconds()
    }

    fn store_id(&self) -> StoreId {
        self.inner.store_id()
    }
}

#[async_trait]
impl BlobWriter for WatchedWriter {
    fn offset_bytes(&self) -> u64 {
        self.inner.offset_bytes()
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let written = self.inner.write(bytes).await;
        self.guard.see(written)
    }

    async fn checkpoint(self: Box<Self>) -> Result<Checkpoint, Error> {
        let Self { inner, guard } = *self;
        guard.see(inner.checkpoint().await)
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Placed, Error> {
        let Self { inner, guard } = *self;
        guard.see(inner.commit(digest).await)
    }
}
