//! Connections, and the settings without which the promises do not hold. They are not remembered by the file,
//! so every connection sets them and reads them back: an SQLite built or configured otherwise is noticed here and not
//! after a power cut.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{FromSql, Value};
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, Result, ToSql};
use wharf_base::{ByteSize, failpoint};

use super::SqliteConfig;
use crate::{Error, sql};

/// Marks a file as ours in its header: "Whrf".
pub(super) const APPLICATION_ID: i32 = 0x5768_7266;

/// Older ones lack repairs of the write-ahead log that acknowledged writes rest on.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// How long SQLite itself waits for a lock; then [`retry_busy`] begins anew.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a busy database is asked before the caller hears of it.
const BUSY_ATTEMPTS_MAX: u32 = 4;

/// More statements than this crate has; preparing one costs more than running it.
const STATEMENTS_CACHED: usize = 128;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Answers questions; cannot change anything.
    Reader,
    /// Runs the transactions that change something.
    Writer,
    /// Moves the write-ahead log into the database.
    Checkpointer,
}

/// SQLite did not take a setting.
#[derive(Debug, thiserror::Error)]
#[error("{name} is {found:?}, not {wanted:?}")]
struct SettingRefused {
    name: &'static str,
    wanted: Value,
    found: Value,
}

/// SQLite is too old.
#[derive(Debug, thiserror::Error)]
#[error("SQLite {} is linked; {SQLITE_VERSION_MIN} or newer is needed", rusqlite::version())]
struct TooOld;

/// Opens an existing database.
pub(super) fn open(path: &Path, role: Role, config: &SqliteConfig) -> Result<Connection, Error> {
    let doing = "opening a connection";
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(Error::unavailable(doing, TooOld));
    }
    let access = match role {
        Role::Reader => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Role::Writer | Role::Checkpointer => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let connection = Connection::open_with_flags(path, access | COMMON).map_err(|e| Error::sqlite(doing, e))?;
    set_up(&connection, role, config).map_err(|e| Error::sqlite(doing, e))?;
    let read_only = connection.is_readonly(MAIN_DB).map_err(|e| Error::sqlite(doing, e))?;
    if read_only && role != Role::Reader {
        let reason = "it may not be written; check the owner and mode of the file and its directory".to_owned();
        return Err(Error::Refused { path: path.to_owned(), reason });
    }
    Ok(connection)
}

/// No mutex of SQLite's own: a connection is never in two threads at once, and the compiler sees to it.
pub(super) const COMMON: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX.union(OpenFlags::SQLITE_OPEN_EXRESCODE);

fn set_up(connection: &Connection, role: Role, config: &SqliteConfig) -> Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Without it a statement whose plan looked at a parameter's value is prepared again whenever that is bound anew.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    // Only an orderly close may tidy up; a connection that finds the wrong log beside the file must leave both alone.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;

    expect(connection, "application_id", APPLICATION_ID)?;
    expect(connection, "journal_mode", "wal".to_owned())?;
    // Tests show that what a power cut takes without it is found missing.
    set(connection, "synchronous", if failpoint::skips("meta.sync") { NORMAL } else { FULL })?;
    set(connection, "foreign_keys", 1)?;
    set(connection, "trusted_schema", 0)?;
    set(connection, "cell_size_check", 1)?;
    // An I/O error must be an error and not a signal.
    set(connection, "mmap_size", 0)?;
    // No temporary file outside of the data directory.
    set(connection, "temp_store", IN_MEMORY)?;
    set(connection, "wal_autocheckpoint", 0)?;
    // A log that begins anew keeps its blocks: giving them back and taking them again costs a fifth of the rate of
    // changes. The checkpointer gives them back when the log has not been full for a while.
    set(connection, "journal_size_limit", NO_LIMIT)?;
    set(connection, "query_only", i64::from(role == Role::Reader))?;
    let cache = if role == Role::Writer { config.writer_cache } else { config.reader_cache };
    // Negative: KiB instead of pages.
    set(connection, "cache_size", -(bytes(cache) / 1024))
}

const FULL: i64 = 2;
const NORMAL: i64 = 1;
const IN_MEMORY: i64 = 2;
const NO_LIMIT: i64 = -1;

fn bytes(size: ByteSize) -> i64 {
    i64::try_from(size.as_u64()).unwrap_or(i64::MAX)
}

/// Sets a pragma and reads it back.
pub(super) fn set<V>(connection: &Connection, name: &'static str, wanted: V) -> Result<()>
where
    V: ToSql + FromSql + PartialEq + Into<Value>,
{
    // Some pragmas answer with a row and some do not; both are fine.
    connection.pragma(None, name, &wanted, |_| Ok(()))?;
    expect(connection, name, wanted)
}

fn expect<V>(connection: &Connection, name: &'static str, wanted: V) -> Result<()>
where
    V: FromSql + PartialEq + Into<Value>,
{
    let found: V = connection.pragma_query_value(None, name, |row| row.get(0))?;
    if found == wanted {
        return Ok(());
    }
    let refused = SettingRefused { name, wanted: wanted.into(), found: found.into() };
    Err(rusqlite::Error::ToSqlConversionFailure(Box::new(refused)))
}

/// Runs `work` again while the database is busy; a caller hears of it only after several busy time-outs.
pub(super) fn retry_busy<T, E: MayBeBusy>(mut work: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    for _ in 1..BUSY_ATTEMPTS_MAX {
        match work() {
            Err(error) if error.is_busy() => {}
            done => return done,
        }
    }
    work()
}

/// An error that may say that the database was busy.
pub(super) trait MayBeBusy {
    fn is_busy(&self) -> bool;
}

impl MayBeBusy for rusqlite::Error {
    fn is_busy(&self) -> bool {
        matches!(self.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }
}

impl MayBeBusy for sql::Error {
    fn is_busy(&self) -> bool {
        matches!(self, Self::Sqlite(error) if error.is_busy())
    }
}
