//! Several processes over one database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wharf_base::Secret;

use super::{Place, PostgresMetadata, Sharing, TempDir, config};
use crate::contract::fixture::*;
use crate::{
    Advance, AuditLog as _, AuditRecord, Collecting as _, Error, Identities as _, Leasing as _, Metadata, RuleText,
    Rules as _, SigningKey, TakeLease, name_of_upload, under_lease,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn two() -> (Place, [(Arc<PostgresMetadata>, TempDir); 2]) {
    let place = Place::new();
    let replicas = [place.replica().await, place.replica().await];
    (place, replicas)
}

/// As if the holder had not renewed it for long enough.
fn let_leases_end(place: &Place) {
    place.database.sql("update leases set until_us = 0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_wants_the_database_alone_has_it_alone() {
    let (place, [(one, _a), (two, _b)]) = two().await;
    let refused = place.try_open(&config(&place.database)).await;
    assert!(matches!(&refused, Err(Error::InUse { by }) if by.contains("socket")), "{refused:?}");
    one.close().await.unwrap();
    two.close().await.unwrap();
    let alone = place.open().await;
    let own = TempDir::new().unwrap();
    let beside = own.path().join("wharf.db");
    let refused = PostgresMetadata::open(&config(&place.database), &beside, Sharing::Replicas).await;
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    alone.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_has_one_holder_until_it_is_released_or_not_renewed() {
    let (place, [(one, _a), (two, _b)]) = two().await;
    let TakeLease::Taken(lease) = one.take_lease("work").await.unwrap() else { panic!("nobody had it") };
    assert_eq!(two.take_lease("work").await.unwrap(), TakeLease::Elsewhere);
    assert_eq!(one.take_lease("work").await.unwrap(), TakeLease::Elsewhere, "not twice in one process either");
    assert!(matches!(two.take_lease("other work").await.unwrap(), TakeLease::Taken(_)));

    let_leases_end(&place);
    assert!(one.renew_lease(&lease).await.unwrap(), "late, but nobody has taken it");
    assert_eq!(two.take_lease("work").await.unwrap(), TakeLease::Elsewhere);

    let_leases_end(&place);
    let TakeLease::Taken(next) = two.take_lease("work").await.unwrap() else { panic!("its time was over") };
    assert!(!one.renew_lease(&lease).await.unwrap());
    one.release_lease(&lease).await.unwrap();
    assert_eq!(one.take_lease("work").await.unwrap(), TakeLease::Elsewhere, "another's lease cannot be released");
    two.release_lease(&next).await.unwrap();
    assert!(matches!(one.take_lease("work").await.unwrap(), TakeLease::Taken(_)));

    let alone = Place::new().open().await;
    assert_eq!(alone.take_lease("work").await.unwrap(), TakeLease::Needless);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_want_a_lease_at_once_one_has_it() {
    let (_place, [(one, _a), (two, _b)]) = two().await;
    let takings = (0..32).map(|number| {
        let replica = Arc::clone(if number % 2 == 0 { &one } else { &two });
        tokio::spawn(async move { replica.take_lease("work").await.unwrap() })
    });
    let mut taken = 0;
    for taking in takings.collect::<Vec<_>>() {
        taken += usize::from(matches!(taking.await.unwrap(), TakeLease::Taken(_)));
    }
    assert_eq!(taken, 1);
}

/// A holder that slept through the end of its lease changes nothing any more, although it does not know that the lease is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_under_a_lost_lease_cannot_be_recorded() {
    let (place, [(one, _a), (two, _b)]) = two().await;
    let hold = crate::Hold { id: "late".to_owned(), reason: "late".to_owned(), until: at(1_000) };
    let late = under_lease(&*one, "work", async {
        one.hold(&crate::Hold { id: "early".to_owned(), ..hold.clone() }, None, at(1)).await.unwrap();
        let_leases_end(&place);
        let done = under_lease(&*two, "work", async { two.set_clock_mark(at(2)).await.unwrap() }).await;
        assert_eq!(done.unwrap(), Some(()), "the other replica takes it, works, and releases it");
        one.hold(&hold, None, at(3)).await
    });
    let late = late.await.unwrap().expect("it does not know");
    assert!(matches!(late, Err(Error::LeaseLost { .. })), "{late:?}");
    let stands: Vec<_> = two.holds(at(4)).await.unwrap().into_iter().map(|hold| hold.id).collect();
    assert_eq!(stands, ["early"]);
    // Outside of its work it is a replica like any other.
    one.hold(&hold, None, at(3)).await.unwrap();
}

/// The lease cannot be taken between the look at it and the end of the transaction that has looked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_not_taken_while_a_change_is_made_under_it() {
    let (place, [(one, _a), (two, _b)]) = two().await;
    let TakeLease::Taken(lease) = one.take_lease("work").await.unwrap() else { panic!("nobody had it") };
    let_leases_end(&place);
    let (looked, has_looked) = tokio::sync::oneshot::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let (looked, may_go) = (std::sync::Mutex::new(Some(looked)), std::sync::Mutex::new(may_go));
    let changing = Arc::clone(&one);
    let changing = tokio::spawn(async move {
        let change = changing.pool.write("changing", move |tx| {
            crate::leases::hold(tx, &lease)?;
            if let Some(looked) = looked.lock().unwrap().take() {
                looked.send(()).unwrap();
            }
            may_go.lock().unwrap().recv().unwrap();
            Ok(())
        });
        change.await
    });
    has_looked.await.unwrap();
    let taking = Arc::clone(&two);
    let taking = tokio::spawn(async move { taking.take_lease("work").await });
    let waits =
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like 'insert into leases%'";
    while place.database.sql(waits) != "1" {
        assert!(!taking.is_finished(), "it was taken from under the change");
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    changing.await.unwrap().unwrap();
    assert!(matches!(taking.await.unwrap().unwrap(), TakeLease::Taken(_)));
}

/// GR-17, GR-18, as far as the database decides it: one writer, and one that was thought dead is none any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr18_an_upload_goes_on_elsewhere_and_its_first_writer_is_shut_out() {
    let (place, [(one, _a), (two, _b)]) = two().await;
    let id = begin(&*one, 1, "a", "alice").await;
    let writing = name_of_upload(id);
    let advance = async |replica: &PostgresMetadata, from, to, state: &[u8]| {
        replica.advance_upload(id, from, to, state, at(100)).await
    };
    let first = under_lease(&*one, &writing, async {
        assert_eq!(under_lease(&*two, &writing, async {}).await.unwrap(), None, "GR-17: one writer");
        let_leases_end(&place);
        let second = under_lease(&*two, &writing, advance(&two, 0, 5, b"two")).await.unwrap();
        assert_eq!(second.unwrap().unwrap(), Advance::Advanced);
        // From the same offset, and then from one that would fit.
        let from_0 = advance(&one, 0, 7, b"one").await;
        let from_5 = advance(&one, 5, 7, b"one").await;
        let record = crate::BlobRecord { upload: Some(id), ..blob_record("a", "blob") };
        let recorded = one.record_blob(&record).await;
        (from_0, from_5, recorded, one.end_upload(id, &name("a"), "alice").await)
    });
    let (from_0, from_5, recorded, ended) = first.await.unwrap().unwrap();
    assert!(matches!(from_0, Err(Error::LeaseLost { .. })), "{from_0:?}");
    assert!(matches!(from_5, Err(Error::LeaseLost { .. })), "{from_5:?}");
    assert!(matches!(recorded, Err(Error::LeaseLost { .. })), "{recorded:?}");
    assert!(matches!(ended, Err(Error::LeaseLost { .. })), "{ended:?}");
    assert_eq!(place.database.sql("select offset_bytes, convert_from(hash_state, 'UTF8') from uploads"), "5|two");
    assert_eq!(place.database.sql("select count(*) from gc_removals"), "0", "its object may be the other's as well");
    assert_eq!(place.database.sql("select count(*) from leases"), "0", "leases end with the work");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_of_an_upload_ends_in_the_change_that_records_it() {
    let (place, [(one, _a), _]) = two().await;
    let id = begin(&*one, 1, "a", "alice").await;
    let held = || place.database.sql("select count(*) from leases");
    let writing = name_of_upload(id);
    let done = under_lease(&*one, &writing, async {
        assert_eq!(held(), "1");
        assert_eq!(one.advance_upload(id, 9, 10, b"", at(100)).await.unwrap(), Advance::Moved);
        assert_eq!(held(), "1", "nothing was recorded");
        assert_eq!(one.advance_upload(id, 0, 1, b"", at(100)).await.unwrap(), Advance::Advanced);
        held()
    });
    assert_eq!(done.await.unwrap().unwrap(), "0");
}

/// What follows the change that ended its lease, such as taking away what was staged, may take longer than a lease goes without being
/// renewed. Nobody else did it, so it is not dropped, and the client hears that it was done.
#[tokio::test]
async fn work_that_has_ended_its_lease_itself_goes_on_to_its_end() {
    let (place, [(one, _a), _]) = two().await;
    let id = begin(&*one, 1, "a", "alice").await;
    let writing = name_of_upload(id);
    let done = under_lease(&*one, &writing, async {
        assert_eq!(one.advance_upload(id, 0, 1, b"", at(100)).await.unwrap(), Advance::Advanced);
        assert_eq!(place.database.sql("select count(*) from leases"), "0");
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(11)).await;
        tokio::time::resume();
        // Long enough for an answer to the renewal that is due.
        for _ in 0..20 {
            one.clock_mark().await.unwrap();
        }
    });
    assert_eq!(done.await.unwrap(), Some(()), "it was dropped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s078_the_log_is_one_chain_whoever_seals_it() {
    let (_place, [(one, _a), (two, _b)]) = two().await;
    let sealed = Arc::new(AtomicUsize::new(0));
    let tasks = (0..16).map(|number| {
        let replica = Arc::clone(if number % 2 == 0 { &one } else { &two });
        let sealed = Arc::clone(&sealed);
        tokio::spawn(async move {
            for _ in 0..8 {
                replica.append_audit(vec![AuditRecord::done(&by("alice"), at(1), "test")]).await.unwrap();
                sealed.fetch_add(usize::from(replica.seal_audit(at(2)).await.unwrap().is_some()), Ordering::Relaxed);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert!(sealed.load(Ordering::Relaxed) > 1);
    let (seals, entries) = (one.audit_seals(0, 1_000).await.unwrap(), one.audit_in_order(0, 1_000).await.unwrap());
    assert_eq!(entries.len(), 128);
    assert_eq!(seals.iter().map(|seal| seal.records).sum::<u64>(), 128, "each record is covered once");
    let mut verifier = crate::ChainVerifier::new(seals, entries.first().map(|entry| entry.sequence)).unwrap();
    for entry in &entries {
        verifier.record(entry).unwrap();
    }
    verifier.finish().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_due_is_made_once() {
    let (_place, [(one, _a), (two, _b)]) = two().await;
    let key = |id: &str| SigningKey {
        id: id.to_owned(),
        algorithm: "EdDSA".to_owned(),
        private_key: Secret::new(vec![1]),
        created_at: at(50),
        signs_from: at(60),
        retired_at: None,
    };
    let by = by("wharf");
    let (first, second) = (key("one"), key("two"));
    let (a, b) =
        tokio::join!(one.add_signing_key(&first, Some(at(40)), &by), two.add_signing_key(&second, Some(at(40)), &by));
    assert!(a.unwrap() ^ b.unwrap());
    assert_eq!(one.signing_keys().await.unwrap().len(), 1);
}

/// The word of a change comes with its commit; it does not wait for anybody to ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s009_other_replicas_are_told_of_a_change() {
    let (place, [(one, _a), (two, _b)]) = two().await;
    let rule = RuleText { priority: 1, enabled: true, rule_json: "{}".to_owned(), description: String::new() };
    let rule_id = wharf_base::RuleId::generate(&wharf_base::ManualClock::at(at(0)), &wharf_base::SeededRng::new(1));
    one.create_rule(rule_id, &rule, &by("root"), at(1)).await.unwrap();
    tokio::time::timeout(PATIENCE, two.changed()).await.expect("a word of it");
    assert_eq!(two.versions().await.unwrap().rules, 1);

    // A connection that was lost may have missed something.
    while let Ok(()) = tokio::time::timeout(Duration::from_millis(10), two.changed()).await {}
    place.database.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and application_name = 'wharf'",
    );
    tokio::time::timeout(PATIENCE, two.changed()).await.expect("it looks again after that");
}
