//! What becomes of snapshots on disk, and databases made of them.

use wharf_base::{ManualClock, SeededRng, StoreId};
use wharf_policy::AccountType;

use super::Place;
use crate::contract::fixture::*;
use crate::{AuditFilter, AuditRecord, Hold, Metadata, Outcome, Restored, Snapshot};
use crate::{AuditLog as _, BackingUp as _, Collecting as _};

fn store_id(seed: u64) -> StoreId {
    StoreId::generate(&ManualClock::at(at(0)), &SeededRng::new(seed))
}

fn restored(lost: Vec<wharf_oci::Digest>) -> Restored {
    Restored {
        store_id: store_id(2),
        hold: Hold { id: "restored".to_owned(), reason: "look first".to_owned(), until: at(1_000_000) },
        lost,
        record: AuditRecord {
            at: at(7),
            request_id: String::new(),
            principal: "wharf".to_owned(),
            account_type: AccountType::System,
            source: None,
            action: "backup.restore",
            repository: None,
            target: None,
            outcome: Outcome::Done,
            rule_id: None,
            detail: None,
        },
    }
}

#[tokio::test]
async fn a_snapshot_goes_with_its_value_and_a_left_one_with_the_next_start() {
    let place = Place::new();
    let metadata = place.open();
    let snapshot = metadata.take_snapshot().await.unwrap();
    let path = place.beside(".snapshot");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    drop(snapshot);
    assert!(!path.exists());
    metadata.close().await.unwrap();
    drop(metadata);
    std::fs::write(&path, "left by a process that was killed").unwrap();
    place.open();
    assert!(!path.exists());
}

#[tokio::test]
async fn r063_a_restored_database_belongs_to_another_store_and_is_held() {
    let place = Place::new();
    let metadata = place.open();
    metadata.set_store_id(store_id(1)).await.unwrap();
    let (kept, lost) = (have_blob(&metadata, "a", "kept").await, have_blob(&metadata, "a", "lost").await);
    let upload = begin(&metadata, 1, "a", "alice").await;
    metadata.hold(&Hold { id: "old".to_owned(), reason: String::new(), until: at(99) }, None, at(0)).await.unwrap();
    let snapshot = metadata.take_snapshot().await.unwrap();

    let other = Place::new();
    std::fs::copy(place.beside(".snapshot"), other.path()).unwrap();
    drop(snapshot);
    Snapshot::restore(&other.path(), &restored(vec![lost])).unwrap();
    assert!(!other.beside("-wal").exists() && !other.beside("-journal").exists());
    let again = other.open();
    assert!(again.was_clean_shutdown());
    assert_eq!(again.store_id().await.unwrap(), Some(store_id(2)));
    let holds = again.holds(at(1)).await.unwrap();
    assert_eq!(holds.iter().map(|hold| hold.id.as_str()).collect::<Vec<_>>(), ["restored"]);
    assert_eq!(again.upload(upload, &name("a"), "alice", at(1)).await.unwrap(), None);
    assert_eq!(again.blob(&name("a"), &kept).await.unwrap(), Some(BLOB_BYTES));
    assert_eq!(again.blob(&name("a"), &lost).await.unwrap(), None);
    have_blob(&again, "a", "lost").await;
    assert_eq!(again.blob(&name("a"), &lost).await.unwrap(), Some(BLOB_BYTES), "a push heals it");
    let newest = again.audit(&AuditFilter::default(), None, 100).await.unwrap();
    assert!(newest.iter().any(|entry| entry.action == "backup.restore"));
    // The log of the one is not taken for that of the other.
    let identity =
        |place: &Place| -> i64 { place.look().pragma_query_value(None, "user_version", |r| r.get(0)).unwrap() };
    assert_ne!(identity(&place), identity(&other));
}

#[tokio::test]
async fn what_is_no_snapshot_is_refused_and_damage_is_found() {
    let place = Place::new();
    let metadata = place.open();
    for number in 0..200 {
        have_blob(&metadata, "a", &format!("blob {number}")).await;
    }
    let snapshot = metadata.take_snapshot().await.unwrap();
    let other = Place::new();
    std::fs::copy(place.beside(".snapshot"), other.path()).unwrap();
    drop(snapshot);
    assert_eq!(Snapshot::open(&other.path()).unwrap().faults().unwrap(), Vec::<String>::new());
    let whole = other.bytes();
    for page in 1..whole.len() / 4096 {
        let mut bytes = whole.clone();
        // The header of a page: there is none that SQLite would not miss.
        bytes[page * 4096..page * 4096 + 8].fill(0x5a);
        std::fs::write(other.path(), &bytes).unwrap();
        let found = Snapshot::open(&other.path()).and_then(|snapshot| snapshot.faults());
        assert!(!matches!(&found, Ok(faults) if faults.is_empty()), "page {page} is damaged, and nobody minds");
    }
    std::fs::write(other.path(), &whole[..whole.len() - 4096]).unwrap();
    Snapshot::open(&other.path()).unwrap_err();
    std::fs::write(other.path(), "no database").unwrap();
    Snapshot::open(&other.path()).unwrap_err();
    Snapshot::open(&other.beside(".nothing")).unwrap_err();
}

/// SQLite begins anew whenever somebody commits between two steps of a copy, unless the copy is of one transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r060_a_copy_of_many_steps_ends_although_the_writing_does_not() {
    let place = Place::new();
    let metadata = std::sync::Arc::new(place.open());
    let padding = "x".repeat(100_000);
    for number in 0..200 {
        let sql = "insert into events (id, kind, repository, payload, created_at_us) values ($1, 'k', 'r', $2, 0)";
        place.look().execute(sql, (number.to_string(), format!("\"{padding}\""))).unwrap();
    }
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writing = {
        let (metadata, over) = (std::sync::Arc::clone(&metadata), std::sync::Arc::clone(&over));
        tokio::spawn(async move {
            let mut number = 0;
            while !over.load(std::sync::atomic::Ordering::Acquire) {
                have_blob(&*metadata, "a", &format!("blob {number}")).await;
                number += 1;
            }
            number
        })
    };
    let taken = tokio::time::timeout(std::time::Duration::from_secs(60), metadata.take_snapshot()).await;
    over.store(true, std::sync::atomic::Ordering::Release);
    assert!(writing.await.unwrap() > 0);
    let snapshot = taken.expect("a copy that ends").unwrap();
    assert!(snapshot.size_bytes() > 20_000_000);
    assert_eq!(snapshot.faults().unwrap(), Vec::<String>::new());
}
