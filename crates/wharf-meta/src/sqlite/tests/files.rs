//! What lies at the database's path: refused or used, and untouched when refused (B-137, R-070).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rusqlite::Connection;

use super::super::schema::{self, MIGRATIONS};
use super::Place;
use crate::contract::fixture::{BLOB_BYTES, digest, have_blob, name};
use crate::migrations::Migration;
use crate::{Error, Metadata as _};

/// A database with something in it, closed in order.
async fn closed() -> Place {
    let place = Place::new();
    let metadata = place.open();
    have_blob(&metadata, "a", "blob").await;
    metadata.close().await.unwrap();
    place
}

#[track_caller]
fn refused(place: &Place, because: &str) {
    let before = place.bytes();
    let log_before = fs::read(place.beside("-wal")).ok();
    let error = place.try_open().unwrap_err();
    let Error::Refused { reason, .. } = &error else { panic!("{error:?}") };
    assert!(reason.contains(because), "{error}");
    assert!(place.bytes() == before, "the file has changed");
    if let Some(log) = log_before {
        assert!(fs::read(place.beside("-wal")).unwrap() == log, "the log has changed");
    }
}

#[test]
fn b137_what_is_not_ours_is_refused_untouched() {
    for (content, because) in [
        (vec![], "is empty"),
        (vec![0], "not an SQLite database"),
        (b"SQLite format 3\0".to_vec(), "not an SQLite database"),
        ((0..20_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(), "not an SQLite database"),
    ] {
        let place = Place::new();
        fs::write(place.path(), content).unwrap();
        refused(&place, because);
    }
}

#[test]
fn b137_a_database_of_another_application_is_refused_untouched() {
    let place = Place::new();
    let foreign = Connection::open(place.path()).unwrap();
    foreign.execute_batch("create table t (x)").unwrap();
    refused(&place, "another application (its application id is 0x00000000)");
    foreign.execute_batch("pragma application_id = 1").unwrap();
    refused(&place, "another application (its application id is 0x00000001)");
}

#[test]
fn b137_a_directory_is_refused() {
    let place = Place::new();
    fs::create_dir(place.path()).unwrap();
    assert!(matches!(place.try_open(), Err(Error::Refused { .. })));
}

#[tokio::test]
async fn b137_a_truncated_database_is_refused_untouched() {
    for cut in [1, 4096, 40_000] {
        let place = closed().await;
        let mut bytes = place.bytes();
        bytes.truncate(bytes.len() - cut);
        fs::write(place.path(), bytes).unwrap();
        refused(&place, &format!("its last {cut} bytes are missing"));
    }
}

#[tokio::test]
async fn b137_the_log_of_another_database_is_refused_untouched() {
    let place = closed().await;
    let other = Place::new();
    let metadata = other.open();
    have_blob(&metadata, "theirs", "blob").await;
    fs::copy(other.beside("-wal"), place.beside("-wal")).unwrap();
    assert!(fs::metadata(place.beside("-wal")).unwrap().len() > 0);
    refused(&place, "belongs to another database");

    fs::remove_file(place.beside("-wal")).unwrap();
    let _ = fs::remove_file(place.beside("-shm"));
    let ours = place.open();
    assert_eq!(ours.blob(&name("a"), &digest("blob")).await.unwrap(), Some(BLOB_BYTES));
}

#[tokio::test]
async fn b137_a_log_without_its_database_is_refused() {
    let place = Place::new();
    let metadata = place.open();
    have_blob(&metadata, "a", "blob").await;
    drop(metadata);
    fs::remove_file(place.path()).unwrap();
    let error = place.try_open().unwrap_err();
    assert!(matches!(&error, Error::Refused { reason, .. } if reason.contains("is missing")), "{error}");
    assert!(!place.path().exists());
}

#[tokio::test]
async fn r070_a_newer_schema_is_refused_untouched() {
    let place = closed().await;
    place.look().execute_batch("update meta set schema_version = 9, readable_by = 7").unwrap();
    let before = place.bytes();
    let error = place.try_open().unwrap_err();
    assert!(matches!(error, Error::NewerSchema { found: 9, readable_by: 7, known: 1 }), "{error:?}");
    assert!(error.to_string().contains("has schema 9, usable from schema 7 on, and this binary knows 1"));
    assert!(place.bytes() == before);
}

#[tokio::test]
async fn r070_a_newer_schema_that_we_may_use_is_used() {
    let place = closed().await;
    place
        .look()
        .execute_batch(
            "update meta set schema_version = 2;
             insert into migrations values (2, 'from the future', 'ff', 0);",
        )
        .unwrap();
    let metadata = place.open();
    assert_eq!(metadata.blob(&name("a"), &digest("blob")).await.unwrap(), Some(BLOB_BYTES));
}

#[tokio::test]
async fn a_schema_made_by_another_text_is_noticed() {
    let place = closed().await;
    place.look().execute_batch("update migrations set sha256 = 'ff'").unwrap();
    assert!(matches!(place.try_open(), Err(Error::Corrupt { .. })));
}

#[test]
fn r071_migrations_run_all_or_not_at_all() {
    let connection = Connection::open_in_memory().unwrap();
    schema::migrate(&connection, MIGRATIONS).unwrap();
    let second = Migration { number: 2, name: "second", readable_by: 1, sql: "create table t2 (x)" };
    let third = Migration { number: 3, name: "third", readable_by: 3, sql: "create table t3 (x); nonsense" };
    let tables = || -> i64 {
        connection.query_row("select count(*) from sqlite_schema where name in ('t2', 't3')", [], |r| r.get(0)).unwrap()
    };
    let version = || -> (i64, i64) {
        connection
            .query_row("select schema_version, readable_by from meta", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    };

    let broken = [MIGRATIONS, &[second, third]].concat();
    schema::migrate(&connection, &broken).unwrap_err();
    assert_eq!((tables(), version()), (0, (1, 1)));

    let whole = Migration { sql: "create table t3 (x)", ..third };
    let migrations = [MIGRATIONS, &[second, whole]].concat();
    schema::migrate(&connection, &migrations).unwrap();
    assert_eq!((tables(), version()), (2, (3, 3)));
    schema::migrate(&connection, &migrations).unwrap();
    assert_eq!((tables(), version()), (2, (3, 3)), "again");
}

#[test]
fn a_draft_left_by_a_crash_is_replaced() {
    let place = Place::new();
    for suffix in [".new", ".new-wal", ".new-journal"] {
        fs::write(place.beside(suffix), "rubbish").unwrap();
    }
    place.open();
    assert!(!place.beside(".new").exists());
    assert!(!place.beside(".new-wal").exists());
}

#[tokio::test]
async fn s083_nobody_else_may_read_the_files() {
    let place = Place::new();
    let metadata = place.open();
    have_blob(&metadata, "a", "blob").await;
    for suffix in ["", "-wal", "-shm"] {
        let mode = fs::metadata(place.beside(suffix)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
}
