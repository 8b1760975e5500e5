//! Rows on their way between the two databases, in either direction: their tables have the same columns.

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, params_from_iter};
use tokio_postgres::Row;

use super::Column;
use super::session::Session;
use crate::sql::{Error, Result};

/// A table, and which of its rows go.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// What leaves the registry in a backup: a condition.
    leaves: &'static str,
    /// What orders the rows, so that they are added in the order of the target's key.
    key: &'static str,
    /// How many rows are on their way at once.
    rows: u32,
    /// Whether its key is made by the database, which has to go on behind the greatest.
    counts: Option<&'static str>,
}

const fn table(name: &'static str, key: &'static str) -> Table {
    Table { name, leaves: "true", key, rows: 1000, counts: None }
}

impl Table {
    const fn counting(self, sequence: &'static str) -> Self {
        Self { counts: Some(sequence), ..self }
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
/// logged-in clients keep do not leave the registry.
pub(super) const TABLES: &[Table] = &[
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
    table("signing_keys", "id").without("false"),
    table("audit_log", "sequence").counting("audit_sequence"),
    table("audit_seals", "last_sequence"),
    table("events", "sequence").counting("events_sequence_seq"),
    table("leases", "name"),
    table("jobs", "id"),
];

/// The columns of a table, in their order.
pub(super) fn columns(sqlite: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    sqlite.prepare("select name from pragma_table_info($1)")?.query_map([table], |row| row.get(0))?.collect()
}

/// Copies everything into an empty SQLite database, as it is at one moment. `go_on` is asked again and again.
pub(super) fn export(session: &Session, sqlite: &Connection, go_on: impl Fn() -> Result<()>) -> Result<()> {
    session.at_one_moment(|| {
        for table in TABLES {
            let columns = columns(sqlite, table.name)?;
            let list = columns.join(", ");
            let marks: Vec<_> = (1..=columns.len()).map(|number| format!("${number}")).collect();
            let insert = format!("insert into {} ({list}) values ({})", table.name, marks.join(", "));
            let select = format!("select {list} from {} where {} order by {}", table.name, table.leaves, table.key);
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

fn values(row: &Row) -> Result<Vec<ToSqlOutput<'_>>> {
    (0..row.len()).map(|column| Ok(ToSqlOutput::Borrowed(row.try_get::<_, Column<'_>>(column)?.0))).collect()
}
