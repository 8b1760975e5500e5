//! Backups and restored data directories on the forgetful disk: what a command reported as done is there.

use std::path::Path;

use tempfile::TempDir;

use super::disk::{ForgetfulDisk, Unsynced};
use super::{CALLS, Facts, agrees, in_order, path_of};
use crate::backup::{Desk, finish, text};
use crate::harness::{Call, Image, Strace, Wharf};
use crate::only_in_the_embedded_run;

/// The places whose syncs a generation depends on; other syncs there are doubled by that of everything.
const BACKUP_NEEDS: &[&str] = &[
    "backups/generations",
    "backups/incomplete/generation",
    "backups/incomplete/generation/SHA256SUMS",
    "backups/incomplete/generation/generation.json",
    "everything",
];

/// The places whose syncs a restored data directory depends on.
const RESTORE_NEEDS: &[&str] = &["data", "data/wharf.id.new", "everything"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft02_a_generation_that_was_reported_lasts() {
    only_in_the_embedded_run!("plays a trace of a backup's files to a disk that forgets");
    let (server, desk) = (with_images().await, Desk::new());
    let words = desk.backup_words(&server);
    let calls = traced(&desk, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let root = desk.path("");
    // Restored somewhere else, it is what was backed up.
    judge(&root, &calls, BACKUP_NEEDS, async |left| {
        let data = left.path().join("data");
        let ran = desk.run(&["restore", "--from", &text(&left.path().join("backups")), "--data", &text(&data)]);
        if ran.exit == Some(0) { answers(&data).await } else { Err(ran.err) }
    })
    .await;
}

/// Without content there is nothing to sync but what describes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft02_a_generation_of_nothing_lasts_too() {
    only_in_the_embedded_run!("plays a trace of a backup's files to a disk that forgets");
    let (server, desk) = (Wharf::start(), Desk::new());
    let words = desk.backup_words(&server);
    let calls = traced(&desk, &words.iter().map(String::as_str).collect::<Vec<_>>());
    judge(&desk.path(""), &calls, &[], async |left| {
        let ran = desk.run(&["backup", "verify", &text(&left.path().join("backups"))]);
        if ran.exit == Some(0) { Ok(()) } else { Err(ran.err) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft02_a_restored_directory_lasts() {
    only_in_the_embedded_run!("plays a trace of a backup's files to a disk that forgets");
    let (server, desk) = (with_images().await, Desk::new());
    desk.backup(&server);
    let place = tempfile::tempdir().unwrap();
    let data = text(&place.path().join("data"));
    let calls = traced(&desk, &["restore", "--from", &text(&desk.backups()), "--data", &data]);
    judge(place.path(), &calls, RESTORE_NEEDS, async |left| answers(&left.path().join("data")).await).await;
}

/// All is there as long as everything is synced, and something is missing without any one of `needs`.
async fn judge(root: &Path, calls: &[Call], needs: &[&str], look: impl AsyncFn(&TempDir) -> Result<(), String>) {
    let left =
        async |without: Option<&str>| look(&ForgetfulDisk::left_after(calls, root, without, Unsynced::Lost)).await;
    assert_eq!(left(None).await, Ok(()));
    for place in needs {
        let loss = left(Some(place)).await;
        let loss = loss.err().unwrap_or_else(|| panic!("without syncs of {place} all is there"));
        println!("without syncs of {place}: {}", loss.lines().next().unwrap_or_default());
    }
}

fn traced(desk: &Desk, words: &[&str]) -> Vec<Call> {
    let strace = Strace::of(CALLS).whole();
    let ran = finish(desk.command_under(&strace.words(), words).spawn().unwrap());
    assert_eq!(ran.exit, Some(0), "{ran:?}");
    in_order(&strace)
}

fn images() -> [Image; 2] {
    [Image::small(1, "amd64", 700), Image::small(2, "amd64", 700)]
}

async fn with_images() -> Wharf {
    let server = Wharf::start();
    let mut client = server.client();
    for (image, tag) in images().iter().zip(["v1", "v2"]) {
        image.push(&mut client, "t/app", tag).await;
    }
    server
}

/// A server on `data` has all that was pushed.
async fn answers(data: &Path) -> Result<(), String> {
    let mut facts = Facts::new();
    for (image, tag) in images().into_iter().zip(["v1", "v2"]) {
        facts.extend(image.blobs().map(|blob| (path_of("t/app", blob), Some(blob.clone()))));
        facts.insert(format!("/v2/t/app/manifests/{tag}"), Some(image.manifest));
    }
    agrees(data, &facts).await
}
