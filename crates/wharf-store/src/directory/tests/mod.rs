#![allow(clippy::unwrap_used)]

mod faults;
mod faulty;
mod opening;
mod planted;
mod properties;
mod restart;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tempfile::TempDir;
use wharf_base::{ManualClock, Rng, SeededRng, Timestamp, UploadId};
use wharf_oci::{Algorithm, Digest};

use super::DirectoryStore;
use super::files::{Files, SystemFiles};
use crate::{BlobStore, Checkpoint, Error, OpenError, Place, Placed};

pub(super) const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_directory_passes_the_examination() {
    let parent = TempDir::new().unwrap();
    let number = std::cell::Cell::new(0);
    crate::contract::examine(|| {
        number.set(number.get() + 1);
        let path = parent.path().join(number.get().to_string());
        std::future::ready(Arc::new(open(&path).unwrap()) as Arc<dyn BlobStore>)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_passes_the_examination_on_several_threads() {
    let parent = TempDir::new().unwrap();
    let number = std::sync::atomic::AtomicU32::new(0);
    crate::contract::examine(|| {
        let next = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = parent.path().join(next.to_string());
        std::future::ready(Arc::new(open(&path).unwrap()) as Arc<dyn BlobStore>)
    })
    .await;
}

#[tokio::test]
async fn nothing_is_remembered_of_uploads_that_ended() {
    let parent = TempDir::new().unwrap();
    let store = open(&parent.path().join("data")).unwrap();
    let content = content(10);
    let digest = Digest::of(Algorithm::Sha256, &content);
    drop(push(&store, &content, &digest).await.unwrap());
    drop(push(&store, &content, &Digest::of(Algorithm::Sha256, b"")).await.unwrap_err());
    drop(stage(&store, upload(2), &content).await);
    store.discard(upload(2)).await.unwrap();
    drop(store.writer(upload(3), Algorithm::Sha256, None, None).await.unwrap());
    store.discard(upload(3)).await.unwrap();
    let writer = store.writer(upload(4), Algorithm::Sha256, None, None).await.unwrap();
    store.discard(upload(4)).await.unwrap();
    drop(writer);
    assert_eq!(store.root.sessions.count(), 0);
}

#[tokio::test]
async fn r006_space_is_set_aside_and_given_back() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("data");
    let store = open(&path).unwrap();
    let free_before = store.space().await.unwrap().unwrap();
    assert!(free_before.free_bytes <= free_before.total_bytes && free_before.total_bytes > 0);
    assert!(!store.give_back().await.unwrap());
    for _ in 0..2 {
        assert!(store.keep_reserve(MIB as u64).await.unwrap());
        let taken =
            std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(path.join("wharf.reserve")).unwrap()) * 512;
        assert!(taken >= MIB as u64, "only {taken} bytes are taken up");
    }
    assert!(store.give_back().await.unwrap());
    assert!(!path.join("wharf.reserve").exists());
}

#[tokio::test]
async fn a_directory_that_is_not_at_its_path_any_more_is_noticed() {
    let parent = TempDir::new().unwrap();
    let (path, elsewhere) = (parent.path().join("data"), parent.path().join("elsewhere"));
    let store = open(&path).unwrap();
    std::fs::rename(&path, &elsewhere).unwrap();
    assert!(matches!(store.space().await, Err(Error::Gone { .. })));
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(store.space().await, Err(Error::Gone { .. })), "another directory took its place");
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&elsewhere, &path).unwrap();
    store.space().await.unwrap();
}

pub(super) fn open(path: &Path) -> Result<DirectoryStore, OpenError> {
    open_with(Arc::new(SystemFiles), path)
}

pub(super) fn open_with(files: Arc<dyn Files>, path: &Path) -> Result<DirectoryStore, OpenError> {
    DirectoryStore::open_with(files, path, &ManualClock::at(Timestamp::from_micros(1)), &SeededRng::new(1))
}

pub(super) fn upload(number: u64) -> UploadId {
    UploadId::generate(&ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000)), &SeededRng::new(number))
}

pub(super) fn content(len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    SeededRng::new(len as u64).fill(&mut bytes);
    bytes.into()
}

/// Pushes `content` as upload 1.
pub(super) async fn push(store: &DirectoryStore, content: &Bytes, digest: &Digest) -> Result<Placed, Error> {
    let mut writer = store.writer(upload(1), digest.algorithm(), None, Some(content.len() as u64)).await?;
    writer.write(content.clone()).await?;
    writer.commit(digest).await
}

/// Stages `content` as `upload` from the beginning.
pub(super) async fn stage(store: &DirectoryStore, upload: UploadId, content: &Bytes) -> Checkpoint {
    let mut writer = store.writer(upload, Algorithm::Sha256, None, None).await.unwrap();
    writer.write(content.clone()).await.unwrap();
    writer.checkpoint().await.unwrap()
}

/// All of the content of `digest`; `None`: nothing there.
pub(super) async fn read(store: &DirectoryStore, digest: &Digest) -> Option<Vec<u8>> {
    let size = store.stat(&at(digest)).await.unwrap()?;
    let reader = store.open(&at(digest), size).await.unwrap().unwrap();
    let chunks: Vec<Bytes> = reader.stream(0..size).try_collect().await.unwrap();
    Some(chunks.concat())
}

/// A directory puts content where its digest says.
pub(super) fn at(digest: &Digest) -> Place {
    Place::by_digest(*digest)
}
