//! Between rows and values, and between this crate's functions and the databases that run them.
//!
//! What a noun's file does inside a transaction is written once, against [`Tx`]. Values cross it in the five kinds that
//! SQLite has ([`ValueRef`]: null, integer, real, text, bytes); PostgreSQL's schema uses no others.

mod error;
mod locks;
mod rows;
mod tx;

use std::str::FromStr;

use rusqlite::types::{FromSqlError, FromSqlResult, ToSqlOutput};
use wharf_base::Timestamp;

pub(crate) use error::{Contradiction, Error, OptionalExtension, Result};
pub(crate) use locks::Locks;
pub(crate) use rows::{Cell, row, without_nul};
pub(crate) use rusqlite::params;
pub(crate) use rusqlite::types::{FromSql, ToSql, ValueRef};
pub(crate) use tx::{Row, Tx};

/// A statement, as each database understands it.
///
/// Parameters are `$1`, `$2`, … and first appear in that order: SQLite numbers them by appearance, PostgreSQL by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sql {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

impl Sql {
    /// One that both understand alike.
    pub(crate) const fn common(text: &'static str) -> Self {
        Self { sqlite: text, postgres: text }
    }

    /// The same, but for PostgreSQL.
    #[must_use]
    pub(crate) const fn but_postgres(self, text: &'static str) -> Self {
        Self { postgres: text, ..self }
    }
}

/// Declares statements as named constants, and for tests a list of all of them.
///
/// `NAME = "…";` is understood by both databases; `NAME = "…", postgres: "…";` says the same in two ways, or, for
/// [`Tx::insert_all`] and [`Tx::query_each`], of one row or item for SQLite what it says of all of them for PostgreSQL.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr $(, postgres: $postgres:expr)?;)+) => {
        $($(#[$doc])* const $name: $crate::sql::Sql = $crate::sql::Sql::common($sql)$(.but_postgres($postgres))?;)+

        /// Every statement of this file, by name.
        #[cfg(test)]
        pub(crate) const STATEMENTS: &[(&str, $crate::sql::Sql)] = &[$((stringify!($name), $name)),+];
    };
}
pub(crate) use statements;

/// A column whose text is the canonical form of `T`.
pub(crate) struct Parsed<T>(pub(crate) T);

impl<T> FromSql for Parsed<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(FromSqlError::other)
    }
}

/// A column of microseconds since 1970.
pub(crate) struct Micros(pub(crate) Timestamp);

impl FromSql for Micros {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(|micros| Self(Timestamp::from_micros(micros)))
    }
}

impl ToSql for Micros {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_micros().into())
    }
}

/// A column of bytes or other things that can be counted; a negative number in it is damage.
pub(crate) struct Count(pub(crate) u64);

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = i64::column_result(value)?;
        u64::try_from(number).map(Self).map_err(|_| FromSqlError::OutOfRange(number))
    }
}

/// A number beyond 2⁶³ − 1 has no place in the database and becomes an error, never another number.
impl ToSql for Count {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        i64::try_from(self.0)
            .map(ToSqlOutput::from)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    }
}

/// Reads one column as `T`.
pub(crate) fn parsed<T>(row: &Row<'_>, column: usize) -> Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get::<Parsed<T>>(column).map(|parsed| parsed.0)
}

/// The same where a column may have no value.
pub(crate) fn parsed_or_none<T>(row: &Row<'_>, column: usize) -> Result<Option<T>>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    Ok(row.get::<Option<Parsed<T>>>(column)?.map(|parsed| parsed.0))
}

/// A list as the JSON array that `json_each` or `jsonb_array_elements_text` takes apart; one statement then serves lists of any length.
pub(crate) fn json_list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    serde_json::Value::from_iter(items.into_iter().map(|item| item.to_string())).to_string()
}

/// A list of texts as a JSON array, for a column that is read back whole.
pub(crate) fn texts(texts: &[String]) -> String {
    serde_json::Value::from(texts.to_vec()).to_string()
}

/// The list that [`texts`] wrote.
pub(crate) fn text_list(row: &Row<'_>, column: usize) -> Result<Vec<String>> {
    let text = row.get_str(column)?;
    serde_json::from_str(text).map_err(|error| Contradiction(format!("not a list of texts: {error}")).into())
}

/// The key of a row; never leaves this crate.
pub(crate) type Key = i64;
