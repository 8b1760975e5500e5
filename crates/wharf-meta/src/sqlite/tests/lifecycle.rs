//! Opening, settings, ends orderly and not.

use std::time::{Duration, Instant};

use rusqlite::types::Value;
use wharf_base::ByteSize;

use super::super::SqliteConfig;
use super::super::connection::{self, Role};
use super::Place;
use crate::contract::fixture::*;
use crate::{Error, Metadata as _};

fn settings(place: &Place, role: Role) -> Vec<(&'static str, Value)> {
    let connection = connection::open(&place.path(), role, &SqliteConfig::default()).unwrap();
    [
        "journal_mode",
        "synchronous",
        "foreign_keys",
        "busy_timeout",
        "trusted_schema",
        "cell_size_check",
        "mmap_size",
        "application_id",
        "wal_autocheckpoint",
        "temp_store",
        "query_only",
        "cache_size",
    ]
    .map(|name| (name, connection.pragma_query_value(None, name, |row| row.get(0)).unwrap()))
    .to_vec()
}

#[test]
fn r011_every_connection_has_its_settings() {
    let place = Place::new();
    place.open();
    for (role, query_only, cache) in
        [(Role::Reader, 1, -4096), (Role::Writer, 0, -16_384), (Role::Checkpointer, 0, -4096)]
    {
        let expected = [
            ("journal_mode", Value::from("wal".to_owned())),
            ("synchronous", 2.into()),
            ("foreign_keys", 1.into()),
            ("busy_timeout", 5000.into()),
            ("trusted_schema", 0.into()),
            ("cell_size_check", 1.into()),
            ("mmap_size", 0.into()),
            ("application_id", 0x5768_7266.into()),
            ("wal_autocheckpoint", 0.into()),
            ("temp_store", 2.into()),
            ("query_only", query_only.into()),
            ("cache_size", cache.into()),
        ];
        assert_eq!(settings(&place, role), expected, "{role:?}");
    }
}

#[tokio::test]
async fn a_setting_that_does_not_hold_refuses_the_connection() {
    let place = Place::new();
    place.open().close().await.unwrap();
    place.look().pragma_update(None, "journal_mode", "delete").unwrap();
    let error = place.try_open().unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("journal_mode is Text(\"delete\"), not Text(\"wal\")"), "{error:?}");
}

#[tokio::test]
async fn a_reader_cannot_change_anything() {
    let place = Place::new();
    place.open();
    let reader = connection::open(&place.path(), Role::Reader, &SqliteConfig::default()).unwrap();
    reader.execute("update meta set schema_version = 2", []).unwrap_err();
}

#[tokio::test]
async fn pr1_everything_is_there_after_an_orderly_end() {
    let place = Place::new();
    let metadata = place.open();
    assert!(metadata.was_clean_shutdown(), "a new one");
    let blob = have_blob(&metadata, "a", "blob").await;
    let image = push(&metadata, tagged("a", "image", &["v1"])).await;
    begin(&metadata, 1, "a", "alice").await;
    metadata.close().await.unwrap();
    drop(metadata);
    assert!(!place.beside("-wal").exists(), "the log is in the database");

    let metadata = place.open();
    assert!(metadata.was_clean_shutdown());
    assert_eq!(metadata.blob(&name("a"), &blob).await.unwrap(), Some(BLOB_BYTES));
    assert_eq!(resolve(&metadata, "a", "v1").await, Some(image));
    assert!(metadata.upload(upload_id(1), &name("a"), "alice", at(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn pr1_everything_is_there_after_a_kill() {
    let place = Place::new();
    let metadata = place.open();
    for number in 0..20 {
        push(&metadata, tagged("a", &format!("image {number}"), &["v1"])).await;
    }
    // What a kill leaves: the files as they are, and nobody who tidies up.
    let after = Place::new();
    for suffix in ["", "-wal"] {
        std::fs::copy(place.beside(suffix), after.beside(suffix)).unwrap();
    }
    let metadata = after.open();
    assert!(!metadata.was_clean_shutdown());
    assert_eq!(resolve(&metadata, "a", "v1").await, Some(digest("image 19")));
    metadata.close().await.unwrap();
    assert!(after.open().was_clean_shutdown(), "the next end was orderly");
}

#[tokio::test]
async fn pr10_opening_takes_milliseconds() {
    let place = Place::new();
    place.open().close().await.unwrap();
    let fastest = (0..10)
        .map(|_| {
            let start = Instant::now();
            let metadata = place.open();
            let took = start.elapsed();
            drop(metadata);
            took
        })
        .min()
        .unwrap();
    assert!(fastest < Duration::from_millis(15), "{fastest:?}");
}

#[tokio::test]
async fn reads_wait_for_one_of_few_readers() {
    let place = Place::new();
    let config = SqliteConfig { readers: std::num::NonZeroUsize::MIN, ..SqliteConfig::default() };
    let metadata = std::sync::Arc::new(super::SqliteMetadata::open(&place.path(), &config).unwrap());
    let image = push(&*metadata, tagged("a", "image", &["v1"])).await;
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let metadata = std::sync::Arc::clone(&metadata);
            tokio::spawn(async move { resolve(&*metadata, "a", "v1").await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Some(image));
    }
}

#[tokio::test]
async fn r012_the_log_is_moved_and_stays_bounded() {
    let place = Place::new();
    let config = SqliteConfig { wal_max: ByteSize::mib(1), ..SqliteConfig::default() };
    let metadata = super::SqliteMetadata::open(&place.path(), &config).unwrap();
    let body = bytes::Bytes::from(vec![b' '; 1 << 20]);
    for number in 0..24 {
        let record = manifest("a", &format!("image {number}"));
        push(&metadata, crate::ManifestRecord { body: body.clone(), ..record }).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let log = std::fs::metadata(place.beside("-wal")).unwrap().len();
    assert!(log < 16 << 20, "the log has {log} bytes");
    assert!(place.bytes().len() > 20 << 20, "the database has the pages");
}

#[tokio::test]
async fn r025_damage_is_an_error_and_never_absence() {
    let place = Place::new();
    let metadata = place.open();
    let image = push(&metadata, tagged("a", "image", &["v1"])).await;
    place.look().execute_batch("update manifests set digest = 'sha256:short'").unwrap();
    let damaged = metadata.manifest(&name("a"), &by_tag("v1")).await.unwrap_err();
    assert!(matches!(damaged, Error::Corrupt { doing: "reading a manifest", .. }), "{damaged:?}");
    place.look().execute_batch("drop table manifests").unwrap();
    let failed = metadata.manifest(&name("a"), &wharf_oci::Reference::Digest(image)).await.unwrap_err();
    assert!(matches!(failed, Error::Unavailable { .. }), "{failed:?}");
}

#[test]
fn the_configuration_names_its_keys() {
    let config: SqliteConfig = serde_json::from_str(r#"{"readers": 2, "writer_cache": "256 MiB"}"#).unwrap();
    assert_eq!(config.readers.get(), 2);
    assert_eq!(config.writer_cache, ByteSize::mib(256));
    assert_eq!(config.reader_cache, ByteSize::mib(4));
    serde_json::from_str::<SqliteConfig>(r#"{"readers": 0}"#).unwrap_err();
}
