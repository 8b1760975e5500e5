//! What collection has removed, for a month: the answer to "where did it go" (`reliability` §4.6).

use std::fmt;
use std::str::FromStr;

use wharf_base::Timestamp;
use wharf_oci::Digest;

use crate::sql::{Count, Key, Micros, Result, Row, Tx, params, parsed, statements};

/// Content that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes as it was recorded.
    pub size_bytes: u64,
    /// The repository that had it last, by its name then.
    pub repository: Option<String>,
    /// Why: `unreferenced`, or `orphan` where no row named it.
    pub reason: String,
    /// When nothing needed it any more and nobody could undo that.
    pub condemned_at: Timestamp,
    /// When its bytes went.
    pub removed_at: Timestamp,
    /// Where the list goes on behind it.
    pub cursor: RemovedCursor,
}

/// A place in the list of what was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovedCursor {
    removed_at_us: i64,
    id: i64,
}

impl fmt::Display for RemovedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.removed_at_us, self.id)
    }
}

/// The text is no cursor.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not a cursor")]
pub struct ParseCursorError;

impl FromStr for RemovedCursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        let (removed_at_us, id) = text.split_once('.').ok_or(ParseCursorError)?;
        let number = |text: &str| text.parse().map_err(|_| ParseCursorError);
        Ok(Self { removed_at_us: number(removed_at_us)?, id: number(id)? })
    }
}

statements! {
    BEGIN =
        "insert into gc_log (digest, size_bytes, repository, reason, condemned_at_us)
         values ($1, $2, (select name from repositories where id = $3), 'unreferenced', $4)
             on conflict (digest) where removed_at_us is null do update
            set size_bytes = excluded.size_bytes, repository = excluded.repository,
                condemned_at_us = excluded.condemned_at_us";
    END = "update gc_log set removed_at_us = $1 where digest = $2 and removed_at_us is null";
    ORPHAN =
        "insert into gc_log (digest, size_bytes, reason, condemned_at_us, removed_at_us)
         values ($1, $2, 'orphan', $3, $4)";
    PAGE =
        "select id, digest, size_bytes, repository, reason, condemned_at_us, removed_at_us
           from gc_log
          where removed_at_us is not null and (removed_at_us, id) < ($1, $2)
          order by removed_at_us desc, id desc
          limit $3";
    OF_DIGEST =
        "select id, digest, size_bytes, repository, reason, condemned_at_us, removed_at_us
           from gc_log
          where digest = $1 and removed_at_us is not null and (removed_at_us, id) < ($2, $3)
          order by removed_at_us desc, id desc
          limit $4";
    PRUNE =
        "delete from gc_log
          where id in (select id from gc_log where removed_at_us is not null and removed_at_us < $1
                        order by removed_at_us limit $2)",
    postgres:
        "delete from gc_log
          where id = any (array(select id from gc_log where removed_at_us is not null and removed_at_us < $1
                                 order by removed_at_us limit $2))";
}

/// Content was condemned when `repository` let go of it.
pub(crate) fn begin(tx: &Tx<'_>, digest: &Digest, size_bytes: u64, repository: Key, now: Timestamp) -> Result<()> {
    tx.prepare_cached(BEGIN)?.execute(params![digest.to_string(), Count(size_bytes), repository, Micros(now)])?;
    Ok(())
}

/// Its row is gone, and so will its bytes be.
pub(crate) fn end(tx: &Tx<'_>, digest: &Digest, now: Timestamp) -> Result<()> {
    tx.prepare_cached(END)?.execute(params![Micros(now), digest.to_string()])?;
    Ok(())
}

/// Content that no row named is gone.
pub(crate) fn orphan(tx: &Tx<'_>, digest: &Digest, size_bytes: u64, now: Timestamp) -> Result<()> {
    tx.prepare_cached(ORPHAN)?.execute(params![digest.to_string(), Count(size_bytes), Micros(now), Micros(now)])?;
    Ok(())
}

/// What was removed, the latest first, behind `after`; only what had `digest` if there is one.
pub(crate) fn page(
    tx: &Tx<'_>,
    digest: Option<&Digest>,
    after: Option<RemovedCursor>,
    limit: u32,
) -> Result<Vec<RemovedBlob>> {
    let RemovedCursor { removed_at_us, id } = after.unwrap_or(RemovedCursor { removed_at_us: i64::MAX, id: i64::MAX });
    match digest {
        Some(digest) => {
            let of_digest = params![digest.to_string(), removed_at_us, id, limit];
            tx.prepare_cached(OF_DIGEST)?.query_map(of_digest, removed)?.collect()
        }
        None => tx.prepare_cached(PAGE)?.query_map(params![removed_at_us, id, limit], removed)?.collect(),
    }
}

fn removed(row: &Row<'_>) -> Result<RemovedBlob> {
    let removed_at = row.get::<Micros>(6)?.0;
    Ok(RemovedBlob {
        digest: parsed(row, 1)?,
        size_bytes: row.get::<Count>(2)?.0,
        repository: row.get(3)?,
        reason: row.get(4)?,
        condemned_at: row.get::<Micros>(5)?.0,
        removed_at,
        cursor: RemovedCursor { removed_at_us: removed_at.as_micros(), id: row.get(0)? },
    })
}

/// Forgets what was removed before `before`, at most `limit` lines; how many.
pub(crate) fn prune(tx: &Tx<'_>, before: Timestamp, limit: u32) -> Result<u32> {
    let pruned = tx.prepare_cached(PRUNE)?.execute(params![Micros(before), limit])?;
    Ok(u32::try_from(pruned).unwrap_or(u32::MAX))
}
