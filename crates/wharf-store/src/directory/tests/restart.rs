//! The store is opened again: by the next process, after a crash, after a power cut.

use std::fs;

use super::*;

/// A store over the same directory, as the next process would open it.
fn reopen(store: DirectoryStore, path: &Path) -> DirectoryStore {
    drop(store);
    open(path).unwrap()
}

#[tokio::test]
async fn content_and_identity_survive() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("data");
    let store = open(&path).unwrap();
    let content = content(1000);
    let digest = Digest::of(Algorithm::Sha256, &content);
    drop(push(&store, &content, &digest).await.unwrap());
    let id = store.store_id();

    drop(store);
    // Another clock and seed would give another id to a new store.
    let (clock, rng) = (ManualClock::at(Timestamp::from_micros(9)), SeededRng::new(9));
    let store = DirectoryStore::open(&path, &clock, &rng).unwrap();
    assert_eq!(store.store_id(), id);
    assert_eq!(read(&store, &digest).await.unwrap(), content);
}

#[tokio::test]
async fn r021_an_upload_goes_on_in_the_next_process() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("data");
    let store = open(&path).unwrap();
    let content = content(3 * MIB + 1);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let at = stage(&store, upload(1), &content.slice(..2 * MIB + 1)).await;
    let mut writer = store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.unwrap();
    writer.write(Bytes::from(vec![b'!'; 5 * MIB])).await.unwrap();
    drop(writer.checkpoint().await.unwrap());

    let store = reopen(store, &path);
    let mut writer = store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.unwrap();
    writer.write(content.slice(2 * MIB + 1..)).await.unwrap();
    drop(writer.commit(&digest).await.unwrap());
    assert_eq!(read(&store, &digest).await.unwrap(), content);
}

#[tokio::test]
async fn staged_bytes_of_the_right_length_and_wrong_content_are_not_continued() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("data");
    let store = open(&path).unwrap();
    let content = content(2 * MIB);
    let at = stage(&store, upload(1), &content).await;

    // What a power cut may leave: the size was written, a block was not.
    let store = reopen(store, &path);
    let file = path.join("uploads").join(upload(1).to_string());
    let mut staged = fs::read(&file).unwrap();
    staged[MIB..MIB + 4096].fill(0);
    fs::write(&file, staged).unwrap();

    let resumed = store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await;
    assert!(matches!(resumed.err(), Some(Error::StagedLost)));
    assert_eq!(store.root.sessions.count(), 0);

    fs::write(&file, &content).unwrap();
    drop(store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.unwrap());
}

#[tokio::test]
async fn a_staged_file_that_became_shorter_is_lost() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("data");
    let store = open(&path).unwrap();
    let at = stage(&store, upload(1), &content(1000)).await;
    let file = path.join("uploads").join(upload(1).to_string());
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(999).unwrap();
    let resumed = store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await;
    assert!(matches!(resumed.err(), Some(Error::StagedLost)));
}

#[tokio::test]
async fn content_without_a_record_is_kept_by_the_push_that_finds_it() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("data");
    let store = open(&path).unwrap();
    let content = content(1000);
    let digest = Digest::of(Algorithm::Sha256, &content);
    drop(push(&store, &content, &digest).await.unwrap());

    let store = reopen(store, &path);
    let placed = push(&store, &content, &digest).await.unwrap();
    assert_eq!(placed.size_bytes(), 1000);
    drop(placed);
    assert_eq!(fs::read_dir(path.join("uploads")).unwrap().count(), 0);
    assert_eq!(read(&store, &digest).await.unwrap(), content);
}

#[tokio::test]
async fn a_prefix_directory_that_disappeared_is_made_again() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("data");
    let store = open(&path).unwrap();
    let content = content(1000);
    let digest = Digest::of(Algorithm::Sha256, &content);
    fs::remove_dir(path.join("layers/sha256").join(&digest.hex()[..2])).unwrap();
    assert_eq!(read(&store, &digest).await, None);
    assert!(!store.delete(&at(&digest)).await.unwrap());
    drop(push(&store, &content, &digest).await.unwrap());
    assert_eq!(read(&store, &digest).await.unwrap(), content);
}
