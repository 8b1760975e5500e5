//! The readers: a few connections that cannot change anything. A read runs where it is asked for, on the asynchronous
//! thread itself, because it takes microseconds and the way to another thread and back takes longer; a caller that
//! finds all connections in use waits without blocking. Each read is one statement, so none holds back a checkpoint.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, InterruptHandle, Result};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::SqliteConfig;
use super::connection::{self, Role, retry_busy};
use crate::{Error, sql};

/// How long a question waits for a connection; then whoever asks may as well ask again.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Nothing is wrong but the load.
#[derive(Debug, thiserror::Error)]
#[error("all of its connections were busy for {WAIT_MAX:?}")]
struct AllBusy;

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    config: SqliteConfig,
    permits: Semaphore,
    /// Not in use now. The last one back is the first to go: its pages are warm, and the others may never be opened.
    idle: Mutex<Vec<Connection>>,
}

/// Ends what a connection is doing.
struct Interrupt(InterruptHandle);

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.interrupt();
    }
}

impl Readers {
    /// A pool that has `first` already and opens the others when they are needed.
    pub(super) fn new(path: PathBuf, config: SqliteConfig, first: Connection) -> Self {
        let permits = Semaphore::new(config.readers());
        Self { path, config, permits, idle: Mutex::new(vec![first]) }
    }

    /// Answers `question` on a connection of its own.
    pub(super) async fn read<T>(
        &self,
        doing: &'static str,
        question: impl Fn(&Connection) -> sql::Result<T>,
    ) -> crate::Result<T> {
        let _permit = self.permit(doing).await?;
        let connection = self.take()?;
        let answer = retry_busy(|| question(&connection)).map_err(|error| Error::sql(doing, error))?;
        // After an error a fresh connection is worth more than this one.
        self.idle().push(connection);
        Ok(answer)
    }

    /// Answers `question`, which takes long, on a connection of its own and a thread that may block. It is broken off when
    /// the caller stops waiting.
    pub(super) async fn read_long<T: Send + 'static>(
        &self,
        doing: &'static str,
        question: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> crate::Result<T> {
        let connection = connection::open(&self.path, Role::Reader, &self.config)?;
        let _interrupt = Interrupt(connection.get_interrupt_handle());
        let answer = tokio::task::spawn_blocking(move || {
            retry_busy(|| question(&connection)).map_err(|error| Error::sqlite(doing, error))
        });
        answer.await.unwrap_or_else(|lost| Err(Error::unavailable(doing, lost)))
    }

    async fn permit(&self, doing: &'static str) -> crate::Result<SemaphorePermit<'_>> {
        // Nearly always there is one, and no timer is needed.
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        let waited = tokio::time::timeout(WAIT_MAX, self.permits.acquire()).await;
        waited.map_err(|_| Error::unavailable(doing, AllBusy))?.map_err(|_| Error::Closed)
    }

    /// The database's file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn take(&self) -> crate::Result<Connection> {
        let idle = self.idle().pop();
        match idle {
            Some(connection) => Ok(connection),
            None => connection::open(&self.path, Role::Reader, &self.config),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses new questions, waits for those being answered, closes the connections.
    pub(super) async fn close(&self) {
        // Holding every permit means that no connection is in use.
        let all = u32::try_from(self.config.readers()).unwrap_or(u32::MAX);
        if let Ok(permits) = self.permits.acquire_many(all).await {
            self.permits.close();
            permits.forget();
        }
        self.idle().clear();
    }
}
