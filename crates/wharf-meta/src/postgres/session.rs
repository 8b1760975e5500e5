//! A connection to the server, and what runs on it.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{SinkExt as _, TryStreamExt as _};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Row, SimpleQueryMessage, Statement};

use super::Value;
use crate::sql::{Contradiction, Error, Locks, Result};

/// What keeps the audit log from being sealed; also in the schema (`next_audit_sequence`).
pub(super) const AUDIT_KEY: i64 = 8_604_252_872_138_646_644;

/// A void among the columns would have no value, and the answers are not looked at.
const LOCK: &str = "select count(case when shared then pg_advisory_xact_lock_shared(key)::text
                                      else pg_advisory_xact_lock(key)::text end)
                      from unnest($1::bigint[], $2::boolean[]) as wanted (key, shared)";

/// `read committed`: each statement sees what was committed before it, which the locks rest on ([`Locks`]).
const BEGIN: &str = "begin isolation level read committed; select pg_current_xact_id()::text";

/// So many statements whose answers nobody looks at wait for one that is looked at.
const DEFERRED_MAX: usize = 16;

/// A connection, owned by one thread, which waits in it for the server's answers: nobody else need be woken for one.
pub(crate) struct Session {
    runtime: Runtime,
    client: Client,
    /// How long any answer may take. The server gives up earlier, if it can still be reached.
    patience: Cell<Duration>,
    statements: RefCell<HashMap<&'static str, Statement>>,
    inserts: RefCell<HashMap<&'static str, Statement>>,
    transaction: RefCell<Transaction>,
    /// What goes to the server together with the next statement.
    deferred: RefCell<Vec<(Statement, Vec<Value>)>>,
    /// Whether something is left that only the end of the connection undoes.
    spoilt: Cell<bool>,
    /// Which of its lives the server is in; empty if that is not known.
    life: OnceCell<String>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Where the connection's transaction stands.
#[derive(Debug, Default)]
enum Transaction {
    #[default]
    None,
    /// It begins with its first statement.
    Due,
    /// It has begun; its number is known unless its first statement failed.
    Begun(Option<TransactionId>),
}

/// The number of a transaction, by which the server remembers what became of it, and in which life of the server it is that
/// transaction's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TransactionId {
    number: String,
    life: Option<String>,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Committed,
    TakenBack,
    Unknown,
}

impl Session {
    pub(super) fn new(runtime: Runtime, client: Client, patience: Duration) -> Self {
        Self {
            runtime,
            client,
            patience: Cell::new(patience),
            statements: RefCell::default(),
            inserts: RefCell::default(),
            transaction: RefCell::default(),
            deferred: RefCell::default(),
            spoilt: Cell::new(false),
            life: OnceCell::new(),
        }
    }

    /// Tells the session which life of the server it was made in.
    pub(super) fn is_of_life(&self, life: String) {
        // Told once, when the connection is set up.
        let _ = self.life.set(life);
    }

    fn life(&self) -> Option<&String> {
        self.life.get().filter(|life| !life.is_empty())
    }

    /// Lets each answer take `patience` for as long as `work` runs.
    pub(super) fn patiently<T>(&self, patience: Duration, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let usual = self.patience.replace(patience);
        self.batch(&format!("set statement_timeout = {}", patience.as_millis()))?;
        let done = work();
        self.patience.set(usual);
        // The server's own limit is another one now; a new connection has the right one.
        self.spoilt.set(true);
        done
    }

    /// Whether it may be used again.
    pub(super) fn is_usable(&self) -> bool {
        !self.spoilt.get() && !self.client.is_closed()
    }

    fn wait<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        let answered = self.runtime.block_on(async { tokio::time::timeout(self.patience.get(), answer).await });
        let Ok(answered) = answered else {
            self.spoilt.set(true);
            return Err(Error::Server("the server did not answer in time"));
        };
        Ok(answered?)
    }

    /// Does nothing but listen to the server until `end` or for `span`; whether `end` came first.
    pub(super) fn listen(&self, span: Duration, end: impl Future<Output = ()>) -> bool {
        self.runtime.block_on(async { tokio::time::timeout(span, end).await.is_ok() })
    }

    /// Waits for `last` and for what was deferred before it, all of which is sent at once. The first failure counts: a
    /// transaction does nothing more after one.
    fn wait_in_turn<T>(&self, last: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        self.begin_if_due(None)?;
        let deferred = self.deferred.take();
        if deferred.is_empty() {
            return self.wait(last);
        }
        let deferred = deferred.into_iter().map(|(statement, values)| async move {
            // Sent when it is looked at for the first time, which happens in this order.
            self.client.execute_raw(&statement, values).await
        });
        self.wait(async {
            let (done, last) = tokio::join!(join_all(deferred), last);
            done.into_iter().collect::<Result<Vec<_>, _>>()?;
            last
        })
    }

    /// Waits for what was deferred.
    pub(super) fn settle(&self) -> Result<()> {
        if self.deferred.borrow().is_empty() {
            return Ok(());
        }
        self.wait_in_turn(std::future::ready(Ok(())))
    }

    /// Runs statements without parameters and answers.
    pub(super) fn batch(&self, statements: &str) -> Result<()> {
        self.wait_in_turn(self.client.batch_execute(statements))
    }

    /// How many rows `sql` has changed.
    pub(crate) fn execute(&self, sql: &'static str, values: Vec<Value>) -> Result<usize> {
        let statement = self.statement(sql)?;
        let changed = self.wait_in_turn(self.client.execute_raw(&statement, values))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    /// Runs `sql` in its turn, together with the next statement whose answer is waited for; at once where no transaction's end
    /// would wait for it.
    pub(crate) fn defer(&self, sql: &'static str, values: Vec<Value>) -> Result<()> {
        if matches!(*self.transaction.borrow(), Transaction::None) {
            return self.execute(sql, values).map(drop);
        }
        let statement = self.statement(sql)?;
        let waiting = {
            let mut deferred = self.deferred.borrow_mut();
            deferred.push((statement, values));
            deferred.len()
        };
        if waiting < DEFERRED_MAX { Ok(()) } else { self.settle() }
    }

    /// The key of the row that `sql` inserts.
    pub(crate) fn insert(&self, sql: &'static str, values: Vec<Value>) -> Result<i64> {
        let known = self.inserts.borrow().get(sql).cloned();
        let statement = match known {
            Some(statement) => statement,
            None => {
                let statement = self.wait(self.client.prepare(&format!("{sql} returning id")))?;
                self.inserts.borrow_mut().insert(sql, statement.clone());
                statement
            }
        };
        let rows = self.rows(&statement, values)?;
        let row = rows.first().ok_or(Error::NoRow)?;
        Ok(row.try_get(0)?)
    }

    /// The rows that `sql` finds.
    pub(crate) fn query(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>> {
        let statement = self.statement(sql)?;
        self.rows(&statement, values)
    }

    /// Shows `each` the rows that `sql` finds, of which `rows` are here at once. Within a transaction. `go_on` is asked in
    /// between.
    pub(super) fn walk(
        &self,
        sql: &str,
        rows: u32,
        mut each: impl FnMut(&Row) -> Result<()>,
        go_on: &impl Fn() -> Result<()>,
    ) -> Result<()> {
        self.batch(&format!("declare walk no scroll cursor for {sql}"))?;
        let fetch = self.wait(self.client.prepare(&format!("fetch forward {rows} from walk")))?;
        loop {
            go_on()?;
            let found = self.rows(&fetch, Vec::new())?;
            found.iter().try_for_each(&mut each)?;
            if found.len() < rows as usize {
                return self.batch("close walk");
            }
        }
    }

    /// Sends what `write` puts into each piece to the `copy … from stdin` that `sql` is, until it says that this was the last.
    pub(super) fn fill(&self, sql: &str, mut write: impl FnMut(&mut Vec<u8>) -> Result<bool>) -> Result<()> {
        let mut sink = Box::pin(self.wait_in_turn(self.client.copy_in::<_, Bytes>(sql))?);
        loop {
            let mut piece = Vec::new();
            let more = write(&mut piece)?;
            if !piece.is_empty() {
                self.wait(sink.send(Bytes::from(piece)))?;
            }
            if !more {
                return self.wait(sink.as_mut().finish()).map(drop);
            }
        }
    }

    fn rows(&self, statement: &Statement, values: Vec<Value>) -> Result<Vec<Row>> {
        self.wait_in_turn(async { self.client.query_raw(statement, values).await?.try_collect().await })
    }

    pub(super) fn statement(&self, sql: &'static str) -> Result<Statement> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.wait(self.client.prepare(&dialect(sql)))?;
        self.statements.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }

    /// Takes `locks` for the rest of the transaction.
    pub(crate) fn lock(&self, locks: Locks) -> Result<()> {
        let (keys, shared) = locks.in_order();
        if matches!(*self.transaction.borrow(), Transaction::Due) {
            return self.begin_if_due(Some((&keys, &shared)));
        }
        let statement = self.statement(LOCK)?;
        self.wait_in_turn(self.client.query(&statement, &[&keys, &shared]))?;
        Ok(())
    }

    /// Runs `read` in a transaction that sees one moment.
    pub(crate) fn at_one_moment<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        self.batch("begin isolation level repeatable read, read only")?;
        let found = read();
        self.end(if found.is_ok() { "commit" } else { "rollback" })?;
        found
    }

    /// Runs `read` while no transaction has a place in the audit log that it has not filled or given up.
    pub(crate) fn at_a_settled_moment<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        let key = || vec![Value::Integer(AUDIT_KEY)];
        self.query("select pg_advisory_lock($1)::text", key())?;
        // Held by the connection, not by the transaction: a failure in between must not leave it behind.
        self.spoilt.set(true);
        let found = read()?;
        self.query("select pg_advisory_unlock($1)", key())?;
        self.spoilt.set(false);
        Ok(found)
    }

    /// Begins a transaction that may change something; the server hears of it with the first statement.
    pub(super) fn begin(&self) {
        self.transaction.replace(Transaction::Due);
    }

    /// Begins the transaction if that is due, with its `locks`, in one message: should the beginning fail, the server does
    /// nothing that would stand outside of the transaction.
    fn begin_if_due(&self, locks: Option<(&[i64], &[bool])>) -> Result<()> {
        if !matches!(*self.transaction.borrow(), Transaction::Due) {
            return Ok(());
        }
        self.transaction.replace(Transaction::Begun(None));
        let mut message = BEGIN.to_owned();
        if let Some((keys, shared)) = locks {
            message += "; ";
            message += &literally(LOCK, keys, shared);
        }
        let answers = self.wait(self.client.simple_query(&message))?;
        let number = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let number = number.ok_or_else(|| Contradiction("a transaction has no number".to_owned()))?;
        let number = TransactionId { number: number.to_owned(), life: self.life().cloned() };
        self.transaction.replace(Transaction::Begun(Some(number)));
        Ok(())
    }

    /// The number of the transaction; `None` if nothing was done in it.
    pub(super) fn transaction(&self) -> Option<TransactionId> {
        match &*self.transaction.borrow() {
            Transaction::Begun(number) => number.clone(),
            Transaction::None | Transaction::Due => None,
        }
    }

    /// Ends a transaction by `statement`; one that cannot be ended takes the connection with it.
    fn end(&self, statement: &str) -> Result<()> {
        let ended = self.batch(statement);
        if ended.is_err() {
            self.spoilt.set(true);
        }
        ended
    }

    /// Ends the transaction, once everything that was deferred is done.
    pub(super) fn commit(&self) -> Result<()> {
        if let Err(error) = self.settle() {
            self.roll_back();
            return Err(error);
        }
        self.end_if_begun("commit")
    }

    pub(super) fn roll_back(&self) {
        self.deferred.take();
        // The connection is given up if that fails, and the transaction with it.
        let _ = self.end_if_begun("rollback");
    }

    fn end_if_begun(&self, statement: &str) -> Result<()> {
        match self.transaction.take() {
            Transaction::Begun(_) => self.end(statement),
            Transaction::None | Transaction::Due => Ok(()),
        }
    }

    /// What became of a transaction whose connection was lost while it ended.
    ///
    /// A server that crashed before anything of a transaction was synced does not know that its number was ever given, and gives
    /// it to another one. So that a number is one that was committed says nothing if the server has crashed since.
    pub(super) fn fate(&self, transaction: &TransactionId) -> Result<Fate> {
        let number = Value::Text(transaction.number.clone());
        let rows = self.query("select pg_xact_status(($1::text)::xid8)", vec![number])?;
        let is_the_same_life = transaction.life.is_some() && transaction.life.as_ref() == self.life();
        let status: Option<&str> = match rows.first() {
            Some(row) => row.try_get(0)?,
            None => None,
        };
        Ok(match status {
            Some("committed") if is_the_same_life => Fate::Committed,
            Some("aborted") => Fate::TakenBack,
            _ => Fate::Unknown,
        })
    }

    /// The first column of what the server answers, for tests of what it plans.
    #[cfg(test)]
    pub(super) fn lines(&self, sql: &str) -> Result<Vec<String>> {
        let rows = self.wait(self.client.query(sql, &[]))?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// The texts of one row, for what the server says about itself.
    pub(super) fn texts(&self, sql: &'static str) -> Result<Vec<String>> {
        let rows = self.query(sql, Vec::new())?;
        let row = rows.first().ok_or(Error::NoRow)?;
        (0..row.len()).map(|column| Ok(row.try_get(column)?)).collect()
    }
}

/// [`LOCK`] with its values in it, for a message that has no parameters.
fn literally(sql: &str, keys: &[i64], shared: &[bool]) -> String {
    let mut list = String::new();
    for key in keys {
        let _ = write!(list, "{}{key}", if list.is_empty() { "" } else { "," });
    }
    let modes: Vec<&str> = shared.iter().map(|shared| if *shared { "t" } else { "f" }).collect();
    sql.replace("$1", &format!("'{{{list}}}'")).replace("$2", &format!("'{{{}}}'", modes.join(",")))
}

/// `cross join … on` is how SQLite is told which table comes first, and `indexed by` which index it reads. PostgreSQL's planner
/// sees for itself.
pub(super) fn dialect(sql: &str) -> String {
    let sql = sql.replace("cross join", "join");
    let mut parts = sql.split(" indexed by ");
    let before = parts.next().unwrap_or_default().to_owned();
    parts.fold(before, |before, part| before + part.trim_start_matches(|c: char| !c.is_whitespace()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_sqlite_is_told_is_left_out() {
        let sql = "select 1 from a indexed by a_by_b\n where x cross join b indexed by b_by_c where y";
        assert_eq!(dialect(sql), "select 1 from a\n where x join b where y");
        assert_eq!(dialect("select 1"), "select 1");
    }
}
