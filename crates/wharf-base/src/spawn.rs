use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// The wish to stop, seen by everything that runs beside requests. Cheap to clone; once asked, never taken back.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody to stop.
    pub fn start(&self) {
        self.0.cancel();
    }

    /// Whether somebody has asked.
    pub fn has_started(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when somebody asks, at once if that has happened.
    pub async fn started(&self) {
        self.0.cancelled().await;
    }
}

/// Starts tasks that have a name, are counted, and can be waited for at the end.
///
/// Work that must not stop half-way when a client hangs up runs in such a task and is awaited by the request.
#[derive(Clone, Debug, Default)]
pub struct Spawner {
    tasks: TaskTracker,
}

impl Spawner {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `work` on the current runtime; its log lines stand in the caller's span under `name`.
    pub fn spawn<F>(&self, name: &'static str, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        #[cfg(feature = "failpoints")]
        let work = crate::failpoint::inherit(work);
        self.tasks.spawn(work.instrument(tracing::debug_span!("task", task.name = name)))
    }

    /// How many tasks are running.
    pub fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Waits until every task has ended, at most `deadline`; says whether they all did. No task may be started
    /// after this.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok()
    }
}
