//! What a server may be, and what happens when it goes away.

use std::sync::Arc;

use wharf_testkit::{Authority, PostgresServer};

use super::{Place, config};
use crate::contract::fixture::*;
use crate::postgres::PostgresConfig;
use crate::{Error, Metadata};

fn at_url(url: &str) -> PostgresConfig {
    PostgresConfig { url: Some(url.parse().unwrap()), ..PostgresConfig::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r013_tls_is_verified_unless_it_is_given_up() {
    let authority = Authority::new();
    let server = PostgresServer::start(Some(&authority));
    let place = Place::on(&server);
    let certificate = place.directory.path().join("ca.pem");
    std::fs::write(&certificate, authority.pem()).unwrap();
    let by = |url: String, pem: Option<&str>| PostgresConfig {
        ca_certificate: pem.map(|name| place.directory.path().join(name)),
        ..at_url(&url)
    };
    let (url, numeric) = (&place.database.tcp_url, place.database.tcp_url.replace("localhost", "127.0.0.1"));

    let metadata = place.try_open(&by(url.clone(), Some("ca.pem"))).await.unwrap();
    assert_eq!(
        place.database.sql(
            "select count(*) > 0 from pg_stat_ssl s join pg_stat_activity a using (pid)
                                    where s.ssl and a.application_name = 'wharf'"
        ),
        "t"
    );
    metadata.close().await.unwrap();

    std::fs::write(place.directory.path().join("other.pem"), Authority::new().pem()).unwrap();
    std::fs::write(place.directory.path().join("none.pem"), "no certificate").unwrap();
    place.try_open(&by(url.clone(), Some("other.pem"))).await.unwrap_err();
    place.try_open(&by(url.clone(), None)).await.unwrap_err();
    place.try_open(&by(numeric, Some("ca.pem"))).await.unwrap_err();
    let refused = place.try_open(&by(url.clone(), Some("none.pem"))).await.unwrap_err();
    assert!(matches!(&refused, Error::Server { reason } if reason.contains("no certificate")), "{refused}");
    place.try_open(&by(format!("{url}?sslmode=disable"), None)).await.unwrap().close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_be_reached_is_unavailable() {
    let place = Place::new();
    let nowhere = at_url("postgres://wharf@/wharf?host=/nonexistent");
    assert!(matches!(place.try_open(&nowhere).await, Err(Error::Unavailable { .. })));
    let unknown = at_url(&place.database.url.replace("/wharf_", "/unknown_"));
    assert!(matches!(place.try_open(&unknown).await, Err(Error::Unavailable { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r013_a_server_that_may_forget_is_refused() {
    let server = PostgresServer::start(None);
    for (setting, remedy) in [("fsync", "fsync = on"), ("full_page_writes", "full_page_writes = on")] {
        let place = Place::on(&server);
        place.database.sql(&format!("alter system set {setting} = off"));
        server.crash();
        server.start_again();
        let refused = place.try_open(&config(&place.database)).await.unwrap_err();
        assert!(matches!(&refused, Error::Server { reason } if reason.contains(remedy)), "{refused}");
        place.database.sql(&format!("alter system reset {setting}"));
        server.crash();
        server.start_again();
        place.open().await.close().await.unwrap();
    }
    // What is set for everybody else does not make our commits weaker.
    let place = Place::on(&server);
    place.database.sql("alter database postgres set synchronous_commit = off");
    place.database.sql("alter role wharf set synchronous_commit = off");
    let metadata = place.open().await;
    let shown = metadata.pool.with_session("asking", |session| {
        session.texts("select current_setting('synchronous_commit')").map_err(|error| Error::sql("asking", error))
    });
    assert_eq!(shown.await.unwrap(), ["on"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r070_another_schema_is_refused_and_left_alone() {
    let place = Place::new();
    place.open().await.close().await.unwrap();
    place.database.sql("update meta set schema_version = 9, readable_by = 8");
    assert!(matches!(
        place.try_open(&config(&place.database)).await,
        Err(Error::NewerSchema { found: 9, readable_by: 8, known: 1 })
    ));
    place.database.sql("update meta set readable_by = 1");
    place.open().await.close().await.unwrap();
    place.database.sql("update migrations set sha256 = 'other'");
    assert!(matches!(place.try_open(&config(&place.database)).await, Err(Error::Corrupt { .. })));

    let place = Place::new();
    place.database.sql("create table meta (of text)");
    let refused = place.try_open(&config(&place.database)).await.unwrap_err();
    assert!(matches!(&refused, Error::Server { reason } if reason.contains("empty database")), "{refused}");
    assert_eq!(place.database.sql("select count(*) from pg_tables where schemaname = 'public'"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_uses_a_database() {
    let place = Place::new();
    let first = place.open().await;
    let refused = place.try_open(&config(&place.database)).await.unwrap_err();
    assert!(matches!(&refused, Error::InUse { by } if by.contains("socket")), "{refused}");
    first.close().await.unwrap();
    place.open().await.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_in_order_is_told_from_another() {
    let place = Place::new();
    let metadata = place.open().await;
    assert!(metadata.was_clean_shutdown());
    metadata.close().await.unwrap();
    let metadata = place.open().await;
    assert!(metadata.was_clean_shutdown());
    drop(metadata);
    assert!(!place.open().await.was_clean_shutdown());
}

/// A server that is started again is used again by itself, for questions and for changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft11_a_server_that_comes_back_is_used_again() {
    let server = PostgresServer::start(None);
    let place = Place::on(&server);
    let metadata: Arc<dyn Metadata> = Arc::new(place.open().await);
    let before = have_blob(&*metadata, "a", "before").await;
    server.crash();
    assert!(matches!(metadata.blob(&name("a"), &before).await, Err(Error::Unavailable { .. })));
    assert!(matches!(metadata.record_blob(&blob_record("a", "during")).await, Err(Error::Unavailable { .. })));
    server.start_again();
    assert_eq!(metadata.blob(&name("a"), &before).await.unwrap(), Some(BLOB_BYTES));
    assert_eq!(metadata.blob(&name("a"), &digest("during")).await.unwrap(), None);
    have_blob(&*metadata, "a", "after").await;
    metadata.close().await.unwrap();
}

/// Connections that are cut at any moment cost no answer: what was asked is asked again, what was changed is looked up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r015_connections_may_be_cut_at_any_moment() {
    let place = Place::new();
    let metadata = Arc::new(place.open().await);
    let (done, mut progress) = tokio::sync::watch::channel(0);
    let pushing = {
        let metadata = Arc::clone(&metadata);
        tokio::spawn(async move {
            for number in 0..300 {
                // Would be refused if an attempt that was committed were repeated: the offset is another one by then.
                let upload = begin(&*metadata, number, "a", "alice").await;
                let advanced = metadata.advance_upload(upload, 0, 5, b"state", at(200)).await.unwrap();
                assert_eq!(advanced, crate::Advance::Advanced, "{number}");
                assert!(metadata.end_upload(upload, &name("a"), "alice").await.unwrap(), "{number}");
                done.send_replace(number);
            }
        })
    };
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where application_name = 'wharf' and datname = current_database()
                  and not exists (select 1 from pg_locks l where l.pid = pg_stat_activity.pid and l.locktype = 'advisory'
                                     and l.objsubid = 1 and ((l.classid::bigint << 32) | l.objid::bigint) = 8604252872373661298)";
    let mut cuts = 0;
    let mut seen = 0;
    // Not so often that every attempt is cut.
    while progress.wait_for(|number| *number >= seen + 2).await.is_ok() {
        seen = *progress.borrow();
        let database = place.database.clone();
        cuts += tokio::task::spawn_blocking(move || database.sql(cut)).await.unwrap().parse::<u32>().unwrap();
    }
    pushing.await.unwrap();
    assert!(cuts > 10, "{cuts} connections were cut");
}

/// A transaction of which nothing was synced when the server crashed, and whose number others have had since, was not committed
/// because they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft12_a_number_that_the_server_gave_again_is_no_acknowledgement() {
    let server = PostgresServer::start(None);
    let place = Place::on(&server);
    place.database.sql("alter system set wal_writer_delay = '10s'");
    server.crash();
    server.start_again();
    let metadata = Arc::new(place.open().await);
    let upload = begin(&*metadata, 1, "a", "alice").await;
    let (written, is_written) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let ending = {
        let metadata = Arc::clone(&metadata);
        let work = move |tx: &crate::sql::Tx<'_>| {
            let ended = crate::uploads::end(tx, upload, &name("a"), "alice")?;
            // Nobody listens or speaks any more should it run again.
            let _ = written.send(());
            let _ = may_go_on.lock().unwrap().recv();
            Ok(ended)
        };
        tokio::spawn(async move { metadata.pool.write("ending an upload", work).await })
    };
    tokio::task::block_in_place(|| is_written.recv().unwrap());
    server.crash();
    server.start_again();
    for _ in 0..20 {
        place.database.sql("select pg_current_xact_id()");
    }
    drop(go_on);
    let ended = ending.await.unwrap();
    let is_there = metadata.upload(upload, &name("a"), "alice", at(1)).await.unwrap().is_some();
    assert!(ended.is_err() || !is_there, "{ended:?} was acknowledged and has not happened");
    assert!(metadata.end_upload(upload, &name("a"), "alice").await.is_ok(), "it may be tried again");
}
