//! The readers: a few connections that cannot change anything. A read runs where it is asked for, on the asynchronous
//! thread itself, because it takes microseconds and the way to another thread and back takes longer; a caller that
//! finds all connections in use waits without blocking. Each read is one statement, so none holds back a checkpoint.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Result};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::SqliteConfig;
use super::connection::{self, Role, retry_busy};
use crate::Error;

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
        question: impl Fn(&Connection) -> Result<T>,
    ) -> crate::Result<T> {
        let _permit = self.permit(doing).await?;
        let connection = self.take()?;
        let answer = retry_busy(|| question(&connection)).map_err(|error| Error::sqlite(doing, error))?;
        // After an error a fresh connection is worth more than this one.
        self.idle().push(connection);
        Ok(answer)
    }

    async fn permit(&self, doing: &'static str) -> crate::Result<SemaphorePermit<'_>> {
        // Nearly always there is one, and no timer is needed.
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        let waited = tokio::time::timeout(WAIT_MAX, self.permits.acquire()).await;
        waited.map_err(|_| Error::unavailable(doing, AllBusy))?.map_err(|_| Error::Closed)
    }

    /// The file, for a connection of its own.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn config(&self) -> &SqliteConfig {
        &self.config
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
