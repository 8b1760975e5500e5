//! What the collector shall look at later. Every event that may leave content unreferenced adds an entry in its own
//! transaction, and before it touches the content's rows: so a review that is under way finishes first, and
//! no reference is lost without somebody looking again after a whole grace period.

use rusqlite::{Connection, Result, params};
use wharf_base::Timestamp;
use wharf_oci::Digest;

use crate::sql::{Key, Micros, statements};

/// What kind of thing shall be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The association of a repository with a blob.
    Blob,
    /// A manifest.
    Manifest,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Manifest => "manifest",
        }
    }
}

statements! {
    /// An entry only ever moves later, and one that need not move is not written.
    UPSERT =
        "insert into gc_reviews (repository_id, kind, digest, due_at_us)
         values ($1, $2, $3, $4)
             on conflict (repository_id, kind, digest) do update
            set due_at_us = excluded.due_at_us, tries = 0
          where excluded.due_at_us > gc_reviews.due_at_us";
}

/// "Look at this not before `due_at`."
pub(crate) fn add(tx: &Connection, repository: Key, kind: Kind, digest: &Digest, due_at: Timestamp) -> Result<()> {
    tx.prepare_cached(UPSERT)?.execute(params![repository, kind.as_str(), digest.to_string(), Micros(due_at)])?;
    Ok(())
}
