//! The schema's history on PostgreSQL: as on SQLite (forward only, embedded, each step with its checksum, all that is due in one
//! transaction), and one replica at a time.
//!
//! Two adjacent versions use one database side by side (R-072, R-073, GR-41). A step says since which schema a binary must know
//! to go on using the database (`readable_by`): one that only *expands* names an older schema, and replicas that know no more
//! than that work on beside it. One that *contracts*, which takes away what they use, names a newer one. Each replica holds a
//! shared lock of the server's that names what it knows, and a contracting step is refused as long as an older one has its lock.
//! A replica that had lost its connection, and its lock with it, finds out when it comes back.

use std::time::{Duration, Instant};

use super::session::Session;
use super::{Value, failure};
use crate::migrations::{Migration, checksum, compare, known};
use crate::sql::{Contradiction, Result};
use crate::{Error, sql};

/// Every step there is. A released one is never edited: databases made by it name its checksum.
pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
    number: 1,
    name: "initial",
    readable_by: 1,
    sql: include_str!("../../migrations/postgres/0001_initial.sql"),
}];

/// Whoever migrates holds this.
const LOCK: &str = "select pg_advisory_xact_lock($1)::text";
const LOCK_KEY: i64 = 8_604_252_872_339_187_570;

/// Whoever uses the database holds this lock, shared, with the newest schema that it knows as the second half of its key.
const KNOWS: &str = "select pg_advisory_lock_shared($1::bigint::int, $2::bigint::int)::text";
const KNOWS_KEY: i64 = 1_463_898_721;

/// What the oldest of them knows.
const OLDEST: &str = "select min(objid::bigint)
                        from pg_locks
                       where locktype = 'advisory' and granted and objsubid = 2 and classid::bigint = $1
                         and database = (select oid from pg_database where datname = current_database())";

const READABLE_BY: &str = "select readable_by from meta where id = 1";

const HAS_META: &str = "select (to_regclass('meta') is not null)::text, (to_regclass('migrations') is not null)::text";
const APPLIED: &str = "select number, sha256 from migrations order by number";
const VERSION: &str = "select schema_version, readable_by from meta where id = 1";
const NOTE: &str = "insert into migrations (number, name, sha256, applied_at_us)
                    values ($1, $2, $3, (extract(epoch from clock_timestamp()) * 1000000)::bigint)";
const SET_VERSION: &str = "insert into meta (id, schema_version, readable_by) values (1, $1, $2)
                               on conflict (id) do update
                              set schema_version = excluded.schema_version, readable_by = excluded.readable_by";

/// How long a migration is tried that has to wait for what replicas are just doing, or meets them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries those go on that were kept waiting.
const REST: Duration = Duration::from_millis(100);

/// A step that waits for a table keeps everybody waiting who wants a table that it has, or comes behind it. So it waits only a
/// part of the time that they do: none of them shall fail for it. It may wait for one table after the other, so a step that changes
/// more than a few of those that pushes use should be several.
const GIVES_WAY: &str = "select set_config('lock_timeout', greatest(setting::bigint / 8, 1)::text, true)
                           from pg_settings where name = 'lock_timeout'";

/// Says, for as long as the connection lasts, that a binary uses the database that knows no more than these.
pub(super) fn announce(session: &Session, migrations: &[Migration]) -> Result<()> {
    let known = Value::Integer(known(migrations).into());
    session.query(KNOWS, vec![Value::Integer(KNOWS_KEY), known]).map(drop)
}

/// Whether this binary may still use a database that it has used before.
pub(super) fn is_usable(session: &Session) -> Result<bool> {
    let rows = session.query(READABLE_BY, Vec::new())?;
    let readable_by: i64 = rows.first().ok_or(sql::Error::NoRow)?.try_get(0)?;
    Ok(readable_by <= i64::from(known(MIGRATIONS)))
}

/// Makes the schema what this binary knows, or refuses a newer one.
pub(super) fn migrate(session: &Session, migrations: &[Migration]) -> Result<(), Error> {
    let begun = Instant::now();
    let mut is_waiting = false;
    loop {
        match migrate_once(session, migrations) {
            Err(Failed::InTheWay(error)) if begun.elapsed() < PATIENCE => {
                // Said once, not at each of some ninety tries.
                if !std::mem::replace(&mut is_waiting, true) {
                    tracing::info!("the migration of the database waits for others, {PATIENCE:?} at most: {error}");
                }
                std::thread::sleep(REST);
            }
            Err(Failed::InTheWay(error)) => return Err(Error::sql("migrating", error)),
            Err(Failed::ForGood(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
}

/// Why the schema is as it was.
enum Failed {
    /// Somebody else's transaction.
    InTheWay(sql::Error),
    ForGood(Error),
}

impl From<sql::Error> for Failed {
    fn from(error: sql::Error) -> Self {
        if failure::is_locked(&error) || failure::gave_way(&error) {
            Self::InTheWay(error)
        } else {
            Self::ForGood(Error::sql("migrating", error))
        }
    }
}

fn migrate_once(session: &Session, migrations: &[Migration]) -> Result<(), Failed> {
    session.begin();
    match migrate_within(session, migrations) {
        Ok(()) => Ok(session.commit()?),
        Err(failed) => {
            session.roll_back();
            Err(failed)
        }
    }
}

fn migrate_within(session: &Session, migrations: &[Migration]) -> Result<(), Failed> {
    session.query(LOCK, vec![Value::Integer(LOCK_KEY)])?;
    session.query(GIVES_WAY, Vec::new())?;
    let tables = session.texts(HAS_META)?;
    let schema = match tables.iter().filter(|there| *there == "true").count() {
        0 => 0,
        2 => check(session, migrations).map_err(Failed::ForGood)?,
        _ => {
            let reason =
                "the database has a table \"meta\" or \"migrations\" that is not Wharf's; name an empty database";
            return Err(Failed::ForGood(Error::Server { reason: reason.to_owned() }));
        }
    };
    let due: Vec<&Migration> = migrations.iter().filter(|migration| migration.number > schema).collect();
    let needed = due.iter().map(|migration| migration.readable_by).max().unwrap_or(0);
    if let Some(knows) = oldest(session)?.filter(|knows| *knows < needed) {
        return Err(Failed::ForGood(Error::OlderReplicas { knows, needed }));
    }
    for migration in due {
        run(session, migration)?;
    }
    Ok(())
}

/// The newest schema that the oldest process knows that uses the database.
fn oldest(session: &Session) -> Result<Option<u32>> {
    let rows = session.query(OLDEST, vec![Value::Integer(KNOWS_KEY)])?;
    let oldest: Option<i64> = rows.first().ok_or(sql::Error::NoRow)?.try_get(0)?;
    Ok(oldest.map(|number| u32::try_from(number).unwrap_or(0)))
}

/// The schema that is there, if this binary may use it.
fn check(session: &Session, migrations: &[Migration]) -> Result<u32, Error> {
    let failed = |error| Error::sql("checking the schema", error);
    let rows = session.query(VERSION, Vec::new()).map_err(failed)?;
    let row = rows.first().ok_or_else(|| failed(Contradiction("it does not say which schema it has".into()).into()))?;
    let number = |column| -> sql::Result<u32> {
        let number: i64 = row.try_get(column)?;
        u32::try_from(number).map_err(|_| Contradiction(format!("{number} is no number of a schema")).into())
    };
    let (found, readable_by) = (number(0).map_err(failed)?, number(1).map_err(failed)?);
    let known = known(migrations);
    if readable_by > known {
        return Err(Error::NewerSchema { found, readable_by, known });
    }
    for row in session.query(APPLIED, Vec::new()).map_err(failed)? {
        let applied = |error: tokio_postgres::Error| failed(error.into());
        let (number, sha256): (i64, &str) = (row.try_get(0).map_err(applied)?, row.try_get(1).map_err(applied)?);
        compare(migrations, number, sha256).map_err(|error| failed(error.into()))?;
    }
    Ok(found)
}

fn run(session: &Session, migration: &Migration) -> Result<()> {
    session.batch(migration.sql)?;
    let number = i64::from(migration.number);
    let note = vec![Value::Integer(number), Value::Text(migration.name.to_owned()), Value::Text(checksum(migration))];
    session.execute(NOTE, note)?;
    session.execute(SET_VERSION, vec![Value::Integer(number), Value::Integer(migration.readable_by.into())])?;
    Ok(())
}
