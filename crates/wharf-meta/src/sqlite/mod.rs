//! The embedded implementation: one file, one writer, a few readers.
//!
//! ```text
//! caller ── question ──▶ Readers (inline, read only) ──────────────▶ wharf.db, wharf.db-wal
//! caller ── change ────▶ Writer's queue ──▶ one thread, group commit ──▶ wharf.db-wal
//!                                              └─ rings ─▶ Checkpointer ──▶ wharf.db
//! ```
//!
//! One process owns the file; the store's lock sees to that (B-136).

mod checkpoint;
mod config;
mod connection;
mod database;
mod file;
mod forgetting;
mod readers;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use wharf_base::failpoint;

use self::checkpoint::Checkpointer;
use self::connection::Role;
use self::file::Found;
use self::forgetting::Forgetting;
use self::readers::Readers;
use self::writer::Writer;
use crate::memory::Memory;
use crate::sql::{self, Tx};
use crate::{Error, Result, life};

pub use self::config::SqliteConfig;
#[cfg(test)]
pub(crate) use self::schema::MIGRATIONS;
pub use self::snapshot::Snapshot;
pub(crate) use self::snapshot::{Abandoned, Given, Snapshots};

/// Metadata in one SQLite file.
#[derive(Debug)]
pub struct SqliteMetadata {
    writer: Writer,
    readers: Readers,
    snapshots: Snapshots,
    memory: Arc<Memory>,
    was_clean_shutdown: bool,
}

impl SqliteMetadata {
    /// Opens the database at `path`, or makes one if there is nothing; runs migrations that are due.
    ///
    /// Its work does not grow with what is stored. No runtime is needed.
    ///
    /// # Errors
    ///
    /// - [`Error::Refused`]: what is there is not a usable database of ours; it is untouched (B-137).
    /// - [`Error::NewerSchema`]: a newer version made it; it is untouched (R-070).
    /// - [`Error::Corrupt`]: it contradicts itself.
    /// - [`Error::Unavailable`]: it could not be read or written.
    pub fn open(path: &Path, config: &SqliteConfig) -> Result<Self> {
        let identity = match file::inspect(path)? {
            Found::Database { identity } => identity,
            Found::Nothing => {
                file::create(path)?;
                match file::inspect(path)? {
                    Found::Database { identity } => identity,
                    Found::Nothing => return Err(Error::unavailable("opening", "the new database file is gone")),
                }
            }
        };
        // The first connection cannot change anything, so that whatever is refused stays as it was.
        let reader = connection::open(path, Role::Reader, config)?;
        let migrations_are_due = schema::check(&reader, path, identity)?;
        let writer = connection::open(path, Role::Writer, config)?;
        if migrations_are_due {
            schema::migrate(&writer, schema::MIGRATIONS).map_err(|error| Error::sql("migrating", error))?;
        }
        let was_clean_shutdown = begin(&writer, identity).map_err(|error| Error::sql("opening", error))?;
        let memory = Arc::new(Memory::new(config.remembered));
        let forgetting =
            Forgetting::follow(&writer, Arc::clone(&memory)).map_err(|error| Error::sqlite("opening", error))?;
        let start = || {
            let checkpointer = Checkpointer::start(path.to_owned(), config.clone())?;
            Writer::start(writer, checkpointer, forgetting)
        };
        let writer = start().map_err(|error| Error::unavailable("starting a thread", error))?;
        let readers = Readers::new(path.to_owned(), config.clone(), reader);
        let snapshots = Snapshots::of(path, config)?;
        Ok(Self { writer, readers, snapshots, memory, was_clean_shutdown })
    }

    /// Whether the database was closed in order before it was opened this time; `true` for a new one.
    pub fn was_clean_shutdown(&self) -> bool {
        self.was_clean_shutdown
    }
}

/// From now on an end that is not announced is an unclean one. Says how the last one was.
fn begin(writer: &Connection, identity: i32) -> sql::Result<bool> {
    writer.execute_batch("begin immediate")?;
    let was_clean = life::was_clean(&Tx::from(writer))?;
    life::set_clean(&Tx::from(writer), false)?;
    // Written again although unchanged: with it the first page is in the log from its first commit on, so that the log
    // can be told from that of another database.
    writer.pragma_update(None, "user_version", identity)?;
    writer.execute_batch("commit")?;
    failpoint::reach("meta.opened");
    Ok(was_clean)
}
