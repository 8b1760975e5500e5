//! The schema's history on PostgreSQL: as on SQLite (forward only, embedded, each step with its checksum, all that is due in one
//! transaction), and one replica at a time.

use super::Value;
use super::session::Session;
use crate::migrations::{Migration, checksum, compare, known};
use crate::sql::{Contradiction, Result};
use crate::{Error, sql};

/// Every step there is. A released one is never edited: databases made by it name its checksum.
const MIGRATIONS: &[Migration] = &[Migration {
    number: 1,
    name: "initial",
    readable_by: 1,
    sql: include_str!("../../migrations/postgres/0001_initial.sql"),
}];

/// Whoever migrates holds this.
const LOCK: &str = "select pg_advisory_xact_lock($1)::text";
const LOCK_KEY: i64 = 8_604_252_872_339_187_570;

const HAS_META: &str = "select (to_regclass('meta') is not null)::text, (to_regclass('migrations') is not null)::text";
const APPLIED: &str = "select number, sha256 from migrations order by number";
const VERSION: &str = "select schema_version, readable_by from meta where id = 1";
const NOTE: &str = "insert into migrations (number, name, sha256, applied_at_us)
                    values ($1, $2, $3, (extract(epoch from clock_timestamp()) * 1000000)::bigint)";
const SET_VERSION: &str = "insert into meta (id, schema_version, readable_by) values (1, $1, $2)
                               on conflict (id) do update
                              set schema_version = excluded.schema_version, readable_by = excluded.readable_by";

/// Makes the schema what this binary knows, or refuses a newer one.
pub(super) fn migrate(session: &Session) -> Result<(), Error> {
    let doing = "migrating";
    let failed = |error| Error::sql(doing, error);
    session.begin();
    let done = migrate_within(session);
    match done {
        Ok(()) => session.commit().map_err(failed),
        Err(error) => {
            session.roll_back();
            Err(error)
        }
    }
}

fn migrate_within(session: &Session) -> Result<(), Error> {
    let failed = |error| Error::sql("migrating", error);
    session.query(LOCK, vec![Value::Integer(LOCK_KEY)]).map_err(failed)?;
    let tables = session.texts(HAS_META).map_err(failed)?;
    let schema = match tables.iter().filter(|there| *there == "true").count() {
        0 => 0,
        2 => check(session)?,
        _ => {
            let reason =
                "the database has a table \"meta\" or \"migrations\" that is not Wharf's; name an empty database";
            return Err(Error::Server { reason: reason.to_owned() });
        }
    };
    for migration in MIGRATIONS.iter().filter(|migration| migration.number > schema) {
        run(session, migration).map_err(failed)?;
    }
    Ok(())
}

/// The schema that is there, if this binary may use it.
fn check(session: &Session) -> Result<u32, Error> {
    let failed = |error| Error::sql("checking the schema", error);
    let rows = session.query(VERSION, Vec::new()).map_err(failed)?;
    let row = rows.first().ok_or_else(|| failed(Contradiction("it does not say which schema it has".into()).into()))?;
    let number = |column| -> sql::Result<u32> {
        let number: i64 = row.try_get(column)?;
        u32::try_from(number).map_err(|_| Contradiction(format!("{number} is no number of a schema")).into())
    };
    let (found, readable_by) = (number(0).map_err(failed)?, number(1).map_err(failed)?);
    let known = known(MIGRATIONS);
    if readable_by > known {
        return Err(Error::NewerSchema { found, readable_by, known });
    }
    for row in session.query(APPLIED, Vec::new()).map_err(failed)? {
        let applied = |error: tokio_postgres::Error| failed(error.into());
        let (number, sha256): (i64, &str) = (row.try_get(0).map_err(applied)?, row.try_get(1).map_err(applied)?);
        compare(MIGRATIONS, number, sha256).map_err(|error| failed(error.into()))?;
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
