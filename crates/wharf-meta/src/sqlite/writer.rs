//! The one writer. Everything that changes something is a job in its queue; it takes as many as wait, runs them in one
//! transaction, commits, and only then answers. So concurrent changes share a sync (group commit), and no answer is given
//! for what a power cut could undo.
//!
//! A job that fails takes back its own work and no other's. That is rare, and savepoints cost every job a copy of each page
//! that it writes: so jobs run without them, and if one fails the transaction is taken back and all run once more, each in
//! a savepoint of its own.
//!
//! If the commit fails, *every* job of the transaction fails, refusals included: they may rest on what a neighbour had
//! written. If it fails because the log could not be synced, nobody knows what a later commit would rest on; the
//! writer then refuses everything until the database is opened again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode, MAIN_DB, Result, ffi};
use tokio::sync::mpsc::error::{SendTimeoutError, TrySendError};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tracing::{debug, error};
use wharf_base::{Distribution, failpoint, panic_text};

use super::checkpoint::Checkpointer;
use super::connection::retry_busy;
use super::forgetting::Forgetting;
use crate::error::Source;
use crate::sql::{self, Tx};
use crate::{DatabaseFigures, DiskRefusal, Error, life};

/// How many jobs wait before callers wait for room in the queue.
const QUEUE_MAX: usize = 1024;

/// How many jobs share a commit; more would only let the first of them wait longer.
const BATCH_MAX: usize = 256;

/// How long a change waits for room in the queue.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Nothing is wrong but the load.
#[derive(Debug, thiserror::Error)]
#[error("{QUEUE_MAX} changes wait already, and none was begun for {WAIT_MAX:?}")]
struct QueueFull;

/// The queue's end that callers hold.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    failed: watch::Receiver<bool>,
    refusals: Arc<Refusals>,
    commits: Arc<Commits>,
}

/// How long commits took, and how many changes shared one.
#[derive(Debug)]
struct Commits {
    seconds: Distribution,
    changes: Distribution,
}

/// Bells that ring when the disk did not take a transaction.
#[derive(Debug, Default)]
struct Refusals {
    full: Notify,
    failed: Notify,
}

enum Message {
    Job(Box<dyn Job>),
    Close(CloseReply),
}

/// Whom to tell how closing went.
type CloseReply = oneshot::Sender<crate::Result<()>>;

impl Writer {
    /// Starts the writing thread, which ends when the queue is closed or dropped.
    pub(super) fn start(
        connection: Connection,
        checkpointer: Checkpointer,
        forgetting: Forgetting,
    ) -> std::io::Result<Self> {
        Self::start_with(connection, checkpointer, forgetting, commit)
    }

    /// The same with another way to commit, for tests of what happens when it fails.
    pub(super) fn start_with(
        connection: Connection,
        checkpointer: Checkpointer,
        forgetting: Forgetting,
        commit: fn(&Connection) -> Result<()>,
    ) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let (failure, failed) = watch::channel(false);
        let refusals = Arc::<Refusals>::default();
        let commits = Arc::new(Commits {
            seconds: Distribution::new(Distribution::SECONDS),
            changes: Distribution::new(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]),
        });
        let thread = WriterThread {
            connection,
            checkpointer,
            forgetting,
            commit,
            failure,
            refusals: Arc::clone(&refusals),
            commits: Arc::clone(&commits),
            storage_failure: None,
        };
        let _: JoinHandle<()> =
            std::thread::Builder::new().name("wharf-writer".to_owned()).spawn(|| thread.run(jobs))?;
        Ok(Self { queue, failed, refusals, commits })
    }

    /// Runs `work` in a transaction and answers when that is on stable storage; it runs to its end even if the caller
    /// stops waiting. It may run twice: what it did first has been taken back then.
    pub(super) async fn write<T, F, E>(&self, doing: &'static str, work: F) -> crate::Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T, E> + Send + 'static,
        E: Into<sql::Error>,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Request { doing, work, result: None, reply });
        match self.queue.try_send(Message::Job(job)) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(Error::Closed),
            // Not begun yet, so it may be given up; what is in the queue is carried out.
            Err(TrySendError::Full(job)) => match self.queue.send_timeout(job, WAIT_MAX).await {
                Ok(()) => {}
                Err(SendTimeoutError::Timeout(_)) => return Err(Error::unavailable(doing, QueueFull)),
                Err(SendTimeoutError::Closed(_)) => return Err(Error::Closed),
            },
        }
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Finishes the queue, notes the orderly end, moves the log into the database. [`Error::Closed`] if done before.
    pub(super) async fn close(&self) -> crate::Result<()> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Message::Close(reply)).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    pub(super) fn figures(&self, log_bytes: Option<u64>) -> DatabaseFigures {
        DatabaseFigures {
            commit_seconds: self.commits.seconds.snapshot(),
            commit_changes: self.commits.changes.snapshot(),
            log_bytes,
        }
    }

    /// Resolves when the disk did not take a transaction, once for each time that this was not heard yet.
    pub(super) async fn disk_refused(&self) -> DiskRefusal {
        tokio::select! {
            () = self.refusals.full.notified() => DiskRefusal::Full,
            () = self.refusals.failed.notified() => DiskRefusal::Failed,
        }
    }

    /// Resolves when a commit could not be synced; never otherwise.
    pub(super) async fn storage_failed(&self) {
        let mut failed = self.failed.clone();
        if failed.wait_for(|failed| *failed).await.is_err() {
            // The writer ended in order and will not fail any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Refusals {
    fn ring(&self, failure: &Failure) {
        if failure.full {
            self.full.notify_one();
        } else if failure.disk {
            self.failed.notify_one();
        }
    }
}

/// A change that waits for its transaction.
trait Job: Send {
    /// Does the work; whether its changes shall stay.
    fn run(&mut self, tx: &Connection) -> bool;

    /// Tells the caller, after the commit: what the work answered, or that it failed with the whole transaction.
    fn answer(self: Box<Self>, failure: Option<&Failure>);
}

/// How a job's last run ended; or the panic's words.
type Ran<T> = std::result::Result<crate::Result<T>, String>;

struct Request<T, F> {
    doing: &'static str,
    work: F,
    result: Option<Ran<T>>,
    reply: oneshot::Sender<crate::Result<T>>,
}

impl<T, F, E> Job for Request<T, F>
where
    T: Send,
    F: Fn(&Connection) -> Result<T, E> + Send,
    E: Into<sql::Error>,
{
    fn run(&mut self, tx: &Connection) -> bool {
        // A panic is a bug in one kind of change; the others need the writer.
        let ran = catch_unwind(AssertUnwindSafe(|| (self.work)(tx)))
            .map(|result| result.map_err(|error| Error::sql(self.doing, error.into())))
            .map_err(|panic| panic_text(panic.as_ref()).unwrap_or("no message").to_owned());
        // Should it succeed when it is run once more, nobody else hears of this.
        match &ran {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => debug!(doing = self.doing, %error, "a change failed: {error}"),
            Err(panic) => debug!(doing = self.doing, panic, "a change panicked: {panic}"),
        }
        let keep = matches!(ran, Ok(Ok(_)));
        self.result = Some(ran);
        keep
    }

    fn answer(self: Box<Self>, failure: Option<&Failure>) {
        let result = match (self.result, failure) {
            (Some(Err(panic)), _) => Err(panicked(self.doing, &panic)),
            (Some(Ok(Err(error))), _) => Err(error),
            (Some(Ok(Ok(value))), None) => Ok(value),
            (_, Some(failure)) => Err(failure.error(self.doing)),
            (None, None) => Err(Error::unavailable(self.doing, "it was never begun")),
        };
        // Nobody waits any more; the change stands all the same.
        let _ = self.reply.send(result);
    }
}

fn panicked(doing: &'static str, panic: &str) -> Error {
    error!(doing, panic, "{doing} panicked: {panic}");
    Error::unavailable(doing, format!("it panicked: {panic}"))
}

/// Why a whole transaction did not happen.
#[derive(Clone, Debug)]
struct Failure {
    source: Source,
    /// Whether the log could not be synced.
    storage: bool,
    /// Whether there was no room for it.
    full: bool,
    /// Whether it was the disk at all.
    disk: bool,
}

/// Not a word of the disk's: what SQLite answers when a job is wrong or the database busy.
fn is_of_disk(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied)
    )
}

/// Whether a commit failed in a way after which nobody knows what is on the disk. A log that could not be *written* (no
/// room, a file system that has become read-only) ends before the commit's last frame: SQLite takes the transaction back,
/// and the next one begins where this one did. Whatever is not known to be of that kind counts as a failed sync.
fn is_not_synced(error: &rusqlite::Error) -> bool {
    let harmless = [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_IOERR_SHMMAP];
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            failure.code == ErrorCode::SystemIoFailure && !harmless.contains(&failure.extended_code)
        }
        _ => false,
    }
}

impl Failure {
    fn new(error: rusqlite::Error) -> Self {
        Self {
            storage: is_not_synced(&error),
            full: crate::error::is_full(&error),
            disk: is_of_disk(&error),
            source: Arc::new(error),
        }
    }

    fn error(&self, doing: &'static str) -> Error {
        let source = Arc::clone(&self.source);
        match self {
            Self { storage: true, .. } => Error::StorageFailed { source },
            Self { full: true, .. } => Error::Full { doing, source },
            _ => Error::Unavailable { doing, source },
        }
    }
}

struct WriterThread {
    connection: Connection,
    checkpointer: Checkpointer,
    forgetting: Forgetting,
    commit: fn(&Connection) -> Result<()>,
    failure: watch::Sender<bool>,
    refusals: Arc<Refusals>,
    commits: Arc<Commits>,
    storage_failure: Option<Failure>,
}

impl WriterThread {
    fn run(mut self, mut jobs: mpsc::Receiver<Message>) {
        while let Some(first) = jobs.blocking_recv() {
            let (batch, close) = take_batch(first, &mut jobs);
            self.run_batch(batch);
            if let Some(reply) = close {
                jobs.close();
                let _ = reply.send(self.close());
                return;
            }
        }
    }

    fn run_batch(&mut self, mut batch: Vec<Box<dyn Job>>) {
        if batch.is_empty() {
            return;
        }
        let failure = match &self.storage_failure {
            Some(failure) => Some(failure.clone()),
            None => self.transact(&mut batch).err(),
        };
        for job in batch {
            job.answer(failure.as_ref());
        }
        failpoint::reach("meta.answered");
        self.checkpointer.written();
    }

    fn transact(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        let ran = self.run_jobs(batch).map_err(|error| Failure { storage: false, ..Failure::new(error) });
        failpoint::reach("meta.written");
        let begun = Instant::now();
        let done = ran.and_then(|()| {
            let _changing = self.forgetting.before_commit();
            (self.commit)(&self.connection).map_err(Failure::new)
        });
        if done.is_ok() {
            self.commits.seconds.observe(begun.elapsed());
            self.commits.changes.observe_count(u32::try_from(batch.len()).unwrap_or(u32::MAX));
            failpoint::reach("meta.committed");
        }
        if let Err(failure) = &done {
            error!(error = %failure.source, jobs = batch.len(), "a transaction failed: {}", failure.source);
            self.roll_back();
            self.forgetting.taken_back();
            self.refusals.ring(failure);
            if failure.storage {
                self.storage_failure = Some(failure.clone());
                self.failure.send_replace(true);
            }
        }
        done
    }

    fn run_jobs(&self, batch: &mut [Box<dyn Job>]) -> Result<()> {
        if self.run_together(batch)? {
            return Ok(());
        }
        self.roll_back();
        self.forgetting.taken_back();
        self.run_apart(batch)
    }

    /// Whether every job's changes shall stay. Those behind the first one whose shall not were not begun.
    fn run_together(&self, batch: &mut [Box<dyn Job>]) -> Result<bool> {
        let tx = self.begin()?;
        // A job that does not know that SQLite has taken everything back has not done what it answers.
        Ok(batch.iter_mut().all(|job| job.run(tx) && !tx.is_autocommit()))
    }

    fn run_apart(&self, batch: &mut [Box<dyn Job>]) -> Result<()> {
        let tx = self.begin()?;
        for job in batch {
            run(tx, "savepoint job")?;
            let keep = job.run(tx);
            // On some failures (no space, no memory) SQLite takes back the whole transaction by itself.
            if tx.is_autocommit() {
                return Err(rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK),
                    Some("the transaction was taken back because a neighbour met a fatal error".to_owned()),
                ));
            }
            if !keep {
                run(tx, "rollback to job")?;
            }
            run(tx, "release job")?;
        }
        Ok(())
    }

    fn begin(&self) -> Result<&Connection> {
        retry_busy(|| run(&self.connection, "begin immediate"))?;
        Ok(&self.connection)
    }

    /// A transaction that cannot be ended would swallow every later one; a new beginning fails then, and says so.
    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = run(&self.connection, "rollback")
        {
            error!(%error, "a failed transaction could not be rolled back: {error}");
        }
    }

    fn close(mut self) -> crate::Result<()> {
        let doing = "closing";
        self.checkpointer.stop();
        if let Some(failure) = &self.storage_failure {
            return Err(failure.error(doing));
        }
        self.end().map_err(|error| Error::sql(doing, error))
    }

    fn end(self) -> sql::Result<()> {
        life::set_clean(&Tx::from(&self.connection), true)?;
        failpoint::reach("meta.marked-clean");
        retry_busy(|| self.connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE))?;
        failpoint::reach("meta.log-emptied");
        // Nothing is left in the log; the last connection may remove it.
        self.connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        self.connection.flush_prepared_statement_cache();
        self.connection.close().map_err(|(_, error)| error.into())
    }
}

/// Everything that waits, up to a bound; and who asks to close, behind whom nothing is taken.
fn take_batch(first: Message, jobs: &mut mpsc::Receiver<Message>) -> (Vec<Box<dyn Job>>, Option<CloseReply>) {
    let mut batch = Vec::new();
    let mut next = Some(first);
    while let Some(message) = next {
        match message {
            Message::Job(job) => batch.push(job),
            Message::Close(reply) => return (batch, Some(reply)),
        }
        next = if batch.len() < BATCH_MAX { jobs.try_recv().ok() } else { None };
    }
    (batch, None)
}

fn commit(connection: &Connection) -> Result<()> {
    if failpoint::fails("meta.commit") {
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None));
    }
    run(connection, "commit")
}

fn run(connection: &Connection, statement: &str) -> Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(|_| ())
}
