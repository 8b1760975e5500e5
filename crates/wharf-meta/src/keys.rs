//! The keys that sign bearer tokens. All replicas sign and verify with these.

use wharf_base::{Secret, Timestamp};
use wharf_policy::Attribution;

use crate::audit::{self, AuditRecord};
use crate::changes::{self, Kind};
use crate::sql::{Locks, Micros, Result, Tx, params, statements};

/// A key pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// The `kid` of what it signs.
    pub id: String,
    /// What it signs with.
    pub algorithm: String,
    /// Both halves, in PKCS #8.
    pub private_key: Secret<Vec<u8>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs: by then every replica knows it.
    pub signs_from: Timestamp,
    /// When it stopped signing.
    pub retired_at: Option<Timestamp>,
}

statements! {
    ALL =
        "select id, algorithm, private_key, created_at_us, signs_from_us, retired_at_us
           from signing_keys
          where id > ''
          order by id";
    MADE_SINCE = "select 1 from signing_keys where id > '' and created_at_us >= $1 limit 1";
    INSERT =
        "insert into signing_keys (id, algorithm, private_key, created_at_us, signs_from_us)
         values ($1, $2, $3, $4, $5)";
    RETIRE = "update signing_keys set retired_at_us = $1 where id > '' and retired_at_us is null";
    REMOVE = "delete from signing_keys where id > '' and retired_at_us < $1";
}

pub(crate) fn all(tx: &Tx<'_>) -> Result<Vec<SigningKey>> {
    tx.prepare_cached(ALL)?
        .query_map((), |row| {
            Ok(SigningKey {
                id: row.get(0)?,
                algorithm: row.get(1)?,
                private_key: Secret::new(row.get(2)?),
                created_at: row.get::<Micros>(3)?.0,
                signs_from: row.get::<Micros>(4)?.0,
                retired_at: row.get::<Option<Micros>>(5)?.map(|at| at.0),
            })
        })?
        .collect()
}

/// Adds a key, and retires those before it when it begins to sign. Nothing happens if there is one that was made at
/// `unless_made_since` or later, because replicas that find at once that a key is due need one between them. Whether it was added.
pub(crate) fn add(
    tx: &Tx<'_>,
    key: &SigningKey,
    unless_made_since: Option<Timestamp>,
    by: &Attribution,
) -> Result<bool> {
    tx.lock(Locks::keys)?;
    if let Some(since) = unless_made_since
        && tx.prepare_cached(MADE_SINCE)?.exists([Micros(since)])?
    {
        return Ok(false);
    }
    tx.prepare_cached(RETIRE)?.execute([Micros(key.signs_from)])?;
    tx.prepare_cached(INSERT)?.execute(params![
        key.id,
        key.algorithm,
        key.private_key.expose(),
        Micros(key.created_at),
        Micros(key.signs_from),
    ])?;
    audit::append(tx, &AuditRecord::done(by, key.created_at, "key.rotate").to(&key.id))?;
    changes::note(tx, Kind::Keys)?;
    Ok(true)
}

/// Forgets keys that were retired before `before`. How many.
pub(crate) fn remove_retired(tx: &Tx<'_>, before: Timestamp) -> Result<u64> {
    tx.lock(Locks::keys)?;
    let removed = tx.prepare_cached(REMOVE)?.execute([Micros(before)])?;
    if removed > 0 {
        changes::note(tx, Kind::Keys)?;
    }
    Ok(removed as u64)
}
