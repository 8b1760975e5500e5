use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use wharf_base::failpoint::{Held, held_at};
use wharf_base::{HumanDuration, ManualClock, Secret, SeededRng, Spawner, Timestamp, UploadId};
use wharf_meta::{Metadata, PostgresConfig, PostgresMetadata, Sharing, SqliteConfig, SqliteMetadata};
use wharf_oci::{Algorithm, Digest, Reference, RepositoryName};
use wharf_policy::{Asker, Authorized, Delete, Engine, Permission, Principal, Pull, Push};
use wharf_store::{BlobStore, BucketConfig, BucketStore, DirectoryStore, Encryption, Entry, Place};
use wharf_testkit::{FakeS3, PostgresServer};

use crate::{
    Chunk, Condition, Config, Error, FinishedBlob, GcConfig, ManifestTarget, Mounted, Parts, PushManifest,
    PushedManifest, Registry, RestoreFrom, Restored, Settings, Totals,
};

/// Longer than the grace period with its slack, and than the trash period.
pub(super) const DAY: Duration = Duration::from_secs(26 * 3600);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The clock of these tests stands years before that of the files.
pub(super) const AGES: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How long a second actor may take that is not held back by the first. Nothing depends on it when it is.
const WHILE_HELD: Duration = Duration::from_millis(300);

/// What a registry is over, and how many processes it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// One, over a directory with an embedded database.
    Directory,
    /// Two, over a PostgreSQL database and a bucket.
    Replicas,
}

/// A new registry. Cheap to clone, so that actors can be tasks; each clone acts at another replica than the one before it.
pub(super) struct World {
    pub(super) registry: Arc<Registry>,
    pub(super) meta: Arc<dyn Metadata>,
    pub(super) store: Arc<dyn BlobStore>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) spawner: Spawner,
    policy: Arc<Engine>,
    replicas: Arc<[Arc<Registry>]>,
    next: Arc<AtomicUsize>,
    _bucket: Option<Arc<FakeS3>>,
    _directory: Arc<TempDir>,
}

impl Clone for World {
    fn clone(&self) -> Self {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        Self {
            registry: Arc::clone(&self.replicas[next % self.replicas.len()]),
            meta: Arc::clone(&self.meta),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            spawner: self.spawner.clone(),
            policy: Arc::clone(&self.policy),
            replicas: Arc::clone(&self.replicas),
            next: Arc::clone(&self.next),
            _bucket: self._bucket.clone(),
            _directory: Arc::clone(&self._directory),
        }
    }
}

/// Some content.
pub(super) fn bytes(seed: u8) -> Bytes {
    vec![seed; 1_000].into()
}

pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

type Kept = (Arc<dyn Metadata>, Arc<dyn BlobStore>);

impl Over {
    pub(super) async fn world(self) -> World {
        let directory = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000)));
        let policy = Arc::new(Engine::open());
        let spawner = Spawner::new();
        let (kept, bucket) = match self {
            Self::Directory => (vec![embedded(directory.path(), &clock)], None),
            Self::Replicas => {
                let (kept, bucket) = replicas(directory.path(), &clock).await;
                (kept, Some(Arc::new(bucket)))
            }
        };
        let (meta, store) = kept[0].clone();
        let replicas: Arc<[_]> = kept
            .into_iter()
            .zip(1..)
            .map(|((meta, store), seed)| {
                let parts = Parts {
                    meta,
                    store,
                    policy: Arc::clone(&policy),
                    clock: Arc::clone(&clock) as _,
                    rng: Arc::new(SeededRng::new(seed)),
                    spawner: spawner.clone(),
                };
                let config = Config { delete_tags: true, ..Config::default() };
                let day = HumanDuration::hours(24);
                let gc = GcConfig { grace: day, trash: day, share_percent: 100, ..GcConfig::default() };
                Registry::new(parts, Settings { registry: config, gc, ..Settings::default() })
            })
            .collect();
        World {
            registry: Arc::clone(&replicas[0]),
            meta,
            store,
            clock,
            spawner,
            policy,
            replicas,
            next: Arc::default(),
            _bucket: bucket,
            _directory: Arc::new(directory),
        }
    }
}

fn embedded(directory: &Path, clock: &Arc<ManualClock>) -> Kept {
    let store = DirectoryStore::open(&directory.join("data"), &**clock, &SeededRng::new(1)).unwrap();
    let meta = SqliteMetadata::open(&directory.join("wharf.db"), &SqliteConfig::default()).unwrap();
    (Arc::new(meta), Arc::new(store))
}

async fn replicas(directory: &Path, clock: &Arc<ManualClock>) -> (Vec<Kept>, FakeS3) {
    let objects = directory.join("objects");
    std::fs::create_dir(&objects).unwrap();
    let bucket = FakeS3::start(&objects).await;
    let config = BucketConfig {
        bucket: bucket.bucket("one"),
        prefix: String::new(),
        endpoint: Some(bucket.endpoint()),
        region: Some("us-east-1".to_owned()),
        path_style: true,
        credentials: Some((FakeS3::KEY.to_owned(), Secret::new(FakeS3::SECRET.to_owned()))),
        encryption: Encryption::AsSet,
        ca_file: None,
        allow_http: true,
        blob_size_max: 1 << 30,
    };
    let database = PostgresServer::shared().database();
    let postgres = PostgresConfig { url: Some(database.url.parse().unwrap()), ..PostgresConfig::default() };
    let mut kept: Vec<Kept> = Vec::new();
    for number in 0..2 {
        let own = directory.join(number.to_string());
        std::fs::create_dir(&own).unwrap();
        let meta = PostgresMetadata::open(&postgres, &own.join("wharf.db"), Sharing::Replicas).await.unwrap();
        let rng = Arc::new(SeededRng::new(100 + number));
        let store = BucketStore::open(&config, Arc::clone(clock) as _, rng).await.unwrap();
        kept.push((Arc::new(meta), Arc::new(store)));
    }
    (kept, bucket)
}

impl World {
    /// That `A` is allowed on `repository`.
    pub(super) fn may<A: Permission<Target = RepositoryName>>(&self, repository: &str) -> Authorized<A> {
        let asker = Asker::new(Principal::anonymous(), None, "race".into());
        self.policy.authorize::<A>(&asker, repository.parse().unwrap()).unwrap()
    }

    pub(super) fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }

    // What clients do -----------------------------------------------------------------------------------------------

    pub(super) async fn push(self, repository: &'static str, bytes: Bytes) -> Result<FinishedBlob, Error> {
        let digest = digest(&bytes);
        self.registry.push_blob(&self.may(repository), digest, chunk(bytes)).await
    }

    pub(super) async fn begin(&self, repository: &'static str) -> UploadId {
        self.registry.begin_upload(&self.may(repository), Algorithm::Sha256).await.unwrap().id
    }

    pub(super) async fn append(self, repository: &'static str, upload: UploadId, bytes: Bytes) -> Result<u64, Error> {
        let appended = self.registry.append(&self.may(repository), upload, chunk(bytes)).await;
        appended.map(|status| status.offset_bytes)
    }

    pub(super) async fn finish(
        self,
        repository: &'static str,
        upload: UploadId,
        whole: Bytes,
        rest: Bytes,
    ) -> Result<FinishedBlob, Error> {
        self.registry.finish_upload(&self.may(repository), upload, digest(&whole), chunk(rest)).await
    }

    pub(super) async fn mount(self, from: &'static str, to: &'static str, bytes: Bytes) -> Result<bool, Error> {
        let from = from.parse().unwrap();
        let mounted = self.registry.mount(&self.may::<Push>(to), digest(&bytes), Some(&from)).await?;
        Ok(matches!(mounted, Mounted::Blob(_)))
    }

    /// An image of this one blob, under `tag`.
    pub(super) async fn push_image(
        self,
        repository: &'static str,
        blob: Bytes,
        tag: &'static str,
    ) -> Result<PushedManifest, Error> {
        self.push_manifest(repository, IMAGE, image(&blob), tag).await
    }

    /// An index of the image of this one blob, under `tag`.
    pub(super) async fn push_index(
        self,
        repository: &'static str,
        blob: Bytes,
        tag: &'static str,
    ) -> Result<PushedManifest, Error> {
        let child = image(&blob);
        let (digest, size) = (digest(&child), child.len());
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{IMAGE}","digest":"{digest}","size":{size}}}]}}"#
        );
        self.push_manifest(repository, INDEX, index.into(), tag).await
    }

    async fn push_manifest(
        self,
        repository: &'static str,
        media_type: &'static str,
        body: Bytes,
        tag: &'static str,
    ) -> Result<PushedManifest, Error> {
        let target = ManifestTarget::Tag { tag: tag.parse().unwrap(), digest: None };
        let request = PushManifest { target, content_type: Some(media_type), body, condition: Condition::None };
        self.registry.push_manifest(&self.may(repository), request).await
    }

    pub(super) async fn delete_image(self, repository: &'static str, blob: Bytes) -> Result<usize, Error> {
        let deleted = self.registry.delete_manifest(&self.may::<Delete>(repository), &image_digest(&blob)).await;
        deleted.map(|deleted| deleted.parents.len())
    }

    pub(super) async fn delete_blob(self, repository: &'static str, bytes: Bytes) -> Result<(), Error> {
        self.registry.delete_blob(&self.may(repository), &digest(&bytes)).await
    }

    pub(super) async fn restore_image(self, repository: &'static str, blob: Bytes) -> Result<Restored, Error> {
        self.registry.restore(&self.may(repository), &RestoreFrom::Manifest(image_digest(&blob))).await
    }

    /// Whether a client that may push is told that it is there.
    pub(super) async fn look(self, repository: &'static str, bytes: Bytes) -> Result<bool, Error> {
        match self.registry.blob_head(&self.may(repository), &digest(&bytes)).await {
            Ok(_) => Ok(true),
            Err(Error::BlobUnknown(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The blob as the repository serves it; `None`: it does not have it.
    pub(super) async fn pull(self, repository: &'static str, bytes: Bytes) -> Result<Option<Vec<u8>>, Error> {
        let open = match self.registry.open_blob(&self.may::<Pull>(repository), &digest(&bytes)).await {
            Ok(open) => open,
            Err(Error::BlobUnknown(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let pieces: Vec<Bytes> = open.stream(0..open.size_bytes).try_collect().await.unwrap();
        Ok(Some(pieces.concat()))
    }

    // What must hold ------------------------------------------------------------------------------------------------

    /// The repository serves the blob, byte for byte.
    #[track_caller]
    pub(super) fn serves(&self, repository: &'static str, bytes: &Bytes) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        let (world, bytes) = (self.clone(), bytes.clone());
        async move {
            let found =
                world.pull(repository, bytes.clone()).await.unwrap_or_else(|error| panic!("{place}: {error:?}"));
            assert!(found.is_some(), "{place}: {repository} does not have the blob");
            assert!(found.is_some_and(|found| found == bytes), "{place}: other bytes");
        }
    }

    /// The repository does not have the blob.
    pub(super) async fn lacks(&self, repository: &'static str, bytes: &Bytes) {
        assert!(self.clone().pull(repository, bytes.clone()).await.unwrap().is_none(), "{repository} has the blob");
    }

    /// Whether the repository has the image of this one blob.
    pub(super) async fn has_image(&self, repository: &'static str, blob: &Bytes) -> bool {
        let reference = Reference::Digest(image_digest(blob));
        match self.registry.manifest_head(&self.may(repository), &reference).await {
            Ok(_) => true,
            Err(Error::ManifestUnknown(_)) => false,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Whose image a tag names.
    pub(super) async fn tag_is(&self, repository: &'static str, tag: &str, blob: &Bytes) -> bool {
        let reference = Reference::Tag(tag.parse().unwrap());
        let head = self.registry.manifest_head(&self.may(repository), &reference).await;
        head.is_ok_and(|head| head.digest == image_digest(blob))
    }

    pub(super) async fn is_stored(&self, bytes: &Bytes) -> bool {
        let mut after = None;
        loop {
            let listed = self.store.list(after.as_ref(), 1_000).await.unwrap();
            for entry in listed.entries {
                if self.holds(entry, bytes).await {
                    return true;
                }
            }
            after = listed.next;
            if after.is_none() {
                return false;
            }
        }
    }

    /// Whether it is content with these bytes.
    async fn holds(&self, entry: Entry, bytes: &Bytes) -> bool {
        let digest = digest(bytes);
        let location = match entry {
            Entry::Content(found) => return found == digest,
            Entry::Located(location) => location,
            _ => return false,
        };
        match self.store.open(&Place { digest, location }, bytes.len() as u64).await {
            Ok(Some(reader)) => {
                let pieces: Vec<Bytes> = reader.stream(0..bytes.len() as u64).try_collect().await.unwrap();
                pieces.concat() == *bytes
            }
            _ => false,
        }
    }

    // The collector -------------------------------------------------------------------------------------------------

    /// What a push leaves that dies before it has recorded what it placed.
    pub(super) async fn leave(&self, bytes: &Bytes) {
        let upload = UploadId::generate(&*self.clock, &SeededRng::new(9));
        let mut writer = self.store.writer(upload, Algorithm::Sha256, None, None).await.unwrap();
        writer.write(bytes.clone()).await.unwrap();
        drop(writer.commit(&digest(bytes)).await.unwrap());
    }

    /// Collects until nothing is due.
    pub(super) async fn collect(self) -> Totals {
        let mut totals = Totals::default();
        loop {
            let done = self.registry.collect_step().await.unwrap();
            if done.is_empty() {
                return totals;
            }
            totals.add(&done);
        }
    }

    /// Lists everything, and lets go what nothing leads to.
    pub(super) async fn sweep(self) -> Totals {
        let mut totals = Totals::default();
        self.registry.sweep(None, &mut totals).await.unwrap();
        totals
    }

    /// Reviews what will be due in a day, as a collector with a shorter grace period would.
    pub(super) async fn review_early(&self) {
        let then = wharf_base::Clock::now(&*self.clock).plus(DAY);
        self.meta.review_blobs(then, wharf_base::Clock::now(&*self.clock), 50).await.unwrap();
    }

    /// A blob of `repository` that nothing holds, whose review is due.
    pub(super) async fn due(&self, repository: &'static str, bytes: &Bytes) {
        self.clone().push(repository, bytes.clone()).await.unwrap();
        self.pass(DAY);
    }

    /// A blob that is condemned, and whose time to go has come.
    pub(super) async fn condemned(&self, repository: &'static str, bytes: &Bytes) {
        self.due(repository, bytes).await;
        assert_eq!(self.clone().collect().await.condemned, 1);
        self.pass(DAY);
    }
}

/// An image of one blob, which is its configuration.
fn image(blob: &[u8]) -> Bytes {
    let (digest, size) = (digest(blob), blob.len());
    let config = "application/vnd.oci.image.config.v1+json";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{{"mediaType":"{config}","digest":"{digest}","size":{size}}},"layers":[]}}"#
    );
    manifest.into()
}

fn image_digest(blob: &[u8]) -> Digest {
    digest(&image(blob))
}

fn chunk(bytes: Bytes) -> Chunk {
    let length_bytes = Some(bytes.len() as u64);
    Chunk { range: None, length_bytes, body: futures_util::stream::once(async move { Ok(bytes) }).boxed() }
}

/// `second` runs to its end while `first` stands at `place`; then `first` goes on. What both came to.
pub(super) async fn race<A, B>(
    place: &'static str,
    first: impl Future<Output = A> + Send + 'static,
    second: impl Future<Output = B>,
) -> (A, B)
where
    A: Send + 'static,
{
    let (held, first) = held_at(place, first);
    let mut first = tokio::spawn(first);
    standing(place, &held, &mut first).await;
    let second = second.await;
    held.release();
    (first.await.unwrap(), second)
}

/// As [`race`], but the second one may have to wait for the first.
pub(super) async fn race_for_a_lock<A, B>(
    place: &'static str,
    first: impl Future<Output = A> + Send + 'static,
    second: impl Future<Output = B> + Send + 'static,
) -> (A, B)
where
    A: Send + 'static,
    B: Send + 'static,
{
    let (held, first) = held_at(place, first);
    let mut first = tokio::spawn(first);
    standing(place, &held, &mut first).await;
    let mut second = tokio::spawn(second);
    let early = tokio::time::timeout(WHILE_HELD, &mut second).await;
    held.release();
    let first = first.await.unwrap();
    let second = match early {
        Ok(second) => second.unwrap(),
        Err(_) => second.await.unwrap(),
    };
    (first, second)
}

/// `first` is dropped where it stands, as if its process had died there; what it had locked is free then.
pub(super) async fn die<A: Send + 'static>(place: &'static str, first: impl Future<Output = A> + Send + 'static) {
    let (held, first) = held_at(place, first);
    let mut first = tokio::spawn(first);
    standing(place, &held, &mut first).await;
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
}

/// Waits until `first` stands at `place`.
async fn standing<A>(place: &'static str, held: &Held, first: &mut JoinHandle<A>) {
    tokio::select! {
        () = held.arrived() => {}
        _ = first => panic!("it did not pass {place}"),
    }
}
