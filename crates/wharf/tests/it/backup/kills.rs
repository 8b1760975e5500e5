//! Backups, prunings and restores that die anywhere: what has its final name is whole, and the next attempt heals the rest.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use wharf_base::{Rng, SeededRng};

use super::desk::{Desk, contents, finish, nothing_dangles, text};
use super::*;
use crate::only_in_the_embedded_run;

/// Where a backup can die.
const MAKING: [&str; 10] = [
    "backup.database",
    "archive.staged",
    "archive.staged@4",
    "archive.synced",
    "archive.placed",
    "archive.placed@3",
    "backup.content",
    "backup.complete",
    "backup.named",
    "backup.database@1",
];

/// Nothing that has its final name is less than whole, not even content that no generation names yet.
fn only_whole(desk: &Desk) {
    let directory = desk.backups().join("content");
    if directory.join("sha256").exists() {
        for digest in contents(&directory) {
            let hex = digest.strip_prefix("sha256:").unwrap();
            let bytes = std::fs::read(directory.join("sha256").join(&hex[..2]).join(hex)).unwrap();
            assert_eq!(sha256(&bytes), digest, "a torn file");
        }
    }
    if desk.backups().join("wharf-backup").exists() && !desk.generations().is_empty() {
        desk.verify_deeply();
    }
}

#[tokio::test]
async fn a_backup_that_is_killed_anywhere_is_none_or_a_whole_one() {
    let server = Wharf::start();
    let (mut client, desk) = (server.client(), Desk::new());
    let words = desk.backup_words(&server);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut made = 0;
    for (number, point) in MAKING.into_iter().enumerate() {
        for image in 0..2 {
            let image = Image::small(100 * number as u64 + image, "amd64", 5_000);
            image.push(&mut client, "a/b", &format!("v{number}")).await;
        }
        desk.killed_at(point, &words);
        only_whole(&desk);
        made += usize::from(point == "backup.named");
        if desk.backups().join("wharf-backup").exists() {
            assert_eq!(desk.generations().len(), made, "after {point}");
        }
        if number % 3 == 2 {
            desk.backup(&server);
            made += 1;
            only_whole(&desk);
        }
    }
    // What was copied by those that were killed is not copied again.
    assert_eq!(desk.backup(&server)["copied"]["blobs"], 4);
    assert_eq!(std::fs::read_dir(desk.backups().join("incomplete").join("content")).unwrap().count(), 0);
    assert_eq!(holds(&mut client).await, Vec::<String>::new());
    let restored = Wharf::builder();
    desk.restore(restored.data());
    let restored = restored.start();
    assert_eq!(nothing_dangles(&restored, &mut restored.client()).await, 2 * MAKING.len());
}

/// The instants are random, so they are found by waiting.
#[tokio::test]
async fn a_backup_that_is_killed_at_any_instant_is_none_or_a_whole_one() {
    killed_at_any_instant(Desk::new()).await;
}

#[tokio::test]
async fn a_backup_that_is_killed_at_any_instant_is_none_or_a_whole_one_in_a_bucket() {
    killed_at_any_instant(Desk::with_bucket()).await;
}

async fn killed_at_any_instant(desk: Desk) {
    let server = Wharf::start();
    let mut client = server.client();
    let rng = SeededRng::new(1);
    let mut killed = 0;
    for round in 0..12_u64 {
        Image::small(round, "amd64", 200_000).push(&mut client, "a/b", &format!("v{round}")).await;
        let words = desk.certain_words(&server);
        let mut child = desk.command(&words.iter().map(String::as_str).collect::<Vec<_>>()).spawn().unwrap();
        let mut bytes = [0; 8];
        rng.fill(&mut bytes);
        std::thread::sleep(Duration::from_millis(u64::from_le_bytes(bytes) % 250));
        child.kill().unwrap();
        killed += u64::from(finish(child).killed);
        only_whole(&desk);
        // Killed before the session was written down, it would end by itself, but only in a minute.
        for hold in holds(&mut client).await {
            client.delete(&format!("/api/v1/backup/{}", hold.strip_prefix("backup-").unwrap())).await;
        }
    }
    println!("{killed} of 12 were killed before their end");
    desk.ok(&desk.certain_words(&server).iter().map(String::as_str).collect::<Vec<_>>());
    desk.verify_deeply();
}

pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_pruning_that_is_killed_anywhere_loses_nothing_that_is_named() {
    let server = eager_with("1s").start();
    let (mut client, desk) = (server.client(), Desk::new());
    let images: Vec<Image> = (0..3).map(|seed| Image::small(seed, "amd64", 5_000)).collect();
    for image in &images {
        image.push(&mut client, "a/b", "v1").await;
        desk.backup(&server);
        client.delete(&format!("/v2/a/b/manifests/{}", image.digest())).await.expect(202);
        collect_all(&mut client).await;
    }
    let whole = desk.path("whole");
    copy_tree(&desk.backups(), &whole);
    let named: BTreeSet<String> = images[2].blobs().map(|blob| sha256(blob)).collect();
    let words = ["backup", "prune", &desk.at(), "--keep", "1"];
    for point in
        ["prune.unnamed", "prune.unnamed@2", "prune.removed", "prune.removed@2", "archive.swept", "archive.swept@3"]
    {
        std::fs::remove_dir_all(desk.backups()).unwrap();
        copy_tree(&whole, &desk.backups());
        desk.killed_at(point, &words);
        desk.verify_deeply();
        desk.ok(&words);
        assert_eq!(desk.generations().len(), 1, "after {point}");
        assert_eq!(contents(&desk.backups().join("content")), named, "after {point}");
        desk.verify_deeply();
    }
}

#[tokio::test]
async fn r063_a_restore_that_is_killed_anywhere_never_looks_complete_and_can_be_done_again() {
    let server = Wharf::start();
    let (mut client, desk) = (server.client(), Desk::new());
    for number in 0..3 {
        Image::small(number, "amd64", 5_000).push(&mut client, "a/b", &format!("v{number}")).await;
    }
    desk.backup(&server);
    let backups = desk.at();
    let points = [
        "restore.marked",
        "archive.staged@2",
        "archive.synced",
        "archive.placed@2",
        "restore.content",
        "restore.database",
        "restore.synced",
    ];
    for point in points {
        let builder = Wharf::builder();
        let words = ["restore", "--from", &backups, "--data", &text(builder.data())];
        desk.killed_at(point, &words);
        let refused = serve_expecting_failure(builder.data());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "after {point}: {said}");
        assert!(said.contains("run `wharf restore` again"), "after {point}: {said}");
        desk.ok(&words);
        let restored = builder.start();
        assert_eq!(nothing_dangles(&restored, &mut restored.client()).await, 3, "after {point}");
    }
    // Killed at the very end it is complete.
    let builder = Wharf::builder();
    let words = ["restore", "--from", &backups, "--data", &text(builder.data())];
    desk.killed_at("restore.named", &words);
    desk.fails(&words, 9, "is not empty");
    let restored = builder.start();
    assert_eq!(nothing_dangles(&restored, &mut restored.client()).await, 3);
}

#[tokio::test]
async fn r063_what_a_restore_moved_aside_before_it_was_killed_is_there() {
    only_in_the_embedded_run!("restores over a data directory");
    let server = Wharf::start();
    let (mut client, desk) = (server.client(), Desk::new());
    for number in 0..3 {
        Image::small(number, "amd64", 5_000).push(&mut client, "a/b", &format!("v{number}")).await;
    }
    desk.backup(&server);
    let backups = desk.at();
    let builder = Wharf::builder();
    let words = ["restore", "--from", &backups, "--data", &text(builder.data())];
    desk.ok(&words);
    let mut restored = builder.start();
    restored.stop();
    let before = contents(&restored.data().join("layers"));
    desk.killed_at("restore.moved", &[&words[..], &["--force"]].concat());
    assert!(!restored.data().exists());
    let parent = restored.data().parent().unwrap();
    let name = restored.data().file_name().unwrap().to_str().unwrap();
    let aside = std::fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path());
    let aside = aside.into_iter().find(|path| text(path).contains(&format!("{name}.before-"))).expect("the old one");
    assert_eq!(contents(&aside.join("layers")), before);
    desk.ok(&words);
    restored.restart();
    assert_eq!(nothing_dangles(&restored, &mut restored.client()).await, 3);
    std::fs::remove_dir_all(aside).unwrap();
}
