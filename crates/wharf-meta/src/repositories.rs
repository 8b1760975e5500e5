//! Repositories: rows that appear with the first content recorded under their name (P-140).

use wharf_base::Timestamp;
use wharf_oci::RepositoryName;

use crate::sql::{Contradiction, Key, Micros, OptionalExtension as _, Result, Tx, params, parsed, statements};

statements! {
    FIND = "select id from repositories where name = $1";
    INSERT = "insert into repositories (name, created_at_us) values ($1, $2) on conflict do nothing";
    /// Walks the names in order and leaves out those without a manifest (P-283).
    PAGE =
        "select r.name
           from repositories r
          where r.name > $1 and exists (select 1 from manifests m where m.repository_id = r.id)
          order by r.name
          limit $2";
}

pub(crate) fn find(tx: &Tx<'_>, name: &RepositoryName) -> Result<Option<Key>> {
    tx.prepare_cached(FIND)?.query_row([name.as_str()], |row| row.get(0)).optional()
}

pub(crate) fn find_or_create(tx: &Tx<'_>, name: &RepositoryName, now: Timestamp) -> Result<Key> {
    if let Some(key) = find(tx, name)? {
        return Ok(key);
    }
    // Somebody else may make it at the same time; then this waits, and finds theirs.
    tx.prepare_cached(INSERT)?.execute(params![name.as_str(), Micros(now)])?;
    find(tx, name)?.ok_or_else(|| Contradiction(format!("{name} was made and is not there")).into())
}

/// Names strictly after `after` in byte order that have a manifest.
pub(crate) fn page(tx: &Tx<'_>, after: Option<&str>, limit: u32) -> Result<Vec<RepositoryName>> {
    // No name is empty, so the empty text stands before all of them.
    tx.prepare_cached(PAGE)?.query_map(params![after.unwrap_or(""), limit], |row| parsed(row, 0))?.collect()
}
