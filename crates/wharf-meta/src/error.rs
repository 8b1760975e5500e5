use std::path::PathBuf;
use std::sync::Arc;

use wharf_base::StoreId;

use crate::postgres::failure;
use crate::sql;

/// What a method of this crate answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What lies below an [`Error`]; shared, because one failed commit fails every change in it.
pub(crate) type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Why the database gave no answer. None of these ever means that something is absent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The database did not do it this time; nothing has changed, and the same call may be repeated.
    #[error("{doing} in the metadata database")]
    Unavailable {
        /// What was being done, as a participle: "recording a blob".
        doing: &'static str,
        /// Why not.
        #[source]
        source: Source,
    },

    /// There is no room on the disk for what was to be written; nothing has changed.
    #[error("{doing} in the metadata database, which has no room to grow")]
    Full {
        /// What was being done, as a participle.
        doing: &'static str,
        /// What the database said.
        #[source]
        source: Source,
    },

    /// What the database holds contradicts itself: damage or a bug, never a guess.
    #[error("the metadata database is damaged, met while {doing}; run a check and restore from a backup if it agrees")]
    Corrupt {
        /// What was being done, as a participle.
        doing: &'static str,
        /// The contradiction.
        #[source]
        source: Source,
    },

    /// A commit could not be brought to stable storage. Whether it lasts is unknown until the database is opened again,
    /// so nothing more is written; the process should end, and recovery will decide.
    #[error("the metadata database does not keep what is committed any more; restart to recover")]
    StorageFailed {
        /// What the operating system said.
        #[source]
        source: Source,
    },

    /// The database was written by a newer Wharf whose schema this one cannot use. The file is untouched.
    #[error(
        "the metadata database has schema {found}, usable from schema {readable_by} on, and this binary knows \
         {known}; start the newer version or restore a backup made with this one"
    )]
    NewerSchema {
        /// The schema of the database.
        found: u32,
        /// The oldest schema a binary must know to use it.
        readable_by: u32,
        /// The newest schema this binary knows.
        known: u32,
    },

    /// Replicas of an older version use the database, and what this one would change of it would break them (GR-41). It is
    /// untouched.
    #[error(
        "replicas that know schema {knows} use the metadata database, and this version makes it one that is usable from \
         schema {needed} on; stop them first, or bring them to a version that knows it"
    )]
    OlderReplicas {
        /// The newest schema that the oldest of them knows.
        knows: u32,
        /// The oldest that whoever uses the database would have to know.
        needed: u32,
    },

    /// The server cannot be used as it is set up; it is untouched.
    #[error("the PostgreSQL server cannot keep the metadata: {reason}")]
    Server {
        /// What is wrong with it and what to do, as a clause.
        reason: String,
    },

    /// Another process uses the database; it is untouched.
    #[error("the metadata database is in use by {by}")]
    InUse {
        /// Who that is, as far as the server knows.
        by: String,
    },

    /// What was to be done belongs to another replica by now: the lease under which it was begun has ended, and was taken. Nothing
    /// has changed.
    #[error("another replica took over while {doing}")]
    LeaseLost {
        /// What was being done, as a participle.
        doing: &'static str,
    },

    /// The file is not a database that can be opened as it is (B-137). It is untouched.
    #[error("{} cannot be opened as the metadata database: {reason}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do, as a clause.
        reason: String,
    },

    /// The database belongs to another blob store (B-138); nothing has changed.
    #[error("the metadata database belongs to store {recorded}, not to {given}")]
    OtherStore {
        /// The store the database names.
        recorded: StoreId,
        /// The store it was asked to name.
        given: StoreId,
    },

    /// [`close`](crate::Metadata::close) was called before; nothing has changed.
    #[error("the metadata database has been closed")]
    Closed,
}

impl Error {
    /// Sorts a failure of SQLite into "this time", "no room" and "damaged".
    pub(crate) fn sqlite(doing: &'static str, source: rusqlite::Error) -> Self {
        if is_damage(&source) {
            Self::Corrupt { doing, source: Arc::new(source) }
        } else if is_full(&source) {
            Self::Full { doing, source: Arc::new(source) }
        } else {
            Self::Unavailable { doing, source: Arc::new(source) }
        }
    }

    /// The same for whatever database it was.
    pub(crate) fn sql(doing: &'static str, source: sql::Error) -> Self {
        match source {
            sql::Error::Sqlite(source) => Self::sqlite(doing, source),
            sql::Error::LeaseLost => Self::LeaseLost { doing },
            source @ sql::Error::Contradiction(_) => Self::Corrupt { doing, source: Arc::new(source) },
            source @ sql::Error::Postgres(_) if failure::is_damage(&source) => {
                Self::Corrupt { doing, source: Arc::new(source) }
            }
            source @ sql::Error::Postgres(_) if failure::is_full(&source) => {
                Self::Full { doing, source: Arc::new(source) }
            }
            source @ (sql::Error::NoRow | sql::Error::Postgres(_) | sql::Error::Server(_)) => {
                Self::Unavailable { doing, source: Arc::new(source) }
            }
        }
    }

    pub(crate) fn unavailable(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { doing, source: Arc::from(source.into()) }
    }
}

/// No room for the log, or for the index beside it that SQLite lays out in advance.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            failure.code == rusqlite::ErrorCode::DiskFull
                || failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
        }
        _ => false,
    }
}

/// A row that does not parse is as much a sign of damage as a page that does not.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    match error {
        E::SqliteFailure(failure, _) => {
            matches!(failure.code, rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
        }
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::InvalidColumnType(..)
        | E::Utf8Error(..) => true,
        _ => false,
    }
}
