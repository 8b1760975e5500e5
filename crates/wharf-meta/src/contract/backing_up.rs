//! Snapshots.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wharf_base::{Location, Secret};
use wharf_oci::Digest;

use super::fixture::*;
use crate::{Content, Metadata, SigningKey, Snapshot};

type Subject = Arc<dyn Metadata>;

fn all_content(snapshot: &Snapshot) -> Vec<Content> {
    let mut found: Vec<Content> = Vec::new();
    loop {
        let page = snapshot.contents(found.last().map(|content| &content.digest), 7).unwrap();
        if page.is_empty() {
            return found;
        }
        found.extend(page);
    }
}

fn bytes(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(snapshot.size_bytes()).unwrap()];
    snapshot.file().unwrap().read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// What comes later is not in it; what was condemned before is.
pub async fn r060_a_snapshot_is_one_moment(metadata: Subject) {
    let mut expected = Vec::new();
    for number in 0..20 {
        expected.push(have_blob(&*metadata, "a", &format!("blob {number}")).await);
    }
    metadata.review_blobs(at(100_000), at(200_000), 3).await.unwrap();
    let snapshot = metadata.take_snapshot().await.unwrap();
    let later = have_blob(&*metadata, "a", "later").await;
    expected.sort();
    let expected: Vec<_> = expected.into_iter().map(|digest| Content { digest, size_bytes: BLOB_BYTES }).collect();
    assert_eq!(all_content(&snapshot), expected);
    assert_eq!(snapshot.content_size(&expected[0].digest).unwrap(), Some(BLOB_BYTES));
    assert_eq!(snapshot.content_size(&later).unwrap(), None);
    assert_eq!(snapshot.faults().unwrap(), Vec::<String>::new());
    assert_eq!(snapshot.store_id().unwrap(), metadata.store_id().await.unwrap());
    assert_eq!(Digest::Sha256(snapshot.sha256()), Digest::of(wharf_oci::Algorithm::Sha256, &bytes(&snapshot)));
}

/// Every snapshot has a beginning of what was written, and ends although the writing does not.
pub async fn r060_a_snapshot_is_taken_while_everybody_writes(metadata: Subject) {
    let over = Arc::new(AtomicBool::new(false));
    let writing = {
        let (metadata, over) = (Arc::clone(&metadata), Arc::clone(&over));
        tokio::spawn(async move {
            let mut number = 0;
            while !over.load(Ordering::Acquire) {
                have_blob(&*metadata, "a", &format!("blob {number}")).await;
                number += 1;
            }
            number
        })
    };
    for _ in 0..10 {
        let snapshot = metadata.take_snapshot().await.unwrap();
        let count = all_content(&snapshot).len();
        for number in 0..count {
            let digest = digest(&format!("blob {number}"));
            assert_eq!(snapshot.content_size(&digest).unwrap(), Some(BLOB_BYTES), "{number} of {count}");
        }
    }
    over.store(true, Ordering::Release);
    assert!(writing.await.unwrap() > 0);
}

/// Each costs as much space as the database.
pub async fn there_is_one_snapshot_at_a_time(metadata: Subject) {
    let first = metadata.take_snapshot().await.unwrap();
    assert!(matches!(metadata.take_snapshot().await, Err(crate::Error::Unavailable { .. })));
    let read_later = first.file().unwrap();
    let size_bytes = first.size_bytes();
    drop(first);
    assert_eq!(read_later.metadata().unwrap().len(), size_bytes);
    metadata.take_snapshot().await.unwrap();
}

/// Not in a row, and not in what SQLite leaves of one.
pub async fn r063_no_key_is_in_a_snapshot(metadata: Subject) {
    let secret = b"a key that signs bearer tokens, 0123456789abcdef".to_vec();
    let key = SigningKey {
        id: "kid".to_owned(),
        algorithm: "EdDSA".to_owned(),
        private_key: Secret::new(secret.clone()),
        created_at: at(0),
        signs_from: at(0),
        retired_at: None,
    };
    assert!(metadata.add_signing_key(&key, None, &by("root")).await.unwrap());
    let snapshot = metadata.take_snapshot().await.unwrap();
    let bytes = bytes(&snapshot);
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    assert_eq!(metadata.signing_keys().await.unwrap().len(), 1, "the registry itself keeps it");
}

/// What has no row is nobody's.
pub async fn content_comes_back(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    assert_eq!(metadata.content_size(&blob).await.unwrap(), Some(BLOB_BYTES));
    assert!(metadata.content_returned(&blob, &Location::BY_DIGEST, BLOB_BYTES).await.unwrap());
    assert_eq!(metadata.blob(&name("a"), &blob).await.unwrap(), Some(BLOB_BYTES));
    assert_eq!(metadata.content_size(&digest("other")).await.unwrap(), None);
    assert!(!metadata.content_returned(&digest("other"), &Location::BY_DIGEST, 1).await.unwrap());
}
