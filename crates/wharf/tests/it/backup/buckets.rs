//! Backups in a bucket, where a directory has locks and renames. What is the same is tested beside the same.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use super::desk::{Desk, contents, finish, nothing_dangles, text};
use super::*;

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Every place in the life of a generation at which a process can die.
#[tokio::test]
async fn a_backup_that_is_killed_in_a_bucket_is_none_or_a_whole_one() {
    let server = Wharf::start();
    let (mut client, desk) = (server.client(), Desk::with_bucket());
    let certain = desk.certain_words(&server);
    let certain = words(&certain);
    let mut made = 0;
    let points =
        ["backup.database", "archive.part", "backup.content", "backup.complete", "backup.uploaded", "backup.named"];
    for (number, point) in points.iter().enumerate() {
        // Larger than a part, so that it goes up in several.
        let image = Image::small(number as u64, "amd64", 9 << 20);
        image.push(&mut client, "a/b", &format!("v{number}")).await;
        desk.killed_at(point, &certain);
        assert_eq!(left_over(&desk).iter().any(|name| name.contains("/parts/")), *point == "archive.part");
        made += usize::from(*point == "backup.named");
        if desk.backups().join("wharf-backup").exists() {
            assert_eq!(desk.generations().len(), made, "after {point}");
        }
        if made > 0 {
            desk.verify_deeply();
        }
    }
    let last: Value = serde_json::from_str(&desk.ok(&certain)).unwrap();
    assert_eq!(last["copied"]["blobs"], 0, "what those copied that were killed is not copied again");
    assert_eq!(desk.generations().len(), made + 1);
    assert!(left_over(&desk).is_empty(), "{:?}", left_over(&desk));
    assert_eq!(holds(&mut client).await, Vec::<String>::new());
    let restored = Wharf::builder();
    desk.restore(restored.data());
    let restored = restored.start();
    assert_eq!(nothing_dangles(&restored, &mut restored.client()).await, points.len());
}

/// What is neither content nor part of a whole generation.
fn left_over(desk: &Desk) -> Vec<String> {
    let mut found = Vec::new();
    let incomplete = std::fs::read_dir(desk.backups().join("incomplete")).into_iter().flatten();
    for entry in incomplete.map(Result::unwrap).filter(|entry| entry.file_name() != "parts") {
        found.push(text(&entry.path()));
    }
    let parts = std::fs::read_dir(desk.backups().join("incomplete/parts")).into_iter().flatten();
    found.extend(parts.map(|entry| text(&entry.unwrap().path())));
    let generations = std::fs::read_dir(desk.backups().join("generations")).into_iter().flatten();
    for generation in generations.map(Result::unwrap) {
        let is_empty = std::fs::read_dir(generation.path()).unwrap().next().is_none();
        if !is_empty && !generation.path().join("generation.json").exists() {
            found.push(text(&generation.path()));
        }
    }
    found
}

#[tokio::test]
async fn a_pruning_that_is_killed_in_a_bucket_loses_nothing_that_is_named() {
    let server = Wharf::start();
    let (mut client, desk) = (server.client(), Desk::with_bucket());
    for seed in 0..3 {
        Image::small(seed, "amd64", 5_000).push(&mut client, "a/b", "v1").await;
        desk.backup(&server);
    }
    let at = desk.at();
    let mut left = 3;
    let prune = ["backup", "prune", &at, "--keep", "1", "--break-lock"];
    for (point, then_left) in [("prune.unnamed", 2), ("prune.unnamed@3", 1)] {
        desk.killed_at(point, &prune);
        left -= 1;
        assert_eq!((desk.generations().len(), left), (then_left, then_left), "after {point}");
        desk.verify_deeply();
    }
    desk.ok(&prune);
    assert!(left_over(&desk).is_empty(), "{:?}", left_over(&desk));
    desk.verify_deeply();
    let restored = Wharf::builder();
    desk.restore(restored.data());
    let restored = restored.start();
    assert_eq!(nothing_dangles(&restored, &mut restored.client()).await, 3);
}

/// Copied with any tool, a bucket is a directory with backups, and a directory a bucket.
#[tokio::test]
async fn a_bucket_and_a_directory_have_the_same_names() {
    let server = Wharf::start();
    let (mut client, desk) = (server.client(), Desk::with_bucket());
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "a/b", "v1").await;
    desk.backup(&server);
    let copy = desk.path("copy");
    super::kills::copy_tree(&desk.backups(), &copy);
    desk.ok(&["backup", "verify", &text(&copy), "--deep"]);
    let sums = std::process::Command::new("sha256sum")
        .args(["--check", "SHA256SUMS"])
        .current_dir(copy.join("generations").join(&desk.generations()[0]))
        .output()
        .unwrap();
    assert!(sums.status.success(), "{sums:?}");

    let other = Desk::with_bucket();
    super::kills::copy_tree(&copy, &other.backups());
    other.verify_deeply();
    assert_eq!(contents(&other.backups().join("content")), contents(&desk.backups().join("content")));
}

/// One at a time: who is at work is let finish, and who was killed is waited for no longer than it takes to be certain.
#[tokio::test]
async fn two_processes_do_not_work_in_one_bucket() {
    let server = Wharf::start();
    let (mut client, desk) = (server.client(), Desk::with_bucket());
    Image::small(1, "amd64", 5_000).push(&mut client, "a/b", "v1").await;
    desk.backup(&server);
    Image::small(2, "amd64", 5 << 20).push(&mut client, "a/b", "v2").await;
    // So slow that it is at work all the while.
    let slow = desk.backup_words(&server);
    let slow = [words(&slow), vec!["--rate", "64KiB"]].concat();
    let mut at_work = desk.command(&slow).spawn().unwrap();
    let locks = desk.backups().join("wharf-backup.lock");
    let holder = |nth: usize| {
        let mut found: Vec<_> = std::fs::read_dir(&locks).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found.get(nth).map(|path| std::fs::read_to_string(path).unwrap()).unwrap_or_default()
    };
    eventually("the lock", async || holder(0).contains(&format!("process {} ", at_work.id()))).await;
    // A sign of life comes within ten seconds.
    let at = desk.at();
    desk.fails(&["backup", "prune", &at, "--keep", "1"], 3, "another process is at work");
    assert!(at_work.try_wait().unwrap().is_none());
    desk.ok(&["backup", "list", &at]);

    // Whoever says that it is dead takes its place, and it gives up.
    desk.ok(&["backup", "prune", &at, "--keep", "1", "--break-lock"]);
    let ran = finish(at_work);
    assert_eq!(ran.exit, Some(3), "{ran:?}");
    assert!(ran.err.contains("was lost to another process"), "{ran:?}");
    assert_eq!(desk.generations().len(), 1);

    // Somebody who is asleep is taken for dead, and sees it on waking.
    at_work = desk.command(&slow).spawn().unwrap();
    let asleep = Pid::from_child(&at_work);
    eventually("the lock", async || holder(0).contains(&format!("process {} ", at_work.id()))).await;
    kill_process(asleep, Signal::STOP).unwrap();
    desk.ok(&["backup", "prune", &at, "--keep", "1"]);
    kill_process(asleep, Signal::CONT).unwrap();
    let ran = finish(at_work);
    // Or what it was about to ask the bucket has taken too long.
    assert!(matches!(ran.exit, Some(3 | 10)), "{ran:?}");
    assert_eq!(desk.generations().len(), 1);
    desk.backup(&server);
    desk.verify_deeply();
}

#[tokio::test]
async fn places_that_are_no_backups_are_told() {
    let server = Wharf::start();
    let desk = Desk::with_bucket();
    let at = desk.at();
    desk.fails(&["backup", "list", &at], 2, "there is no backup in s3://tests/");
    desk.fails(
        &["restore", "--from", &at, "--data", &text(&desk.path("data"))],
        2,
        "there is no backup in s3://tests/",
    );
    std::fs::create_dir_all(desk.backups()).unwrap();
    std::fs::write(desk.backups().join("letter.txt"), "dear").unwrap();
    desk.fails(&words(&desk.backup_words(&server)), 2, "neither empty nor a backup");
    std::fs::remove_file(desk.backups().join("letter.txt")).unwrap();
    std::fs::write(desk.backups().join("wharf-backup"), "wharf backup 9\n").unwrap();
    desk.fails(&["backup", "list", &at], 4, "of a format that is not known here");

    let url = format!("http://{}", server.address());
    for (place, says) in [
        ("gs://bucket/x", "must begin with s3://"),
        ("s3://b", "names no bucket that can be"),
        ("s3://key:secret@bucket", "credentials, ports and options"),
    ] {
        desk.fails(&["backup", place, "--server", &url], 2, says);
    }
    let plain = ["backup", "s3://bucket/x", "--s3-endpoint", "http://127.0.0.1:1", "--server", &url];
    desk.fails(&plain, 2, "--s3-insecure-http");
    let nobody = [&plain[..], &["--s3-insecure-http"]].concat();
    desk.fails(&nobody, 10, "see whether the bucket is there");
    assert!(!Path::new("s3:").exists(), "no directory of that name");
}
