//! The schema's history: forward only, embedded, each step with its checksum, all that is due in one transaction
//!

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::Error;
use crate::migrations::{Migration, checksum, compare, known};
use crate::sql::{self, Contradiction, Result};

/// Every step there is. A released one is never edited: databases made by it name its checksum.
pub(crate) const MIGRATIONS: &[Migration] =
    &[Migration { number: 1, name: "initial", readable_by: 1, sql: include_str!("../../migrations/0001_initial.sql") }];

/// What a database says about its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    schema: u32,
    readable_by: u32,
}

const VERSION: &str = "select schema_version, readable_by from meta where id = 1";
const HAS_META: &str = "select 1 from sqlite_schema where type = 'table' and name = 'meta'";
const APPLIED: &str = "select number, sha256 from migrations order by number";
const NOTE: &str = "insert into migrations (number, name, sha256, applied_at_us)
                    values ($1, $2, $3, cast(unixepoch('subsec') * 1000000 as integer))";
const SET_VERSION: &str = "insert into meta (id, schema_version, readable_by) values (1, $1, $2)
                               on conflict (id) do update
                              set schema_version = excluded.schema_version, readable_by = excluded.readable_by";

/// Decides, without changing anything, whether this binary may use the database; says whether migrations are due.
pub(super) fn check(connection: &Connection, path: &Path, identity: i32) -> Result<bool, Error> {
    let corrupt = |error: sql::Error| Error::sql("checking the schema", error);
    // Read through the log, where the header was read past it: a log of another database carries another number.
    let seen: i32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|error| corrupt(error.into()))?;
    if seen != identity {
        let reason = format!(
            "the log beside it ({}-wal) belongs to another database; bring back the log that belongs to the file, or \
             remove the wrong one",
            path.display()
        );
        return Err(Error::Refused { path: path.to_owned(), reason });
    }
    let known = known(MIGRATIONS);
    let version = version(connection).map_err(corrupt)?;
    if version.readable_by > known {
        return Err(Error::NewerSchema { found: version.schema, readable_by: version.readable_by, known });
    }
    compare_checksums(connection, MIGRATIONS).map_err(corrupt)?;
    Ok(version.schema < known)
}

/// Runs every migration that has not run, all of them or none.
pub(super) fn migrate(connection: &Connection, migrations: &[Migration]) -> Result<()> {
    connection.execute_batch("begin exclusive")?;
    let done = migrate_within(connection, migrations).and_then(|()| Ok(connection.execute_batch("commit")?));
    if done.is_err() && !connection.is_autocommit() {
        connection.execute_batch("rollback")?;
    }
    done
}

fn migrate_within(connection: &Connection, migrations: &[Migration]) -> Result<()> {
    let schema = if connection.prepare(HAS_META)?.exists([])? {
        compare_checksums(connection, migrations)?;
        version(connection)?.schema
    } else {
        0
    };
    for migration in migrations.iter().filter(|migration| migration.number > schema) {
        connection.execute_batch(migration.sql)?;
        connection.execute(NOTE, params![migration.number, migration.name, checksum(migration)])?;
        connection.execute(SET_VERSION, [migration.number, migration.readable_by])?;
    }
    Ok(())
}

fn version(connection: &Connection) -> Result<Version> {
    connection
        .query_row(VERSION, [], |row| Ok(Version { schema: row.get(0)?, readable_by: row.get(1)? }))
        .optional()?
        .ok_or_else(|| Contradiction("it does not say which schema it has".to_owned()).into())
}

/// As [`compare`], for all that have run.
fn compare_checksums(connection: &Connection, migrations: &[Migration]) -> Result<()> {
    let mut statement = connection.prepare(APPLIED)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        compare(migrations, row.get(0)?, &row.get::<_, String>(1)?)?;
    }
    Ok(())
}
