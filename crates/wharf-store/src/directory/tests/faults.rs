//! Disks that fail: the order of one push, and every single call of a push failing in every way.

use std::fs;

use rustix::io::Errno;

use super::faulty::{Fault, Faulty, When};
use super::*;
use crate::Entry;

/// Enough for an early write-back, so that its call is among those that fail.
const LARGE: usize = 6 * MIB + 4321;

struct Broken {
    files: Arc<Faulty>,
    store: DirectoryStore,
    parent: TempDir,
}

impl Broken {
    /// Removes the content of `digest`, and its directories if they are made on first use, so that they are again.
    async fn forget(&self, digest: &Digest) {
        assert!(self.store.delete(&at(digest)).await.unwrap());
        if digest.algorithm() == Algorithm::Sha512 {
            fs::remove_dir_all(self.parent.path().join("data/layers/sha512")).unwrap();
        }
    }
}

fn broken() -> Broken {
    let parent = TempDir::new().unwrap();
    let files = Arc::new(Faulty::new());
    let store = open_with(Arc::clone(&files) as Arc<dyn Files>, &parent.path().join("data")).unwrap();
    files.set(When::Never);
    Broken { files, store, parent }
}

#[tokio::test]
async fn r001_a_push_writes_syncs_renames_and_syncs_the_directory() {
    // Nothing is reserved for what is written at once.
    let in_one_go = ["stat", "write", "stat", "sync file"];
    let in_pieces = ["stat", "reserve", "write", "write", "stat", "truncate", "sync file"];
    for (size, between) in [(1000, &in_one_go[..]), (MIB, &in_pieces[..])] {
        let broken = broken();
        let content = content(size);
        let digest = Digest::of(Algorithm::Sha256, &content);
        drop(push(&broken.store, &content, &digest).await.unwrap());
        let (hex, id) = (digest.hex(), upload(1));
        let mut expected = vec![format!("open {id}")];
        expected.extend(between.iter().map(|call| (*call).to_owned()));
        expected.extend([
            format!("open sha256/{}", &hex[..2]),
            format!("open sha256/{}/{hex}", &hex[..2]),
            format!("rename {hex}"),
            "sync directory".to_owned(),
        ]);
        assert_eq!(broken.files.calls(), expected);
    }
}

#[tokio::test]
async fn r001_new_directories_are_synced_in_their_parents_before_content_is_in_them() {
    let broken = broken();
    let content = content(1000);
    let digest = Digest::of(Algorithm::Sha512, &content);
    drop(push(&broken.store, &content, &digest).await.unwrap());
    let hex = digest.hex();
    let calls = broken.files.calls();
    let from = calls.iter().position(|call| call.starts_with("make_directory")).unwrap();
    assert_eq!(
        calls[from..],
        [
            "make_directory sha512".into(),
            "sync directory".into(),
            "open sha512".into(),
            format!("make_directory {}", &hex[..2]),
            "sync directory".into(),
            format!("open {}", &hex[..2]),
            format!("open sha512/{}/{hex}", &hex[..2]),
            format!("rename {hex}"),
            "sync directory".to_string(),
        ]
    );

    // The second blob of the same directory finds it.
    broken.store.delete(&at(&digest)).await.unwrap();
    broken.files.set(When::Never);
    drop(push(&broken.store, &content, &digest).await.unwrap());
    assert!(broken.files.calls().iter().all(|call| !call.starts_with("make_directory")));
}

#[tokio::test]
async fn r003_each_call_of_a_push_fails_in_each_way() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let content = content(MIB + 99);
        for fault in [
            Fault::Errno(Errno::IO),
            Fault::After(Errno::IO),
            Fault::Errno(Errno::NOSPC),
            Fault::Errno(Errno::DQUOT),
            Fault::Errno(Errno::INTR),
            Fault::Short,
        ] {
            check_each_call(&content, algorithm, fault).await;
        }
    }
}

#[tokio::test]
async fn r003_each_call_of_a_large_push_fails() {
    check_each_call(&content(LARGE), Algorithm::Sha256, Fault::Errno(Errno::IO)).await;
}

/// Pushes with the n-th call failing, for each n that there is, again and again into the same store.
async fn check_each_call(content: &Bytes, algorithm: Algorithm, fault: Fault) {
    let digest = Digest::of(algorithm, content);
    let broken = broken();
    for n in 0.. {
        broken.files.set(When::Nth(n, fault));
        let pushed = push(&broken.store, content, &digest).await;
        let calls = broken.files.calls();
        broken.files.set(When::Never);
        if calls.len() <= n {
            assert!(pushed.is_ok(), "{fault:?}: no call failed, but {pushed:?}");
            assert!(n > 8, "{fault:?}: a push has more calls than {n}");
            break;
        }
        let at = format!("{fault:?} at call {n}, {:?}, gave {pushed:?}", calls[n]);
        check_whole_or_absent(&broken.store, content, &digest, &pushed, &at).await;
        check_error(fault, &calls[n], &pushed, &at);
        drop(pushed);

        // The disk is well again: the same push, and the store as a whole, go on without a restart.
        drop(push(&broken.store, content, &digest).await.unwrap_or_else(|error| panic!("{at}; then {error:?}")));
        assert!(read(&broken.store, &digest).await.as_deref() == Some(content), "{at}; then other content");
        broken.forget(&digest).await;
    }
}

async fn check_whole_or_absent(
    store: &DirectoryStore,
    content: &Bytes,
    digest: &Digest,
    pushed: &Result<Placed, Error>,
    at: &str,
) {
    let found = read(store, digest).await;
    match pushed {
        Ok(_) => assert!(found.as_deref() == Some(content), "{at}, but the content is not there"),
        // A rename that was carried out and reported as failed is the one case that nobody can tell: whole, then.
        Err(Error::Io { doing: "placing content", .. }) => {
            assert!(found.is_none_or(|found| found == *content), "{at}, and other content is there");
        }
        Err(_) => assert!(found.is_none(), "{at}, and the content is there"),
    }
}

fn check_error(fault: Fault, call: &str, pushed: &Result<Placed, Error>, at: &str) {
    let name = call.split(' ').next().unwrap();
    match (fault, pushed) {
        (Fault::Short, pushed) => assert!(pushed.is_ok(), "{at}"),
        (Fault::Errno(Errno::INTR), pushed) if ["write", "read", "reserve", "truncate"].contains(&name) => {
            assert!(pushed.is_ok(), "{at}");
        }
        // What was placed is placed, whether or not a leftover went away.
        (_, Ok(_)) => assert!(name == "remove", "{at}"),
        (_, Err(error)) if name.starts_with("sync") => assert!(matches!(error, Error::Sync { .. }), "{at}"),
        (Fault::Errno(Errno::NOSPC | Errno::DQUOT), Err(error)) => assert!(matches!(error, Error::NoSpace), "{at}"),
        (_, Err(error)) => assert!(matches!(error, Error::Io { .. }), "{at}"),
    }
}

#[tokio::test]
async fn r002_after_a_failed_sync_the_staged_content_is_gone() {
    for (call, size) in [("sync", 1000), ("sync_data", LARGE)] {
        let broken = broken();
        let content = content(size);
        let digest = Digest::of(Algorithm::Sha256, &content);
        let at = stage(&broken.store, upload(1), &content.slice(..10)).await;

        broken.files.set(When::Every(call, Fault::Errno(Errno::IO)));
        let mut writer = broken.store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.unwrap();
        let written = writer.write(content.slice(10..)).await;
        let failed = match written {
            Ok(()) => writer.commit(&digest).await.map(drop),
            failed => {
                drop(writer);
                failed
            }
        };
        assert!(matches!(failed, Err(Error::Sync { .. })), "{call}: {failed:?}");

        broken.files.set(When::Never);
        assert_eq!(read(&broken.store, &digest).await, None);
        let again = broken.store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await;
        assert!(matches!(again.err(), Some(Error::StagedLost)), "{call}");
    }
}

#[tokio::test]
async fn r002_staged_content_that_could_be_neither_synced_nor_removed_is_never_continued() {
    let broken = broken();
    let content = content(1000);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let at = stage(&broken.store, upload(1), &content).await;
    let writer = broken.store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.unwrap();
    // stat, sync file, remove
    broken.files.set(When::From(1, Fault::Errno(Errno::IO)));
    let failed = writer.commit(&digest).await;
    assert!(matches!(failed, Err(Error::Sync { .. })), "{failed:?}");
    assert!(broken.files.calls()[2].starts_with("remove"));

    broken.files.set(When::Never);
    for at in [Some(&at), None] {
        let again = broken.store.writer(upload(1), Algorithm::Sha256, at, None).await;
        assert!(matches!(again.err(), Some(Error::StagedLost)));
    }
    broken.store.discard(upload(1)).await.unwrap();
    drop(push(&broken.store, &content, &digest).await.unwrap());
}

#[tokio::test]
async fn r002_a_directory_that_could_not_be_synced_is_not_believed_the_next_time() {
    let broken = broken();
    let content = content(1000);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let mut writer = broken.store.writer(upload(1), Algorithm::Sha256, None, None).await.unwrap();
    writer.write(content.clone()).await.unwrap();
    // open, stat, write, stat, sync file, open directory, open content, rename, sync directory
    broken.files.set(When::Nth(8, Fault::Errno(Errno::IO)));
    let failed = writer.commit(&digest).await;
    assert_eq!(broken.files.calls()[8], "sync directory");
    assert!(matches!(failed, Err(Error::Sync { .. })), "{failed:?}");

    broken.files.set(When::Never);
    assert_eq!(read(&broken.store, &digest).await, None);
    drop(push(&broken.store, &content, &digest).await.unwrap());
    assert!(broken.files.calls().contains(&format!("rename {}", digest.hex())), "the second push placed nothing");
}

#[tokio::test]
async fn r003_an_upload_goes_on_from_its_checkpoint_after_a_full_disk() {
    let broken = broken();
    let content = content(3 * MIB);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let at = stage(&broken.store, upload(1), &content.slice(..MIB + 5)).await;

    broken.files.set(When::Nth(4, Fault::Errno(Errno::NOSPC)));
    let mut writer = broken.store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.unwrap();
    let written = writer.write(content.slice(MIB + 5..)).await;
    let failed = match written {
        Ok(()) => writer.checkpoint().await.map(drop),
        failed => {
            drop(writer);
            failed
        }
    };
    assert!(matches!(failed, Err(Error::NoSpace)), "{failed:?}");

    broken.files.set(When::Never);
    let mut writer = broken.store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.unwrap();
    writer.write(content.slice(MIB + 5..)).await.unwrap();
    drop(writer.commit(&digest).await.unwrap());
    assert_eq!(read(&broken.store, &digest).await.unwrap(), content);
}

/// Small uploads have no file before their end.
#[tokio::test]
async fn an_upload_that_is_ended_before_it_has_a_file_leaves_none() {
    let content = content(1000);
    let digest = Digest::of(Algorithm::Sha256, &content);
    for is_committed in [true, false] {
        let broken = broken();
        let left = || fs::read_dir(broken.parent.path().join("data/uploads")).unwrap().count();
        let mut writer = broken.store.writer(upload(1), Algorithm::Sha256, None, None).await.unwrap();
        writer.write(content.clone()).await.unwrap();
        assert_eq!((left(), broken.files.calls().len()), (0, 0));
        broken.store.discard(upload(1)).await.unwrap();
        let ended =
            if is_committed { writer.commit(&digest).await.map(drop) } else { writer.checkpoint().await.map(drop) };
        assert!(matches!(ended, Err(Error::StagedLost)), "{ended:?}");
        assert_eq!(left(), 0);
        assert_eq!(broken.store.root.sessions.count(), 0);
    }
}

#[tokio::test]
async fn a_writer_whose_file_cannot_be_opened_cannot_be_used() {
    let broken = broken();
    let content = content(3 * MIB);
    broken.files.set(When::About(format!("open {}", upload(1)), Fault::Errno(Errno::MFILE)));
    let mut writer = broken.store.writer(upload(1), Algorithm::Sha256, None, None).await.unwrap();
    let failed = writer.write(content.clone()).await;
    assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
    broken.files.set(When::Never);
    assert!(matches!(writer.write(content.clone()).await, Err(Error::Broken)));
    let committed = writer.commit(&Digest::of(Algorithm::Sha256, &content)).await;
    assert!(matches!(committed, Err(Error::Broken)), "{committed:?}");
}

#[tokio::test]
async fn a_writer_that_failed_cannot_be_used() {
    let broken = broken();
    let content = content(3 * MIB);
    broken.files.set(When::Every("write", Fault::Errno(Errno::NOSPC)));
    let mut writer = broken.store.writer(upload(1), Algorithm::Sha256, None, None).await.unwrap();
    let failed = writer.write(content.clone()).await;
    assert!(matches!(failed, Err(Error::NoSpace)), "{failed:?}");
    broken.files.set(When::Never);
    let again = writer.write(content.clone()).await;
    assert!(matches!(again, Err(Error::Broken)), "{again:?}");
    let committed = writer.commit(&Digest::of(Algorithm::Sha256, &content)).await;
    assert!(matches!(committed, Err(Error::Broken)), "{committed:?}");
}

#[tokio::test]
async fn r025_a_read_that_fails_is_never_absence() {
    for errno in [Errno::IO, Errno::MFILE, Errno::ACCESS] {
        let broken = broken();
        let content = content(1000);
        let digest = Digest::of(Algorithm::Sha256, &content);
        drop(push(&broken.store, &content, &digest).await.unwrap());
        for n in 0..2 {
            broken.files.set(When::Nth(n, Fault::Errno(errno)));
            broken.store.stat(&at(&digest)).await.unwrap_err();
            broken.files.set(When::Nth(n, Fault::Errno(errno)));
            broken.store.exists(&at(&digest)).await.unwrap_err();
            broken.files.set(When::Nth(n, Fault::Errno(errno)));
            broken.store.open(&at(&digest), 1000).await.unwrap_err();
            broken.files.set(When::Nth(n, Fault::Errno(errno)));
            broken.store.delete(&at(&digest)).await.unwrap_err();
        }
        broken.files.set(When::Never);
        assert_eq!(read(&broken.store, &digest).await.unwrap(), content);
    }
}

#[tokio::test]
async fn reads_that_fail_or_fall_short_are_no_end() {
    let broken = broken();
    let content = content(MIB);
    let digest = Digest::of(Algorithm::Sha256, &content);
    drop(push(&broken.store, &content, &digest).await.unwrap());
    let reader = broken.store.open(&at(&digest), MIB as u64).await.unwrap().unwrap();

    for fault in [Fault::Short, Fault::Errno(Errno::INTR)] {
        broken.files.set(When::Nth(0, fault));
        let chunks: Vec<Bytes> = reader.stream(0..MIB as u64).try_collect().await.unwrap();
        assert!(chunks.concat() == content, "{fault:?}");
    }
    for n in 0..2 {
        broken.files.set(When::Nth(n, Fault::Errno(Errno::IO)));
        let failed: Result<Vec<Bytes>, _> = reader.stream(0..MIB as u64).try_collect().await;
        assert!(failed.is_err(), "read {n}");
    }
}

#[tokio::test]
async fn a_probe_reports_each_failure_and_leaves_nothing() {
    let broken = broken();
    let mut n = 0;
    loop {
        broken.files.set(When::Nth(n, Fault::Errno(Errno::IO)));
        let probed = broken.store.probe().await;
        if broken.files.calls().len() <= n {
            probed.unwrap();
            break;
        }
        assert!(probed.is_err(), "call {n} failed unseen");
        n += 1;
    }
    assert!(n >= 7, "a probe has more calls than {n}");
    broken.files.set(When::Never);
    broken.store.probe().await.unwrap();
}

#[tokio::test]
async fn each_call_of_opening_a_new_directory_fails() {
    let mut n = 0;
    loop {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("data");
        let files = Arc::new(Faulty::new());
        files.set(When::Nth(n, Fault::Errno(Errno::IO)));
        let opened = open_with(Arc::clone(&files) as Arc<dyn Files>, &path);
        if files.calls().len() <= n {
            opened.unwrap();
            break;
        }
        let call = &files.calls()[n];
        assert!(matches!(opened, Err(OpenError::Io { .. })), "{call}: {opened:?}");
        // What was made half is made whole the next time.
        let store = open(&path).unwrap_or_else(|error| panic!("after {call} failed: {error}"));
        let content = content(10);
        drop(push(&store, &content, &Digest::of(Algorithm::Sha256, &content)).await.unwrap());
        // The 256 directories are alike.
        n += if (20..250).contains(&n) { 50 } else { 1 };
    }
    assert!(n > 256, "opening has more calls than {n}");
}

/// Everything that is listed, in small pages; or the first failure.
async fn list_all(store: &DirectoryStore) -> Result<Vec<Entry>, Error> {
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(after.as_ref(), 2).await?;
        entries.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return Ok(entries);
        }
    }
}

#[tokio::test]
async fn r025_a_listing_that_fails_is_never_complete() {
    let broken = broken();
    for len in 1..6 {
        let content = content(len);
        drop(push(&broken.store, &content, &Digest::of(Algorithm::Sha256, &content)).await.unwrap());
    }
    broken.files.set(When::Never);
    assert_eq!(list_all(&broken.store).await.unwrap().len(), 5);
    let calls = broken.files.calls().len();
    assert!(calls > 700, "{calls} calls");
    for n in (0..calls).step_by(13) {
        broken.files.set(When::Nth(n, Fault::Errno(Errno::IO)));
        let listed = list_all(&broken.store).await;
        assert!(listed.is_err(), "call {n} failed, and the listing says {listed:?}");
    }
}

/// Wherever it fails, the bytes are in one place or the other, and a second try ends it.
#[tokio::test]
async fn setting_aside_loses_nothing_at_any_failure() {
    let content = content(1_000);
    let digest = Digest::of(Algorithm::Sha256, &content);
    for n in 0.. {
        let broken = broken();
        drop(push(&broken.store, &content, &digest).await.unwrap());
        let now = wharf_base::Timestamp::from_micros(7);
        let locked = broken.store.begin_removal(&digest).await;
        broken.files.set(When::Nth(n, Fault::Errno(Errno::IO)));
        let aside = broken.store.set_aside(&locked, &wharf_base::Location::BY_DIGEST, now).await;
        let was_reached = broken.files.calls().len() > n;
        broken.files.set(When::Never);
        if aside.is_err() {
            let is_there = broken.store.exists(&at(&digest)).await.unwrap();
            let again = broken.store.set_aside(&locked, &wharf_base::Location::BY_DIGEST, now).await.unwrap();
            assert_eq!(is_there, again, "call {n}");
        }
        broken.files.set(When::Nth(n, Fault::Errno(Errno::IO)));
        let _ = broken.store.bring_back(&locked, 1_000).await;
        broken.files.set(When::Never);
        if !broken.store.exists(&at(&digest)).await.unwrap() {
            assert!(broken.store.bring_back(&locked, 1_000).await.unwrap().is_some(), "call {n}");
        }
        assert_eq!(read(&broken.store, &digest).await.unwrap(), content, "call {n}");
        if !was_reached {
            assert!(n >= 8, "only {n} calls");
            return;
        }
    }
}
