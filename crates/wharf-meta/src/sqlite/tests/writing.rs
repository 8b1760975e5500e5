//! Group commit: answers after the commit, one job's failure is its own, a commit's failure everybody's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, ffi};
use wharf_base::ByteSize;

use super::super::SqliteConfig;
use super::super::checkpoint::Checkpointer;
use super::super::connection::{self, Role};
use super::super::file;
use super::super::forgetting::Forgetting;
use super::super::writer::Writer;
use super::Place;
use crate::memory::Memory;
use crate::{DiskRefusal, Error, Result};

const CREATE: &str = "create table t (x integer primary key) strict";

fn writer(place: &Place, commit: fn(&Connection) -> rusqlite::Result<()>) -> Arc<Writer> {
    let config = SqliteConfig::default();
    let checkpointer = Checkpointer::start(place.path(), config.clone()).unwrap();
    writer_with(place, commit, checkpointer)
}

fn writer_with(
    place: &Place,
    commit: fn(&Connection) -> rusqlite::Result<()>,
    checkpointer: Checkpointer,
) -> Arc<Writer> {
    drop(place.open());
    let config = SqliteConfig::default();
    let connection = connection::open(&place.path(), Role::Writer, &config).unwrap();
    connection.execute_batch(CREATE).unwrap();
    let forgetting = Forgetting::follow(&connection, Arc::new(Memory::new(config.remembered))).unwrap();
    Arc::new(Writer::start_with(connection, checkpointer, forgetting, commit).unwrap())
}

fn commit(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("commit")
}

fn insert(tx: &Connection, x: i64) -> rusqlite::Result<i64> {
    tx.execute("insert into t values ($1)", [x])?;
    Ok(x)
}

fn stored(place: &Place) -> Vec<i64> {
    let connection = place.look();
    let mut statement = connection.prepare("select x from t order by x").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// Holds the writer up until all of `jobs` are in its queue, so that they share a transaction; answers theirs.
async fn as_one_batch<T, F>(writer: &Arc<Writer>, jobs: Vec<F>) -> Vec<Result<T>>
where
    T: Send + 'static,
    F: Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
{
    let (go, wait) = mpsc::channel::<()>();
    let (running, mut started) = tokio::sync::mpsc::unbounded_channel();
    let stopper = tokio::spawn({
        let writer = Arc::clone(writer);
        async move {
            writer
                .write("holding up", move |_| {
                    let _ = running.send(());
                    let _ = wait.recv();
                    Ok::<(), rusqlite::Error>(())
                })
                .await
        }
    });
    started.recv().await.unwrap();
    let mut tasks = Vec::new();
    for job in jobs {
        let writer = Arc::clone(writer);
        tasks.push(tokio::spawn(async move { writer.write("testing", job).await }));
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    let _ = stopper.await.unwrap();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn r010_an_answer_means_that_another_connection_sees_it() {
    let place = Place::new();
    let writer = writer(&place, commit);
    let look = place.look();
    let mut seen = look.prepare("select 1 from t where x = $1").unwrap();
    for x in 0..200 {
        writer.write("testing", move |tx| insert(tx, x)).await.unwrap();
        assert!(seen.exists([x]).unwrap());
    }
}

static COMMITS: AtomicUsize = AtomicUsize::new(0);

#[tokio::test]
async fn jobs_that_wait_share_a_commit_and_no_answer_comes_before_it() {
    let place = Place::new();
    let writer = writer(&place, |connection| {
        COMMITS.fetch_add(1, Ordering::SeqCst);
        commit(connection)
    });
    let path = place.path();
    let jobs = (0..100)
        .map(|x| {
            let path = path.clone();
            move |tx: &Connection| {
                insert(tx, x)?;
                // Nobody else sees what the batch has written so far.
                let seen: i64 = Connection::open(&path)?.query_row("select count(*) from t", [], |row| row.get(0))?;
                Ok(seen)
            }
        })
        .collect();
    let answers = as_one_batch(&writer, jobs).await;
    assert!(answers.into_iter().all(|seen| seen.unwrap() == 0));
    assert_eq!(stored(&place).len(), 100);
    assert_eq!(COMMITS.load(Ordering::SeqCst), 2, "one for the job that held the others up");
}

#[tokio::test]
async fn a_job_that_fails_or_panics_harms_no_neighbour() {
    let place = Place::new();
    let writer = writer(&place, commit);
    let jobs = (0..30)
        .map(|x| {
            move |tx: &Connection| {
                insert(tx, x)?;
                match x % 3 {
                    0 => Ok(()),
                    1 => insert(tx, 0).map(|_| ()),
                    _ => panic!("job {x}"),
                }
            }
        })
        .collect();
    let answers = as_one_batch(&writer, jobs).await;
    for (x, answer) in answers.into_iter().enumerate() {
        match (x % 3, answer) {
            (0, Ok(())) => {}
            (1, Err(Error::Unavailable { doing: "testing", source })) => {
                assert!(source.to_string().contains("UNIQUE"), "{source}");
            }
            (2, Err(Error::Unavailable { source, .. })) => {
                assert_eq!(source.to_string(), format!("it panicked: job {x}"))
            }
            (_, other) => panic!("{x}: {other:?}"),
        }
    }
    assert_eq!(stored(&place), (0..30).step_by(3).collect::<Vec<_>>());
    writer.write("testing", |tx| insert(tx, 100)).await.expect("the writer is alive");
}

#[tokio::test]
async fn jobs_run_once_unless_one_of_them_fails() {
    let place = Place::new();
    let writer = writer(&place, commit);
    let runs: Arc<[AtomicUsize; 4]> = Arc::default();
    let job = |place: usize, x: i64| {
        let runs = Arc::clone(&runs);
        move |tx: &Connection| {
            runs[place].fetch_add(1, Ordering::SeqCst);
            insert(tx, x)
        }
    };
    let counted = || runs.iter().map(|runs| runs.swap(0, Ordering::SeqCst)).collect::<Vec<_>>();
    assert!(
        as_one_batch(&writer, [0, 1, 2, 3].into_iter().enumerate().map(|(place, x)| job(place, x)).collect())
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(counted(), [1; 4]);
    let answers =
        as_one_batch(&writer, [4, 5, 5, 7].into_iter().enumerate().map(|(place, x)| job(place, x)).collect()).await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true]);
    assert_eq!(counted(), [2, 2, 2, 1]);
    assert_eq!(stored(&place), [0, 1, 2, 3, 4, 5, 7]);
}

#[tokio::test]
async fn a_failed_commit_fails_every_job_and_the_next_works() {
    let place = Place::new();
    let writer = writer(&place, |connection| {
        let doomed: bool = connection.query_row("select exists (select 1 from t where x >= 1000)", [], |r| r.get(0))?;
        if doomed {
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None));
        }
        commit(connection)
    });
    let jobs = (0..10).map(|n| move |tx: &Connection| insert(tx, if n == 7 { 1000 } else { n })).collect();
    for answer in as_one_batch(&writer, jobs).await {
        assert!(matches!(answer, Err(Error::Full { .. })), "{answer:?}");
    }
    assert_eq!(writer.disk_refused().await, DiskRefusal::Full);
    assert_eq!(stored(&place), [0; 0]);
    writer.write("testing", |tx| insert(tx, 1)).await.unwrap();
    assert_eq!(stored(&place), [1]);
}

/// The log could not be written, for example because the file system has become read-only: nothing is unknown then.
#[tokio::test]
async fn r002_a_log_that_cannot_be_written_is_not_one_that_cannot_be_synced() {
    let place = Place::new();
    let writer = writer(&place, |connection| {
        let doomed: bool =
            connection.query_row("select exists (select 1 from t where x = 13)", [], |row| row.get(0))?;
        if doomed {
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_WRITE), None));
        }
        commit(connection)
    });
    let answer = writer.write("testing", |tx| insert(tx, 13)).await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    assert_eq!(writer.disk_refused().await, DiskRefusal::Failed);
    writer.write("testing", |tx| insert(tx, 1)).await.unwrap();
    assert_eq!(stored(&place), [1]);
}

#[tokio::test]
async fn a_transaction_that_sqlite_takes_back_fails_every_job() {
    let place = Place::new();
    let writer = writer(&place, commit);
    let jobs = (0..5)
        .map(|n| {
            move |tx: &Connection| {
                insert(tx, n)?;
                if n == 2 { tx.execute_batch("rollback") } else { Ok(()) }
            }
        })
        .collect();
    for answer in as_one_batch(&writer, jobs).await {
        assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    }
    assert_eq!(stored(&place), [0; 0]);
    writer.write("testing", |tx| insert(tx, 1)).await.unwrap();
    assert_eq!(stored(&place), [1]);
}

#[tokio::test]
async fn r002_after_a_failed_sync_nothing_more_is_written() {
    let place = Place::new();
    let writer = writer(&place, |connection| {
        let doomed: bool =
            connection.query_row("select exists (select 1 from t where x = 13)", [], |row| row.get(0))?;
        if doomed {
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None));
        }
        commit(connection)
    });
    writer.write("testing", |tx| insert(tx, 1)).await.unwrap();
    let watching = tokio::spawn({
        let writer = Arc::clone(&writer);
        async move { writer.storage_failed().await }
    });
    tokio::task::yield_now().await;
    assert!(!watching.is_finished());

    for x in [13, 2] {
        let answer = writer.write("testing", move |tx| insert(tx, x)).await;
        assert!(matches!(answer, Err(Error::StorageFailed { .. })), "{answer:?}");
    }
    watching.await.unwrap();
    assert!(matches!(writer.close().await, Err(Error::StorageFailed { .. })));
    assert_eq!(stored(&place), [1]);
}

#[tokio::test]
async fn r027_a_change_is_finished_for_a_caller_that_stopped_waiting() {
    let place = Place::new();
    let writer = writer(&place, commit);
    let (running, mut started) = tokio::sync::mpsc::unbounded_channel();
    let task = tokio::spawn({
        let writer = Arc::clone(&writer);
        async move {
            writer
                .write("testing", move |tx| {
                    let _ = running.send(());
                    insert(tx, 1)
                })
                .await
        }
    });
    started.recv().await.unwrap();
    task.abort();
    writer.write("testing", |tx| insert(tx, 2)).await.unwrap();
    assert_eq!(stored(&place), [1, 2]);
}

#[test]
fn a_busy_database_is_asked_again_and_not_for_ever() {
    let busy = || rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY_SNAPSHOT), None);
    let mut left = 3;
    let answer = connection::retry_busy(|| {
        left -= 1;
        if left > 0 { Err(busy()) } else { Ok("answered") }
    });
    assert_eq!(answer.unwrap(), "answered");

    let mut asked = 0;
    let answer: rusqlite::Result<()> = connection::retry_busy(|| {
        asked += 1;
        Err(busy())
    });
    assert_eq!(answer.unwrap_err().sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
    assert_eq!(asked, 4);
}

/// A writer whose log has a limit of 64 KiB, and whose checkpointer finds it quiet after `quiet`.
fn writer_of_a_small_log(place: &Place, quiet: Duration) -> Arc<Writer> {
    let config = SqliteConfig { wal_max: ByteSize::kib(64), ..SqliteConfig::default() };
    writer_with(place, commit, Checkpointer::start_with(place.path(), config, quiet).unwrap())
}

/// Several times as much as the log's limit, in one transaction.
async fn write_much(writer: &Writer) -> i64 {
    let rows = 40_000;
    writer.write("testing", move |tx| (0..rows).try_for_each(|x| insert(tx, x).map(|_| ()))).await.unwrap();
    rows
}

fn log_bytes(place: &Place) -> u64 {
    file::log_bytes(&place.path())
}

#[tokio::test]
async fn r012_the_log_is_made_smaller_when_nobody_writes_and_nobody_reads_from_it() {
    let place = Place::new();
    let writer = writer_of_a_small_log(&place, Duration::from_millis(20));
    let reader = place.look();
    let count = |connection: &Connection| -> i64 {
        connection.query_row("select count(*) from t", [], |row| row.get(0)).unwrap()
    };
    reader.execute_batch("begin").unwrap();
    assert_eq!(count(&reader), 0);
    let rows = write_much(&writer).await;
    writer.write("testing", move |tx| insert(tx, rows)).await.unwrap();
    assert_eq!(count(&reader), 0, "a reader sees what was there when it began");
    assert!(log_bytes(&place) > 256 << 10, "and the log stays for it");
    reader.execute_batch("commit").unwrap();
    await_until(|| log_bytes(&place) == 0).await;
    assert_eq!(count(&reader), rows + 1);
    writer.write("testing", move |tx| insert(tx, rows + 1)).await.unwrap();
    assert_eq!(count(&reader), rows + 2, "and it goes on");
}

#[tokio::test]
async fn r012_a_little_that_is_written_all_the_time_does_not_keep_the_log_large() {
    let place = Place::new();
    let writer = writer_of_a_small_log(&place, Duration::from_millis(300));
    let rows = write_much(&writer).await;
    let limit = std::time::Instant::now() + Duration::from_secs(30);
    // As the audit log is sealed: more often than the log would have to be left alone.
    for x in rows.. {
        writer.write("testing", move |tx| insert(tx, x)).await.unwrap();
        if log_bytes(&place) <= 64 << 10 {
            break;
        }
        assert!(std::time::Instant::now() < limit, "the log still has {} bytes", log_bytes(&place));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_log_that_begins_anew_keeps_its_blocks_while_there_is_something_to_write() {
    let place = Place::new();
    let writer = writer_of_a_small_log(&place, Duration::from_secs(3600));
    // Other salts stand in the header of a log that has begun anew.
    let header = || std::fs::read(place.beside("-wal")).unwrap()[..32].to_vec();
    let rows = write_much(&writer).await;
    let (before, mut grown) = (header(), log_bytes(&place));
    assert!(grown > 256 << 10, "{grown}");
    for x in rows.. {
        writer.write("testing", move |tx| insert(tx, x)).await.unwrap();
        if header() != before {
            break;
        }
        grown = log_bytes(&place);
    }
    assert_eq!(log_bytes(&place), grown);
}

/// Asks again until it is so; the test's own limit ends what never is.
async fn await_until(is_so: impl Fn() -> bool) {
    let limit = std::time::Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(std::time::Instant::now() < limit, "it is still not so");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
