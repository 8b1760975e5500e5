//! Upload sessions.

use std::sync::Arc;

use wharf_base::Location;
use wharf_oci::Algorithm;

use super::fixture::*;
use crate::{
    Advance, BeginUpload, BlobRecord, Metadata, NewUpload, RecordBlob, Removal, Upload, UploadLimits, UploadState,
};

type Subject = Arc<dyn Metadata>;

/// Any other pair of repository and owner, and any later time, gets what an unknown id gets.
pub async fn s013_a_session_is_one_owners_in_one_repository_until_it_expires(metadata: Subject) {
    let new = NewUpload { algorithm: Algorithm::Sha512, ..new_upload(1, "team/app", "alice") };
    assert_eq!(metadata.begin_upload(&new, &NO_LIMITS).await.unwrap(), BeginUpload::Started);

    let find = async |repository: &str, owner: &str, second| {
        metadata.upload(new.id, &name(repository), owner, at(second)).await.unwrap()
    };
    let expected = Upload {
        id: new.id,
        algorithm: Algorithm::Sha512,
        started_at: at(0),
        expires_at: at(100),
        state: UploadState::Open { checkpoint: None, patches: 0 },
    };
    assert_eq!(find("team/app", "alice", 99).await, Some(expected));
    assert_eq!(find("team/app", "alice", 100).await, None);
    assert_eq!(find("team/app", "bob", 1).await, None);
    assert_eq!(find("team/other", "alice", 1).await, None);
    assert_eq!(metadata.upload(upload_id(2), &name("team/app"), "alice", at(1)).await.unwrap(), None);
    assert_eq!(metadata.tags(&name("team/app"), None, 1).await.unwrap(), None, "a session makes no repository");
}

/// What is reported is what was recorded together.
pub async fn r021_offset_and_hash_state_advance_together(metadata: Subject) {
    let id = begin(&*metadata, 1, "a", "alice").await;
    let found = async || metadata.upload(id, &name("a"), "alice", at(150)).await.unwrap();

    assert_eq!(metadata.advance_upload(id, 0, 7, b"seven", at(200)).await.unwrap(), Advance::Advanced);
    let Some(Upload { state, expires_at, .. }) = found().await else { panic!("its end moved as well") };
    assert_eq!(state, UploadState::Open { checkpoint: Some((7, b"seven".to_vec())), patches: 1 });
    assert_eq!(expires_at, at(200));

    assert_eq!(metadata.advance_upload(id, 7, 7, b"still seven", at(200)).await.unwrap(), Advance::Advanced);
    assert_eq!(
        found().await.unwrap().state,
        UploadState::Open { checkpoint: Some((7, b"still seven".to_vec())), patches: 2 }
    );
}

/// Who does not know the offset changes nothing; who has no open session is told so.
pub async fn r022_an_advance_is_a_compare_and_set(metadata: Subject) {
    let id = begin(&*metadata, 1, "a", "alice").await;
    let advance = async |from, to| metadata.advance_upload(id, from, to, b"state", at(100)).await.unwrap();

    assert_eq!(advance(5, 9).await, Advance::Moved);
    assert_eq!(advance(0, 5).await, Advance::Advanced);
    assert_eq!(advance(0, 5).await, Advance::Moved);
    assert_eq!(advance(5, 9).await, Advance::Advanced);
    let found = metadata.upload(id, &name("a"), "alice", at(1)).await.unwrap().unwrap();
    assert_eq!(found.state, UploadState::Open { checkpoint: Some((9, b"state".to_vec())), patches: 2 });

    assert_eq!(metadata.advance_upload(upload_id(2), 0, 1, b"", at(100)).await.unwrap(), Advance::Gone);
    assert!(metadata.end_upload(id, &name("a"), "alice").await.unwrap());
    assert_eq!(advance(9, 10).await, Advance::Gone);
}

/// 64 writers at the same offset.
pub async fn r022_of_concurrent_advances_one_wins(metadata: Subject) {
    let id = begin(&*metadata, 1, "a", "alice").await;
    let tasks = (1..=64u64).map(|to| {
        let metadata = Arc::clone(&metadata);
        tokio::spawn(async move {
            let state = to.to_string();
            (to, metadata.advance_upload(id, 0, to, state.as_bytes(), at(100)).await.unwrap())
        })
    });
    let mut winner = None;
    for task in tasks.collect::<Vec<_>>() {
        let (to, answer) = task.await.unwrap();
        if answer == Advance::Advanced {
            assert_eq!(winner.replace(to), None, "a second winner");
        } else {
            assert_eq!(answer, Advance::Moved);
        }
    }
    let winner = winner.expect("one wins");
    let found = metadata.upload(id, &name("a"), "alice", at(1)).await.unwrap().unwrap();
    let checkpoint = Some((winner, winner.to_string().into_bytes()));
    assert_eq!(found.state, UploadState::Open { checkpoint, patches: 1 });
}

/// Of its owner, in its repository, once.
pub async fn p190_only_an_open_session_is_cancelled(metadata: Subject) {
    let id = begin(&*metadata, 1, "a", "alice").await;
    assert!(!metadata.end_upload(id, &name("a"), "bob").await.unwrap());
    assert!(!metadata.end_upload(id, &name("b"), "alice").await.unwrap());
    assert!(!metadata.end_upload(upload_id(2), &name("a"), "alice").await.unwrap());
    assert!(metadata.end_upload(id, &name("a"), "alice").await.unwrap());
    assert!(!metadata.end_upload(id, &name("a"), "alice").await.unwrap());
    assert_eq!(metadata.upload(id, &name("a"), "alice", at(1)).await.unwrap(), None);

    let id = begin(&*metadata, 3, "a", "alice").await;
    let record = BlobRecord { upload: Some(id), ..blob_record("a", "blob") };
    assert_eq!(metadata.record_blob(&record).await.unwrap(), RecordBlob::Recorded);
    assert!(!metadata.end_upload(id, &name("a"), "alice").await.unwrap(), "it is finished");
    assert!(metadata.upload(id, &name("a"), "alice", at(2)).await.unwrap().is_some(), "and remembered");
}

/// Per repository, per owner, in all; each alone.
pub async fn p146_each_limit_counts_open_unexpired_sessions(metadata: Subject) {
    let limits = UploadLimits { per_repository: 2, per_owner: 3, total: 4 };
    let begin = async |number, repository: &str, owner: &str, second| {
        let new = NewUpload { now: at(second), expires_at: at(second + 100), ..new_upload(number, repository, owner) };
        metadata.begin_upload(&new, &limits).await.unwrap()
    };
    let too_many = |scope| BeginUpload::TooMany { scope };

    assert_eq!(begin(1, "a", "alice", 0).await, BeginUpload::Started);
    assert_eq!(begin(2, "a", "bob", 0).await, BeginUpload::Started);
    assert_eq!(begin(3, "a", "carol", 0).await, too_many("repository"));
    assert_eq!(begin(3, "b", "alice", 0).await, BeginUpload::Started);
    assert_eq!(begin(4, "c", "alice", 0).await, BeginUpload::Started);
    assert_eq!(begin(5, "d", "alice", 0).await, too_many("principal"));
    assert_eq!(begin(5, "d", "bob", 0).await, too_many("registry"));
    assert_eq!(metadata.upload(upload_id(5), &name("d"), "bob", at(1)).await.unwrap(), None);

    assert!(metadata.end_upload(upload_id(1), &name("a"), "alice").await.unwrap());
    assert_eq!(begin(5, "d", "bob", 1).await, BeginUpload::Started, "a cancelled one does not count");
    let record = BlobRecord { upload: Some(upload_id(2)), ..blob_record("a", "blob") };
    assert_eq!(metadata.record_blob(&record).await.unwrap(), RecordBlob::Recorded);
    assert_eq!(begin(6, "a", "bob", 1).await, BeginUpload::Started, "nor does a finished one");
    assert_eq!(begin(7, "a", "bob", 1).await, too_many("registry"));
    assert_eq!(begin(7, "a", "bob", 100).await, BeginUpload::Started, "nor one whose time is over");
}

/// 64 requests, 10 places.
pub async fn p146_limits_hold_under_concurrency(metadata: Subject) {
    let limits = UploadLimits { per_repository: 10, per_owner: 1000, total: 1000 };
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let metadata = Arc::clone(&metadata);
            tokio::spawn(
                async move { metadata.begin_upload(&new_upload(number, "a", "alice"), &limits).await.unwrap() },
            )
        })
        .collect();
    let mut started = 0;
    for task in tasks {
        match task.await.unwrap() {
            BeginUpload::Started => started += 1,
            BeginUpload::TooMany { scope } => assert_eq!(scope, "repository"),
        }
    }
    assert_eq!(started, 10);
}

/// The oldest first, bounded, and looked at again before it goes.
pub async fn r023_a_session_is_removed_only_when_its_time_is_over(metadata: Subject) {
    let mut ids = Vec::new();
    for number in 0..5 {
        let new = NewUpload { expires_at: at(100 - number), ..new_upload(number, "a", "alice") };
        metadata.begin_upload(&new, &NO_LIMITS).await.unwrap();
        ids.push(new.id);
    }
    ids.reverse();
    assert_eq!(metadata.expired_uploads(at(95), 10).await.unwrap(), []);
    assert_eq!(metadata.expired_uploads(at(97), 10).await.unwrap(), ids[..2]);
    assert_eq!(metadata.expired_uploads(at(1000), 3).await.unwrap(), ids[..3]);

    assert!(!metadata.remove_expired_upload(ids[0], at(95)).await.unwrap());
    assert_eq!(metadata.advance_upload(ids[0], 0, 1, b"state", at(500)).await.unwrap(), Advance::Advanced);
    assert!(!metadata.remove_expired_upload(ids[0], at(100)).await.unwrap(), "it has gone on");
    assert!(metadata.remove_expired_upload(ids[1], at(97)).await.unwrap());
    assert!(!metadata.remove_expired_upload(ids[1], at(97)).await.unwrap());
    assert_eq!(metadata.expired_uploads(at(100), 10).await.unwrap(), ids[2..]);
}

/// The answer to a completion that is repeated, for as long as it is remembered.
pub async fn p184_completion_ends_the_session_and_is_remembered(metadata: Subject) {
    let id = begin(&*metadata, 1, "a", "alice").await;
    let record = BlobRecord { upload: Some(id), ..blob_record("a", "blob") };
    assert_eq!(metadata.record_blob(&record).await.unwrap(), RecordBlob::Recorded);
    assert_eq!(metadata.record_blob(&record).await.unwrap(), RecordBlob::Recorded);

    let found = metadata.upload(id, &name("a"), "alice", at(3599)).await.unwrap().unwrap();
    assert_eq!(found.state, UploadState::Done { digest: record.digest });
    assert_eq!(metadata.upload(id, &name("a"), "alice", at(3600)).await.unwrap(), None);
    assert_eq!(metadata.expired_uploads(at(3600), 10).await.unwrap(), [id]);
    assert!(metadata.remove_expired_upload(id, at(3600)).await.unwrap());

    let another = BlobRecord { upload: Some(id), ..blob_record("a", "another blob") };
    assert_eq!(metadata.record_blob(&another).await.unwrap(), RecordBlob::UploadGone);
    assert_eq!(metadata.blob(&name("a"), &another.digest).await.unwrap(), None);
}

/// Without it nothing is recorded.
pub async fn r023_completion_needs_its_session(metadata: Subject) {
    let id = begin(&*metadata, 1, "a", "alice").await;
    let record = BlobRecord { upload: Some(id), ..blob_record("a", "blob") };
    let refused = async |record: &BlobRecord| {
        assert_eq!(metadata.record_blob(record).await.unwrap(), RecordBlob::UploadGone);
        assert_eq!(metadata.blob(&record.repository, &record.digest).await.unwrap(), None);
        assert_eq!(metadata.tags(&record.repository, None, 1).await.unwrap(), None, "no repository either");
    };
    refused(&BlobRecord { now: at(100), ..record.clone() }).await;
    refused(&BlobRecord { repository: name("b"), ..record.clone() }).await;
    refused(&BlobRecord { upload: Some(upload_id(2)), ..record.clone() }).await;

    assert_eq!(metadata.record_blob(&record).await.unwrap(), RecordBlob::Recorded);
    let other = BlobRecord { upload: Some(id), ..blob_record("a", "other") };
    assert_eq!(metadata.record_blob(&other).await.unwrap(), RecordBlob::UploadGone, "it ended with another blob");
    assert_eq!(metadata.blob(&name("a"), &other.digest).await.unwrap(), None);

    // Its bytes are in place already: they are to go, unless somebody has recorded them since.
    let removal = |digest| Removal { digest, location: Location::BY_DIGEST, size_bytes: BLOB_BYTES };
    let mut noted: Vec<_> = metadata.removals(at(1_000), 10).await.unwrap().iter().map(|found| found.digest).collect();
    noted.sort_unstable();
    let mut expected = [record.digest, other.digest];
    expected.sort_unstable();
    assert_eq!(noted, expected);
    assert!(!metadata.confirm_removal(&removal(record.digest)).await.unwrap());
    assert!(metadata.confirm_removal(&removal(other.digest)).await.unwrap());
}

/// A completion just in time against an expiry just after.
pub async fn r023_completion_and_expiry_exclude_each_other(metadata: Subject) {
    for number in 0..32 {
        let id = begin(&*metadata, number, "a", "alice").await;
        let content = format!("blob {number}");
        let record = BlobRecord { upload: Some(id), now: at(99), ..blob_record("a", &content) };
        let (completed, expired) =
            tokio::join!(metadata.record_blob(&record), metadata.remove_expired_upload(id, at(100)));
        let completed = completed.unwrap() == RecordBlob::Recorded;
        assert_ne!(completed, expired.unwrap());
        assert_eq!(metadata.blob(&name("a"), &record.digest).await.unwrap().is_some(), completed);
    }
}
