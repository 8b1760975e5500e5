//! A newer version beside an older one (R-072, R-073, GR-41). What a newer one would bring are steps that stand here.

use std::time::Duration;

use super::{Place, config};
use crate::contract::fixture::*;
use crate::migrations::Migration;
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
    let (config, migrations) = (config(&place.database), [MIGRATIONS, more].concat());
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

/// A migration waits for what pushes have locked, in several pieces of the patience that a statement has.
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
