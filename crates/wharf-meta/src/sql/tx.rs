use rusqlite::{Connection, params_from_iter};

use super::{Cell, FromSql, Result, Sql, ToSql, ValueRef, json_list, rows};
use crate::postgres::{Column, Session, Value};

/// Where statements run: a transaction that changes something, or a connection that is asked.
#[derive(Clone, Copy)]
pub(crate) enum Tx<'a> {
    Sqlite(&'a Connection),
    Postgres(&'a Session),
}

impl<'a> From<&'a Connection> for Tx<'a> {
    fn from(connection: &'a Connection) -> Self {
        Self::Sqlite(connection)
    }
}

impl<'a> Tx<'a> {
    /// The statement, prepared once for each connection.
    pub(crate) fn prepare_cached(&self, sql: Sql) -> Result<Statement<'a>> {
        match *self {
            Self::Sqlite(connection) => Ok(Statement::Sqlite(connection.prepare_cached(sql.sqlite)?)),
            Self::Postgres(session) => Ok(Statement::Postgres(session, sql.postgres)),
        }
    }

    /// Writes rows that nobody needs an answer about. `sql` is for SQLite a statement with a parameter for each of `columns`, in
    /// their order, and runs once for each row: that costs it less than taking a list apart. For PostgreSQL it is one whose only
    /// parameter is the JSON array of all rows as objects, and is run later ([`Statement::execute_later`]).
    pub(crate) fn insert_all<'v, const N: usize>(
        &self,
        sql: Sql,
        columns: [&'static str; N],
        rows: impl IntoIterator<Item = [Cell<'v>; N]>,
    ) -> Result<()> {
        match *self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql.sqlite)?;
                rows.into_iter().try_for_each(|row| Ok(statement.execute(params_from_iter(row)).map(drop)?))
            }
            Self::Postgres(session) => match rows::as_json(columns, rows) {
                Some(rows) => session.defer(sql.postgres, vec![Value::Text(rows)]),
                None => Ok(()),
            },
        }
    }

    /// Asks about each of `items`: what `read` makes of the one row that `sql` has for it, in their order. For SQLite an item is
    /// the first parameter, for PostgreSQL the JSON array of all of them; the others are `rest`.
    pub(crate) fn query_each<T>(
        &self,
        sql: Sql,
        items: &[&str],
        rest: &[&dyn ToSql],
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        match *self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql.sqlite)?;
                let mut answer = |item: &&str| {
                    let values = std::iter::once(item as &dyn ToSql).chain(rest.iter().copied());
                    let mut rows = statement.query(params_from_iter(values))?;
                    read(&Row::Sqlite(rows.next()?.ok_or(super::Error::NoRow)?))
                };
                items.iter().map(&mut answer).collect()
            }
            Self::Postgres(_) => {
                let list = json_list(items);
                let values: Vec<&dyn ToSql> =
                    std::iter::once(&list as &dyn ToSql).chain(rest.iter().copied()).collect();
                let answers = self.prepare_cached(sql)?.query_map(&*values, read)?.collect::<Result<Vec<T>>>()?;
                if answers.len() == items.len() { Ok(answers) } else { Err(super::Error::NoRow) }
            }
        }
    }

    /// Runs `read` so that its statements see one moment.
    pub(crate) fn at_one_moment<T>(&self, read: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        match *self {
            Self::Sqlite(connection) => {
                let snapshot = connection.unchecked_transaction()?;
                let found = read(&Tx::Sqlite(&snapshot))?;
                snapshot.finish()?;
                Ok(found)
            }
            Self::Postgres(session) => session.at_one_moment(|| read(self)),
        }
    }

    /// Runs `read` at a moment at which every place in the audit log that was taken is filled, or never will be.
    pub(crate) fn at_a_settled_moment<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        match *self {
            Self::Sqlite(_) => read(),
            Self::Postgres(session) => session.at_a_settled_moment(read),
        }
    }

    /// At most `limit`, and at most as many rows as fit into memory when each has a manifest's bytes: PostgreSQL answers with
    /// all rows at once.
    pub(crate) fn rows_with_bodies(&self, limit: u32) -> u32 {
        match self {
            Self::Sqlite(_) => limit,
            Self::Postgres(_) => limit.min(BODIES_AT_ONCE),
        }
    }
}

/// Of at most 4 MiB each.
const BODIES_AT_ONCE: u32 = 8;

/// A statement that can be run.
pub(crate) enum Statement<'a> {
    Sqlite(rusqlite::CachedStatement<'a>),
    Postgres(&'a Session, &'static str),
}

fn values(params: &impl Params) -> Result<Vec<Value>> {
    params.lend(|values| values.iter().map(|value| Value::of(*value)).collect())
}

/// The values of a statement's parameters.
pub(crate) trait Params {
    /// Lends them to `run`.
    fn lend<R>(&self, run: impl FnOnce(&[&dyn ToSql]) -> R) -> R;
}

impl Params for &[&dyn ToSql] {
    fn lend<R>(&self, run: impl FnOnce(&[&dyn ToSql]) -> R) -> R {
        run(self)
    }
}

impl<T: ToSql, const N: usize> Params for [T; N] {
    fn lend<R>(&self, run: impl FnOnce(&[&dyn ToSql]) -> R) -> R {
        run(&self.each_ref().map(|value| value as &dyn ToSql))
    }
}

/// None.
impl Params for () {
    fn lend<R>(&self, run: impl FnOnce(&[&dyn ToSql]) -> R) -> R {
        run(&[])
    }
}

impl Statement<'_> {
    /// How many rows it has changed.
    pub(crate) fn execute(&mut self, params: impl Params) -> Result<usize> {
        match self {
            Self::Sqlite(statement) => Ok(params.lend(|values| statement.execute(values))?),
            Self::Postgres(session, sql) => session.execute(sql, values(&params)?),
        }
    }

    /// The same where nobody needs the answer: PostgreSQL's server hears of it together with the next statement.
    pub(crate) fn execute_later(&mut self, params: impl Params) -> Result<()> {
        match self {
            Self::Sqlite(statement) => params.lend(|values| statement.execute(values)).map(drop).map_err(Into::into),
            Self::Postgres(session, sql) => session.defer(sql, values(&params)?),
        }
    }

    /// Inserts one row into a table whose key is an integer named `id`; that key.
    pub(crate) fn insert(&mut self, params: impl Params) -> Result<i64> {
        match self {
            Self::Sqlite(statement) => Ok(params.lend(|values| statement.insert(values))?),
            Self::Postgres(session, sql) => session.insert(sql, values(&params)?),
        }
    }

    /// Whether it finds a row.
    pub(crate) fn exists(&mut self, params: impl Params) -> Result<bool> {
        match self {
            Self::Sqlite(statement) => Ok(params.lend(|values| statement.exists(values))?),
            Self::Postgres(session, sql) => Ok(!session.query(sql, values(&params)?)?.is_empty()),
        }
    }

    /// What `read` makes of the first row.
    ///
    /// # Errors
    ///
    /// [`Error::NoRow`](super::Error::NoRow), among others.
    pub(crate) fn query_row<T>(&mut self, params: impl Params, read: impl FnOnce(&Row<'_>) -> Result<T>) -> Result<T> {
        let mut rows = self.query(params)?;
        match rows.next()? {
            Some(row) => read(&row),
            None => Err(super::Error::NoRow),
        }
    }

    /// What `read` makes of each row.
    pub(crate) fn query_map<'s, T, F>(&'s mut self, params: impl Params, read: F) -> Result<Mapped<'s, F>>
    where
        F: FnMut(&Row<'_>) -> Result<T>,
    {
        Ok(Mapped { rows: self.query(params)?, read })
    }

    /// Its rows.
    pub(crate) fn query(&mut self, params: impl Params) -> Result<Rows<'_>> {
        match self {
            Self::Sqlite(statement) => Ok(Rows::Sqlite(params.lend(|values| statement.query(values))?)),
            Self::Postgres(session, sql) => {
                Ok(Rows::Postgres { rows: session.query(sql, values(&params)?)?.into_iter(), current: None })
            }
        }
    }
}

/// The rows of a query.
pub(crate) enum Rows<'s> {
    Sqlite(rusqlite::Rows<'s>),
    Postgres { rows: std::vec::IntoIter<tokio_postgres::Row>, current: Option<tokio_postgres::Row> },
}

impl Rows<'_> {
    /// The next one; it lends its values until the one after it is asked for.
    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>> {
        match self {
            Self::Sqlite(rows) => Ok(rows.next()?.map(Row::Sqlite)),
            Self::Postgres { rows, current } => {
                *current = rows.next();
                Ok(current.as_ref().map(Row::Postgres))
            }
        }
    }
}

/// What is made of the rows of a query.
pub(crate) struct Mapped<'s, F> {
    rows: Rows<'s>,
    read: F,
}

impl<T, F: FnMut(&Row<'_>) -> Result<T>> Iterator for Mapped<'_, F> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let row = self.rows.next().transpose()?;
        Some(row.and_then(|row| (self.read)(&row)))
    }
}

/// One row.
pub(crate) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

impl Row<'_> {
    /// The value of a column.
    pub(crate) fn get<T: FromSql>(&self, column: usize) -> Result<T> {
        match self {
            Self::Sqlite(row) => Ok(row.get(column)?),
            Self::Postgres(_) => T::column_result(self.get_ref(column)?)
                .map_err(|error| super::Contradiction(format!("column {column}: {error}")).into()),
        }
    }

    /// The value of a column as it is.
    pub(crate) fn get_ref(&self, column: usize) -> Result<ValueRef<'_>> {
        match self {
            Self::Sqlite(row) => Ok(row.get_ref(column)?),
            Self::Postgres(row) => Ok(row.try_get::<_, Column<'_>>(column)?.0),
        }
    }

    /// The text of a column.
    pub(crate) fn get_str(&self, column: usize) -> Result<&str> {
        let text = self.get_ref(column)?.as_str();
        text.map_err(|error| super::Contradiction(format!("column {column}: {error}")).into())
    }
}
