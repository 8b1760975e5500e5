//! What the database itself is asked about its soundness. References are the server's own business: it keeps them always.

use std::time::Duration;

use super::copy::TABLES;
use super::session::Session;
use crate::sql::{Error as SqlError, Result as SqlResult};
use crate::{Error, Result};

/// Reading a table takes as long as it is large.
const READING_MAX: Duration = Duration::from_secs(6 * 3600);

const FAILURES: &str = "select coalesce((select checksum_failures from pg_stat_database
                                         where datname = current_database()), 0)::text";
const INVALID: &str = "select coalesce(string_agg(c.relname, ', '), '')::text
                         from pg_index i
                         join pg_class c on c.oid = i.indexrelid
                         join pg_namespace n on n.oid = c.relnamespace
                        where n.nspname = current_schema() and not (i.indisvalid and i.indisready)";

/// What the server says about its files; `thorough` has it read all of them.
pub(super) fn complaints(session: &Session, thorough: bool) -> Result<Vec<String>> {
    complain(session, thorough).map_err(|error| Error::sql("checking the database", error))
}

fn complain(session: &Session, thorough: bool) -> SqlResult<Vec<String>> {
    let mut complaints = Vec::new();
    let failures = session.texts(FAILURES)?.concat();
    if failures != "0" {
        complaints.push(format!("the server has met {failures} pages of this database with a wrong checksum"));
    }
    let invalid = session.texts(INVALID)?.concat();
    if !invalid.is_empty() {
        complaints.push(format!("indexes are not valid: {invalid}"));
    }
    if thorough {
        session.patiently(READING_MAX, || read_all(session, &mut complaints))?;
    }
    Ok(complaints)
}

/// Every page of every table, and every value that is kept apart from its row.
fn read_all(session: &Session, complaints: &mut Vec<String>) -> SqlResult<()> {
    for table in TABLES {
        let read = session.batch(&format!("select sum(length(t::text)) from {} t", table.name));
        match read {
            Err(SqlError::Postgres(error)) if error.code().is_some() => {
                complaints.push(format!("{} cannot be read: {error}", table.name));
            }
            done => done?,
        }
    }
    Ok(())
}
