//! Blobs: content shared by all repositories, and the associations that say which repository may serve it.
//!
//! Knowing a digest is never enough (S-011): every question here is about a repository *and* a digest.

use wharf_base::{Location, Timestamp, UploadId};
use wharf_oci::{Digest, RepositoryName};
use wharf_policy::Attribution;

use crate::audit::{self, AuditRecord};
use crate::collection;
use crate::repositories;
use crate::reviews::{self, Kind};
use crate::sql::{Contradiction, Count, Key, Micros, OptionalExtension as _, Result, Tx, params, parsed, statements};
use crate::uploads::{self, Completion};

/// A blob whose bytes are on stable storage and shall be known in a repository from now on.
#[derive(Clone, Debug)]
pub struct BlobRecord {
    /// Which repository may serve it.
    pub repository: RepositoryName,
    /// Its digest, verified.
    pub digest: Digest,
    /// Its size, verified.
    pub size_bytes: u64,
    /// Where the store put it. Content that was recorded elsewhere is replaced, and goes at `replaced_go_at`.
    pub location: Location,
    /// When what this replaces may be removed; until then somebody may still be reading it.
    pub replaced_go_at: Timestamp,
    /// The session that brought it, finished by this; `None` if there was none.
    pub upload: Option<UploadId>,
    /// Who pushed it.
    pub by: Attribution,
    /// When.
    pub now: Timestamp,
    /// When the collector may first look whether anything references it: now, grace and slack.
    pub review_at: Timestamp,
    /// How long the finished session is remembered.
    pub remember_until: Timestamp,
}

/// The answer to recording a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordBlob {
    /// The repository may serve it.
    Recorded,
    /// The session is cancelled, expired, or finished with another blob. Nothing has changed, but that the
    /// collector removes the content if nobody else has it.
    UploadGone,
}

/// A blob to be borrowed from another repository.
#[derive(Clone, Debug)]
pub struct BlobMount {
    /// The repository that has it.
    pub from: RepositoryName,
    /// The repository that shall have it too.
    pub to: RepositoryName,
    /// Its digest.
    pub digest: Digest,
    /// Who asks.
    pub by: Attribution,
    /// When.
    pub now: Timestamp,
    /// When the collector may first look whether anything references it there.
    pub review_at: Timestamp,
}

statements! {
    /// The hot look-up of every blob GET and HEAD.
    SIZE =
        "select b.size_bytes
           from repositories r
           join blobs b on b.digest = $1
           join repository_blobs a on a.repository_id = r.id and a.blob_id = b.id
          where r.name = $2 and b.state = 'live'";
    LIVE_IN =
        "select b.id
           from blobs b
           join repository_blobs a on a.repository_id = $1 and a.blob_id = b.id
          where b.digest = $2 and b.state = 'live'";
    FIND = "select id, state, size_bytes from blobs where digest = $1";
    LOCATION = "select storage_key from blobs where digest = $1";
    LOCATE = "update blobs set storage_key = $1 where id = $2";
    IS_LOCATED = "select 1 from blobs where storage_key = $1";
    INSERT =
        "insert into blobs (digest, size_bytes, state, created_at_us, verified_at_us) values ($1, $2, $3, $4, $5)";
    REVIVE =
        "update blobs set state = 'live', size_bytes = $1, delete_after_us = null, verified_at_us = $2 where id = $3";
    AWAIT = "update blobs set state = 'missing', delete_after_us = null where id = $1";
    ASSOCIATE =
        "insert into repository_blobs (repository_id, blob_id, created_at_us, created_by)
         values ($1, $2, $3, $4)
             on conflict do nothing";
    ASSOCIATED =
        "select b.id
           from blobs b
           join repository_blobs a on a.repository_id = $1 and a.blob_id = b.id
          where b.digest = $2";
    DISSOCIATE = "delete from repository_blobs where repository_id = $1 and blob_id = $2";
    /// Row order is the order in which repositories were made; enough for a bounded search.
    REPOSITORIES =
        "select r.name
           from blobs b
           join repository_blobs a on a.blob_id = b.id
           join repositories r on r.id = a.repository_id
          where b.digest = $1 and b.state = 'live'
          limit $2";
}

pub(crate) fn size(tx: &Tx<'_>, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
    tx.prepare_cached(SIZE)?
        .query_row(params![digest.to_string(), repository.as_str()], |row| row.get::<Count>(0).map(|size| size.0))
        .optional()
}

/// The blob's key if this repository may serve it.
pub(crate) fn live_in(tx: &Tx<'_>, repository: Key, digest: &Digest) -> Result<Option<Key>> {
    tx.prepare_cached(LIVE_IN)?.query_row(params![repository, digest.to_string()], |row| row.get(0)).optional()
}

/// Records content that is already in place: review, blob, association, session, in the order of R-014.
pub(crate) fn record(tx: &Tx<'_>, record: &BlobRecord) -> Result<RecordBlob> {
    tx.lock(|locks| locks.change_contents([&record.digest]))?;
    if let Some(upload) = record.upload {
        match uploads::completion(tx, upload, &record.repository, &record.digest, record.now)? {
            Completion::Open => {}
            // Done before, and whatever happened to the blob since then came later: nothing to do again.
            Completion::Repeated => {
                note_unrecorded(tx, record)?;
                return Ok(RecordBlob::Recorded);
            }
            Completion::Gone => {
                note_unrecorded(tx, record)?;
                return Ok(RecordBlob::UploadGone);
            }
        }
    }
    let repository = repositories::find_or_create(tx, &record.repository, record.now)?;
    reviews::add(tx, repository, Kind::Blob, &record.digest, record.review_at)?;
    let blob = place(tx, &record.digest, record.size_bytes, record.now)?;
    locate(tx, blob, record)?;
    associate(tx, repository, blob, record.now, &record.by)?;
    let detail = serde_json::json!({ "size_bytes": record.size_bytes });
    let audited = AuditRecord::done(&record.by, record.now, "blob.push").on(&record.repository).to(record.digest);
    audit::append(tx, &audited.with(detail))?;
    if let Some(upload) = record.upload {
        uploads::finish(tx, upload, &record.digest, record.remember_until)?;
    }
    Ok(RecordBlob::Recorded)
}

/// Bytes that are in place and that nothing names are to go: nobody would look there again.
fn note_unrecorded(tx: &Tx<'_>, record: &BlobRecord) -> Result<()> {
    let is_named = if record.location.is_by_digest() {
        row(tx, &record.digest)?.is_some()
    } else {
        is_located(tx, &record.location)?
    };
    if is_named {
        return Ok(());
    }
    collection::note_removal(tx, &record.digest, &record.location, record.size_bytes, record.now)
}

/// Whether a row says that its content lies there.
pub(crate) fn is_located(tx: &Tx<'_>, location: &Location) -> Result<bool> {
    tx.prepare_cached(IS_LOCATED)?.exists([location.as_str()])
}

/// Where the content lies; what no row says lies where its digest says.
pub(crate) fn location(tx: &Tx<'_>, digest: &Digest) -> Result<Location> {
    let found: Option<Option<String>> =
        tx.prepare_cached(LOCATION)?.query_row([digest.to_string()], |row| row.get(0)).optional()?;
    Ok(Location::recorded(&found.flatten().unwrap_or_default()))
}

pub(crate) fn locations(tx: &Tx<'_>, digests: &[Digest]) -> Result<Vec<Location>> {
    digests.iter().map(|digest| location(tx, digest)).collect()
}

/// Says where the content lies now. What lay elsewhere goes later: whoever has looked it up may be reading it.
fn locate(tx: &Tx<'_>, blob: Key, record: &BlobRecord) -> Result<()> {
    let before = location(tx, &record.digest)?;
    if before == record.location {
        return Ok(());
    }
    if !before.is_by_digest() {
        collection::note_removal(tx, &record.digest, &before, record.size_bytes, record.replaced_go_at)?;
    }
    relocate(tx, blob, &record.location)
}

pub(crate) fn relocate(tx: &Tx<'_>, blob: Key, location: &Location) -> Result<()> {
    let key = (!location.is_by_digest()).then(|| location.as_str());
    tx.prepare_cached(LOCATE)?.execute(params![key, blob])?;
    Ok(())
}

/// Makes the content's row `live`, whatever it was: its bytes are there now.
fn place(tx: &Tx<'_>, digest: &Digest, size_bytes: u64, now: Timestamp) -> Result<Key> {
    let Some((key, state, known_bytes)) = row(tx, digest)? else {
        return insert(tx, digest, Some(size_bytes), "live", now);
    };
    if state != "live" {
        tx.prepare_cached(REVIVE)?.execute(params![Count(size_bytes), Micros(now), key])?;
    } else if known_bytes != Some(size_bytes) {
        return Err(
            Contradiction(format!("{digest} is recorded with {known_bytes:?} bytes and has {size_bytes}")).into()
        );
    }
    Ok(key)
}

/// The key of content that a manifest names, wherever it is; made `missing` if nobody has it (P-226).
///
/// Content on its way out becomes `missing` as well: a reference keeps the collector from finishing, and only bytes
/// placed anew make it servable.
pub(crate) fn expect(tx: &Tx<'_>, digest: &Digest, now: Timestamp) -> Result<Key> {
    let Some((key, state, _)) = row(tx, digest)? else {
        return insert(tx, digest, None, "missing", now);
    };
    if state == "deleting" {
        tx.prepare_cached(AWAIT)?.execute([key])?;
    }
    Ok(key)
}

/// The content's key, state and size, wherever it is.
pub(crate) fn row(tx: &Tx<'_>, digest: &Digest) -> Result<Option<(Key, String, Option<u64>)>> {
    tx.prepare_cached(FIND)?
        .query_row([digest.to_string()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<Option<Count>>(2)?.map(|size| size.0)))
        })
        .optional()
}

fn insert(tx: &Tx<'_>, digest: &Digest, size_bytes: Option<u64>, state: &str, now: Timestamp) -> Result<Key> {
    // Its bytes have just been hashed, if there are any.
    let verified_at = size_bytes.is_some().then_some(Micros(now));
    tx.prepare_cached(INSERT)?.insert(params![
        digest.to_string(),
        size_bytes.map(Count),
        state,
        Micros(now),
        verified_at
    ])
}

pub(crate) fn associate(tx: &Tx<'_>, repository: Key, blob: Key, now: Timestamp, by: &Attribution) -> Result<()> {
    tx.prepare_cached(ASSOCIATE)?.execute(params![repository, blob, Micros(now), by.principal.name()])?;
    Ok(())
}

/// Ends an association; `false` if there was none.
pub(crate) fn dissociate(tx: &Tx<'_>, repository: Key, blob: Key) -> Result<bool> {
    Ok(tx.prepare_cached(DISSOCIATE)?.execute([repository, blob])? == 1)
}

/// Whether the source has the blob is decided in the transaction that gives it to the target (S-012).
pub(crate) fn mount(tx: &Tx<'_>, mount: &BlobMount) -> Result<bool> {
    tx.lock(|locks| locks.use_contents([&mount.digest]))?;
    let Some(from) = repositories::find(tx, &mount.from)? else { return Ok(false) };
    let Some(blob) = live_in(tx, from, &mount.digest)? else { return Ok(false) };
    let to = repositories::find_or_create(tx, &mount.to, mount.now)?;
    reviews::add(tx, to, Kind::Blob, &mount.digest, mount.review_at)?;
    associate(tx, to, blob, mount.now, &mount.by)?;
    let detail = serde_json::json!({ "from": mount.from.as_str() });
    let audited = AuditRecord::done(&mount.by, mount.now, "blob.mount").on(&mount.to).to(mount.digest);
    audit::append(tx, &audited.with(detail))?;
    Ok(true)
}

pub(crate) fn repositories_with(tx: &Tx<'_>, digest: &Digest, limit: u32) -> Result<Vec<RepositoryName>> {
    tx.prepare_cached(REPOSITORIES)?.query_map(params![digest.to_string(), limit], |row| parsed(row, 0))?.collect()
}

/// Ends this repository's association only (F-03); a manifest that references the blob goes on holding its content.
pub(crate) fn delete(
    tx: &Tx<'_>,
    name: &RepositoryName,
    digest: &Digest,
    by: &Attribution,
    now: Timestamp,
    review_at: Timestamp,
) -> Result<bool> {
    tx.lock(|locks| locks.change_contents([digest]))?;
    let Some(repository) = repositories::find(tx, name)? else { return Ok(false) };
    let blob: Option<Key> = tx
        .prepare_cached(ASSOCIATED)?
        .query_row(params![repository, digest.to_string()], |row| row.get(0))
        .optional()?;
    let Some(blob) = blob else { return Ok(false) };
    reviews::add(tx, repository, Kind::Blob, digest, review_at)?;
    dissociate(tx, repository, blob)?;
    audit::append(tx, &AuditRecord::done(by, now, "blob.delete").on(name).to(digest))?;
    Ok(true)
}
