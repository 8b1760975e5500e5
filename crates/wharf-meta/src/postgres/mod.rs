//! PostgreSQL: the same functions on a pool of connections, each in a thread of its own.
//!
//! ```text
//! caller ── question or change ──▶ Pool (waits for a connection) ──▶ thread ──▶ server
//!                                                                    └─ begins anew after a conflict or a lost connection
//! ```
//!
//! A thread runs one transaction from its beginning to its end and waits for each answer of the server in between, so what a
//! noun's file does is the same plain function that runs on SQLite. Each wait is a way to the server and back: lists go as one
//! value, a transaction begins in one message with its locks, and statements whose answers nobody needs go together with the
//! next one (`execute_later`). Changes exclude each other where they must by locks that they
//! name ([`Locks`](crate::sql::Locks)), where SQLite has one writer. A commit whose answer was lost is looked up by the
//! transaction's number, so nobody hears of a failure that was none.

mod check;
mod config;
mod connector;
pub(crate) mod copy;
mod database;
pub(crate) mod failure;
mod owner;
mod pool;
mod schema;
mod session;
#[cfg(test)]
mod tests;
mod value;

use std::path::Path;
use std::sync::Arc;

use crate::sql::Tx;
use crate::sqlite::Snapshots;
use crate::{Error, Result, SqliteConfig, SqliteMetadata, life};

use self::connector::Connector;
use self::owner::Owner;
use self::pool::Pool;

pub use self::config::{DatabaseUrl, ParseDatabaseUrlError, PostgresConfig};
pub use self::owner::Sharing;
#[cfg(test)]
pub(crate) use self::schema::MIGRATIONS;
pub(crate) use self::session::Session;
pub(crate) use self::value::{Column, Value};

/// Metadata in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresMetadata {
    pool: Pool,
    snapshots: Snapshots,
    owner: Arc<Owner>,
    sharing: Sharing,
    was_clean_shutdown: bool,
}

impl PostgresMetadata {
    /// Connects to the database that `config` names and runs migrations that are due. Snapshots are made beside `beside`, which
    /// is where an embedded database would be, and which nobody else uses.
    ///
    /// # Errors
    ///
    /// - [`Error::Server`]: the server or its database cannot be used as it is set up.
    /// - [`Error::InUse`]: another process uses the database, and `sharing` or that process does not allow it.
    /// - [`Error::NewerSchema`]: a newer version made it; it is untouched (R-070).
    /// - [`Error::OlderReplicas`]: a migration that is due would break replicas that run; it is untouched.
    /// - [`Error::Corrupt`]: it contradicts itself.
    /// - [`Error::Unavailable`]: the server does not answer.
    pub async fn open(config: &PostgresConfig, beside: &Path, sharing: Sharing) -> Result<Self> {
        let doing = "opening";
        let config = config.clone();
        let connections = config.connections();
        // Reads files.
        let connector = tokio::task::spawn_blocking(move || Connector::new(&config));
        let connector = connector.await.map_err(|lost| Error::unavailable(doing, lost))??;
        let connector = Arc::new(connector);
        let taking = Arc::clone(&connector);
        let owner = tokio::task::spawn_blocking(move || Owner::take(taking, sharing));
        let owner = Arc::new(owner.await.map_err(|lost| Error::unavailable(doing, lost))??);
        let snapshots = Snapshots::of(beside, &SqliteConfig::default())?;
        let pool = Pool::new(Arc::clone(&connector), connections);
        pool.with_session(doing, |session| {
            connector::check_server(session)?;
            schema::migrate(session, schema::MIGRATIONS)
        })
        .await?;
        connector.guard();
        let was_clean_shutdown = match sharing {
            Sharing::Alone => pool.write(doing, begin).await?,
            // Replicas come and go while others run; whatever one leaves behind is of the kind that all expect of each other.
            Sharing::Replicas => true,
        };
        Ok(Self { pool, snapshots, owner, sharing, was_clean_shutdown })
    }

    /// Makes this empty database what the embedded one at `path` is, all of it or nothing. That one is not changed but for what
    /// recovery and migrations do to it; nobody may use it meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`SqliteMetadata::open`], and [`Error::Unavailable`].
    pub async fn adopt(&mut self, path: &Path, config: &SqliteConfig) -> Result<()> {
        let doing = "taking over the embedded database";
        let embedded = SqliteMetadata::open(path, config)?;
        let was_clean = embedded.was_clean_shutdown();
        crate::Metadata::close(&embedded).await?;
        let path = path.to_owned();
        self.pool
            .with_session_for_long(doing, move |session| {
                let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let embedded =
                    rusqlite::Connection::open_with_flags(&path, flags).map_err(|error| Error::sqlite(doing, error))?;
                session.begin();
                let copied = copy::import(session, &embedded).and_then(|()| session.commit());
                if copied.is_err() {
                    session.roll_back();
                }
                copied.map_err(|error| Error::sql(doing, error))?;
                drop(embedded);
                forget_log(&path).map_err(|error| Error::unavailable(doing, error))
            })
            .await?;
        let is_alone = self.sharing == Sharing::Alone;
        self.pool.write(doing, move |tx| life::set_clean(tx, !is_alone)).await?;
        self.was_clean_shutdown = was_clean;
        Ok(())
    }

    /// Whether the database was closed in order before it was opened this time; `true` for a new one, and for replicas.
    pub fn was_clean_shutdown(&self) -> bool {
        self.was_clean_shutdown
    }
}

/// Removes what a reader leaves of a log that the orderly end has emptied.
fn forget_log(database: &Path) -> std::io::Result<()> {
    let beside = |suffix| {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        std::path::PathBuf::from(path)
    };
    let log = beside("-wal");
    if std::fs::metadata(&log).is_ok_and(|found| found.len() == 0) {
        std::fs::remove_file(log)?;
        std::fs::remove_file(beside("-shm"))?;
    }
    Ok(())
}

/// From now on an end that is not announced is an unclean one. Says how the last one was.
fn begin(tx: &Tx<'_>) -> crate::sql::Result<bool> {
    let was_clean = life::was_clean(tx)?;
    life::set_clean(tx, false)?;
    Ok(was_clean)
}
