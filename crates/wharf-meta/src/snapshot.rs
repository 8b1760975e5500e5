//! What a snapshot of the database is asked for, and what is changed in one before a registry runs on it.

use wharf_base::{Location, StoreId};
use wharf_oci::Digest;

use crate::audit;
use crate::changes::{self, Kind};
use crate::collection;
use crate::life;
use crate::sql::{Count, OptionalExtension as _, Result, Tx, params, parsed, statements};
use crate::{AuditRecord, Hold};

/// Content that a snapshot names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// What makes a copied database that of a new registry.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The store that it belongs to from now on.
    pub store_id: StoreId,
    /// Lets nothing be collected at first.
    pub hold: Hold,
    /// Content that it names and that could not be brought back; it is not served until somebody pushes it again.
    pub lost: Vec<Digest>,
    /// What the audit log says about it.
    pub record: AuditRecord,
}

/// What a copy of the database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// Nothing that could be used to pass for somebody, and no places of content.
    ForBackup,
    /// All of it: the registry moves.
    Everything,
}

/// What changes in the database of a registry that moves.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The store that it belongs to from now on.
    pub store_id: StoreId,
    /// Where its content is.
    pub content: MovedContent,
    /// Whether the registry had been stopped in order.
    pub was_clean: bool,
    /// What the audit log says about it.
    pub record: AuditRecord,
}

/// Where the content of a registry is that moves.
#[derive(Clone, Debug)]
pub enum MovedContent {
    /// Where it was.
    Stays,
    /// In another store.
    Elsewhere {
        /// Where that has put it.
        locations: Vec<(Digest, Location)>,
        /// What could not be brought there; it is not served until somebody pushes it again.
        lost: Vec<Digest>,
    },
}

statements! {
    /// Condemned content belongs to it: until it goes, a deletion that needs it can be undone.
    PAGE =
        "select digest, size_bytes from blobs
          where digest > $1 and state in ('live', 'deleting') and size_bytes is not null
          order by digest
          limit $2";
    SIZE = "select size_bytes from blobs where digest = $1 and state in ('live', 'deleting') and size_bytes is not null";
    SIZE_IN_ANY_STATE = "select size_bytes from blobs where digest = $1 and size_bytes is not null";
    RETURNED =
        "update blobs
            set state = case state when 'deleting' then state else 'live' end, size_bytes = $1, storage_key = $2
          where digest = $3";
    WITHOUT_KEYS = "delete from signing_keys where id > ''";
    WITHOUT_LOGINS = "delete from api_tokens where id > '' and kind = 'refresh'";
    WITHOUT_SESSIONS = "delete from sessions where principal >= ''";
    WITHOUT_SIGN_INS = "delete from sign_ins where created_at_us > -1";
    WITHOUT_ANSWERS = "delete from kept_answers where principal >= ''";
    WITHOUT_UPLOADS = "delete from uploads where id > ''";
    WITHOUT_REMOVALS = "delete from gc_removals where key > ''";
    /// A copy of the content lies where its digest says.
    WITHOUT_LOCATIONS = "update blobs set storage_key = null where storage_key is not null";
    LIES_IN = "update blobs set storage_key = $1 where digest = $2";
    WITHOUT_HOLDS = "delete from gc_holds where id > ''";
    WITHOUT_LEASES = "delete from leases where name > ''";
    BELONGS_TO = "update meta set store_id = $1, clean_shutdown = 1 where id = 1";
    LOST = "update blobs set state = 'quarantined', delete_after_us = null where digest = $1 and size_bytes is not null";
}

/// Content that is named, by digest behind `after`, at most `limit`.
pub(crate) fn page(tx: &Tx<'_>, after: Option<&Digest>, limit: u32) -> Result<Vec<Content>> {
    let after = after.map_or_else(String::new, ToString::to_string);
    tx.prepare_cached(PAGE)?
        .query_map(params![after, limit], |row| {
            Ok(Content { digest: parsed(row, 0)?, size_bytes: row.get::<Count>(1)?.0 })
        })?
        .collect()
}

/// The size of content that is named.
pub(crate) fn size(tx: &Tx<'_>, digest: &Digest) -> Result<Option<u64>> {
    let found: Option<Count> = tx.prepare_cached(SIZE)?.query_row([digest.to_string()], |row| row.get(0)).optional()?;
    Ok(found.map(|size| size.0))
}

/// The same, whatever the content's state.
pub(crate) fn size_in_any_state(tx: &Tx<'_>, digest: &Digest) -> Result<Option<u64>> {
    let found: Option<Count> =
        tx.prepare_cached(SIZE_IN_ANY_STATE)?.query_row([digest.to_string()], |row| row.get(0)).optional()?;
    Ok(found.map(|size| size.0))
}

/// Content is there again. What was condemned stays so.
pub(crate) fn returned(tx: &Tx<'_>, digest: &Digest, location: &Location, size_bytes: u64) -> Result<bool> {
    tx.lock(|locks| locks.change_contents([digest]))?;
    let key = (!location.is_by_digest()).then(|| location.as_str());
    Ok(tx.prepare_cached(RETURNED)?.execute(params![Count(size_bytes), key, digest.to_string()])? == 1)
}

/// What could be used to pass for somebody does not leave the registry: the keys that sign tokens, and what logged-in
/// clients keep. Whoever restores makes new ones.
pub(crate) fn remove_secrets(tx: &Tx<'_>) -> Result<()> {
    for statement in
        [WITHOUT_KEYS, WITHOUT_LOGINS, WITHOUT_SESSIONS, WITHOUT_SIGN_INS, WITHOUT_ANSWERS, WITHOUT_LOCATIONS]
    {
        tx.prepare_cached(statement)?.execute(())?;
    }
    Ok(())
}

/// The database belongs to where it is now. What was under way in the store that its content was in is over.
pub(crate) fn make_moved(tx: &Tx<'_>, moved: &Moved) -> Result<()> {
    if let MovedContent::Elsewhere { locations, lost } = &moved.content {
        for statement in [WITHOUT_UPLOADS, WITHOUT_REMOVALS, WITHOUT_LOCATIONS] {
            tx.prepare_cached(statement)?.execute(())?;
        }
        for (digest, location) in locations.iter().filter(|(_, location)| !location.is_by_digest()) {
            tx.prepare_cached(LIES_IN)?.execute(params![location.as_str(), digest.to_string()])?;
        }
        for digest in lost {
            tx.prepare_cached(LOST)?.execute([digest.to_string()])?;
        }
    }
    tx.prepare_cached(WITHOUT_LEASES)?.execute(())?;
    tx.prepare_cached(BELONGS_TO)?.execute([moved.store_id.to_string()])?;
    life::set_clean(tx, moved.was_clean)?;
    audit::append(tx, &moved.record)
}

/// What was under way is over, and the database belongs to another store.
pub(crate) fn make_restored(tx: &Tx<'_>, restored: &Restored) -> Result<()> {
    remove_secrets(tx)?;
    for statement in [WITHOUT_UPLOADS, WITHOUT_REMOVALS, WITHOUT_HOLDS, WITHOUT_LEASES] {
        tx.prepare_cached(statement)?.execute(())?;
    }
    tx.prepare_cached(BELONGS_TO)?.execute([restored.store_id.to_string()])?;
    for digest in &restored.lost {
        tx.prepare_cached(LOST)?.execute([digest.to_string()])?;
    }
    collection::hold(tx, &restored.hold)?;
    for kind in [Kind::Rules, Kind::Identities, Kind::Keys] {
        changes::note(tx, kind)?;
    }
    audit::append(tx, &restored.record)
}
