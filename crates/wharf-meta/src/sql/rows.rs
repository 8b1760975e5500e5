//! Rows to be inserted, in the three kinds of values that also JSON has: PostgreSQL takes many at once as an array of objects
//! that one statement makes rows of again (`jsonb_to_recordset`).

use std::borrow::Cow;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use serde_json::{Map, Value};

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell<'v> {
    Null,
    Integer(i64),
    Text(Cow<'v, str>),
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl<'v> From<&'v str> for Cell<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'v, T: Into<Self>> From<Option<T>> for Cell<'v> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// The values of a row, for [`Tx::insert_all`](super::Tx::insert_all).
macro_rules! row {
    ($($value:expr),+ $(,)?) => { [$($crate::sql::Cell::from($value)),+] };
}
pub(crate) use row;

/// `rows`, whose values are those of `columns`; nothing if there are none.
pub(super) fn as_json<'v, const N: usize>(
    columns: [&'static str; N],
    rows: impl IntoIterator<Item = [Cell<'v>; N]>,
) -> Option<String> {
    let object = |row: [Cell<'v>; N]| {
        Value::Object(
            columns.into_iter().zip(row).map(|(column, cell)| (column.to_owned(), json(cell))).collect::<Map<_, _>>(),
        )
    };
    let rows: Vec<Value> = rows.into_iter().map(object).collect();
    (!rows.is_empty()).then(|| Value::Array(rows).to_string())
}

fn json(cell: Cell<'_>) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) => number.into(),
        Cell::Text(text) => without_nul(text.into_owned()).into(),
    }
}

/// PostgreSQL has no NUL, neither in texts nor in JSON. What is asked for by a text with one is not there in any case, and a record of
/// such a request shall be written.
pub(crate) fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}
