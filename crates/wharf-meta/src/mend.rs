//! Damage in the rows: content set aside and brought back, what was last seen to be right, and what repairs write.

use wharf_base::{Location, Timestamp, UploadId};
use wharf_oci::{Digest, RepositoryName};
use wharf_policy::Attribution;

use crate::audit::{self, AuditRecord};
use crate::reviews::{self, Kind};
use crate::sql::{Count, Key, Micros, OptionalExtension as _, Result, Tx, params, parsed, statements};
use crate::{ManifestRecord, blobs, collection, manifests, push, repositories};

/// An association that no manifest needs and that no review leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreviewed {
    /// Of this repository.
    pub repository: RepositoryName,
    /// With this blob.
    pub digest: Digest,
}

/// The most that is counted.
const COUNT_MAX: u32 = 100_000;

statements! {
    DUE =
        "select digest, size_bytes from blobs
          where state = 'live' and verified_at_us <= $1
          order by verified_at_us
          limit $2";
    LONGEST_AGO =
        "select verified_at_us from blobs
          where state = 'live' and verified_at_us is not null
          order by verified_at_us
          limit 1";
    NOTE_VERIFIED = "update blobs set verified_at_us = $1 where digest = $2 and state = 'live'";
    /// The store keeps it somewhere of its own.
    SET_ASIDE = "update blobs set state = 'quarantined', storage_key = null where digest = $1 and state = 'live'";
    BRING_BACK = "update blobs set state = 'live', verified_at_us = $1 where digest = $2 and state = 'quarantined'";
    IS_SET_ASIDE =
        "select 1
           from repositories r
           join blobs b on b.digest = $1
           join repository_blobs a on a.repository_id = r.id and a.blob_id = b.id
          where r.name = $2 and b.state = 'quarantined'";
    COUNT_SET_ASIDE = "select count(*) from (select 1 from blobs where state = 'quarantined' and id > 0 limit $1) found";
    RESCUE =
        "update blobs set state = 'live', delete_after_us = null, verified_at_us = $1
          where id = $2 and state = 'deleting'";
    IS_ASSOCIATED = "select 1 from repository_blobs where repository_id = $1 and blob_id = $2";
    SWEEP_DUE = "select due_at_us from jobs where id = 'sweep'";
    PLAN_SWEEP =
        "insert into jobs (id, kind, state, payload, due_at_us, created_at_us, updated_at_us)
         values ('sweep', 'sweep', 'due', '{}', $1, $2, $3)
             on conflict (id) do update
            set due_at_us = excluded.due_at_us, updated_at_us = excluded.updated_at_us";
    EXPIRE = "update uploads set expires_at_us = $1 where id = $2 and state = 'open' and expires_at_us > $3";
}

pub(crate) fn due(tx: &Tx<'_>, before: Timestamp, limit: u32) -> Result<Vec<(Digest, u64)>> {
    tx.prepare_cached(DUE)?
        .query_map(params![Micros(before), limit], |row| Ok((parsed(row, 0)?, row.get::<Count>(1)?.0)))?
        .collect()
}

pub(crate) fn longest_ago(tx: &Tx<'_>) -> Result<Option<Timestamp>> {
    let found: Option<Micros> = tx.prepare_cached(LONGEST_AGO)?.query_row((), |row| row.get(0)).optional()?;
    Ok(found.map(|at| at.0))
}

pub(crate) fn note_verified(tx: &Tx<'_>, digests: &[Digest], at: Timestamp) -> Result<()> {
    tx.lock(|locks| locks.change_contents(digests))?;
    let mut statement = tx.prepare_cached(NOTE_VERIFIED)?;
    for digest in digests {
        statement.execute(params![Micros(at), digest.to_string()])?;
    }
    Ok(())
}

/// Only if it is still what was looked at: a push that has put it elsewhere meanwhile has healed it.
pub(crate) fn set_aside(
    tx: &Tx<'_>,
    digest: &Digest,
    location: &Location,
    problem: &str,
    by: &Attribution,
    now: Timestamp,
) -> Result<bool> {
    tx.lock(|locks| locks.change_contents([digest]))?;
    if blobs::location(tx, digest)? != *location {
        return Ok(false);
    }
    if tx.prepare_cached(SET_ASIDE)?.execute([digest.to_string()])? == 0 {
        return Ok(false);
    }
    let detail = serde_json::json!({ "problem": problem });
    audit::append(tx, &AuditRecord::done(by, now, "blob.set_aside").to(digest).with(detail))?;
    Ok(true)
}

pub(crate) fn bring_back(
    tx: &Tx<'_>,
    digest: &Digest,
    location: &Location,
    by: &Attribution,
    now: Timestamp,
) -> Result<bool> {
    tx.lock(|locks| locks.change_contents([digest]))?;
    if tx.prepare_cached(BRING_BACK)?.execute(params![Micros(now), digest.to_string()])? == 0 {
        return Ok(false);
    }
    if let Some((blob, ..)) = blobs::row(tx, digest)? {
        blobs::relocate(tx, blob, location)?;
    }
    audit::append(tx, &AuditRecord::done(by, now, "blob.bring_back").to(digest))?;
    Ok(true)
}

pub(crate) fn is_set_aside(tx: &Tx<'_>, repository: &RepositoryName, digest: &Digest) -> Result<bool> {
    tx.prepare_cached(IS_SET_ASIDE)?.exists(params![digest.to_string(), repository.as_str()])
}

pub(crate) fn count_set_aside(tx: &Tx<'_>) -> Result<u64> {
    let count: Count = tx.prepare_cached(COUNT_SET_ASIDE)?.query_row([COUNT_MAX], |row| row.get(0))?;
    Ok(count.0)
}

pub(crate) fn rescue(tx: &Tx<'_>, digest: &Digest, by: &Attribution, now: Timestamp) -> Result<bool> {
    tx.lock(|locks| locks.change_contents([digest]))?;
    let Some((blob, ..)) = blobs::row(tx, digest)? else { return Ok(false) };
    if !collection::is_needed(tx, blob)? {
        return Ok(false);
    }
    if tx.prepare_cached(RESCUE)?.execute(params![Micros(now), blob])? == 0 {
        return Ok(false);
    }
    audit::append(tx, &AuditRecord::done(by, now, "blob.rescue").to(digest))?;
    Ok(true)
}

pub(crate) fn review_links(
    tx: &Tx<'_>,
    links: &[Unreviewed],
    by: &Attribution,
    now: Timestamp,
    review_at: Timestamp,
) -> Result<u32> {
    tx.lock(|locks| locks.change_contents(links.iter().map(|link| &link.digest)))?;
    let mut added = 0;
    for link in links {
        if let Some(repository) = unreviewed(tx, link)? {
            reviews::add(tx, repository, Kind::Blob, &link.digest, review_at)?;
            added += 1;
        }
    }
    if added > 0 {
        let detail = serde_json::json!({ "links": added });
        audit::append(tx, &AuditRecord::done(by, now, "gc.reconcile").with(detail))?;
    }
    Ok(added)
}

/// The repository's key, if the association is still one that nobody would look at.
fn unreviewed(tx: &Tx<'_>, link: &Unreviewed) -> Result<Option<Key>> {
    let Some(repository) = repositories::find(tx, &link.repository)? else { return Ok(None) };
    let Some((blob, ..)) = blobs::row(tx, &link.digest)? else { return Ok(None) };
    let is_one = tx.prepare_cached(IS_ASSOCIATED)?.exists([repository, blob])?
        && !collection::is_held_here(tx, blob, repository)?
        && reviews::due_at(tx, repository, Kind::Blob, &link.digest)?.is_none();
    Ok(is_one.then_some(repository))
}

pub(crate) fn describe_manifest(tx: &Tx<'_>, record: &ManifestRecord) -> Result<bool> {
    tx.lock(|locks| {
        locks.repository(&record.repository);
        locks.change_contents(record.blobs.iter().chain(&record.children));
    })?;
    let Some(repository) = repositories::find(tx, &record.repository)? else { return Ok(false) };
    let Some((manifest, _)) = manifests::key(tx, repository, &record.digest)? else { return Ok(false) };
    if !push::has_body(tx, manifest, &record.body)? {
        return Ok(false);
    }
    push::describe_again(tx, repository, manifest, &record.clone().into())?;
    audit::append(
        tx,
        &AuditRecord::done(&record.by, record.now, "manifest.mend").on(&record.repository).to(record.digest),
    )?;
    Ok(true)
}

pub(crate) fn expire_upload(tx: &Tx<'_>, id: UploadId, by: &Attribution, now: Timestamp) -> Result<bool> {
    if tx.prepare_cached(EXPIRE)?.execute(params![Micros(now), id.to_string(), Micros(now)])? == 0 {
        return Ok(false);
    }
    audit::append(tx, &AuditRecord::done(by, now, "upload.expire").to(id))?;
    Ok(true)
}

pub(crate) fn sweep_due(tx: &Tx<'_>) -> Result<Option<Timestamp>> {
    let due: Option<Micros> = tx.prepare_cached(SWEEP_DUE)?.query_row((), |row| row.get(0)).optional()?;
    Ok(due.map(|due| due.0))
}

pub(crate) fn plan_sweep(tx: &Tx<'_>, due_at: Timestamp, now: Timestamp) -> Result<()> {
    tx.prepare_cached(PLAN_SWEEP)?.execute(params![Micros(due_at), Micros(now), Micros(now)])?;
    Ok(())
}
