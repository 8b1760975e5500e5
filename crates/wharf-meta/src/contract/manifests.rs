//! Reading and deleting manifests and tags.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wharf_oci::{Digest, Reference};

use super::fixture::*;
use crate::{DeletedManifest, ManifestRecord, Metadata};

type Subject = Arc<dyn Metadata>;

async fn delete(metadata: &Subject, repository: &str, digest: Digest) -> Option<DeletedManifest> {
    metadata.delete_manifest(&name(repository), &digest, &by("alice"), at(20), at(86_400)).await.unwrap()
}

/// By tag and by digest.
pub async fn p200_a_manifest_is_known_only_where_it_was_pushed(metadata: Subject) {
    let image = push(&*metadata, tagged("a", "image", &["v1"])).await;
    push(&*metadata, manifest("b", "other")).await;
    let find = async |repository: &str, reference: &Reference| {
        let manifest = metadata.manifest(&name(repository), reference).await.unwrap();
        let head = metadata.manifest_head(&name(repository), reference).await.unwrap();
        assert_eq!(manifest.is_some(), head.is_some());
        manifest.is_some()
    };
    for reference in [Reference::Digest(image), by_tag("v1")] {
        assert!(find("a", &reference).await);
        assert!(!find("b", &reference).await);
        assert!(!find("nowhere", &reference).await);
    }
    assert!(!find("a", &by_tag("v2")).await);
    assert!(!find("a", &by_tag("V1")).await, "tags differ in case");
    assert!(!find("a", &Reference::Digest(digest("unknown"))).await);
}

/// By its digest; the new one by the tag.
pub async fn p207_a_moved_tag_leaves_the_manifest(metadata: Subject) {
    let old = push(&*metadata, tagged("a", "old", &["v1"])).await;
    push(&*metadata, tagged("b", "old", &["v1"])).await;
    let new = push(&*metadata, tagged("a", "new", &["v1"])).await;
    assert_eq!(resolve(&*metadata, "a", "v1").await, Some(new));
    assert_eq!(resolve(&*metadata, "b", "v1").await, Some(old));
    assert!(has_manifest(&*metadata, "a", old).await);
    push(&*metadata, tagged("a", "old", &["v1"])).await;
    assert_eq!(resolve(&*metadata, "a", "v1").await, Some(old), "and back");
}

/// All of them, at once, here only; blobs and children stay (P-243).
pub async fn f02_deleting_a_manifest_takes_its_tags_along(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    have_blob(&*metadata, "b", "blob").await;
    for repository in ["a", "b"] {
        let image = tagged(repository, "image", &["v1", "latest", "Stable"]);
        push(&*metadata, ManifestRecord { blobs: vec![blob], ..image }).await;
    }
    push(&*metadata, tagged("a", "other", &["v2"])).await;
    let image = digest("image");

    assert_eq!(delete(&metadata, "nowhere", image).await, None);
    assert_eq!(delete(&metadata, "a", digest("unknown")).await, None);
    let tags = vec![tag("Stable"), tag("latest"), tag("v1")];
    assert_eq!(delete(&metadata, "a", image).await, Some(DeletedManifest { tags, parents: vec![] }));
    assert_eq!(delete(&metadata, "a", image).await, None);

    assert!(!has_manifest(&*metadata, "a", image).await);
    assert_eq!(resolve(&*metadata, "a", "v1").await, None);
    assert_eq!(all_tags(&*metadata, "a").await, ["v2"]);
    assert_eq!(metadata.blob(&name("a"), &blob).await.unwrap(), Some(BLOB_BYTES));
    assert_eq!(all_tags(&*metadata, "b").await, ["Stable", "latest", "v1"]);
    assert!(has_manifest(&*metadata, "b", image).await);
}

/// 16 of them.
pub async fn f02_of_concurrent_deletions_one_finds_it(metadata: Subject) {
    let image = push(&*metadata, tagged("a", "image", &["v1"])).await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let metadata = Arc::clone(&metadata);
            tokio::spawn(async move { delete(&metadata, "a", image).await.is_some() })
        })
        .collect();
    let mut found = 0;
    for task in tasks {
        found += u32::from(task.await.unwrap());
    }
    assert_eq!(found, 1);
}

/// A listed manifest is deletable; its index stays and says so.
pub async fn p246_at_most_five_parents_are_named(metadata: Subject) {
    let child = push(&*metadata, manifest("a", "child")).await;
    push(&*metadata, manifest("b", "child")).await;
    let first = push(&*metadata, index("a", "index 0", &[child])).await;
    push(&*metadata, index("b", "index of b", &[child])).await;
    assert_eq!(delete(&metadata, "a", child).await, Some(DeletedManifest { tags: vec![], parents: vec![first] }));
    assert!(has_manifest(&*metadata, "a", first).await);
    assert!(!has_manifest(&*metadata, "a", child).await);

    push(&*metadata, manifest("a", "child")).await;
    for number in 1..8 {
        push(&*metadata, index("a", &format!("index {number}"), &[child])).await;
    }
    let parents = delete(&metadata, "a", child).await.unwrap().parents;
    assert_eq!(parents.len(), 5);
    for parent in parents {
        assert!(has_manifest(&*metadata, "a", parent).await);
    }

    push(&*metadata, manifest("a", "child")).await;
    delete(&metadata, "a", first).await.unwrap();
    assert!(!delete(&metadata, "a", child).await.unwrap().parents.contains(&first), "a deleted parent lists nothing");
}

/// With its tags, if the push names them.
pub async fn p253_a_deleted_manifest_can_be_pushed_again(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    let record = ManifestRecord { blobs: vec![blob], ..tagged("a", "image", &["v1"]) };
    for _ in 0..3 {
        push(&*metadata, record.clone()).await;
        assert_eq!(resolve(&*metadata, "a", "v1").await, Some(record.digest));
        delete(&metadata, "a", record.digest).await.unwrap();
        assert_eq!(resolve(&*metadata, "a", "v1").await, None);
    }
}

/// Only that tag goes, once.
pub async fn p250_deleting_a_tag_leaves_the_manifest(metadata: Subject) {
    let image = push(&*metadata, tagged("a", "image", &["v1", "v2"])).await;
    push(&*metadata, tagged("b", "image", &["v1"])).await;
    let delete_tag = async |repository: &str, text: &str| {
        metadata.delete_tag(&name(repository), &tag(text), &by("alice"), at(20), at(86_400)).await.unwrap()
    };
    assert!(!delete_tag("nowhere", "v1").await);
    assert!(!delete_tag("a", "v3").await);
    assert!(delete_tag("a", "v1").await);
    assert!(!delete_tag("a", "v1").await);
    assert_eq!(all_tags(&*metadata, "a").await, ["v2"]);
    assert_eq!(all_tags(&*metadata, "b").await, ["v1"]);
    assert!(has_manifest(&*metadata, "a", image).await);
    push(&*metadata, tagged("a", "other", &["v1"])).await;
    assert_eq!(all_tags(&*metadata, "a").await, ["v1", "v2"]);
}

/// While two tags of one push move to and fro, a reader that sees the first at a manifest finds that manifest, and
/// finds the second somewhere.
pub async fn r010_a_manifest_never_shows_half_a_push(metadata: Subject) {
    push(&*metadata, tagged("a", "image 0", &["x", "y"])).await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (metadata, done) = (Arc::clone(&metadata), Arc::clone(&done));
        async move {
            while !done.load(Ordering::Relaxed) {
                let first = metadata.manifest(&name("a"), &by_tag("x")).await.unwrap().expect("the tag never goes");
                assert_eq!(first.digest, digest(std::str::from_utf8(&first.body).unwrap()));
                assert!(has_manifest(&*metadata, "a", first.digest).await);
                assert!(resolve(&*metadata, "a", "y").await.is_some());
                assert_eq!(all_tags(&*metadata, "a").await, ["x", "y"]);
                tokio::task::yield_now().await;
            }
        }
    });
    for number in 1..100 {
        push(&*metadata, tagged("a", &format!("image {}", number % 7), &["x", "y"])).await;
    }
    done.store(true, Ordering::Relaxed);
    reader.await.unwrap();
}
