//! How much is stored, what is pulled, and changes that are asked for twice.

use std::sync::Arc;

use super::fixture::*;
use crate::{Claimed, LargeRepository, Metadata, Pull, StorageSample, WriteClaim};

type Subject = Arc<dyn Metadata>;

fn sample(day: i64, bytes: u64) -> StorageSample {
    let sampled_at = at(day.unsigned_abs() * 100 + bytes);
    StorageSample { day, sampled_at, repositories: 2, blobs: 3, bytes, unshared_bytes: 2 * bytes, condemned_bytes: 1 }
}

/// The last of a day counts, and what is too old goes.
pub async fn a_day_has_one_sample(metadata: Subject) {
    let large = |name_of: &str, bytes| LargeRepository { name: name(name_of), blobs: 1, bytes };
    metadata.keep_storage_sample(&sample(10, 1), &[large("a", 9), large("b", 8)], 0).await.unwrap();
    metadata.keep_storage_sample(&sample(11, 2), &[large("b", 8)], 0).await.unwrap();
    metadata.keep_storage_sample(&sample(11, 3), &[large("c", 7), large("a", 6)], 0).await.unwrap();
    assert_eq!(metadata.storage_samples(10).await.unwrap(), [sample(11, 3), sample(10, 1)]);
    assert_eq!(metadata.storage_samples(1).await.unwrap(), [sample(11, 3)]);
    assert_eq!(metadata.largest_repositories(10).await.unwrap(), [large("c", 7), large("a", 6)]);
    metadata.keep_storage_sample(&sample(12, 4), &[], 11).await.unwrap();
    assert_eq!(metadata.storage_samples(10).await.unwrap(), [sample(12, 4), sample(11, 3)]);
    assert_eq!(metadata.largest_repositories(10).await.unwrap(), []);
}

/// Each with all that it has, also what others have too.
pub async fn repositories_are_added_up(metadata: Subject) {
    for (repository, content) in [("a", "one"), ("a", "two"), ("b", "two")] {
        have_blob(&*metadata, repository, content).await;
    }
    let sizes = metadata.repository_sizes(None, 10).await.unwrap();
    let told: Vec<_> = sizes.iter().map(|size| (size.name.as_str(), size.blobs, size.bytes / BLOB_BYTES)).collect();
    assert_eq!(told, [("a", 2, 2), ("b", 1, 1)]);
    assert_eq!(metadata.repository_sizes(Some(&name("a")), 10).await.unwrap(), sizes[1..]);
    assert_eq!(metadata.repository_sizes(None, 1).await.unwrap(), sizes[..1]);
}

/// Seen with the tag that points at it; whatever is not there is passed over.
pub async fn a_pull_is_noted_once_and_never_earlier(metadata: Subject) {
    let digest = push(&*metadata, tagged("a", "one", &["v1"])).await;
    let pulled = async || {
        let found = metadata.tag_summaries(&name("a"), "", None, 10).await.unwrap().expect("the repository exists");
        found[0].last_pulled_at
    };
    assert_eq!(pulled().await, None);
    let pull = |of: &str, seconds| Pull { repository: name(of), digest, at: at(seconds) };
    metadata.note_pulls(vec![pull("a", 50), pull("unknown", 60)]).await.unwrap();
    assert_eq!(pulled().await, Some(at(50)));
    metadata.note_pulls(vec![pull("a", 40)]).await.unwrap();
    assert_eq!(pulled().await, Some(at(50)), "the clock of one replica is behind that of another");
    metadata.note_pulls(vec![pull("a", 70)]).await.unwrap();
    assert_eq!(pulled().await, Some(at(70)));
}

fn claim(principal: &str, key: u8, seconds: u64) -> WriteClaim {
    WriteClaim { principal: principal.to_owned(), key_sha256: [key; 32], request_sha256: [7; 32], at: at(seconds) }
}

/// Of two at once one carries it out; later ones get its answer; what was released is free again.
pub async fn a_change_is_claimed_once(metadata: Subject) {
    let before =
        |answer: Option<&[u8]>| Claimed::Before { request_sha256: [7; 32], answer: answer.map(<[u8]>::to_vec) };
    let mine = claim("alice", 1, 10);
    let (one, other) = tokio::join!(metadata.claim_write(&mine, 10), metadata.claim_write(&mine, 10));
    let claims = [one.unwrap(), other.unwrap()];
    assert_eq!(claims.iter().filter(|claimed| **claimed == Claimed::New).count(), 1);
    assert!(claims.contains(&before(None)));
    metadata.keep_answer(&mine, b"sealed".to_vec()).await.unwrap();
    assert_eq!(metadata.claim_write(&mine, 10).await.unwrap(), before(Some(b"sealed")));
    assert_eq!(metadata.claim_write(&claim("bob", 1, 10), 10).await.unwrap(), Claimed::New, "keys are of a principal");
    metadata.release_write(&mine).await.unwrap();
    assert_eq!(metadata.claim_write(&mine, 10).await.unwrap(), Claimed::New);
    assert_eq!(metadata.forget_answers(at(11)).await.unwrap(), 2);
    assert_eq!(metadata.claim_write(&mine, 10).await.unwrap(), Claimed::New);
}

/// Nobody fills the table.
pub async fn the_oldest_claims_make_room(metadata: Subject) {
    for number in 1..=4 {
        metadata.claim_write(&claim("alice", number, u64::from(number)), 2).await.unwrap();
    }
    metadata.claim_write(&claim("bob", 1, 1), 2).await.unwrap();
    assert_ne!(metadata.claim_write(&claim("alice", 4, 5), 2).await.unwrap(), Claimed::New);
    assert_ne!(metadata.claim_write(&claim("alice", 3, 5), 2).await.unwrap(), Claimed::New);
    assert_ne!(metadata.claim_write(&claim("bob", 1, 5), 2).await.unwrap(), Claimed::New);
    assert_eq!(metadata.claim_write(&claim("alice", 2, 5), 3).await.unwrap(), Claimed::New);
}
