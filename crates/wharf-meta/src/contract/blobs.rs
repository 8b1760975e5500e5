//! Blobs and associations.

use std::sync::Arc;

use wharf_oci::{Algorithm, Digest};

use super::fixture::*;
use crate::{BlobMount, BlobRecord, ManifestRecord, Metadata, RecordBlob, RecordManifest};

type Subject = Arc<dyn Metadata>;

fn mount_of(from: &str, to: &str, digest: Digest) -> BlobMount {
    BlobMount { from: name(from), to: name(to), digest, by: by("alice"), now: at(1), review_at: at(86_400) }
}

/// A digest that exists elsewhere is answered like one that exists nowhere.
pub async fn s011_a_blob_is_known_only_where_it_was_recorded(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    have_blob(&*metadata, "b", "other").await;
    assert_eq!(metadata.blob(&name("a"), &blob).await.unwrap(), Some(BLOB_BYTES));
    assert_eq!(metadata.blob(&name("b"), &blob).await.unwrap(), None);
    assert_eq!(metadata.blob(&name("nowhere"), &blob).await.unwrap(), None);
    assert_eq!(metadata.blob(&name("a"), &digest("unknown")).await.unwrap(), None);

    let wide = Digest::of(Algorithm::Sha512, b"blob");
    let record = BlobRecord { digest: wide, size_bytes: 0, ..blob_record("a", "blob") };
    assert_eq!(metadata.record_blob(&record).await.unwrap(), RecordBlob::Recorded);
    assert_eq!(metadata.blob(&name("a"), &wide).await.unwrap(), Some(0));
}

/// By 64 clients in two repositories.
pub async fn p183_a_blob_is_recorded_many_times_at_once(metadata: Subject) {
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let metadata = Arc::clone(&metadata);
            let repository = if number % 2 == 0 { "a" } else { "b" };
            tokio::spawn(async move {
                let record = blob_record(repository, "blob");
                assert_eq!(metadata.record_blob(&record).await.unwrap(), RecordBlob::Recorded);
                assert_eq!(metadata.blob(&record.repository, &record.digest).await.unwrap(), Some(BLOB_BYTES));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(metadata.repositories_with_blob(&digest("blob"), 10).await.unwrap().len(), 2);
}

/// Whatever else has it; and only blobs are mounted.
pub async fn s012_a_mount_needs_the_source(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    have_blob(&*metadata, "b", "other").await;
    let refused = async |mount: BlobMount| {
        assert!(!metadata.mount_blob(&mount).await.unwrap());
        assert_eq!(metadata.blob(&mount.to, &mount.digest).await.unwrap(), None);
        assert_eq!(metadata.tags(&mount.to, None, 1).await.unwrap(), None, "no repository either");
    };
    refused(mount_of("b", "target", blob)).await;
    refused(mount_of("nowhere", "target", blob)).await;
    refused(mount_of("a", "target", digest("unknown"))).await;
    let manifest = push(&*metadata, manifest("a", "manifest")).await;
    refused(mount_of("a", "target", manifest)).await;

    assert!(metadata.mount_blob(&mount_of("a", "target", blob)).await.unwrap());
    assert!(metadata.mount_blob(&mount_of("a", "target", blob)).await.unwrap(), "again");
    assert!(metadata.mount_blob(&mount_of("a", "a", blob)).await.unwrap(), "P-156");
    assert_eq!(metadata.blob(&name("target"), &blob).await.unwrap(), Some(BLOB_BYTES));
    assert_eq!(metadata.blob(&name("a"), &blob).await.unwrap(), Some(BLOB_BYTES));
}

/// Deleting at the source takes nothing from the target, and ends further mounts (P-137).
pub async fn p160_a_mount_outlives_its_source(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    assert!(metadata.mount_blob(&mount_of("a", "b", blob)).await.unwrap());
    assert!(metadata.delete_blob(&name("a"), &blob, &by("alice"), at(2), at(86_400)).await.unwrap());
    assert_eq!(metadata.blob(&name("b"), &blob).await.unwrap(), Some(BLOB_BYTES));
    assert!(!metadata.mount_blob(&mount_of("a", "c", blob)).await.unwrap());
    assert!(metadata.mount_blob(&mount_of("b", "c", blob)).await.unwrap());
}

/// Those that may serve it now, at most as many as asked for.
pub async fn p155_repositories_with_a_blob(metadata: Subject) {
    let blob = digest("blob");
    assert_eq!(metadata.repositories_with_blob(&blob, 10).await.unwrap(), []);
    for repository in ["a", "b", "c"] {
        have_blob(&*metadata, repository, "blob").await;
        have_blob(&*metadata, repository, "other").await;
    }
    assert!(metadata.delete_blob(&name("b"), &blob, &by("alice"), at(2), at(86_400)).await.unwrap());
    let mut found = metadata.repositories_with_blob(&blob, 10).await.unwrap();
    found.sort();
    assert_eq!(found, [name("a"), name("c")]);
    assert_eq!(metadata.repositories_with_blob(&blob, 1).await.unwrap().len(), 1);
}

/// Once; other repositories keep theirs; it can be recorded again (P-136).
pub async fn f03_deleting_a_blob_ends_one_association(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    have_blob(&*metadata, "b", "blob").await;
    let delete = async |repository: &str| {
        metadata.delete_blob(&name(repository), &blob, &by("alice"), at(2), at(86_400)).await.unwrap()
    };
    assert!(!delete("nowhere").await);
    assert!(delete("a").await);
    assert!(!delete("a").await);
    assert_eq!(metadata.blob(&name("a"), &blob).await.unwrap(), None);
    assert_eq!(metadata.blob(&name("b"), &blob).await.unwrap(), Some(BLOB_BYTES));
    have_blob(&*metadata, "a", "blob").await;
    assert_eq!(metadata.blob(&name("a"), &blob).await.unwrap(), Some(BLOB_BYTES));
    assert!(delete("a").await);
}

/// The manifest stays pullable; its blob is unknown, also to a later push, until it is pushed or mounted.
pub async fn p135_a_referenced_blob_is_deletable_and_comes_back(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    have_blob(&*metadata, "b", "blob").await;
    let image = ManifestRecord { blobs: vec![blob], ..manifest("a", "image") };
    push(&*metadata, image.clone()).await;

    assert!(metadata.delete_blob(&name("a"), &blob, &by("alice"), at(20), at(86_400)).await.unwrap());
    assert!(has_manifest(&*metadata, "a", image.digest).await);
    assert_eq!(metadata.blob(&name("a"), &blob).await.unwrap(), None);
    let missing = RecordManifest::Missing { blobs: vec![blob], children: vec![] };
    assert_eq!(metadata.record_manifest(&image).await.unwrap(), missing);

    assert!(metadata.mount_blob(&mount_of("b", "a", blob)).await.unwrap());
    assert_eq!(metadata.record_manifest(&image).await.unwrap(), RecordManifest::Recorded { created: false });
}
