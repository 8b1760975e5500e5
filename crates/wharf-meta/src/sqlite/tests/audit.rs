//! S-077 and S-078: every change leaves its record, and a log that was touched shows it.

use rusqlite::Connection;
use wharf_base::{Rng, SeededRng};
use wharf_policy::AccountType;

use super::Place;
use crate::contract::fixture::*;
use crate::{
    AuditEntry, AuditFilter, AuditLog, AuditRecord, BlobMount, BrokenChain, ChainVerifier, Identities, IntactChain,
    Metadata, Outcome, Seal, SqliteMetadata,
};

async fn verify(metadata: &SqliteMetadata) -> Result<IntactChain, BrokenChain> {
    let seals: Vec<Seal> = metadata.audit_seals(i64::MIN, 100_000).await.unwrap();
    let entries: Vec<AuditEntry> = metadata.audit_in_order(i64::MIN, 100_000).await.unwrap();
    let mut verifier = ChainVerifier::new(seals, entries.first().map(|entry| entry.sequence))?;
    for entry in &entries {
        verifier.record(entry)?;
    }
    verifier.finish()
}

fn record(number: u64) -> AuditRecord {
    AuditRecord {
        at: at(number),
        request_id: format!("r-{number}"),
        principal: format!("user{}", number % 7),
        account_type: AccountType::Human,
        source: Some([192, 0, 2, 1].into()),
        action: "login",
        repository: number.is_multiple_of(3).then(|| format!("team/app{}", number % 5)),
        target: number.is_multiple_of(2).then(String::new),
        outcome: Outcome::Done,
        rule_id: None,
        detail: Some(serde_json::json!({ "n": number })),
    }
}

/// `segments` seals over ten records each.
async fn filled(place: &Place, segments: u64) -> SqliteMetadata {
    let metadata = place.open();
    for segment in 0..segments {
        let records = (0..10).map(|number| record(segment * 10 + number)).collect();
        metadata.append_audit(records).await.unwrap();
        let seal = metadata.seal_audit(at(segment * 10 + 10)).await.unwrap().unwrap();
        assert_eq!((seal.records, seal.last_sequence), (10, i64::try_from(segment * 10 + 10).unwrap()));
    }
    assert_eq!(metadata.seal_audit(at(1_000)).await.unwrap(), None, "nothing is left to seal");
    metadata
}

#[tokio::test]
async fn s078_an_untouched_log_verifies_and_what_is_not_sealed_is_counted() {
    let place = Place::new();
    let metadata = filled(&place, 3).await;
    metadata.append_audit(vec![record(30)]).await.unwrap();
    let intact = verify(&metadata).await.unwrap();
    assert_eq!((intact.records, intact.last_sequence, intact.unsealed), (30, 30, 1));
    let last = metadata.audit_in_order(29, 1).await.unwrap();
    assert_eq!(last[0].sha256, Some(intact.head));
}

/// One random change of one row; what was done.
fn tamper(database: &Connection, random: &SeededRng) -> String {
    let below = |end: u64| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        u64::from_le_bytes(bytes) % end
    };
    let (one, other) = (1 + below(30), 1 + below(30));
    let statement = match below(9) {
        0 => format!("update audit_log set principal = principal || 'x' where sequence = {one}"),
        1 => format!("update audit_log set at_us = at_us + 1 where sequence = {one}"),
        2 => format!("update audit_log set repository = case when repository is null then '' else null end where sequence = {one}"),
        3 => format!("update audit_log set detail = '{{}}' where sequence = {one}"),
        4 => format!("update audit_log set outcome = 'failed', sha256 = null where sequence = {one}"),
        5 => format!("delete from audit_log where sequence = {one}"),
        6 if one != other => format!(
            "update audit_log set sequence = case sequence when {one} then -{other} else -{one} end where sequence in ({one}, {other});
             update audit_log set sequence = -sequence where sequence < 0"
        ),
        7 => format!("delete from audit_log where sequence >= {}", 1 + one.max(2)).replace(">= 31", ">= 30"),
        _ => format!("update audit_seals set sha256 = zeroblob(32) where last_sequence = {}", 10 * (1 + below(3))),
    };
    database.execute_batch(&statement).unwrap();
    statement
}

#[tokio::test]
async fn s078_of_a_thousand_tamperings_a_thousand_are_found() {
    let place = Place::new();
    let metadata = filled(&place, 3).await;
    let database = place.look();
    database.execute_batch("attach ':memory:' as kept; create table kept.log as select * from audit_log; create table kept.seals as select * from audit_seals").unwrap();
    let random = SeededRng::new(42);
    for number in 0..1_000 {
        let done = tamper(&database, &random);
        let found = verify(&metadata).await;
        assert!(found.is_err(), "{number}: {done}");
        database.execute_batch("delete from audit_log; insert into audit_log select * from kept.log; delete from audit_seals; insert into audit_seals select * from kept.seals").unwrap();
    }
    verify(&metadata).await.expect("as it was");
}

#[tokio::test]
async fn b145_the_first_bad_record_is_named() {
    let check = async |statement: &str, sequence: i64, problem: &str| {
        let place = Place::new();
        let metadata = filled(&place, 3).await;
        place.look().execute_batch(statement).unwrap();
        let broken = verify(&metadata).await.unwrap_err();
        assert_eq!(broken.sequence, sequence, "{statement}: {broken}");
        assert!(broken.problem.contains(problem), "{statement}: {broken}");
    };
    check("delete from audit_log where sequence = 30", 30, "ends before").await;
    check("update audit_log set principal = 'x' where sequence = 17", 17, "edited").await;
    check("update audit_log set sha256 = null where sequence = 12", 12, "put in").await;
    check("delete from audit_log where sequence = 5", 6, "removed").await;
    check("delete from audit_log where sequence <= 10", 11, "no record says that retention").await;
    check("delete from audit_seals where last_sequence = 20", 30, "seal is missing").await;
}

#[tokio::test]
async fn s078_retention_removes_whole_segments_and_the_rest_still_verifies() {
    let place = Place::new();
    let metadata = filled(&place, 3).await;
    assert_eq!(metadata.trim_audit(at(9), at(40)).await.unwrap(), 0, "no segment has ended before that");
    assert_eq!(metadata.trim_audit(at(25), at(40)).await.unwrap(), 20);
    assert!(verify(&metadata).await.is_ok());
    metadata.seal_audit(at(41)).await.unwrap().unwrap();
    let intact = verify(&metadata).await.unwrap();
    assert_eq!((intact.records, intact.last_sequence), (11, 31));
    let first = metadata.audit_in_order(i64::MIN, 1).await.unwrap();
    assert_eq!(first[0].sequence, 21);
}

#[tokio::test]
async fn records_are_found_by_who_where_what_and_when() {
    let place = Place::new();
    let metadata = filled(&place, 3).await;
    let sequences = async |filter: AuditFilter, before| -> Vec<i64> {
        metadata.audit(&filter, before, 4).await.unwrap().into_iter().map(|entry| entry.sequence).collect()
    };
    let none = AuditFilter::default;
    assert_eq!(sequences(none(), None).await, [30, 29, 28, 27]);
    assert_eq!(sequences(none(), Some(28)).await, [27, 26, 25, 24]);
    let principal = AuditFilter { principal: Some("user1".to_owned()), ..none() };
    assert_eq!(sequences(principal, None).await, [30, 23, 16, 9]);
    let repository = AuditFilter { repository: Some("team/app0".to_owned()), ..none() };
    assert_eq!(sequences(repository, None).await, [16, 1]);
    let time = AuditFilter { since: Some(at(3)), until: Some(at(5)), ..none() };
    assert_eq!(sequences(time, None).await, [5, 4]);
    let request = AuditFilter { request_id: Some("r-7".to_owned()), ..none() };
    assert_eq!(sequences(request, None).await, [8]);
    assert!(sequences(AuditFilter { action: Some("denied".to_owned()), ..none() }, None).await.is_empty());
    assert!(sequences(AuditFilter { outcome: Some("failed".to_owned()), ..none() }, None).await.is_empty());
}

#[tokio::test]
async fn s076_s077_every_change_leaves_its_record_in_its_own_transaction() {
    let place = Place::new();
    let metadata = place.open();
    let blob = have_blob(&metadata, "a", "layer").await;
    let mount = BlobMount { from: name("a"), to: name("b"), digest: blob, by: by("bob"), now: at(2), review_at: at(9) };
    assert!(metadata.mount_blob(&mount).await.unwrap());
    let absent = BlobMount { digest: digest("nothing"), ..mount };
    assert!(!metadata.mount_blob(&absent).await.unwrap(), "what does not happen leaves none");
    let image = push(&metadata, tagged("a", "image", &["v1"])).await;
    push(&metadata, tagged("a", "other", &["v1"])).await;
    metadata.delete_tag(&name("a"), &tag("v1"), &by("carol"), at(3), at(9)).await.unwrap();
    metadata.delete_manifest(&name("a"), &image, &by("dave"), at(4), at(9)).await.unwrap();
    metadata.delete_blob(&name("b"), &blob, &by("erin"), at(5), at(9)).await.unwrap();
    let entries = metadata.audit_in_order(0, 100).await.unwrap();
    let seen: Vec<String> = entries
        .iter()
        .map(|entry| {
            let target = entry.target.as_deref().unwrap_or("-");
            let target = if target.starts_with("sha256:") { "digest" } else { target };
            format!("{} {} {} {target}", entry.principal, entry.action, entry.repository.as_deref().unwrap_or("-"))
        })
        .collect();
    assert_eq!(
        seen,
        [
            "alice blob.push a digest",
            "bob blob.mount b digest",
            "alice manifest.push a digest",
            "alice tag.create a v1",
            "alice manifest.push a digest",
            "alice tag.move a v1",
            "carol tag.delete a v1",
            "dave manifest.delete a digest",
            "erin blob.delete b digest",
        ]
    );
    assert!(
        entries.iter().all(|entry| entry.source == "192.0.2.1" && entry.rule_id.as_deref() == Some("builtin:human"))
    );
    assert_eq!(metadata.versions().await.unwrap(), crate::Versions::default());
}

#[tokio::test]
async fn s077_without_its_record_a_change_does_not_happen() {
    let place = Place::new();
    let metadata = place.open();
    place.look().execute_batch("drop table audit_log").unwrap();
    let record = blob_record("a", "layer");
    assert!(metadata.record_blob(&record).await.is_err());
    assert_eq!(metadata.blob(&name("a"), &record.digest).await.unwrap(), None);
}
