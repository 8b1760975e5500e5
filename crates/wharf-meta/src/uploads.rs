//! Upload sessions: who is pushing what where, how far, and under which running hash (R-021, R-023, S-013).

use wharf_base::{Timestamp, UploadId};
use wharf_oci::{Algorithm, Digest, RepositoryName};

use crate::sql::{
    Contradiction, Count, Locks, Micros, OptionalExtension as _, Result, Row, Tx, params, parsed, statements,
};

/// A session to begin.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// Its id, fresh.
    pub id: UploadId,
    /// Where the blob will be recorded; the repository need not exist (P-140).
    pub repository: RepositoryName,
    /// The subject of the principal that begins it; nobody else will find it (S-013).
    pub owner: String,
    /// The hash that runs along.
    pub algorithm: Algorithm,
    /// When it begins.
    pub now: Timestamp,
    /// When it ends unless something arrives.
    pub expires_at: Timestamp,
}

/// How many open sessions there may be once another one has begun (P-146).
#[derive(Clone, Copy, Debug)]
pub struct UploadLimits {
    /// In one repository.
    pub per_repository: u32,
    /// Of one owner.
    pub per_owner: u32,
    /// In the whole registry.
    pub total: u32,
}

/// The answer to beginning a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginUpload {
    /// It is open.
    Started,
    /// There are as many as a limit allows; nothing has changed.
    TooMany {
        /// Which limit, for people: `"repository"`, `"principal"` or `"registry"`.
        scope: &'static str,
    },
}

/// A session that has not expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// The hash that runs along.
    pub algorithm: Algorithm,
    /// When it began; its whole life is limited from here.
    pub started_at: Timestamp,
    /// When it ends unless something arrives.
    pub expires_at: Timestamp,
    /// How far it is.
    pub state: UploadState,
}

/// How far a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadState {
    /// Bytes may be added.
    Open {
        /// The offset in bytes from the beginning of the blob, and the hash state that covers it; `None` at first.
        checkpoint: Option<(u64, Vec<u8>)>,
        /// How many times the session has advanced.
        patches: u32,
    },
    /// The blob has been recorded; remembered so that a repeated completion is answered alike (P-184).
    Done {
        /// What was recorded.
        digest: Digest,
    },
}

/// The answer to moving a session's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// Offset and hash state are recorded.
    Advanced,
    /// The offset is another one by now: somebody else wrote (P-172). Nothing has changed.
    Moved,
    /// The session is finished, cancelled or expired and removed. Nothing has changed.
    Gone,
}

statements! {
    COUNT_IN_REPOSITORY =
        "select count(*)
           from (select 1 from uploads
                  where state = 'open' and repository = $1 and expires_at_us > $2
                  limit $3) found";
    COUNT_OF_OWNER =
        "select count(*)
           from (select 1 from uploads
                  where state = 'open' and owner = $1 and expires_at_us > $2
                  limit $3) found";
    /// Walks an index of the open sessions only; as many steps as the limit allows sessions.
    COUNT_ALL =
        "select count(*)
           from (select 1 from uploads indexed by uploads_open_by_owner
                  where state = 'open' and expires_at_us > $1
                  limit $2) found";
    /// Counts as many as a limit allows, and no more.
    INSERT =
        "insert into uploads (id, repository, owner, algorithm, state, started_at_us, expires_at_us)
         select $1, $2, $3, $4, 'open', $5, $6
          where (select count(*)
                   from (select 1 from uploads
                          where state = 'open' and repository = $2 and expires_at_us > $5
                          limit $7) found) < $7
            and (select count(*)
                   from (select 1 from uploads
                          where state = 'open' and owner = $3 and expires_at_us > $5
                          limit $8) found) < $8
            and (select count(*)
                   from (select 1 from uploads indexed by uploads_open_by_owner
                          where state = 'open' and expires_at_us > $5
                          limit $9) found) < $9";
    FIND =
        "select algorithm, started_at_us, expires_at_us, state, digest, offset_bytes, hash_state, patches
           from uploads
          where id = $1 and repository = $2 and owner = $3 and expires_at_us > $4";
    ADVANCE =
        "update uploads
            set offset_bytes = $1, hash_state = $2, expires_at_us = $3, patches = patches + 1
          where id = $4 and offset_bytes = $5 and state = 'open'";
    IS_OPEN = "select 1 from uploads where id = $1 and state = 'open'";
    END = "delete from uploads where id = $1 and repository = $2 and owner = $3 and state = 'open'";
    EXPIRED = "select id from uploads where expires_at_us <= $1 order by expires_at_us, id limit $2";
    REMOVE_EXPIRED = "delete from uploads where id = $1 and expires_at_us <= $2";
    FINISHED_WITH = "select digest from uploads where id = $1 and repository = $2 and expires_at_us > $3 and state = 'done'";
    /// The hash state has served. From here to the end of the transaction nobody else can change the session.
    FINISH =
        "update uploads set state = 'done', digest = $1, hash_state = null, expires_at_us = $2
          where id = $3 and repository = $4 and expires_at_us > $5 and state = 'open'";
}

/// More sessions than can be on their way at the same time, in all replicas together: PostgreSQL has fewer connections.
const ON_THEIR_WAY_MAX: u32 = 1000;

/// Limits are counted in the transaction that begins the session, so that concurrent requests cannot pass together. Those of
/// one repository or owner wait for each other; of all others only whoever comes near the limit of the whole registry.
pub(crate) fn begin(tx: &Tx<'_>, new: &NewUpload, limits: &UploadLimits) -> Result<BeginUpload> {
    let others_are_on_their_way = tx.lock(|locks| {
        locks.uploads_into(&new.repository);
        locks.uploads_of(&new.owner);
    })?;
    let on_their_way = if others_are_on_their_way { ON_THEIR_WAY_MAX } else { 0 };
    if insert(tx, new, &UploadLimits { total: limits.total.saturating_sub(on_their_way), ..*limits })? {
        return Ok(BeginUpload::Started);
    }
    if others_are_on_their_way {
        tx.lock(Locks::all_uploads)?;
        if insert(tx, new, limits)? {
            return Ok(BeginUpload::Started);
        }
    }
    Ok(BeginUpload::TooMany { scope: reached(tx, new, limits)? })
}

/// `false` if there are as many as a limit allows.
fn insert(tx: &Tx<'_>, new: &NewUpload, limits: &UploadLimits) -> Result<bool> {
    let inserted = tx.prepare_cached(INSERT)?.execute(params![
        new.id.to_string(),
        new.repository.as_str(),
        new.owner,
        new.algorithm.as_str(),
        Micros(new.now),
        Micros(new.expires_at),
        limits.per_repository,
        limits.per_owner,
        limits.total,
    ])?;
    Ok(inserted == 1)
}

/// Which limit stands in the way, the narrowest first.
fn reached(tx: &Tx<'_>, new: &NewUpload, limits: &UploadLimits) -> Result<&'static str> {
    let count = |sql, of: &str, limit: u32| -> Result<u32> {
        tx.prepare_cached(sql)?.query_row(params![of, Micros(new.now), limit], |row| row.get(0))
    };
    if count(COUNT_IN_REPOSITORY, new.repository.as_str(), limits.per_repository)? >= limits.per_repository {
        return Ok("repository");
    }
    let of_owner = count(COUNT_OF_OWNER, &new.owner, limits.per_owner)?;
    Ok(if of_owner >= limits.per_owner { "principal" } else { "registry" })
}

/// How many sessions are open, counted up to `limit`.
pub(crate) fn count_open(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Result<u32> {
    tx.prepare_cached(COUNT_ALL)?.query_row(params![Micros(now), limit], |row| row.get(0))
}

pub(crate) fn find(
    tx: &Tx<'_>,
    id: UploadId,
    repository: &RepositoryName,
    owner: &str,
    now: Timestamp,
) -> Result<Option<Upload>> {
    tx.prepare_cached(FIND)?
        .query_row(params![id.to_string(), repository.as_str(), owner, Micros(now)], |row| {
            Ok(Upload {
                id,
                algorithm: parsed(row, 0)?,
                started_at: row.get::<Micros>(1)?.0,
                expires_at: row.get::<Micros>(2)?.0,
                state: state(row)?,
            })
        })
        .optional()
}

fn state(row: &Row<'_>) -> Result<UploadState> {
    if row.get_str(3)? == "done" {
        return Ok(UploadState::Done { digest: parsed(row, 4)? });
    }
    let offset_bytes = row.get::<Count>(5)?.0;
    let checkpoint = match row.get::<Option<Vec<u8>>>(6)? {
        Some(hash_state) => Some((offset_bytes, hash_state)),
        None if offset_bytes == 0 => None,
        None => return Err(Contradiction(format!("{offset_bytes} bytes have no hash state")).into()),
    };
    Ok(UploadState::Open { checkpoint, patches: row.get(7)? })
}

/// Compare-and-set on the offset; offset and the hash state that covers it move together.
pub(crate) fn advance(
    tx: &Tx<'_>,
    id: UploadId,
    from_bytes: u64,
    to_bytes: u64,
    hash_state: &[u8],
    expires_at: Timestamp,
) -> Result<Advance> {
    let id = id.to_string();
    let advanced = tx.prepare_cached(ADVANCE)?.execute(params![
        Count(to_bytes),
        hash_state,
        Micros(expires_at),
        id,
        Count(from_bytes),
    ])?;
    if advanced == 1 {
        return Ok(Advance::Advanced);
    }
    let open = tx.prepare_cached(IS_OPEN)?.exists([id])?;
    Ok(if open { Advance::Moved } else { Advance::Gone })
}

pub(crate) fn end(tx: &Tx<'_>, id: UploadId, repository: &RepositoryName, owner: &str) -> Result<bool> {
    let ended = tx.prepare_cached(END)?.execute(params![id.to_string(), repository.as_str(), owner])?;
    Ok(ended == 1)
}

pub(crate) fn expired(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Result<Vec<UploadId>> {
    tx.prepare_cached(EXPIRED)?.query_map(params![Micros(now), limit], |row| parsed(row, 0))?.collect()
}

/// Looks at the time again: a session that has gone on since it was listed stays.
pub(crate) fn remove_expired(tx: &Tx<'_>, id: UploadId, now: Timestamp) -> Result<bool> {
    let removed = tx.prepare_cached(REMOVE_EXPIRED)?.execute(params![id.to_string(), Micros(now)])?;
    Ok(removed == 1)
}

/// What became of a session that a blob was recorded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// It was open and has ended with this blob.
    Finished,
    /// It ended with this very blob before.
    Repeated,
    /// It is not there, expired, or ended with another blob.
    Gone,
}

/// Ends the session with this blob; it is remembered until `remember_until`.
pub(crate) fn finish(
    tx: &Tx<'_>,
    id: UploadId,
    repository: &RepositoryName,
    digest: &Digest,
    now: Timestamp,
    remember_until: Timestamp,
) -> Result<Completion> {
    let (id, text) = (id.to_string(), digest.to_string());
    let (repository, now) = (repository.as_str(), Micros(now));
    let finished = tx.prepare_cached(FINISH)?.execute(params![text, Micros(remember_until), id, repository, now])?;
    if finished == 1 {
        return Ok(Completion::Finished);
    }
    let before: Option<Digest> =
        tx.prepare_cached(FINISHED_WITH)?.query_row(params![id, repository, now], |row| parsed(row, 0)).optional()?;
    Ok(if before.as_ref() == Some(digest) { Completion::Repeated } else { Completion::Gone })
}
