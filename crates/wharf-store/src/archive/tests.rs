#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use tempfile::TempDir;
use wharf_base::{SystemClock, SystemRng};
use wharf_oci::{Algorithm, Digest};

use super::{Archive, ArchiveError, Damage, Staged, Swept};
use crate::{Claim, DirectoryStore, OpenError, RestoreTargetError, Restoring};

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn archive(&self) -> Archive {
        Archive::open(&self.0.path().join("content"), &self.0.path().join("staging")).unwrap()
    }

    fn staged_files(&self) -> usize {
        std::fs::read_dir(self.0.path().join("staging")).unwrap().count()
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

fn digest(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

fn stage(archive: &Archive, digest: &Digest, size_bytes: u64, content: &[u8]) -> Result<Staged, ArchiveError> {
    let mut writer = archive.stage(digest, size_bytes)?;
    for piece in content.chunks(3) {
        writer.write(piece)?;
    }
    writer.finish()
}

fn put(archive: &Archive, content: &[u8]) -> Digest {
    let digest = digest(content);
    archive.place(vec![stage(archive, &digest, content.len() as u64, content).unwrap()]).unwrap();
    digest
}

#[test]
fn content_has_its_name_when_it_is_what_the_name_says() {
    let place = Place::new();
    let archive = place.archive();
    let digest = digest(b"content");
    let staged = stage(&archive, &digest, 7, b"content").unwrap();
    assert!(!archive.has(&digest, 7).unwrap(), "not yet");
    archive.place(vec![staged]).unwrap();
    assert!(archive.has(&digest, 7).unwrap());
    assert!(!archive.has(&digest, 8).unwrap(), "not that size");
    assert_eq!(archive.examine(&digest, 7).unwrap(), None);
    assert_eq!(place.staged_files(), 0);
    let long = Digest::of(Algorithm::Sha512, b"content");
    archive.place(vec![stage(&archive, &long, 7, b"content").unwrap()]).unwrap();
    assert_eq!(archive.examine(&long, 7).unwrap(), None);
}

#[test]
fn other_bytes_are_refused_and_leave_nothing() {
    let place = Place::new();
    let archive = place.archive();
    for (size_bytes, content) in [(7, &b"c0ntent"[..]), (7, b"conten"), (7, b"content and more"), (8, b"content")] {
        let refused = stage(&archive, &digest(b"content"), size_bytes, content);
        assert!(matches!(refused, Err(ArchiveError::OtherBytes { .. })), "{content:?}");
        assert_eq!(place.staged_files(), 0);
    }
}

#[test]
fn damage_is_named() {
    let place = Place::new();
    let archive = place.archive();
    let digest = put(&archive, b"content");
    let path = archive.path(&digest);
    std::fs::write(&path, b"c0ntent").unwrap();
    assert_eq!(archive.examine(&digest, 7).unwrap(), Some(Damage::OtherBytes));
    std::fs::write(&path, b"conten").unwrap();
    assert_eq!(archive.examine(&digest, 7).unwrap(), Some(Damage::OtherSize));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(archive.examine(&digest, 7).unwrap(), Some(Damage::Missing));
    std::fs::create_dir(&path).unwrap();
    assert_eq!(archive.examine(&digest, 7).unwrap(), Some(Damage::OtherSize));
}

#[test]
fn a_sweep_takes_content_that_nobody_needs_and_nothing_else() {
    let place = Place::new();
    let archive = place.archive();
    let (kept, gone) = (put(&archive, b"kept"), put(&archive, b"gone"));
    let stranger = archive.path(&kept).with_file_name("README");
    std::fs::write(&stranger, "not content").unwrap();
    assert_eq!(archive.sweep(|digest| *digest == kept).unwrap(), Swept { files: 1, bytes: 4 });
    assert!(archive.has(&kept, 4).unwrap() && !archive.has(&gone, 4).unwrap() && stranger.exists());
    assert_eq!(archive.sweep(|digest| *digest == kept).unwrap(), Swept::default());
}

fn begin(place: &Place) -> Result<Restoring, RestoreTargetError> {
    Restoring::begin(&place.data(), &SystemClock::new(), &SystemRng)
}

fn open(place: &Place) -> Result<DirectoryStore, OpenError> {
    DirectoryStore::open(&place.data(), &SystemClock::new(), &SystemRng)
}

#[test]
fn r063_a_directory_is_a_store_when_the_restore_has_ended_and_not_before() {
    let place = Place::new();
    let restoring = begin(&place).unwrap();
    let digest = put(restoring.archive(), b"content");
    assert!(matches!(open(&place), Err(OpenError::InUse { .. })), "two at a time");
    assert!(matches!(begin(&place), Err(RestoreTargetError::Open(OpenError::InUse { .. }))));
    drop(restoring);
    assert!(matches!(open(&place), Err(OpenError::Unfinished { .. })), "broken off");

    std::fs::write(place.data().join("wharf.db"), "half a database").unwrap();
    let again = begin(&place).unwrap();
    assert!(again.archive().has(&digest, 7).unwrap(), "what was there is used");
    assert!(!place.data().join("wharf.db").exists(), "half a database is not");
    let id = again.store_id();
    again.finish().unwrap();
    assert_eq!(crate::BlobStore::store_id(&open(&place).unwrap()), id);
    assert!(matches!(begin(&place), Err(RestoreTargetError::NotEmpty(_))), "a store is not overwritten");
}

#[test]
fn r063_nothing_is_restored_over_what_is_there() {
    let place = Place::new();
    std::fs::create_dir(place.data()).unwrap();
    std::fs::write(place.data().join("letter.txt"), "dear").unwrap();
    assert!(matches!(begin(&place), Err(RestoreTargetError::NotEmpty(_))));
    assert_eq!(std::fs::read_dir(place.data()).unwrap().count(), 1, "not even a lock");
    assert!(Claim::take(&place.data()).unwrap().is_none(), "it never was a store");
}

#[test]
fn a_store_in_use_cannot_be_claimed() {
    let place = Place::new();
    let store = open(&place).unwrap();
    assert!(matches!(Claim::take(&place.data()), Err(OpenError::InUse { .. })));
    drop(store);
    let claim = Claim::take(&place.data()).unwrap();
    assert!(matches!(open(&place), Err(OpenError::InUse { .. })));
    drop(claim);
    open(&place).unwrap();
}
