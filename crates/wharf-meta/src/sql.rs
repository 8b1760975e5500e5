//! Between rows and values: how a parsed value is read back, and how statements are declared so that tests find them.

use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Type, ValueRef};
use rusqlite::{Row, ToSql};
use wharf_base::Timestamp;

/// Declares statements as named constants, and for tests a list of all of them.
///
/// Parameters are `$1`, `$2`, … and first appear in that order: SQLite numbers them by appearance, PostgreSQL by name.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$doc])* const $name: &str = $sql;)+

        /// Every statement of this file, by name.
        #[cfg(test)]
        pub(crate) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
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
pub(crate) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get::<_, Parsed<T>>(column).map(|parsed| parsed.0)
}

/// Two rows, or a row and a question, that cannot both be right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Contradiction(pub(crate) String);

impl From<Contradiction> for rusqlite::Error {
    fn from(contradiction: Contradiction) -> Self {
        Self::FromSqlConversionFailure(0, Type::Null, Box::new(contradiction))
    }
}

/// A list as the JSON array that `json_each` takes apart; one statement then serves lists of any length.
pub(crate) fn json_list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    serde_json::Value::from_iter(items.into_iter().map(|item| item.to_string())).to_string()
}

/// A list of texts as a JSON array, for a column that is read back whole.
pub(crate) fn texts(texts: &[String]) -> String {
    serde_json::Value::from(texts.to_vec()).to_string()
}

/// The list that [`texts`] wrote.
pub(crate) fn text_list(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<String>> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| Contradiction(format!("not a list of texts: {error}")).into())
}

/// The key of a row; never leaves this crate.
pub(crate) type Key = i64;
