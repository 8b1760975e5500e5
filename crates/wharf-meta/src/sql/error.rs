/// What a function of a noun's file answers.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a statement gave no answer, or a row no value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A single row was asked for, and there is none.
    #[error("there is no such row")]
    NoRow,

    /// SQLite's, or that of a value which has no place in any database.
    #[error(transparent)]
    Sqlite(rusqlite::Error),

    /// PostgreSQL's.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),

    /// PostgreSQL's server did not answer in time, or said something that nobody expects.
    #[error("{0}")]
    Server(&'static str),

    /// Another replica has the lease by now under which this was to be done.
    #[error("another replica does this by now")]
    LeaseLost,

    /// What the database holds contradicts itself.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
}

/// Two rows, or a row and a question, that cannot both be right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Contradiction(pub(crate) String);

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::QueryReturnedNoRows => Self::NoRow,
            error => Self::Sqlite(error),
        }
    }
}

/// Makes an answer of the lack of one.
pub(crate) trait OptionalExtension<T> {
    /// `None` if there is no such row.
    fn optional(self) -> Result<Option<T>>;
}

impl<T> OptionalExtension<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(Error::NoRow) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
