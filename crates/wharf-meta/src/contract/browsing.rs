//! What people look at, and the sessions in which they do.

use std::sync::Arc;

use wharf_policy::AccountType;

use super::fixture::*;
use crate::{HeldBlob, ManifestRecord, Metadata, Session, SignIn, TAGS_COUNTED_MAX};

type Subject = Arc<dyn Metadata>;

async fn names(metadata: &dyn Metadata, text: &str, after: Option<&str>, limit: u32) -> Vec<String> {
    let found = metadata.repositories_like(text, after, limit).await.unwrap();
    found.iter().map(ToString::to_string).collect()
}

/// In byte order, by pages; what stands for anything elsewhere stands for itself here.
pub async fn repositories_are_found_by_a_part_of_their_names(metadata: Subject) {
    for repository in ["team/app", "team/web", "a_b/app", "a-b/app"] {
        push(&*metadata, manifest(repository, "image")).await;
    }
    have_blob(&*metadata, "blobs/app", "blob").await;
    assert_eq!(names(&*metadata, "", None, 10).await, ["a-b/app", "a_b/app", "team/app", "team/web"]);
    assert_eq!(names(&*metadata, "app", None, 2).await, ["a-b/app", "a_b/app"]);
    assert_eq!(names(&*metadata, "app", Some("a_b/app"), 2).await, ["team/app"]);
    assert_eq!(names(&*metadata, "_", None, 10).await, ["a_b/app"]);
    assert_eq!(names(&*metadata, "M/A", None, 10).await, ["team/app"]);
    assert_eq!(names(&*metadata, "%", None, 10).await, [""; 0]);
    assert_eq!(names(&*metadata, "\\", None, 10).await, [""; 0]);
}

/// Tags are counted, and the last change is that of the audit log.
pub async fn repositories_are_summed_up(metadata: Subject) {
    push(&*metadata, tagged("a", "image", &["v1", "v2"])).await;
    push(&*metadata, ManifestRecord { now: at(20), ..tagged("a", "other", &["v3"]) }).await;
    push(&*metadata, manifest("b", "image")).await;
    let found = metadata.repository_summaries(&[name("b"), name("unknown"), name("a")]).await.unwrap();
    let told: Vec<_> = found.iter().map(|found| (found.name.to_string(), found.tags, found.changed_at)).collect();
    assert_eq!(told, [("b".to_owned(), 0, Some(at(10))), ("a".to_owned(), 3, Some(at(20)))]);
    assert!(found.iter().all(|found| found.tags <= u64::from(TAGS_COUNTED_MAX)));
}

/// With what they point at, and every blob below it counted once.
pub async fn tags_are_told_with_what_they_hold(metadata: Subject) {
    let (base, own) = (have_blob(&*metadata, "a", "base").await, have_blob(&*metadata, "a", "own").await);
    let one = push(&*metadata, ManifestRecord { blobs: vec![base], ..tagged("a", "one", &["One"]) }).await;
    let two = push(&*metadata, ManifestRecord { blobs: vec![base, own], ..tagged("a", "two", &["two"]) }).await;
    push(&*metadata, ManifestRecord { tags: vec![tag("all")], ..index("a", "index", &[one, two]) }).await;
    let found = metadata.tag_summaries(&name("a"), "", None, 10).await.unwrap().expect("the repository exists");
    let told: Vec<_> = found.iter().map(|found| (found.tag.as_str(), found.size_bytes / BLOB_BYTES)).collect();
    assert_eq!(told, [("One", 1), ("all", 2), ("two", 2)]);
    assert_eq!((found[0].digest, found[0].updated_at, found[0].updated_by.as_str()), (one, at(10), "alice"));
    assert_eq!(found[0].body.as_deref(), Some(&b"one"[..]));
    let page = metadata.tag_summaries(&name("a"), "o", Some("One"), 1).await.unwrap().expect("the repository exists");
    assert_eq!(page.iter().map(|found| found.tag.as_str()).collect::<Vec<_>>(), ["two"]);
    assert_eq!(metadata.tag_summaries(&name("unknown"), "", None, 1).await.unwrap(), None);
}

/// What would go with a manifest, and what would miss it.
pub async fn a_manifest_is_told_with_what_depends_on_it(metadata: Subject) {
    let (base, own) = (have_blob(&*metadata, "a", "base").await, have_blob(&*metadata, "a", "own").await);
    have_blob(&*metadata, "b", "base").await;
    let one = push(&*metadata, ManifestRecord { blobs: vec![base, own], ..tagged("a", "one", &["v1", "v2"]) }).await;
    let parent = push(&*metadata, index("a", "index", &[one])).await;
    push(&*metadata, ManifestRecord { subject: Some(one.into()), ..manifest("a", "signature") }).await;
    push(&*metadata, ManifestRecord { blobs: vec![base], ..manifest("b", "elsewhere") }).await;
    let details = async || metadata.manifest_details(&name("a"), &one).await.unwrap().expect("it is there");
    let found = details().await;
    assert_eq!(found.tags, [tag("v1"), tag("v2")]);
    assert_eq!((found.parents, found.referrers, found.pushed_by.as_str()), (vec![parent], 1, "alice"));
    let held = |digest, others, is_last| HeldBlob { digest, size_bytes: BLOB_BYTES, others, is_last };
    let sorted = |mut blobs: Vec<HeldBlob>| {
        blobs.sort_by_key(|blob| blob.digest);
        blobs
    };
    assert_eq!(sorted(found.blobs), sorted(vec![held(base, 0, false), held(own, 0, true)]));
    push(&*metadata, ManifestRecord { blobs: vec![own], ..manifest("a", "another") }).await;
    assert_eq!(sorted(details().await.blobs), sorted(vec![held(base, 0, false), held(own, 1, false)]));
    assert_eq!(metadata.manifest_details(&name("b"), &one).await.unwrap(), None);
}

/// In portions, each blob once, and once more for every repository that has it.
pub async fn content_is_counted(metadata: Subject) {
    for (repository, content) in [("a", "one"), ("a", "two"), ("b", "two"), ("b", "three")] {
        have_blob(&*metadata, repository, content).await;
    }
    let (mut after, mut blobs, mut bytes, mut unshared) = (None, 0, 0, 0);
    loop {
        let portion = metadata.content_portion(after, 2).await.unwrap();
        blobs += portion.blobs;
        bytes += portion.bytes;
        unshared += portion.unshared_bytes;
        after = portion.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((blobs, bytes, unshared), (3, 3 * BLOB_BYTES, 4 * BLOB_BYTES));
}

fn session(number: u8, principal: &str, seen: u64) -> Session {
    Session {
        id_sha256: [number; 32],
        principal: principal.to_owned(),
        provider: "local".to_owned(),
        subject: principal.to_owned(),
        account_type: AccountType::Human,
        roles: vec!["dev".to_owned()],
        sealed_token: (number == 1).then(|| vec![1, 2, 3]),
        source: "192.0.2.1".to_owned(),
        created_at: at(seen),
        seen_at: at(seen),
        ends_at: at(1_000),
    }
}

/// A session is what it was begun as, until it is ended, is over, or makes room.
pub async fn s038_sessions_are_kept_and_ended(metadata: Subject) {
    for (number, principal, seen) in [(1, "alice", 10), (2, "alice", 20), (3, "bob", 30)] {
        metadata.create_session(&session(number, principal, seen), 2).await.unwrap();
    }
    assert_eq!(metadata.session(&[1; 32]).await.unwrap(), Some(session(1, "alice", 10)));
    assert_eq!(metadata.session(&[9; 32]).await.unwrap(), None);
    metadata.touch_session(&[1; 32], at(25)).await.unwrap();
    metadata.touch_session(&[1; 32], at(15)).await.unwrap();
    let of_alice = async || -> Vec<(u8, wharf_base::Timestamp)> {
        let found = metadata.sessions_of("alice", 10).await.unwrap();
        found.iter().map(|session| (session.id_sha256[0], session.seen_at)).collect()
    };
    assert_eq!(of_alice().await, [(1, at(25)), (2, at(20))]);
    metadata.create_session(&session(4, "alice", 40), 2).await.unwrap();
    assert_eq!(of_alice().await, [(4, at(40)), (1, at(25))], "the one that was unused for longest made room");
    assert!(metadata.end_session(&[4; 32]).await.unwrap());
    assert!(!metadata.end_session(&[4; 32]).await.unwrap());
    assert_eq!(metadata.end_sessions_of("alice").await.unwrap(), 1);
    assert_eq!(of_alice().await, []);
    metadata.create_session(&session(5, "alice", 50), 2).await.unwrap();
    assert_eq!(metadata.remove_ended_sessions(at(40), at(100)).await.unwrap(), 1, "bob's was unused");
    assert_eq!(metadata.remove_ended_sessions(at(40), at(1_001)).await.unwrap(), 1, "alice's has come to its end");
    assert_eq!(metadata.session(&[5; 32]).await.unwrap(), None);
}

/// A sign-in comes back once, and there are not more of them than allowed.
pub async fn s065_a_sign_in_is_taken_once(metadata: Subject) {
    let sign_in = |number: u8, begun: u64| SignIn {
        id_sha256: [number; 32],
        provider: "example".to_owned(),
        redirect_uri: "https://registry.example.org/login/back/example".to_owned(),
        next: "/repositories".to_owned(),
        created_at: at(begun),
    };
    assert!(metadata.begin_sign_in(&sign_in(1, 10), at(0), 2).await.unwrap());
    assert!(metadata.begin_sign_in(&sign_in(2, 20), at(0), 2).await.unwrap());
    assert!(!metadata.begin_sign_in(&sign_in(3, 30), at(0), 2).await.unwrap(), "there are two already");
    assert!(metadata.begin_sign_in(&sign_in(3, 30), at(15), 2).await.unwrap(), "the first one is too old to count");
    assert_eq!(metadata.take_sign_in(&[1; 32]).await.unwrap(), None);
    let (one, other) = tokio::join!(metadata.take_sign_in(&[2; 32]), metadata.take_sign_in(&[2; 32]));
    let taken: Vec<_> = [one.unwrap(), other.unwrap()].into_iter().flatten().collect();
    assert_eq!(taken, [sign_in(2, 20)]);
}
