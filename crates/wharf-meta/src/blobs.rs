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
    LOCATED =
        "select b.size_bytes, b.storage_key
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
    /// A row in any case.
    LOOK =
        "select r.id, b.id, b.state, b.size_bytes, b.storage_key
           from (select 1) one
           left join repositories r on r.name = $1
           left join blobs b on b.digest = $2";
    LOCATION = "select storage_key from blobs where digest = $1";
    LOCATE = "update blobs set storage_key = $1 where id = $2";
    IS_LOCATED = "select 1 from blobs where storage_key = $1";
    INSERT =
        "insert into blobs (digest, size_bytes, state, created_at_us, verified_at_us, storage_key)
         values ($1, $2, 'live', $3, $4, $5)";
    EXPECT =
        "insert into blobs (digest, state, created_at_us)
         select value, 'missing', $1 from json_each($2) where true
             on conflict do nothing",
    postgres:
        "insert into blobs (digest, state, created_at_us)
         select value, 'missing', $1 from jsonb_array_elements_text(cast(cast($2 as text) as jsonb)) wanted (value)
             on conflict do nothing";
    REVIVE =
        "update blobs set state = 'live', size_bytes = $1, delete_after_us = null, verified_at_us = $2 where id = $3";
    AWAIT =
        "update blobs set state = 'missing', delete_after_us = null
          where digest in (select value from json_each($1)) and state = 'deleting'",
    postgres:
        "update blobs set state = 'missing', delete_after_us = null
          where digest in (select jsonb_array_elements_text(cast(cast($1 as text) as jsonb))) and state = 'deleting'";
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

/// The same, and where its content lies.
pub(crate) fn located(tx: &Tx<'_>, repository: &RepositoryName, digest: &Digest) -> Result<Option<(u64, Location)>> {
    tx.prepare_cached(LOCATED)?
        .query_row(params![digest.to_string(), repository.as_str()], |row| {
            Ok((row.get::<Count>(0)?.0, recorded_location(row.get(1)?)))
        })
        .optional()
}

/// Where content lies whose row has this key; what has none lies where its digest says.
fn recorded_location(storage_key: Option<String>) -> Location {
    Location::recorded(&storage_key.unwrap_or_default())
}

/// The blob's key if this repository may serve it.
pub(crate) fn live_in(tx: &Tx<'_>, repository: Key, digest: &Digest) -> Result<Option<Key>> {
    tx.prepare_cached(LIVE_IN)?.query_row(params![repository, digest.to_string()], |row| row.get(0)).optional()
}

/// Records content that is already in place: the session, which nobody else can change from then on, and review, blob and
/// association in the order of R-014.
pub(crate) fn record(tx: &Tx<'_>, record: &BlobRecord) -> Result<RecordBlob> {
    tx.lock(|locks| locks.change_contents([&record.digest]))?;
    if let Some(upload) = record.upload {
        let (digest, until) = (&record.digest, record.remember_until);
        match uploads::finish(tx, upload, &record.repository, digest, record.now, until)? {
            Completion::Finished => {}
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
    let (repository, known) = look(tx, &record.repository, &record.digest)?;
    let repository = match repository {
        Some(repository) => repository,
        None => repositories::find_or_create(tx, &record.repository, record.now)?,
    };
    reviews::add(tx, repository, Kind::Blob, &record.digest, record.review_at)?;
    let blob = place(tx, known, record)?;
    associate(tx, repository, blob, record.now, &record.by)?;
    let detail = serde_json::json!({ "size_bytes": record.size_bytes });
    let audited = AuditRecord::done(&record.by, record.now, "blob.push").on(&record.repository).to(record.digest);
    audit::append(tx, &audited.with(detail))?;
    Ok(RecordBlob::Recorded)
}

/// The row of content.
struct Known {
    key: Key,
    state: String,
    size_bytes: Option<u64>,
    location: Location,
}

/// The repository and the content, whatever of them is there.
fn look(tx: &Tx<'_>, repository: &RepositoryName, digest: &Digest) -> Result<(Option<Key>, Option<Known>)> {
    tx.prepare_cached(LOOK)?.query_row(params![repository.as_str(), digest.to_string()], |row| {
        let known = match row.get::<Option<Key>>(1)? {
            Some(key) => Some(Known {
                key,
                state: row.get(2)?,
                size_bytes: row.get::<Option<Count>>(3)?.map(|size| size.0),
                location: recorded_location(row.get(4)?),
            }),
            None => None,
        };
        Ok((row.get(0)?, known))
    })
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
    Ok(recorded_location(found.flatten()))
}

pub(crate) fn locations(tx: &Tx<'_>, digests: &[Digest]) -> Result<Vec<Location>> {
    digests.iter().map(|digest| location(tx, digest)).collect()
}

/// Makes the content's row `live`, whatever it was: its bytes are there now.
fn place(tx: &Tx<'_>, known: Option<Known>, record: &BlobRecord) -> Result<Key> {
    let Some(known) = known else { return insert(tx, record) };
    let size_bytes = record.size_bytes;
    if known.state != "live" {
        tx.prepare_cached(REVIVE)?.execute(params![Count(size_bytes), Micros(record.now), known.key])?;
    } else if known.size_bytes != Some(size_bytes) {
        let (digest, known_bytes) = (&record.digest, known.size_bytes);
        return Err(
            Contradiction(format!("{digest} is recorded with {known_bytes:?} bytes and has {size_bytes}")).into()
        );
    }
    locate(tx, &known, record)?;
    Ok(known.key)
}

/// Says where the content lies now. What lay elsewhere goes later: whoever has looked it up may be reading it.
fn locate(tx: &Tx<'_>, known: &Known, record: &BlobRecord) -> Result<()> {
    if known.location == record.location {
        return Ok(());
    }
    if !known.location.is_by_digest() {
        let (digest, size_bytes) = (&record.digest, record.size_bytes);
        collection::note_removal(tx, digest, &known.location, size_bytes, record.replaced_go_at)?;
    }
    relocate(tx, known.key, &record.location)
}

pub(crate) fn relocate(tx: &Tx<'_>, blob: Key, location: &Location) -> Result<()> {
    tx.prepare_cached(LOCATE)?.execute(params![storage_key(location), blob])?;
    Ok(())
}

/// How a row says where content lies.
fn storage_key(location: &Location) -> Option<&str> {
    (!location.is_by_digest()).then(|| location.as_str())
}

/// Sees to it that all of this content has a row, which a manifest can hold (P-226): `missing` if nobody has it.
///
/// Content on its way out becomes `missing` as well: a reference keeps the collector from finishing, and only bytes
/// placed anew make it servable.
pub(crate) fn expect(tx: &Tx<'_>, digests: &str, now: Timestamp) -> Result<()> {
    tx.prepare_cached(EXPECT)?.execute_later(params![Micros(now), digests])?;
    tx.prepare_cached(AWAIT)?.execute_later([digests])
}

/// The content's key, state and size, wherever it is.
pub(crate) fn row(tx: &Tx<'_>, digest: &Digest) -> Result<Option<(Key, String, Option<u64>)>> {
    tx.prepare_cached(FIND)?
        .query_row([digest.to_string()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<Option<Count>>(2)?.map(|size| size.0)))
        })
        .optional()
}

/// Its bytes have just been hashed.
fn insert(tx: &Tx<'_>, record: &BlobRecord) -> Result<Key> {
    tx.prepare_cached(INSERT)?.insert(params![
        record.digest.to_string(),
        Count(record.size_bytes),
        Micros(record.now),
        Micros(record.now),
        storage_key(&record.location),
    ])
}

pub(crate) fn associate(tx: &Tx<'_>, repository: Key, blob: Key, now: Timestamp, by: &Attribution) -> Result<()> {
    tx.prepare_cached(ASSOCIATE)?.execute_later(params![repository, blob, Micros(now), by.principal.name()])
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
