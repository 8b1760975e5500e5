//! Copies of the database as it is at one moment, made while it is being written.
//!
//! SQLite's backup begins anew when another connection commits between two of its steps, so a copy in steps of a busy
//! database would never end. Here one read transaction is open from the first step to the last: every step sees the same
//! moment. Writers do not wait for a reader; only the log cannot begin anew until the copy is done.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wharf_base::failpoint::reach;
use wharf_oci::Digest;

use super::connection;
use super::file::{self, Found};
use super::{SqliteConfig, schema};
use crate::snapshot::{self, Content, Copied, Moved, Restored};
use crate::sql::{self, Tx};
use crate::tally::Tally;
use crate::{Error, Result, life};

/// How many pages a step copies: 1 MiB.
const STEP_PAGES: i32 = 256;

/// The longest rest between two steps. It is half as long as the step took: a third of a processor stays free, and the log,
/// which cannot begin anew meanwhile, does not grow for long.
const REST_MAX: Duration = Duration::from_millis(20);

/// Copies of one database. The file of a copy stands beside it, because only there is it certain that the database's owner
/// may write, and that nobody else may read.
#[derive(Debug)]
pub(crate) struct Snapshots {
    database: PathBuf,
    config: SqliteConfig,
    /// Each copy takes as much space as the database.
    one: Arc<Semaphore>,
}

impl Snapshots {
    /// Removes what a process that was killed has left.
    pub(crate) fn of(database: &Path, config: &SqliteConfig) -> Result<Self> {
        remove(&file::beside(database, SUFFIX))
            .map_err(|error| Error::unavailable("removing an old snapshot", error))?;
        Ok(Self { database: database.to_owned(), config: config.clone(), one: Arc::new(Semaphore::new(1)) })
    }

    pub(super) async fn take(&self, what: Copied) -> Result<Snapshot> {
        let doing = "taking a snapshot";
        let draft = self.begin()?;
        let (database, config) = (self.database.clone(), self.config.clone());
        let abandoned = Abandoned::default();
        let flag = abandoned.flag();
        let copying = tokio::task::spawn_blocking(move || {
            copy(&database, draft.path(), &config, what, &flag).map_err(|error| Error::sql(doing, error))?;
            draft.finish()
        });
        copying.await.map_err(|lost| Error::unavailable(doing, lost))?
    }

    /// A place for the next one.
    pub(crate) fn begin(&self) -> Result<Draft> {
        let permit = Arc::clone(&self.one).try_acquire_owned();
        let permit = permit.map_err(|_| Error::unavailable("taking a snapshot", "another snapshot is in use"))?;
        Ok(Draft(Temporary { path: file::beside(&self.database, SUFFIX), _permit: permit }))
    }
}

/// A snapshot that is being made, and goes with this value if it does not become one.
#[derive(Debug)]
pub(crate) struct Draft(Temporary);

impl Draft {
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Makes a new database there, as large as an empty one and with a connection that is in no hurry to sync: a draft that is
    /// cut off is thrown away.
    pub(crate) fn make(&self) -> sql::Result<Connection> {
        prepare(self.path())?;
        file::fill(self.path(), file::SYNC_NOTHING)?;
        let connection =
            Connection::open_with_flags(self.path(), OpenFlags::SQLITE_OPEN_READ_WRITE | connection::COMMON)?;
        connection::set(&connection, "journal_mode", "delete".to_owned())?;
        connection::set(&connection, "synchronous", 0)?;
        connection::set(&connection, "temp_store", 2)?;
        Ok(connection)
    }

    /// Its file is complete and closed.
    pub(crate) fn finish(self) -> Result<Snapshot> {
        reach("snapshot.copied");
        let mut snapshot = Snapshot::open(&self.0.path)?;
        snapshot.sha256 = hash(&snapshot.file).map_err(|error| Error::unavailable("taking a snapshot", error))?;
        snapshot.temporary = Some(self.0);
        Ok(snapshot)
    }
}

const SUFFIX: &str = ".snapshot";

/// Set when nobody waits for the copy any more.
#[derive(Debug, Default)]
pub(crate) struct Abandoned(Arc<AtomicBool>);

impl Abandoned {
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A file that goes with this value, and the permission to have it.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(%error, "a snapshot of the database was left behind: {error}");
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        match fs::remove_file(file::beside(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Nobody waits any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody waits for the snapshot any more")]
pub(crate) struct Given;

/// Nothing is there any more but an empty file, which nobody else may read.
fn prepare(path: &Path) -> rusqlite::Result<()> {
    let io = |error: io::Error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    remove(path).map_err(io)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop).map_err(io)
}

fn copy(from: &Path, to: &Path, config: &SqliteConfig, what: Copied, abandoned: &AtomicBool) -> sql::Result<()> {
    prepare(to)?;
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY | connection::COMMON)?;
    source.busy_timeout(Duration::from_secs(5))?;
    connection::set(&source, "cache_size", -(i64::try_from(config.reader_cache.as_u64()).unwrap_or(i64::MAX) / 1024))?;
    source.execute_batch("begin")?;
    life::store(&Tx::from(&source))?;
    let mut target = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE | connection::COMMON)?;
    // A copy that is cut off is thrown away; whoever keeps one syncs it where it is kept.
    connection::set(&target, "synchronous", 0)?;
    connection::set(&target, "temp_store", 2)?;
    let backup = Backup::new(&source, &mut target)?;
    loop {
        let begun = Instant::now();
        match backup.step(STEP_PAGES)? {
            StepResult::Done => break,
            _ if abandoned.load(Ordering::Acquire) => {
                return Err(rusqlite::Error::ToSqlConversionFailure(Box::new(Given)).into());
            }
            _ => std::thread::sleep((begun.elapsed() / 2).min(REST_MAX)),
        }
    }
    drop(backup);
    drop(source);
    if what == Copied::ForBackup {
        // Overwritten, not only unlinked: the file goes to whoever may make backups.
        connection::set(&target, "secure_delete", 1)?;
        snapshot::remove_secrets(&Tx::from(&target))?;
    }
    // Without a log the copy is one file, which can be read where nothing can be written.
    connection::set(&target, "journal_mode", "delete".to_owned())?;
    target.flush_prepared_statement_cache();
    target.close().map_err(|(_, error)| error.into())
}

fn hash(file: &File) -> io::Result<[u8; 32]> {
    let (mut file, mut hash, mut buffer) = (file.try_clone()?, Sha256::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(read) => hash.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A copy of the database as it was at one moment. It cannot be changed; [`Snapshot::restore`] makes a database of it.
#[derive(Debug)]
pub struct Snapshot {
    connection: Mutex<Connection>,
    file: File,
    size_bytes: u64,
    sha256: [u8; 32],
    temporary: Option<Temporary>,
}

impl Snapshot {
    /// Opens a copy that somebody has kept.
    ///
    /// # Errors
    ///
    /// As [`SqliteMetadata::open`](super::SqliteMetadata::open): it is no database of ours, or one of a newer version.
    pub fn open(path: &Path) -> Result<Self> {
        let doing = "opening a snapshot";
        let Found::Database { identity } = file::inspect(path)? else {
            let reason = "it is not there".to_owned();
            return Err(Error::Refused { path: path.to_owned(), reason });
        };
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | connection::COMMON);
        let connection = connection.map_err(|error| Error::sqlite(doing, error))?;
        schema::check(&connection, path, identity)?;
        let file = File::open(path).map_err(|error| Error::unavailable(doing, error))?;
        let size_bytes = file.metadata().map_err(|error| Error::unavailable(doing, error))?.len();
        Ok(Self { connection: Mutex::new(connection), file, size_bytes, sha256: [0; 32], temporary: None })
    }

    /// Its bytes, to be read by offset: the place of reading is shared. They stay readable when this value is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`].
    pub fn file(&self) -> Result<File> {
        self.file.try_clone().map_err(|error| Error::unavailable("opening a snapshot", error))
    }

    /// How many bytes it has.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The SHA-256 of its bytes, if it has just been taken.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Content that it names, by digest behind `after`, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    pub fn contents(&self, after: Option<&Digest>, limit: u32) -> Result<Vec<Content>> {
        self.ask("listing content", |tx| snapshot::page(tx, after, limit))
    }

    /// The size of content in bytes; `None` if it does not name it.
    ///
    /// # Errors
    ///
    /// As [`contents`](Self::contents).
    pub fn content_size(&self, digest: &Digest) -> Result<Option<u64>> {
        self.ask("looking up content", |tx| snapshot::size(tx, digest))
    }

    /// The store that it belongs to.
    ///
    /// # Errors
    ///
    /// As [`contents`](Self::contents).
    pub fn store_id(&self) -> Result<Option<wharf_base::StoreId>> {
        self.ask("reading the store's id", life::store)
    }

    /// What is wrong with it, read from the first page to the last; nothing if it is sound.
    ///
    /// # Errors
    ///
    /// As [`contents`](Self::contents).
    pub fn faults(&self) -> Result<Vec<String>> {
        match faults(&self.lock()).map_err(|error| Error::sqlite("checking a snapshot", error)) {
            Err(Error::Corrupt { source, .. }) => Ok(vec![source.to_string()]),
            found => found,
        }
    }

    fn ask<T>(&self, doing: &'static str, question: impl Fn(&Tx<'_>) -> sql::Result<T>) -> Result<T> {
        question(&Tx::from(&*self.lock())).map_err(|error| Error::sql(doing, error))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the database of a new registry of the copy of a snapshot at `path`. The caller syncs the file.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], [`Error::NewerSchema`], [`Error::Corrupt`], [`Error::Unavailable`]; what is at `path` is of no
    /// use then.
    pub fn restore(path: &Path, restored: &Restored) -> Result<()> {
        // Looked at before it is opened for writing, which would replay a journal.
        drop(Self::open(path)?);
        begin_anew(path, |tx| snapshot::make_restored(tx, restored))
            .map_err(|error| Error::sql("restoring the database", error))
    }

    /// Makes the copy at `path`, which has everything, the database of the place that the registry moves to, and says what it has
    /// then. The caller syncs the file.
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore).
    pub fn move_to(path: &Path, moved: &Moved) -> Result<Tally> {
        drop(Self::open(path)?);
        begin_anew(path, |tx| snapshot::make_moved(tx, moved))
            .and_then(|()| {
                let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | connection::COMMON;
                Ok(Tally::of(&Connection::open_with_flags(path, flags)?)?)
            })
            .map_err(|error| Error::sql("moving the database", error))
    }

    /// What its tables have.
    ///
    /// # Errors
    ///
    /// As [`contents`](Self::contents).
    pub fn tally(&self) -> Result<Tally> {
        let doing = "counting rows";
        Tally::of(&self.lock()).map_err(|error| Error::sqlite(doing, error))
    }
}

fn begin_anew(path: &Path, change: impl FnOnce(&Tx<'_>) -> sql::Result<()>) -> sql::Result<()> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | connection::COMMON)?;
    connection::set(&connection, "synchronous", 2)?;
    connection::set(&connection, "foreign_keys", 1)?;
    connection.execute_batch("begin exclusive")?;
    change(&Tx::from(&connection))?;
    // A log of the old database that lies beside it must not be taken for its own.
    let identity: i32 = connection.query_row("select random() & 2147483647", [], |row| row.get(0))?;
    connection.pragma_update(None, "user_version", identity)?;
    connection.execute_batch("commit")?;
    connection::set(&connection, "journal_mode", "wal".to_owned())?;
    connection.flush_prepared_statement_cache();
    // The last connection moves what the log holds into the file, syncs it, and removes the log.
    connection.close().map_err(|(_, error)| error.into())
}

/// The first things that are wrong with the database itself; none if it is sound.
fn faults(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut integrity = connection.prepare(&format!("pragma integrity_check({FAULTS_MAX})"))?;
    let found = integrity.query_map([], |row| row.get::<_, String>(0))?;
    for fault in found {
        faults.push(fault?);
    }
    faults.retain(|fault| fault != "ok");
    let mut references = connection.prepare("pragma foreign_key_check")?;
    let mut rows = references.query([])?;
    while let Some(row) = rows.next()? {
        if faults.len() >= FAULTS_MAX {
            break;
        }
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        faults.push(format!("a row of {table} refers to one of {parent} that is not there"));
    }
    Ok(faults)
}

/// How many faults are told at most.
const FAULTS_MAX: usize = 10;
