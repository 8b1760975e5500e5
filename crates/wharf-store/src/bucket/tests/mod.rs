#![allow(clippy::unwrap_used)]

mod faults;
mod real;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt;
use wharf_base::{ByteSize, Clock, Location, Rng, Secret, SystemClock, SystemRng};
use wharf_oci::{Algorithm, Digest};
use wharf_testkit::FakeS3;

use super::{BucketConfig, BucketStore, Encryption};
use crate::contract::{content, upload};
use crate::{BlobStore, BucketError, Checkpoint, Entry, Error, Place, StagedBytes};

const MIB: usize = 1 << 20;

const KEY: &str = FakeS3::KEY;
const SECRET: &str = FakeS3::SECRET;

/// A server, and the directory that its objects are in.
struct Server {
    s3: FakeS3,
    _directory: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        let directory = tempfile::TempDir::new().unwrap();
        Self { s3: FakeS3::start(directory.path()).await, _directory: directory }
    }

    fn write(&self, bucket: &str, key: &str, bytes: &[u8]) {
        std::fs::write(self.path(bucket, key), bytes).unwrap();
    }

    fn read(&self, bucket: &str, key: &str) -> Vec<u8> {
        std::fs::read(self.path(bucket, key)).unwrap()
    }
}

impl std::ops::Deref for Server {
    type Target = FakeS3;

    fn deref(&self) -> &FakeS3 {
        &self.s3
    }
}

fn config(endpoint: &str, bucket: &str) -> BucketConfig {
    BucketConfig {
        bucket: bucket.to_owned(),
        prefix: "some/prefix".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        region: Some("us-east-1".to_owned()),
        path_style: true,
        credentials: Some((KEY.to_owned(), Secret::new(SECRET.to_owned()))),
        encryption: Encryption::AsSet,
        ca_file: None,
        allow_http: true,
        blob_size_max: 1 << 30,
    }
}

async fn open(config: &BucketConfig) -> Result<BucketStore, BucketError> {
    let (clock, rng): (Arc<dyn Clock>, Arc<dyn Rng>) = (Arc::new(SystemClock::new()), Arc::new(SystemRng));
    BucketStore::open(config, clock, rng).await
}

async fn push(store: &dyn BlobStore, content: &Bytes) -> Result<Place, Error> {
    let digest = Digest::of(Algorithm::Sha256, content);
    let mut writer = store.writer(upload(1), Algorithm::Sha256, None, None).await?;
    for piece in content.chunks(700_001) {
        writer.write(content.slice_ref(piece)).await?;
    }
    let placed = writer.commit(&digest).await?;
    Ok(placed.place().clone())
}

async fn read(store: &dyn BlobStore, place: &Place, len: usize) -> std::io::Result<Vec<u8>> {
    let opened = store.open(place, len as u64).await.map_err(std::io::Error::other)?;
    let Some(reader) = opened else { return Err(std::io::ErrorKind::NotFound.into()) };
    let chunks: Vec<Bytes> = reader.stream(0..len as u64).try_collect().await?;
    Ok(chunks.concat())
}

/// Everything that lies below the prefix.
async fn everything(store: &BucketStore) -> Vec<Entry> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(after.as_ref(), 2).await.unwrap();
        all.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_passes_the_examination() {
    let server = Server::start().await;
    let number = AtomicU64::new(0);
    crate::contract::examine(|| {
        let bucket = server.bucket(&format!("bucket-{}", number.fetch_add(1, Ordering::Relaxed)));
        let config = config(&server.endpoint(), &bucket);
        async move { Arc::new(open(&config).await.unwrap()) as Arc<dyn BlobStore> }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_recognized_and_a_second_store_beside_it_is_another() {
    let server = Server::start().await;
    let bucket = server.bucket("one");
    let config = config(&server.endpoint(), &bucket);
    let first = open(&config).await.unwrap();
    assert!(first.is_new());
    let again = open(&config).await.unwrap();
    assert!(!again.is_new());
    assert_eq!(again.store_id(), first.store_id());
    let other = BucketConfig { prefix: "some/other".to_owned(), ..config.clone() };
    let other = open(&other).await.unwrap();
    assert_ne!(other.store_id(), first.store_id());
    assert!(everything(&first).await.is_empty(), "nothing is left of the probes, and nobody else's is listed");
    let whole = BucketConfig { prefix: String::new(), ..config };
    let whole = open(&whole).await.unwrap();
    assert_eq!(everything(&whole).await, [Entry::Foreign { place: "some".to_owned() }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_says_why() {
    let server = Server::start().await;
    let bucket = server.bucket("one");
    let good = config(&server.endpoint(), &bucket);
    let wrong = BucketConfig { credentials: Some((KEY.to_owned(), Secret::new("wrong".to_owned()))), ..good.clone() };
    let refused = open(&wrong).await.unwrap_err();
    assert!(matches!(&refused, BucketError::Refused { .. }), "{refused:?}");
    assert!(!format!("{refused:?}").contains(SECRET));
    let plain = BucketConfig { allow_http: false, ..good.clone() };
    assert!(open(&plain).await.is_err(), "a plain connection has to be allowed");
    let no_file = BucketConfig { ca_file: Some("/nonexistent".into()), ..good.clone() };
    assert!(matches!(open(&no_file).await, Err(BucketError::Certificates { .. })));
    drop(open(&good).await.unwrap());
    server.write(&bucket, "some/prefix/wharf.id", b"{\"layout\":2,\"store_id\":\"x\"}");
    assert!(matches!(open(&good).await, Err(BucketError::NewerLayout { found: 2, known: 1, .. })));
    server.write(&bucket, "some/prefix/wharf.id", b"nonsense");
    assert!(matches!(open(&good).await, Err(BucketError::BadId { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_in_another_process_with_parts_and_a_rest() {
    let server = Server::start().await;
    let bucket = server.bucket("one");
    let config = config(&server.endpoint(), &bucket);
    let content = content(27 * MIB + 5);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let mut at: Option<Checkpoint> = None;
    let ends = [1, 3 * MIB, 8 * MIB, 8 * MIB + 1, 16 * MIB, 25 * MIB, 27 * MIB, 27 * MIB + 5];
    let mut start = 0;
    for end in ends {
        // Each has been opened anew, and knows of the others only what is in the bucket.
        let store = open(&config).await.unwrap();
        // One that is cut off in between, with parts on their way.
        let mut lost = store.writer(upload(1), Algorithm::Sha256, at.as_ref(), None).await.unwrap();
        lost.write(Bytes::from(vec![b'!'; 17 * MIB])).await.unwrap();
        drop(lost);
        let mut writer = store.writer(upload(1), Algorithm::Sha256, at.as_ref(), None).await.unwrap();
        assert_eq!(writer.offset_bytes(), start as u64);
        writer.write(content.slice(start..end)).await.unwrap();
        let reached = writer.checkpoint().await.unwrap();
        assert_eq!(everything(&store).await, [Entry::Staged(upload(1))]);
        assert!(server.objects(&bucket).len() <= 9, "too much is kept: {:?}", server.objects(&bucket));
        let looked = store.open_staged(upload(1), end as u64).await.unwrap();
        assert!(matches!(looked, StagedBytes::Readable(_) | StagedBytes::Opaque), "{looked:?}");
        assert!(matches!(store.open_staged(upload(1), end as u64 + 1).await.unwrap(), StagedBytes::Lost));
        (start, at) = (end, Some(reached));
    }
    let store = open(&config).await.unwrap();
    let writer = store.writer(upload(1), Algorithm::Sha256, at.as_ref(), None).await.unwrap();
    let placed = writer.commit(&digest).await.unwrap();
    let place = placed.place().clone();
    assert!(read(&store, &place, content.len()).await.unwrap() == content);
    assert!(placed.leaves_staged(), "until it is recorded somebody else may go on with it");
    store.discard(upload(1)).await.unwrap();
    assert_eq!(everything(&store).await, [Entry::Located(place.location)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_hash_state_of_an_upload_with_parts_is_lost() {
    let server = Server::start().await;
    let bucket = server.bucket("one");
    let store = open(&config(&server.endpoint(), &bucket)).await.unwrap();
    let mut writer = store.writer(upload(1), Algorithm::Sha256, None, None).await.unwrap();
    writer.write(content(9 * MIB)).await.unwrap();
    let at = writer.checkpoint().await.unwrap();
    let foreign = Checkpoint { hash_state: crate::HashState::from_bytes(b"another".to_vec()), ..at.clone() };
    let resumed = store.writer(upload(1), Algorithm::Sha256, Some(&foreign), None).await;
    assert!(matches!(resumed.err(), Some(Error::StagedLost)));
    assert!(store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.is_ok(), "nothing was disturbed");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_rot_between_two_requests_are_noticed() {
    let server = Server::start().await;
    let bucket = server.bucket("one");
    let store = open(&config(&server.endpoint(), &bucket)).await.unwrap();
    let mut writer = store.writer(upload(1), Algorithm::Sha256, None, None).await.unwrap();
    writer.write(content(5_000)).await.unwrap();
    let at = writer.checkpoint().await.unwrap();
    let kept = server.objects(&bucket).into_iter().find(|key| key.contains("uploads/")).unwrap();
    let mut bytes = server.read(&bucket, &kept);
    *bytes.last_mut().unwrap() ^= 1;
    server.write(&bucket, &kept, &bytes);
    let resumed = store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await;
    assert!(matches!(resumed.err(), Some(Error::StagedLost)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_by_a_process_that_died_is_given_up_with_the_upload() {
    let server = Server::start().await;
    let bucket = server.bucket("one");
    let store = open(&config(&server.endpoint(), &bucket)).await.unwrap();
    let mut writer = store.writer(upload(1), Algorithm::Sha256, None, None).await.unwrap();
    writer.write(content(20 * MIB)).await.unwrap();
    drop(writer);
    assert_eq!(everything(&store).await, [Entry::Staged(upload(1))]);
    store.discard(upload(1)).await.unwrap();
    assert!(everything(&store).await.is_empty());
    assert_eq!(server.unfinished(), 0, "the multipart upload has been given up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_gives_the_content_to_whoever_has_it_and_nobody_else() {
    let server = Server::start().await;
    let bucket = server.bucket("one");
    let store = open(&config(&server.endpoint(), &bucket)).await.unwrap();
    let content = content(3 * MIB);
    let place = push(&store, &content).await.unwrap();
    let link =
        store.link(&place, "application/octet-stream", std::time::Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(!link.contains(SECRET));
    let client = reqwest::Client::new();
    let got = client.get(&link).header("range", "bytes=5-1004").send().await.unwrap();
    assert_eq!(got.status(), 206);
    assert!(got.bytes().await.unwrap() == content.slice(5..1005));
    let forged = link.replace("X-Amz-Expires=60", "X-Amz-Expires=6000");
    assert_ne!(forged, link);
    assert!(client.get(&forged).send().await.unwrap().status().is_client_error());
    assert!(
        store.link(&Place::by_digest(place.digest), "a/b", std::time::Duration::from_secs(1)).await.unwrap().is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_names_can_be_looked_at_and_removed() {
    let server = Server::start().await;
    let bucket = server.bucket("one");
    let store = open(&config(&server.endpoint(), &bucket)).await.unwrap();
    let place = push(&store, &content(100)).await.unwrap();
    let survey = store.survey_unnamed(&[place.location.clone(), Location::recorded("nonsense")]).await.unwrap();
    assert!(matches!(&survey[..], [Ok(Some(facts)), Ok(None)] if facts.size_bytes == 100), "{survey:?}");
    assert!(store.remove_unnamed(&place.location).await.unwrap());
    assert!(!store.remove_unnamed(&place.location).await.unwrap());
    server.write(&bucket, "some/prefix/blobs/stranger", b"x");
    assert_eq!(everything(&store).await, [Entry::Foreign { place: "blobs/stranger".to_owned() }]);
}

#[test]
fn parts_grow_with_the_largest_blob() {
    let sized = |size: &str| {
        let size: ByteSize = size.parse().unwrap();
        let config = BucketConfig { blob_size_max: size.as_u64(), ..config("http://x", "b") };
        (config.part_bytes(), size.as_u64())
    };
    for size in ["1 MiB", "10 GiB", "100 GiB", "160 GiB", "5 TiB"] {
        let (part_bytes, most_bytes) = sized(size);
        assert!(part_bytes >= 5 << 20 && part_bytes % (1 << 20) == 0);
        assert!(part_bytes * 10_000 >= most_bytes, "{size}");
    }
    assert_eq!(sized("10 GiB").0, 8 << 20, "two of these are in memory");
    assert!(sized("150 GiB").0 <= 16 << 20, "so 32 MiB are enough");
}
