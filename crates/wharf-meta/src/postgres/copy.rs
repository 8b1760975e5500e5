//! Rows on their way between the two databases, in either direction: their tables have the same columns.

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, params_from_iter};
use tokio_postgres::Row;

use super::session::Session;
use super::{Column, Value};
use crate::life;
use crate::snapshot::Copied;
use crate::sql::{Contradiction, Error, Locks, Result, Tx, ValueRef};
use crate::tally::{Sum, Tally};

/// A table, and which of its rows go.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// What leaves the registry in a backup: a condition.
    leaves: &'static str,
    /// What orders the rows, so that they are added in the order of the target's key.
    key: &'static str,
    /// How many rows are on their way at once.
    rows: u32,
    /// The sequence that makes the values of a column, and has to go on behind the greatest.
    counts: Option<(&'static str, &'static str)>,
}

const fn table(name: &'static str, key: &'static str) -> Table {
    Table { name, leaves: "true", key, rows: 1000, counts: None }
}

impl Table {
    const fn counting(self, sequence: &'static str) -> Self {
        Self { counts: Some((sequence, self.key)), ..self }
    }

    /// Its rows may have 4 MiB each.
    const fn large(self) -> Self {
        Self { rows: 8, ..self }
    }

    const fn without(self, leaves: &'static str) -> Self {
        Self { leaves, ..self }
    }
}

/// All tables but those about the database itself, each behind those that it refers to. Keys that sign tokens and what
/// logged-in clients keep do not leave the registry (R-063).
pub(crate) const TABLES: &[Table] = &[
    table("repositories", "id").counting("repositories_id_seq"),
    table("blobs", "id").counting("blobs_id_seq"),
    table("repository_blobs", "repository_id, blob_id"),
    table("manifests", "id").counting("manifests_id_seq").large(),
    table("manifest_blobs", "manifest_id, blob_id"),
    table("manifest_children", "manifest_id, child_digest"),
    table("tags", "repository_id, name"),
    table("tag_history", "repository_id, name, version"),
    table("deleted_manifests", "repository_id, digest").large(),
    table("uploads", "id"),
    table("gc_reviews", "repository_id, kind, digest"),
    table("gc_removals", "key"),
    table("gc_log", "id").counting("gc_log_id_seq"),
    table("gc_holds", "id"),
    table("policy_rules", "id"),
    table("repository_settings", "pattern"),
    table("accounts", "id"),
    table("api_tokens", "id").without("kind <> 'refresh'"),
    table("sessions", "id_sha256").without("false"),
    table("sign_ins", "id_sha256").without("false"),
    table("kept_answers", "principal, key_sha256").without("false"),
    table("signing_keys", "id").without("false"),
    table("storage_samples", "day"),
    table("largest_repositories", "rank"),
    table("audit_log", "sequence").counting("audit_sequence"),
    table("audit_seals", "last_sequence"),
    table("events", "sequence").counting("events_sequence_seq"),
    table("leases", "name").without("false"),
    table("jobs", "id"),
];

/// The columns of a table, in their order.
pub(super) fn columns(sqlite: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    sqlite.prepare("select name from pragma_table_info($1)")?.query_map([table], |row| row.get(0))?.collect()
}

/// Copies what is wanted into an empty SQLite database, as it is at one moment. `go_on` is asked again and again.
pub(super) fn export(
    session: &Session,
    sqlite: &Connection,
    what: Copied,
    go_on: impl Fn() -> Result<()>,
) -> Result<()> {
    session.at_one_moment(|| {
        for table in TABLES {
            let columns = columns(sqlite, table.name)?;
            let list = columns.join(", ");
            let marks: Vec<_> = (1..=columns.len()).map(|number| format!("${number}")).collect();
            let insert = format!("insert into {} ({list}) values ({})", table.name, marks.join(", "));
            let leaves = if what == Copied::Everything { "true" } else { table.leaves };
            let select = format!("select {list} from {} where {leaves} order by {}", table.name, table.key);
            let mut insert = sqlite.prepare(&insert)?;
            session.walk(
                &select,
                table.rows,
                |row| {
                    insert.execute(params_from_iter(values(row)?))?;
                    Ok(())
                },
                &go_on,
            )?;
        }
        let meta = session.query("select store_id, clock_high_us from meta where id = 1", Vec::new())?;
        let meta = meta.first().ok_or(Error::NoRow)?;
        sqlite.execute(
            "update meta set store_id = $1, clock_high_us = $2 where id = 1",
            params_from_iter(values(meta)?),
        )?;
        let versions = session.query("select version, kind from changes", Vec::new())?;
        for row in &versions {
            sqlite.execute("update changes set version = $1 where kind = $2", params_from_iter(values(row)?))?;
        }
        Ok(())
    })
}

/// What the tables have, at one moment.
pub(super) fn tally(session: &Session) -> Result<Tally> {
    session.at_one_moment(|| {
        let mut tally = Tally::default();
        for table in TABLES {
            let mut sum = Sum::default();
            let select = format!("select * from {}", table.name);
            let add = |row: &Row| {
                let values: Vec<_> = (0..row.len()).map(|column| row.try_get(column)).collect::<Result<_, _>>()?;
                sum.add(values.iter().map(|value: &Column<'_>| value.0));
                Ok(())
            };
            session.walk(&select, table.rows, add, &|| Ok(()))?;
            tally.note(table.name, sum);
        }
        Ok(tally)
    })
}

fn values(row: &Row) -> Result<Vec<ToSqlOutput<'_>>> {
    (0..row.len()).map(|column| Ok(ToSqlOutput::Borrowed(row.try_get::<_, Column<'_>>(column)?.0))).collect()
}

/// How much is sent at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Copies everything from an SQLite database into an empty one, in the transaction that is open.
///
/// One that is not empty, because another replica was faster, is left as it is.
pub(super) fn import(session: &Session, sqlite: &Connection) -> Result<()> {
    let tx = Tx::Postgres(session);
    tx.lock(Locks::settings)?;
    if life::store(&tx)?.is_some() {
        return Err(Error::Server("another replica has begun to use the database meanwhile; start again"));
    }
    for table in TABLES {
        let list = columns(sqlite, table.name)?.join(", ");
        let mut select = sqlite.prepare(&format!("select {list} from {}", table.name))?;
        let width = select.column_count();
        let mut rows = select.query([])?;
        session.fill(&format!("copy {} ({list}) from stdin", table.name), |piece| {
            while piece.len() < PIECE_BYTES {
                let Some(row) = rows.next()? else { return Ok(false) };
                for column in 0..width {
                    write(piece, row.get_ref(column)?)?;
                    piece.extend_from_slice(if column + 1 < width { b"\t" } else { b"\n" });
                }
            }
            Ok(true)
        })?;
        if let Some((sequence, column)) = table.counts {
            let last = format!("select coalesce(max({column}), 0) from {}", table.name);
            session.batch(&format!("select setval('{sequence}', greatest(({last}), 1), ({last}) > 0)"))?;
        }
    }
    let meta = "select store_id, clock_high_us, clean_shutdown from meta where id = 1";
    let (store_id, clock_high, clean): (Option<String>, i64, i64) =
        sqlite.query_row(meta, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let store_id = store_id.map_or(Value::Null, Value::Text);
    session.execute(
        "update meta set store_id = $1, clock_high_us = $2, clean_shutdown = $3 where id = 1",
        vec![store_id, Value::Integer(clock_high), Value::Integer(clean)],
    )?;
    let mut versions = sqlite.prepare("select version, kind from changes")?;
    let mut versions = versions.query([])?;
    while let Some(row) = versions.next()? {
        let version = vec![Value::Integer(row.get(0)?), Value::Text(row.get(1)?)];
        session.execute("update changes set version = $1 where kind = $2", version)?;
    }
    Ok(())
}

/// A value as `copy` reads it.
fn write(out: &mut Vec<u8>, value: ValueRef<'_>) -> Result<()> {
    match value {
        ValueRef::Null => out.extend_from_slice(b"\\N"),
        ValueRef::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        ValueRef::Real(_) => return Err(Contradiction("a column has a real number".to_owned()).into()),
        ValueRef::Blob(bytes) => {
            out.extend_from_slice(b"\\\\x");
            out.extend_from_slice(hex::encode(bytes).as_bytes());
        }
        ValueRef::Text(text) => {
            for byte in text {
                match byte {
                    b'\\' => out.extend_from_slice(b"\\\\"),
                    b'\t' => out.extend_from_slice(b"\\t"),
                    b'\n' => out.extend_from_slice(b"\\n"),
                    b'\r' => out.extend_from_slice(b"\\r"),
                    // PostgreSQL's texts have none.
                    0 => out.extend_from_slice("\u{fffd}".as_bytes()),
                    byte => out.push(*byte),
                }
            }
        }
    }
    Ok(())
}
