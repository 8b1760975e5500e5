//! SQLite's five kinds of values as PostgreSQL has them.

use std::error::Error;

use bytes::BytesMut;
use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::sql;

/// A value for a parameter.
#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The value cannot be put where it is wanted.
#[derive(Debug, thiserror::Error)]
#[error("{value} is no value for a parameter of type {parameter}")]
struct Misfit {
    value: &'static str,
    parameter: String,
}

impl Value {
    pub(crate) fn of(value: &dyn rusqlite::ToSql) -> sql::Result<Self> {
        let owned = match value.to_sql()? {
            ToSqlOutput::Borrowed(value) => {
                value.try_into().map_err(|error| sql::Contradiction(format!("a parameter has no value: {error}")))?
            }
            ToSqlOutput::Owned(value) => value,
            _ => return Err(sql::Contradiction("a parameter is of an unknown kind".to_owned()).into()),
        };
        match owned {
            Owned::Null => Ok(Self::Null),
            Owned::Integer(value) => Ok(Self::Integer(value)),
            Owned::Text(value) => Ok(Self::Text(sql::without_nul(value))),
            Owned::Blob(value) => Ok(Self::Bytes(value)),
            Owned::Real(_) => Err(sql::Contradiction("a parameter is a real number".to_owned()).into()),
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let misfit = |value| Err(Misfit { value, parameter: ty.to_string() }.into());
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(value) => match *ty {
                Type::INT8 => value.to_sql(ty, out),
                Type::INT4 => i32::try_from(*value)?.to_sql(ty, out),
                _ => misfit("a number"),
            },
            Self::Text(value) => match *ty {
                Type::TEXT | Type::VARCHAR => value.to_sql(ty, out),
                _ => misfit("a text"),
            },
            Self::Bytes(value) => match *ty {
                Type::BYTEA => value.to_sql(ty, out),
                _ => misfit("a string of bytes"),
            },
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A value of a column.
pub(crate) struct Column<'a>(pub(crate) ValueRef<'a>);

impl<'a> FromSql<'a> for Column<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let value = match *ty {
            Type::INT8 => ValueRef::Integer(i64::from_sql(ty, raw)?),
            Type::INT4 => ValueRef::Integer(i32::from_sql(ty, raw)?.into()),
            Type::BOOL => ValueRef::Integer(bool::from_sql(ty, raw)?.into()),
            Type::TEXT | Type::VARCHAR => ValueRef::Text(raw),
            Type::BYTEA => ValueRef::Blob(raw),
            _ => return Err(Misfit { value: "a column", parameter: ty.to_string() }.into()),
        };
        Ok(Self(value))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(ValueRef::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
