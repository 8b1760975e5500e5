//! Moves the write-ahead log into the database, beside the writer and never in a request: that alone doubles the rate
//! of writes and takes the peaks out of their latency. A passive checkpoint waits for nobody; only a log that has
//! outgrown its limit makes writes wait until it can begin anew. Its file keeps the size that it had; when it
//! has not been full for a while, what is over the limit is given back to the system.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, MAIN_DB, Result};
use tracing::warn;
use wharf_base::failpoint;

use super::SqliteConfig;
use super::connection::{self, Role};

/// How long changes gather before they are moved; a page changed twice meanwhile is moved once.
const PACE: Duration = Duration::from_millis(50);

/// How long a checkpoint that begins the log anew waits for readers; meanwhile writes wait for it.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long the log must not have been full before its file is made smaller. It would grow again otherwise, and writes
/// would wait a tenth of a second for each few hundred MiB. That a little is written meanwhile, as records of logins are,
/// changes nothing.
const QUIET: Duration = Duration::from_secs(10);

/// The bytes of a page in the log, with its header.
const FRAME_BYTES: u64 = 4096 + 24;

/// The writer's hold on the checkpointing thread, which ends with it.
#[derive(Debug)]
pub(super) struct Checkpointer {
    bell: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread; it opens its connection when there is something to do for the first time.
    pub(super) fn start(path: PathBuf, config: SqliteConfig) -> std::io::Result<Self> {
        Self::start_with(path, config, QUIET)
    }

    /// The same with another patience before the file is made smaller, for tests of it.
    pub(super) fn start_with(path: PathBuf, config: SqliteConfig, quiet: Duration) -> std::io::Result<Self> {
        let (bell, rings) = mpsc::sync_channel(1);
        let thread = CheckpointThread { path, config, quiet, last_full: Instant::now(), connection: None };
        let thread =
            std::thread::Builder::new().name("wharf-checkpoint".to_owned()).spawn(move || thread.run(&rings))?;
        Ok(Self { bell: Some(bell), thread: Some(thread) })
    }

    /// Something was written. Never waits: one ring is remembered, and a second would say the same.
    pub(super) fn written(&self) {
        if let Some(bell) = &self.bell {
            let _ = bell.try_send(());
        }
    }

    /// Ends the thread and waits for it, at most one checkpoint long.
    pub(super) fn stop(&mut self) {
        self.bell = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the checkpointing thread panicked");
        }
    }
}

struct CheckpointThread {
    path: PathBuf,
    config: SqliteConfig,
    quiet: Duration,
    /// When the log was last found with as much in it as it may have.
    last_full: Instant,
    connection: Option<Connection>,
}

impl CheckpointThread {
    fn run(mut self, rings: &Receiver<()>) {
        loop {
            let is_overgrown = self.is_overgrown();
            if is_overgrown && self.last_full.elapsed() >= self.quiet {
                self.with_connection(Self::give_back);
                // If somebody still reads from it, not again at once.
                self.last_full = Instant::now();
                continue;
            }
            let left = self.quiet.saturating_sub(self.last_full.elapsed());
            match if is_overgrown { rings.recv_timeout(left) } else { rings.recv().map_err(Into::into) } {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // Rings of this time are answered by the checkpoint after it; a later one rings for the next.
            if let Err(RecvTimeoutError::Disconnected) = wait(rings) {
                return;
            }
            self.with_connection(Self::checkpoint);
        }
    }

    fn is_overgrown(&self) -> bool {
        super::file::log_bytes(&self.path) > self.config.wal_max.as_u64()
    }

    /// What could not be moved now is moved next time; that it grows is what somebody must see.
    fn with_connection(&mut self, work: fn(&mut Self, &Connection) -> Result<()>) {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => match connection::open(&self.path, Role::Checkpointer, &self.config) {
                Ok(connection) => connection,
                Err(error) => return warn!(%error, "no connection for checkpoints: {error}"),
            },
        };
        match work(self, &connection) {
            Ok(()) => self.connection = Some(connection),
            Err(error) => warn!(%error, "a checkpoint failed: {error}"),
        }
    }

    fn checkpoint(&mut self, connection: &Connection) -> Result<()> {
        let (frames, _) = connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE)?;
        failpoint::reach("meta.checkpointed");
        let bytes = u64::try_from(frames).unwrap_or(0) * FRAME_BYTES;
        if bytes < self.config.wal_max.as_u64() {
            return Ok(());
        }
        self.last_full = Instant::now();
        connection.busy_timeout(PATIENCE)?;
        match connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::RESTART) {
            Ok(_) => {
                failpoint::reach("meta.log-restarted");
                Ok(())
            }
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
                warn!(metadata.wal_bytes = bytes, "the write-ahead log has {bytes} bytes and a long read keeps it");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the file of the log smaller; not while somebody reads from it, nor while writes would wait for what is still to
    /// be moved.
    fn give_back(&mut self, connection: &Connection) -> Result<()> {
        let (frames, moved) = connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE)?;
        if moved < frames {
            return Ok(());
        }
        connection.busy_timeout(PATIENCE)?;
        match connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE) {
            Err(error) if error.sqlite_error_code() != Some(rusqlite::ErrorCode::DatabaseBusy) => Err(error),
            _ => Ok(()),
        }
    }
}

fn wait(rings: &Receiver<()>) -> Result<(), RecvTimeoutError> {
    let until = Instant::now() + PACE;
    loop {
        match rings.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
