//! What the collector shall look at later. Every event that may leave content unreferenced adds an entry in its own
//! transaction, and before it touches the content's rows: so a review that is under way finishes first, and
//! no reference is lost without somebody looking again after a whole grace period.

use wharf_base::Timestamp;
use wharf_oci::{Digest, RepositoryName};

use crate::sql::{Key, Micros, OptionalExtension as _, Result, Tx, params, statements};

/// What kind of thing shall be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The association of a repository with a blob.
    Blob,
    /// A manifest.
    Manifest,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Manifest => "manifest",
        }
    }
}

statements! {
    /// An entry only ever moves later, and one that need not move is not written. What was tried or waited for before
    /// begins anew.
    UPSERT =
        "insert into gc_reviews (repository_id, kind, digest, due_at_us)
         values ($1, $2, $3, $4)
             on conflict (repository_id, kind, digest) do update
            set due_at_us = max(excluded.due_at_us, gc_reviews.due_at_us), tries = 0
          where excluded.due_at_us > gc_reviews.due_at_us or gc_reviews.tries > 0",
    postgres:
        "insert into gc_reviews (repository_id, kind, digest, due_at_us)
         values ($1, $2, $3, $4)
             on conflict (repository_id, kind, digest) do update
            set due_at_us = greatest(excluded.due_at_us, gc_reviews.due_at_us), tries = 0
          where excluded.due_at_us > gc_reviews.due_at_us or gc_reviews.tries > 0";
    DUE_AT = "select due_at_us from gc_reviews where repository_id = $1 and kind = $2 and digest = $3";
    DUE_IN =
        "select g.due_at_us
           from repositories r
           join gc_reviews g on g.repository_id = r.id and g.kind = $1 and g.digest = $2
          where r.name = $3";
    STRIKE = "delete from gc_reviews where repository_id = $1 and kind = $2 and digest = $3";
    /// 5 minutes, doubled with every failure up to a day.
    PUT_OFF =
        "update gc_reviews
            set tries = tries + 1, due_at_us = $1 + min(300000000 * (1 << min(tries, 9)), 86400000000)
          where repository_id = $2 and kind = $3 and digest = $4",
    postgres:
        "update gc_reviews
            set tries = tries + 1,
                due_at_us = $1 + least(300000000::bigint << least(tries, 9)::integer, 86400000000)
          where repository_id = $2 and kind = $3 and digest = $4";
}

/// "Look at this not before `due_at`."
pub(crate) fn add(tx: &Tx<'_>, repository: Key, kind: Kind, digest: &Digest, due_at: Timestamp) -> Result<()> {
    tx.prepare_cached(UPSERT)?.execute_later(params![repository, kind.as_str(), digest.to_string(), Micros(due_at)])
}

/// When it will be looked at, if it will.
pub(crate) fn due_at(tx: &Tx<'_>, repository: Key, kind: Kind, digest: &Digest) -> Result<Option<Timestamp>> {
    let found = tx
        .prepare_cached(DUE_AT)?
        .query_row(params![repository, kind.as_str(), digest.to_string()], |row| row.get::<Micros>(0))
        .optional()?;
    Ok(found.map(|micros| micros.0))
}

/// The same, by the repository's name.
pub(crate) fn due_in(tx: &Tx<'_>, name: &RepositoryName, kind: Kind, digest: &Digest) -> Result<Option<Timestamp>> {
    let found = tx
        .prepare_cached(DUE_IN)?
        .query_row(params![kind.as_str(), digest.to_string(), name.as_str()], |row| row.get::<Micros>(0))
        .optional()?;
    Ok(found.map(|micros| micros.0))
}

/// It has been looked at.
pub(crate) fn strike(tx: &Tx<'_>, repository: Key, kind: Kind, digest: &Digest) -> Result<()> {
    tx.prepare_cached(STRIKE)?.execute(params![repository, kind.as_str(), digest.to_string()])?;
    Ok(())
}

/// It could not be looked at, and should not keep the others waiting.
pub(crate) fn put_off(tx: &Tx<'_>, repository: Key, kind: Kind, digest: &Digest, now: Timestamp) -> Result<()> {
    tx.prepare_cached(PUT_OFF)?.execute(params![Micros(now), repository, kind.as_str(), digest.to_string()])?;
    Ok(())
}
