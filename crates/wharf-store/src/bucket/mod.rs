//! A blob store in a bucket that speaks S3.
//!
//! There is no rename in a bucket, and a copy on the server ends at 5 GiB. So every upload has a key of its own from the
//! start, which nothing else ever has, and the metadata records it beside the digest. Placing and removing the same digest
//! never meet on one key, so nothing has to be locked between two machines; an object that no row names is garbage, and the
//! weekly sweep finds it.

mod archive;
mod aside;
mod census;
mod client;
mod config;
mod keys;
mod outgoing;
mod probe;
mod reader;
mod staged;
#[cfg(test)]
mod tests;
mod transport;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use wharf_base::{Clock, Distribution, DistributionSnapshot, Location, Rng, StoreId, Timestamp, UploadId};
use wharf_oci::{Algorithm, Digest};

pub use self::archive::BucketArchive;
use self::client::{Client, Created};
pub use self::config::{BucketConfig, Encryption};
use self::keys::{ContentKey, Keys};
use self::probe::Probed;
use self::staged::Staging;
use self::transport::Breaker;
use self::writer::Writer;
use crate::census::{ListCursor, Listing, Survey};
use crate::lock::DigestLocks;
use crate::sessions::Sessions;
use crate::{
    BlobReader, BlobStore, BlobWriter, BucketError, Checkpoint, DirectoryStore, Error, Facts, Place, Removing, Space,
    StagedBytes,
};

/// Objects up to this are read when they are opened, in one request.
const SMALL_BYTES: u64 = 1 << 20;

/// How many objects are looked at at the same time.
const LOOKS: usize = 16;

/// The layout of this version.
const LAYOUT: u32 = 1;

/// Content in objects of one bucket.
#[derive(Debug)]
pub struct BucketStore {
    inner: Arc<Inner>,
    is_new: bool,
    directory: Option<DirectoryStore>,
}

/// What the store and its writers share.
pub(crate) struct Inner {
    client: Client,
    keys: Keys,
    store_id: StoreId,
    digests: DigestLocks,
    sessions: Arc<Sessions>,
    part_bytes: u64,
    /// Whether completion refuses parts that have been replaced.
    names_parts: bool,
    /// How long it took from the last byte to the acknowledgement.
    complete_seconds: Distribution,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("store_id", &self.store_id).finish_non_exhaustive()
    }
}

/// What `wharf.id` says.
#[derive(Serialize, Deserialize)]
struct Identity {
    layout: u32,
    store_id: String,
}

impl BucketStore {
    /// Opens the store below the prefix in the bucket, and gives it an identity if it has none: a new store id comes from
    /// `clock` and `rng`. Tries out what content depends on.
    ///
    /// # Errors
    ///
    /// See [`BucketError`].
    ///
    /// # Source
    ///
    /// R-032, B-138.
    pub async fn open(config: &BucketConfig, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Result<Self, BucketError> {
        let breaker = Arc::new(Breaker::default());
        let client = Client { s3: Arc::new(config.client(&breaker)?), breaker };
        let keys = Keys::new(config.prefix()?);
        let refused = |source| BucketError::Refused { place: config.place(), source };
        let fresh = StoreId::generate(&*clock, &*rng);
        let found = client.get(&keys.id()).await.map_err(refused)?;
        let is_new = found.is_none();
        let mut inner = Inner {
            store_id: fresh,
            client,
            keys,
            digests: DigestLocks::new(),
            sessions: Arc::default(),
            part_bytes: config.part_bytes(),
            names_parts: false,
            complete_seconds: Distribution::new(Distribution::SECONDS),
            clock,
            rng,
        };
        if let Some(found) = found {
            inner.store_id = identity(config, &found)?;
        }
        // Before it has an identity: a bucket that is no good is not made a store.
        match inner.probe_all().await.map_err(refused)? {
            Probed::Lacks(lacks) => return Err(BucketError::Lacks { place: config.place(), lacks }),
            Probed::Sound { names_parts } => inner.names_parts = names_parts,
        }
        if !inner.names_parts {
            tracing::warn!(
                "the service of {} takes parts that were replaced; what several requests upload is read once more",
                config.place()
            );
        }
        if is_new {
            let named = Identity { layout: LAYOUT, store_id: fresh.to_string() };
            let named = serde_json::to_vec(&named)
                .map_err(|error| refused(Error::Io { doing: "naming the store", source: error.into() }))?;
            if inner.client.create(&inner.keys.id(), named.into()).await.map_err(refused)? == Created::Exists {
                // Somebody else was faster; what is theirs is theirs.
                let found = inner.client.get(&inner.keys.id()).await.map_err(refused)?.unwrap_or_default();
                inner.store_id = identity(config, &found)?;
            }
        }
        Ok(Self { inner: Arc::new(inner), is_new, directory: None })
    }

    /// With the directory that the database lies in, which nobody else can use until this store is gone. It is probed together
    /// with the bucket.
    #[must_use]
    pub fn beside(self, directory: DirectoryStore) -> Self {
        Self { directory: Some(directory), ..self }
    }

    /// Whether there was no store before it was opened.
    pub fn is_new(&self) -> bool {
        self.is_new
    }
}

fn identity(config: &BucketConfig, found: &Bytes) -> Result<StoreId, BucketError> {
    let bad = |reason| BucketError::BadId { place: config.place(), reason };
    let found: Identity = serde_json::from_slice(found).map_err(|_| bad("it is not what Wharf writes"))?;
    if found.layout > LAYOUT {
        return Err(BucketError::NewerLayout { place: config.place(), found: found.layout, known: LAYOUT });
    }
    found.store_id.parse().map_err(|_| bad("its store id is none"))
}

impl Inner {
    fn new_id(&self) -> UploadId {
        UploadId::generate(&*self.clock, &*self.rng)
    }

    fn new_key(&self) -> ContentKey {
        ContentKey::new(self.new_id())
    }

    fn staging(&self, upload: UploadId) -> Staging {
        Staging { client: self.client.clone(), keys: self.keys.clone(), upload }
    }

    /// `None`: there is no object, for nothing was ever put there.
    fn key_of(&self, location: &Location) -> Option<ContentKey> {
        ContentKey::parse(location.as_str())
    }

    async fn facts(&self, location: &Location) -> Result<Option<Facts>, Error> {
        let Some(key) = self.key_of(location) else { return Ok(None) };
        Ok(self.client.head(&self.keys.content(key)).await?.as_ref().map(census::facts))
    }

    async fn survey(&self, locations: impl IntoIterator<Item = Location>) -> Survey {
        let looks: Vec<_> = locations.into_iter().collect();
        let looks = looks.into_iter().map(|location| async move { self.facts(&location).await });
        stream::iter(looks).buffered(LOOKS).collect().await
    }

    async fn remove(&self, location: &Location) -> Result<bool, Error> {
        let Some(key) = self.key_of(location) else { return Ok(false) };
        let object = self.keys.content(key);
        if self.client.head(&object).await?.is_none() {
            return Ok(false);
        }
        self.client.delete(&object).await?;
        Ok(true)
    }

    async fn open(&self, place: &Place, size_bytes: u64) -> Result<Option<BlobReader>, Error> {
        let Some(key) = self.key_of(&place.location) else { return Ok(None) };
        let object = self.keys.content(key);
        let (found_bytes, whole) = if size_bytes <= SMALL_BYTES {
            let Some(whole) = self.client.get(&object).await? else { return Ok(None) };
            (whole.len() as u64, Some(whole))
        } else {
            let Some(meta) = self.client.head(&object).await? else { return Ok(None) };
            (meta.size, None)
        };
        if found_bytes != size_bytes {
            return Err(Error::Damaged { digest: place.digest, reason: "it has another size than recorded" });
        }
        Ok(Some(reader::open(self.client.clone(), object, size_bytes, whole)))
    }
}

#[async_trait]
impl BlobStore for BucketStore {
    async fn writer(
        &self,
        upload: UploadId,
        algorithm: Algorithm,
        at: Option<&Checkpoint>,
        expected_bytes: Option<u64>,
    ) -> Result<Box<dyn BlobWriter>, Error> {
        Ok(Box::new(Writer::open(Arc::clone(&self.inner), upload, algorithm, at, expected_bytes).await?))
    }

    async fn discard(&self, upload: UploadId) -> Result<(), Error> {
        self.inner.sessions.gone(upload);
        self.inner.staging(upload).clear().await
    }

    /// One part is gathered while another one is on its way.
    fn buffer_bytes(&self, expected_bytes: Option<u64>) -> u64 {
        expected_bytes.unwrap_or(u64::MAX).min(self.inner.part_bytes).saturating_mul(2)
    }

    fn is_by_digest(&self) -> bool {
        false
    }

    async fn open(&self, place: &Place, size_bytes: u64) -> Result<Option<BlobReader>, Error> {
        self.inner.open(place, size_bytes).await
    }

    async fn stat(&self, place: &Place) -> Result<Option<u64>, Error> {
        Ok(self.inner.facts(&place.location).await?.map(|facts| facts.size_bytes))
    }

    async fn list(&self, after: Option<&ListCursor>, limit: usize) -> Result<Listing, Error> {
        self.inner.list(after, limit).await
    }

    async fn survey(&self, places: &[Place]) -> Result<Survey, Error> {
        Ok(self.inner.survey(places.iter().map(|place| place.location.clone())).await)
    }

    async fn survey_staged(&self, uploads: &[UploadId]) -> Result<Survey, Error> {
        let looks = uploads.iter().copied().map(|upload| self.inner.staged_facts(upload));
        Ok(stream::iter(looks).buffered(LOOKS).collect().await)
    }

    async fn open_staged(&self, upload: UploadId, size_bytes: u64) -> Result<StagedBytes, Error> {
        let Some(standing) = self.inner.staging(upload).look(size_bytes).await? else { return Ok(StagedBytes::Lost) };
        Ok(match standing {
            standing if standing.len_bytes() != size_bytes => StagedBytes::Lost,
            standing if standing.parts.is_some() => StagedBytes::Opaque,
            standing => StagedBytes::Readable(BlobReader::in_memory(standing.rest)),
        })
    }

    async fn begin_removal(&self, digest: &Digest) -> Removing {
        Removing::new(*digest, self.inner.digests.lock(digest).await)
    }

    async fn remove(&self, _: &Removing, location: &Location) -> Result<bool, Error> {
        self.inner.remove(location).await
    }

    async fn remove_unnamed(&self, location: &Location) -> Result<bool, Error> {
        self.inner.remove(location).await
    }

    async fn survey_unnamed(&self, locations: &[Location]) -> Result<Survey, Error> {
        Ok(self.inner.survey(locations.iter().cloned()).await)
    }

    async fn link(&self, place: &Place, content_type: &str, lifetime: Duration) -> Result<Option<String>, Error> {
        let Some(key) = self.inner.key_of(&place.location) else { return Ok(None) };
        self.inner.client.link(&self.inner.keys.content(key), content_type, lifetime).await.map(Some)
    }

    async fn set_aside(&self, removing: &Removing, location: &Location, at: Timestamp) -> Result<bool, Error> {
        self.inner.set_aside(removing.digest(), location, at).await
    }

    async fn bring_back(&self, removing: &Removing, size_bytes: u64) -> Result<Option<Location>, Error> {
        self.inner.bring_back(removing.digest(), size_bytes).await
    }

    async fn probe(&self) -> Result<(), Error> {
        if let Some(directory) = &self.directory {
            directory.probe().await?;
        }
        self.inner.probe().await
    }

    async fn space(&self) -> Result<Option<Space>, Error> {
        Ok(None)
    }

    async fn keep_reserve(&self, _: u64) -> Result<bool, Error> {
        Ok(false)
    }

    async fn give_back(&self) -> Result<bool, Error> {
        Ok(false)
    }

    /// What comes closest: how long it took until a complete object was acknowledged.
    fn sync_seconds(&self) -> DistributionSnapshot {
        self.inner.complete_seconds.snapshot()
    }

    fn store_id(&self) -> StoreId {
        self.inner.store_id
    }
}
