//! A newer version beside an older one (R-072, R-073, GR-41). What a newer one would bring are steps that stand here.

use std::time::Duration;

use super::{Place, config};
use crate::contract::fixture::*;
use crate::migrations::Migration;
use crate::postgres::PostgresConfig;
use crate::postgres::connector::Connector;
use crate::postgres::schema::{self, MIGRATIONS};
use crate::{Error, Metadata as _};

const EXPANDS: Migration = Migration {
    number: 2,
    name: "notes",
    readable_by: 1,
    sql: "alter table tags add column note text; create table notes (id bigint primary key)",
};

const CONTRACTS: Migration = Migration {
    number: 3,
    name: "no notes",
    readable_by: 3,
    sql: "drop table notes; alter table tags drop column note",
};

/// Migrates as a version would that has these steps as well.
async fn migrate(place: &Place, more: &[Migration]) -> Result<(), Error> {
    migrate_with(config(&place.database), more).await
}

async fn migrate_with(config: PostgresConfig, more: &[Migration]) -> Result<(), Error> {
    let migrations = [MIGRATIONS, more].concat();
    let migrating = tokio::task::spawn_blocking(move || {
        let session = Connector::new(&config).unwrap().connect().unwrap();
        schema::announce(&session, &migrations).unwrap();
        schema::migrate(&session, &migrations)
    });
    migrating.await.unwrap()
}

fn version(place: &Place) -> String {
    place.database.sql("select schema_version, readable_by, to_regclass('notes') is not null from meta")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr41_a_step_that_only_adds_is_taken_while_older_replicas_run() {
    let place = Place::new();
    let (older, _a) = place.replica().await;
    migrate(&place, &[EXPANDS]).await.unwrap();
    assert_eq!(version(&place), "2|1|t");
    // The one that was there goes on, and another of its version starts.
    let (restarted, _b) = place.replica().await;
    for replica in [&older, &restarted] {
        assert_eq!(replica.blob(&name("a"), &digest("blob")).await.unwrap(), None);
    }
    assert_eq!(version(&place), "2|1|t", "an older version does not take it back");
    migrate(&place, &[EXPANDS]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr41_a_step_that_takes_away_waits_for_the_end_of_older_replicas() {
    let place = Place::new();
    let (older, _a) = place.replica().await;
    let refused = migrate(&place, &[EXPANDS, CONTRACTS]).await;
    assert!(matches!(refused, Err(Error::OlderReplicas { knows: 1, needed: 3 })), "{refused:?}");
    assert_eq!(version(&place).split_once('|').unwrap().0, "1", "not even the step that only adds");
    older.close().await.unwrap();
    drop(older);
    migrate(&place, &[EXPANDS, CONTRACTS]).await.unwrap();
    assert_eq!(version(&place), "3|3|f");
    let refused = place.try_open(&config(&place.database)).await;
    assert!(matches!(refused, Err(Error::NewerSchema { found: 3, readable_by: 3, known: 1 })), "{refused:?}");
}

/// A migration waits longer for what pushes have locked than a statement does, in many pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r072_a_step_that_finds_a_table_locked_is_tried_again() {
    let place = Place::new();
    let (_older, _a) = place.replica().await;
    let (held, holding) = std::sync::mpsc::channel();
    let config = config(&place.database);
    let holder = std::thread::spawn(move || {
        let session = Connector::new(&config).unwrap().connect().unwrap();
        session.begin();
        session.batch("lock table tags in share mode").unwrap();
        held.send(()).unwrap();
        // Longer than a statement waits for a lock.
        session.batch("select pg_sleep(3)").unwrap();
        session.commit().unwrap();
    });
    tokio::task::spawn_blocking(move || holding.recv_timeout(Duration::from_secs(30)).unwrap()).await.unwrap();
    migrate(&place, &[EXPANDS]).await.unwrap();
    assert_eq!(version(&place), "2|1|t");
    holder.join().unwrap();
}

/// While a migration waits with one table for another one, nobody who pushes waits so long that it fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r072_a_step_that_waits_gives_way_to_pushes() {
    const OF_TWO_TABLES: Migration = Migration {
        sql: "alter table tags add column note text; alter table repository_blobs add column note text;
              create table notes (id bigint primary key)",
        ..EXPANDS
    };
    let place = Place::new();
    let (older, _a) = place.replica().await;
    // As somebody who copies the table does.
    let reading = Connector::new(&config(&place.database)).unwrap();
    let (read, done) = std::sync::mpsc::channel();
    let (held, holding) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let session = reading.connect().unwrap();
        session.begin();
        session.batch("lock table repository_blobs in access share mode").unwrap();
        held.send(()).unwrap();
        done.recv().unwrap();
        session.commit().unwrap();
    });
    tokio::task::spawn_blocking(move || holding.recv_timeout(Duration::from_secs(30)).unwrap()).await.unwrap();
    // Its statements have twice the patience that those of the replica have.
    let patient = PostgresConfig { lock_timeout: "4s".parse().unwrap(), ..config(&place.database) };
    let migrating = tokio::spawn(async move { migrate_with(patient, &[OF_TWO_TABLES]).await });
    for number in 0..4 {
        let waits = "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'
                        and database = (select oid from pg_database where datname = current_database())";
        while place.database.sql(waits) == "0" {
            assert!(!migrating.is_finished(), "the table is still being read");
        }
        push(&*older, tagged("a", &format!("body {number}"), &["latest"])).await;
    }
    read.send(()).unwrap();
    migrating.await.unwrap().unwrap();
    reader.join().unwrap();
    assert_eq!(version(&place), "2|1|t");
    assert_eq!(resolve(&*older, "a", "latest").await, Some(digest("body 3")));
}

/// One that was cut off, and so was not seen, while the database was changed under it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr41_a_replica_that_was_away_finds_out_and_ends() {
    let place = Place::new();
    let (older, _a) = place.replica().await;
    place.database.sql("update meta set schema_version = 3, readable_by = 3");
    place.database.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity
          where application_name = 'wharf' and datname = current_database()",
    );
    // Its connections are new ones, each of which looks.
    let refused = older.blob(&name("a"), &digest("blob")).await;
    assert!(matches!(&refused, Err(Error::Unavailable { .. })), "{refused:?}");
    tokio::time::timeout(Duration::from_secs(30), older.storage_failed()).await.expect("it ends");
    let refused = older.set_clock_mark(at(1)).await;
    assert!(matches!(refused, Err(Error::StorageFailed { .. })), "{refused:?}");
}
