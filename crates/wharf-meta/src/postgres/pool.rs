//! Threads that each have a connection. What is asked or changed waits for one, runs on it from the beginning to the end, and
//! begins anew where another transaction came between or the connection was lost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use wharf_base::{Distribution, Rng as _, SystemRng, failpoint};

use super::connector::Connector;
use super::failure;
use super::session::{Fate, Session, TransactionId};
use crate::sql::{self, Tx};
use crate::{DatabaseFigures, Error, Result};

/// How long somebody waits for a connection.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How long somebody waits for an answer. A transaction that takes longer is still finished.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How often what gave way to another transaction begins anew.
const RETRIES_MAX: u32 = 3;

/// After how long nothing begins anew: whoever waits is better told. So of a server that is silent a question is answered after
/// one time-out, or after that and one more try to connect.
const RETRY_WITHIN: Duration = Duration::from_secs(10);

/// The longest rest before the first retry; twice as long before each further one.
const REST_MAX: Duration = Duration::from_millis(40);

/// One connection in so many is for questions alone, so that changes which wait for each other do not keep them waiting.
const FOR_QUESTIONS: usize = 4;

/// Nothing is wrong but the load.
#[derive(Debug, thiserror::Error)]
#[error("all connections to the database were busy for {WAIT_MAX:?}")]
struct AllBusy;

/// The pool.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    connections: u32,
}

#[derive(Debug)]
struct Shared {
    connector: Arc<Connector>,
    permits: Arc<Semaphore>,
    /// Fewer than `permits`.
    changes: Arc<Semaphore>,
    /// Threads that do nothing. The last one back is the first to go: the others may never be needed.
    idle: Mutex<Vec<mpsc::Sender<Task>>>,
    commits: Commits,
    numbers: AtomicU64,
}

/// How long commits took.
#[derive(Debug)]
struct Commits {
    seconds: Distribution,
    changes: Distribution,
}

/// What a thread does next.
struct Task {
    work: Box<dyn FnOnce(&mut Worker) + Send>,
    /// Where the next task will be sent to; gone with the last one.
    home: mpsc::Sender<Task>,
    permits: Vec<OwnedSemaphorePermit>,
}

impl Pool {
    /// A pool that opens connections when they are needed, the first one being there already.
    pub(super) fn new(connector: Arc<Connector>, connections: usize) -> Self {
        let for_questions = (connections / FOR_QUESTIONS).max(1);
        let shared = Shared {
            connector,
            permits: Arc::new(Semaphore::new(connections)),
            changes: Arc::new(Semaphore::new(connections.saturating_sub(for_questions).max(1))),
            idle: Mutex::default(),
            commits: Commits {
                seconds: Distribution::new(Distribution::SECONDS),
                changes: Distribution::new(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]),
            },
            numbers: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), connections: u32::try_from(connections).unwrap_or(u32::MAX) }
    }

    /// Answers `question`.
    pub(super) async fn read<T, F>(&self, doing: &'static str, question: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> sql::Result<T> + Send + 'static,
    {
        let permits = vec![permit(doing, &self.shared.permits).await?];
        self.run(doing, permits, move |worker| worker.read(doing, &question)).await
    }

    /// What a change needs before it has a connection: some are left to those who ask.
    async fn to_change(&self, doing: &'static str) -> Result<Vec<OwnedSemaphorePermit>> {
        let change = permit(doing, &self.shared.changes).await?;
        Ok(vec![change, permit(doing, &self.shared.permits).await?])
    }

    /// Runs `work` in a transaction of its own, to the end even if the caller stops waiting.
    pub(super) async fn write<T, F>(&self, doing: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> sql::Result<T> + Send + 'static,
    {
        let permits = self.to_change(doing).await?;
        self.run(doing, permits, move |worker| worker.write(doing, &work)).await
    }

    /// Runs `work`, which is one statement that may be run twice, without a transaction around it.
    pub(super) async fn write_alone<T, F>(&self, doing: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> sql::Result<T> + Send + 'static,
    {
        let permits = self.to_change(doing).await?;
        self.run(doing, permits, move |worker| worker.read(doing, &work)).await
    }

    /// Runs `work` with a connection that is used by nobody else.
    pub(super) async fn with_session<T, F>(&self, doing: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Session) -> Result<T> + Send + 'static,
    {
        let permits = vec![permit(doing, &self.shared.permits).await?];
        self.run(doing, permits, move |worker| work(worker.session().map_err(|error| Error::sql(doing, error))?)).await
    }

    /// The same for work that takes as long as it takes.
    pub(super) async fn with_session_for_long<T, F>(&self, doing: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Session) -> Result<T> + Send + 'static,
    {
        let permits = vec![permit(doing, &self.shared.permits).await?];
        let answer =
            self.start(doing, permits, move |worker| work(worker.session().map_err(|error| Error::sql(doing, error))?));
        answer?.await.unwrap_or_else(|_| Err(Error::unavailable(doing, "its thread has ended")))
    }

    async fn run<T, F>(&self, doing: &'static str, permits: Vec<OwnedSemaphorePermit>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Worker) -> Result<T> + Send + 'static,
    {
        match tokio::time::timeout(ANSWER_MAX, self.start(doing, permits, work)?).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::unavailable(doing, "its thread has ended")),
            Err(_) => Err(Error::unavailable(doing, "the database has not answered for a minute")),
        }
    }

    fn start<T, F>(
        &self,
        doing: &'static str,
        permits: Vec<OwnedSemaphorePermit>,
        work: F,
    ) -> Result<oneshot::Receiver<Result<T>>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Worker) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(move |worker: &mut Worker| {
            let done = catch_unwind(AssertUnwindSafe(|| work(worker)));
            let done = done.unwrap_or_else(|panic| {
                // A panic is a bug in one kind of work. Nobody knows where its transaction stands.
                worker.session = None;
                Err(panicked(doing, panic.as_ref()))
            });
            // Nobody waits any more; a change stands all the same.
            let _ = reply.send(done);
        });
        let home = self.shared.thread().map_err(|error| Error::unavailable("starting a thread", error))?;
        let task = Task { work, home: home.clone(), permits };
        home.send(task).map_err(|_| Error::unavailable(doing, "its thread has ended"))?;
        Ok(answer)
    }

    /// How commits went.
    pub(super) fn figures(&self) -> DatabaseFigures {
        let commits = &self.shared.commits;
        DatabaseFigures {
            commit_seconds: commits.seconds.snapshot(),
            commit_changes: commits.changes.snapshot(),
            log_bytes: None,
        }
    }

    /// Refuses what is new, waits for what runs, closes the connections. `false` if that was done before.
    pub(super) async fn close(&self, last: impl FnOnce(&Tx<'_>) -> sql::Result<()> + Send + 'static) -> Result<bool> {
        let doing = "closing";
        // Holding every permit means that no connection is in use.
        let Ok(all) = Arc::clone(&self.shared.permits).acquire_many_owned(self.connections).await else {
            return Ok(false);
        };
        let last = Mutex::new(Some(last));
        let work = move |tx: &Tx<'_>| match last.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(last) => last(tx),
            None => Ok(()),
        };
        let done = self.run(doing, Vec::new(), move |worker| worker.write(doing, &work)).await;
        self.shared.changes.close();
        self.shared.permits.close();
        drop(all);
        self.shared.idle().clear();
        done.map(|()| true)
    }
}

async fn permit(doing: &'static str, semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    // Nearly always there is one, and no timer is needed.
    if let Ok(permit) = Arc::clone(semaphore).try_acquire_owned() {
        return Ok(permit);
    }
    let waited = tokio::time::timeout(WAIT_MAX, Arc::clone(semaphore).acquire_owned()).await;
    waited.map_err(|_| Error::unavailable(doing, AllBusy))?.map_err(|_| Error::Closed)
}

fn panicked(doing: &'static str, panic: &(dyn std::any::Any + Send)) -> Error {
    let message = wharf_base::panic_text(panic).unwrap_or("no message");
    tracing::error!(doing, panic = message, "{doing} panicked: {message}");
    Error::unavailable(doing, format!("it panicked: {message}"))
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Task>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that does nothing, or a new one.
    fn thread(self: &Arc<Self>) -> std::io::Result<mpsc::Sender<Task>> {
        if let Some(idle) = self.idle().pop() {
            return Ok(idle);
        }
        let (home, tasks) = mpsc::channel::<Task>();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::downgrade(self);
        std::thread::Builder::new().name(format!("wharf-pg-{number}")).spawn(move || work_off(&shared, &tasks))?;
        Ok(home)
    }
}

/// A thread's whole life: until nobody can send it anything any more.
fn work_off(shared: &Weak<Shared>, tasks: &mpsc::Receiver<Task>) {
    let mut worker = Worker { shared: Weak::clone(shared), session: None };
    while let Ok(Task { work, home, permits }) = tasks.recv() {
        work(&mut worker);
        if let Some(session) = &worker.session
            && !session.is_usable()
        {
            worker.session = None;
        }
        match shared.upgrade() {
            Some(shared) if !shared.permits.is_closed() => shared.idle().push(home),
            _ => {}
        }
        // Only now may somebody else look for an idle thread.
        drop(permits);
    }
}

/// What a thread has.
struct Worker {
    shared: Weak<Shared>,
    session: Option<Session>,
}

/// How a transaction ended that did not end well.
enum Failed {
    /// It has changed nothing.
    Before(sql::Error),
    /// It may have been committed.
    While(TransactionId, sql::Error),
}

impl Worker {
    fn session(&mut self) -> sql::Result<&Session> {
        if self.session.as_ref().is_none_or(|session| !session.is_usable()) {
            let shared = self.shared.upgrade().ok_or(sql::Error::Server("the database has been closed"))?;
            self.session = None;
            self.session = Some(shared.connector.connect()?);
        }
        self.session.as_ref().ok_or(sql::Error::Server("there is no connection"))
    }

    fn read<T>(&mut self, doing: &'static str, question: &impl Fn(&Tx<'_>) -> sql::Result<T>) -> Result<T> {
        let mut attempts = Attempts::begin();
        loop {
            let answer = self.session().and_then(|session| question(&Tx::Postgres(session)));
            match answer {
                Err(error) if self.is_passing(&error) && attempts.again() => {}
                answer => return answer.map_err(|error| Error::sql(doing, error)),
            }
        }
    }

    fn write<T>(&mut self, doing: &'static str, work: &impl Fn(&Tx<'_>) -> sql::Result<T>) -> Result<T> {
        let mut attempts = Attempts::begin();
        loop {
            let value;
            let error = match self.transact(work) {
                Ok(value) => return Ok(value),
                Err((_, Failed::Before(error))) => error,
                Err((done, Failed::While(transaction, error))) => {
                    value = done;
                    match (self.fate(&transaction), value) {
                        (Fate::Committed, Some(value)) => return Ok(value),
                        (Fate::TakenBack, _) => error,
                        // Whoever asked may ask again: everything that is done twice ends in the same state.
                        _ => return Err(Error::sql(doing, error)),
                    }
                }
            };
            if !self.is_passing(&error) || !attempts.again() {
                return Err(Error::sql(doing, error));
            }
            tracing::debug!(doing, %error, "a transaction begins anew: {error}");
        }
    }

    /// One attempt. What `work` answered comes along where nobody knows whether it was committed.
    fn transact<T>(&mut self, work: &impl Fn(&Tx<'_>) -> sql::Result<T>) -> Result<T, (Option<T>, Failed)> {
        let before = |error| (None, Failed::Before(error));
        let shared = self.shared.upgrade();
        let session = self.session().map_err(before)?;
        session.begin();
        let done = work(&Tx::Postgres(session)).and_then(|value| session.settle().map(|()| value));
        let value = match done {
            Ok(value) => value,
            Err(error) => {
                session.roll_back();
                return Err(before(error));
            }
        };
        failpoint::reach("meta.written");
        let Some(transaction) = session.transaction() else {
            // Nothing was asked or done.
            session.roll_back();
            return Ok(value);
        };
        let begun = Instant::now();
        if let Err(error) = session.commit() {
            // A refusal is the server's word that nothing has changed.
            let refused =
                matches!(&error, sql::Error::Postgres(error) if error.code().is_some()) && !failure::is_lost(&error);
            let failed = if refused { Failed::Before(error) } else { Failed::While(transaction, error) };
            return Err((Some(value), failed));
        }
        failpoint::reach("meta.committed");
        if let Some(shared) = shared {
            shared.commits.seconds.observe(begun.elapsed());
            shared.commits.changes.observe_count(1);
        }
        Ok(value)
    }

    /// Asks the server on another connection what became of a transaction; it may still be ending it.
    fn fate(&mut self, transaction: &TransactionId) -> Fate {
        self.session = None;
        let mut attempts = Attempts::begin();
        loop {
            match self.session().and_then(|session| session.fate(transaction)) {
                Ok(Fate::Unknown) => {}
                Ok(fate) => return fate,
                Err(error) if !self.is_passing(&error) => return Fate::Unknown,
                Err(_) => {}
            }
            if !attempts.again() {
                return Fate::Unknown;
            }
        }
    }

    /// Whether another attempt may succeed where this one failed. Gives up a connection that is of no use.
    fn is_passing(&mut self, error: &sql::Error) -> bool {
        let is_lost = failure::is_lost(error);
        if is_lost {
            self.session = None;
        }
        is_lost || failure::gave_way(error)
    }
}

/// How often something was begun anew, and since when.
struct Attempts {
    retries: u32,
    begun: Instant,
}

impl Attempts {
    fn begin() -> Self {
        Self { retries: 0, begun: Instant::now() }
    }

    /// Whether there shall be another one; if so, after a rest.
    fn again(&mut self) -> bool {
        if self.retries >= RETRIES_MAX || self.begun.elapsed() >= RETRY_WITHIN {
            return false;
        }
        rest(self.retries);
        self.retries += 1;
        true
    }
}

/// A while, different for each, so that those who met do not meet again.
fn rest(attempt: u32) {
    let most = REST_MAX.as_micros() << attempt.min(4);
    let mut random = [0; 8];
    SystemRng.fill(&mut random);
    let micros = u128::from(u64::from_le_bytes(random)) % most.max(1);
    std::thread::sleep(Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
}
