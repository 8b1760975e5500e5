//! Things that the store did not put where it finds them (S-068, B-036, B-139).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use rustix::fs::{FileType, Mode};

use super::*;

struct World {
    store: DirectoryStore,
    path: PathBuf,
    content: Bytes,
    digest: Digest,
    _parent: TempDir,
}

impl World {
    /// A store that contains one blob of 1000 bytes.
    async fn new() -> Self {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("data");
        let store = open(&path).unwrap();
        let content = content(1000);
        let digest = Digest::of(Algorithm::Sha256, &content);
        drop(push(&store, &content, &digest).await.unwrap());
        Self { store, path, content, digest, _parent: parent }
    }

    fn file(&self) -> PathBuf {
        let hex = self.digest.hex();
        self.path.join("layers/sha256").join(&hex[..2]).join(hex)
    }
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

#[tokio::test]
async fn b139_content_that_is_no_regular_file_is_damaged_and_left_alone() {
    type Plant = fn(&Path);
    let plants: [(&str, Plant); 4] = [
        ("directory", |path| fs::create_dir(path).unwrap()),
        ("link to a file", |path| {
            let target = path.with_extension("target");
            fs::write(&target, content(1000)).unwrap();
            symlink(target, path).unwrap();
        }),
        ("dangling link", |path| symlink("nowhere", path).unwrap()),
        ("fifo", fifo),
    ];
    for (what, plant) in plants {
        let world = World::new().await;
        fs::remove_file(world.file()).unwrap();
        plant(&world.file());
        let before = fs::symlink_metadata(world.file()).unwrap().file_type();

        let opened = world.store.open(&at(&world.digest), 1000).await;
        assert!(matches!(opened, Err(Error::Damaged { .. })), "{what}: {opened:?}");
        let found = world.store.stat(&at(&world.digest)).await;
        assert!(matches!(found, Err(Error::Damaged { .. })), "{what}: {found:?}");
        let removed = world.store.delete(&at(&world.digest)).await;
        assert!(matches!(removed, Err(Error::Damaged { .. })), "{what}: {removed:?}");
        let pushed = push(&world.store, &world.content, &world.digest).await;
        assert!(matches!(pushed, Err(Error::Damaged { .. })), "{what}: {pushed:?}");
        assert_eq!(fs::symlink_metadata(world.file()).unwrap().file_type(), before, "{what}");

        let other = content(77);
        let digest = Digest::of(Algorithm::Sha256, &other);
        drop(push(&world.store, &other, &digest).await.unwrap());
        assert_eq!(read(&world.store, &digest).await.unwrap(), other, "others are fine beside a {what}");
    }
}

#[tokio::test]
async fn s068_a_linked_directory_on_the_way_is_not_followed() {
    let world = World::new().await;
    let prefix = world.file().parent().unwrap().to_path_buf();
    let elsewhere = world.path.join("elsewhere");
    fs::rename(&prefix, &elsewhere).unwrap();
    symlink(&elsewhere, &prefix).unwrap();
    let opened = world.store.open(&at(&world.digest), 1000).await;
    assert!(matches!(opened, Err(Error::Damaged { .. })), "{opened:?}");
    world.store.delete(&at(&world.digest)).await.unwrap_err();
    push(&world.store, &world.content, &world.digest).await.unwrap_err();
    assert_eq!(fs::read(elsewhere.join(world.digest.hex())).unwrap(), world.content);
}

#[tokio::test]
async fn b036_content_of_another_size_is_damaged_until_it_is_pushed_again() {
    for size in [0, 999, 1001] {
        let world = World::new().await;
        fs::OpenOptions::new().write(true).open(world.file()).unwrap().set_len(size).unwrap();
        let opened = world.store.open(&at(&world.digest), 1000).await;
        assert!(matches!(opened, Err(Error::Damaged { .. })), "{size} bytes: {opened:?}");
        drop(push(&world.store, &world.content, &world.digest).await.unwrap());
        assert_eq!(read(&world.store, &world.digest).await.unwrap(), world.content);
    }
}

#[tokio::test]
async fn b036_content_that_is_cut_while_being_read_ends_with_an_error() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("data");
    let store = open(&path).unwrap();
    let content = content(4 * MIB);
    let digest = Digest::of(Algorithm::Sha256, &content);
    drop(push(&store, &content, &digest).await.unwrap());
    let reader = store.open(&at(&digest), 4 * MIB as u64).await.unwrap().unwrap();
    let hex = digest.hex();
    let file = path.join("layers/sha256").join(&hex[..2]).join(hex);
    for cut in [0, 1, 2 * MIB as u64, 4 * MIB as u64 - 1] {
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(cut).unwrap();
        let mut stream = reader.stream(0..4 * MIB as u64);
        let mut received = 0;
        let error = loop {
            match stream.try_next().await {
                Ok(Some(chunk)) => received += chunk.len() as u64,
                Ok(None) => panic!("cut to {cut}: ended after {received} bytes as if that were all"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        assert!(received <= cut);
        assert!(matches!(stream.try_next().await, Ok(None)), "the error is the end");
        fs::write(&file, &content).unwrap();
    }
}

#[tokio::test]
async fn s068_planted_staged_files_are_not_written_through() {
    let world = World::new().await;
    let victim = world.path.join("victim");
    fs::write(&victim, b"precious").unwrap();
    let staged = world.path.join("uploads").join(upload(7).to_string());
    symlink(&victim, &staged).unwrap();
    let begins = async || {
        let opened = world.store.writer(upload(7), Algorithm::Sha256, None, Some(MIB as u64)).await;
        let mut small = world.store.writer(upload(7), Algorithm::Sha256, None, None).await.unwrap();
        small.write(world.content.slice(..3)).await.unwrap();
        opened.is_ok() || small.checkpoint().await.is_ok()
    };
    assert!(!begins().await);
    let at = stage(&world.store, upload(8), &world.content.slice(..3)).await;
    let resumed = world.store.writer(upload(7), Algorithm::Sha256, Some(&at), None).await;
    assert!(resumed.is_err());
    assert_eq!(fs::read(&victim).unwrap(), b"precious");

    world.store.discard(upload(7)).await.unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    fifo(&staged);
    assert!(!begins().await);
}

#[tokio::test]
async fn a_staged_file_that_was_exchanged_is_not_placed() {
    let world = World::new().await;
    let mut writer = world.store.writer(upload(7), Algorithm::Sha256, None, None).await.unwrap();
    writer.write(content(3 * MIB)).await.unwrap();
    let staged = world.path.join("uploads").join(upload(7).to_string());
    fs::OpenOptions::new().append(true).open(&staged).unwrap().set_len(9 * MIB as u64).unwrap();
    let committed = writer.commit(&Digest::of(Algorithm::Sha256, &content(3 * MIB))).await;
    assert!(matches!(committed, Err(Error::StagedLost)), "{committed:?}");
}

#[tokio::test]
async fn s083_everything_is_for_its_owner_alone() {
    let world = World::new().await;
    drop(stage(&world.store, upload(9), &world.content).await);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for directory in ["", "uploads", "layers", "layers/sha256", "layers/sha256/00", "layers/sha256/ff"] {
        assert_eq!(mode(&world.path.join(directory)), 0o700, "{directory}");
    }
    for file in ["wharf.lock", "wharf.id"] {
        assert_eq!(mode(&world.path.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&world.file()), 0o600);
    assert_eq!(mode(&world.path.join("uploads").join(upload(9).to_string())), 0o600);
}
