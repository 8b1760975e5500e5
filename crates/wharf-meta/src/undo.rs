//! Undo: what tags pointed at before, and deleted manifests until the grace period ends.
//!
//! A restored manifest is recorded by the same function as a pushed one, so whatever holds for a push holds for it
//! (S-015). Its blobs are still there, because the deletion asked the collector to look at them only after the last moment
//! at which it can be undone.

use bytes::Bytes;
use wharf_base::Timestamp;
use wharf_oci::{Digest, RepositoryName, Tag};
use wharf_policy::Attribution;

use crate::audit::{self, AuditRecord};
use crate::reviews::{self, Kind};
use crate::sql::{
    Contradiction, Key, Micros, OptionalExtension as _, Result, Row, Tx, params, parsed, parsed_or_none, statements,
    text_list,
};
use crate::tags::{self, Change};
use crate::{ManifestRecord, RecordManifest, blobs, manifests, push, repositories};

/// A move, creation or removal of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagChange {
    /// Grows by one with each.
    pub version: i64,
    /// What it pointed at before.
    pub from: Option<Digest>,
    /// What it has pointed at since.
    pub to: Option<Digest>,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

/// A deleted manifest that can be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restorable {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// The tags that it had.
    pub tags: Vec<Tag>,
    /// When it was deleted.
    pub deleted_at: Timestamp,
    /// By whom.
    pub deleted_by: String,
    /// Until when it can be restored.
    pub until: Timestamp,
}

/// The answer to restoring a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restore {
    /// It is there, with those of the tags that had not been given to something else.
    Restored {
        /// The tags that point at it now and did not before.
        tags: Vec<Tag>,
    },
    /// It needs content that is condemned and can be saved; nothing has changed.
    Condemned(Vec<Digest>),
    /// It needs blobs or manifests that are gone; nothing has changed.
    Missing(Vec<Digest>),
    /// There is no deleted manifest of that digest that can be restored; nothing has changed.
    Unknown,
}

statements! {
    HISTORY =
        "select version, from_digest, to_digest, changed_at_us, changed_by
           from tag_history
          where repository_id = $1 and name = $2 and version < $3
          order by version desc
          limit $4";
    /// The last change up to a time. Times may stand still or go back; versions do not.
    AT =
        "select version, from_digest, to_digest, changed_at_us, changed_by
           from tag_history
          where repository_id = $1 and name = $2 and changed_at_us <= $3
          order by version desc
          limit 1";
    DELETED =
        "select digest, media_type, tags, deleted_at_us, deleted_by, restorable_until_us
           from deleted_manifests
          where repository_id = $1 and digest > $2 and restorable_until_us > $3
          order by digest
          limit $4";
    BODY =
        "select media_type, body from deleted_manifests
          where repository_id = $1 and digest = $2 and restorable_until_us > $3";
    TAGS =
        "select tags from deleted_manifests
          where repository_id = $1 and digest = $2 and restorable_until_us > $3";
    FORGET = "delete from deleted_manifests where repository_id = $1 and digest = $2";
    OVER =
        "select repository_id, digest from deleted_manifests
          where restorable_until_us <= $1
          order by restorable_until_us
          limit $2";
    REVIVE = "update blobs set state = 'live', delete_after_us = null where id = $1 and state = 'deleting'";
}

fn tag_list(row: &Row<'_>, column: usize) -> Result<Vec<Tag>> {
    let damaged = |error| Contradiction(format!("not a list of tags: {error}")).into();
    text_list(row, column)?
        .iter()
        .map(|text| text.parse().map_err(|error: wharf_oci::TagError| damaged(error)))
        .collect()
}

fn change(row: &Row<'_>) -> Result<TagChange> {
    Ok(TagChange {
        version: row.get(0)?,
        from: parsed_or_none(row, 1)?,
        to: parsed_or_none(row, 2)?,
        at: row.get::<Micros>(3)?.0,
        by: row.get(4)?,
    })
}

/// The changes of a tag before version `before`, the newest first.
pub(crate) fn history(
    tx: &Tx<'_>,
    name: &RepositoryName,
    tag: &Tag,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<TagChange>> {
    let Some(repository) = repositories::find(tx, name)? else { return Ok(Vec::new()) };
    tx.prepare_cached(HISTORY)?
        .query_map(params![repository, tag.as_str(), before.unwrap_or(i64::MAX), limit], change)?
        .collect()
}

/// The last change of a tag up to `at`.
pub(crate) fn tag_at(tx: &Tx<'_>, name: &RepositoryName, tag: &Tag, at: Timestamp) -> Result<Option<TagChange>> {
    let Some(repository) = repositories::find(tx, name)? else { return Ok(None) };
    tx.prepare_cached(AT)?.query_row(params![repository, tag.as_str(), Micros(at)], change).optional()
}

/// Deleted manifests behind `after` that can be restored.
pub(crate) fn deleted(
    tx: &Tx<'_>,
    name: &RepositoryName,
    after: Option<&Digest>,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Restorable>> {
    let Some(repository) = repositories::find(tx, name)? else { return Ok(Vec::new()) };
    let after = after.map(Digest::to_string).unwrap_or_default();
    tx.prepare_cached(DELETED)?
        .query_map(params![repository, after, Micros(now), limit], |row| {
            Ok(Restorable {
                digest: parsed(row, 0)?,
                media_type: row.get(1)?,
                tags: tag_list(row, 2)?,
                deleted_at: row.get::<Micros>(3)?.0,
                deleted_by: row.get(4)?,
                until: row.get::<Micros>(5)?.0,
            })
        })?
        .collect()
}

/// The media type and the bytes of a deleted manifest that can be restored.
pub(crate) fn deleted_body(
    tx: &Tx<'_>,
    name: &RepositoryName,
    digest: &Digest,
    now: Timestamp,
) -> Result<Option<(String, Bytes)>> {
    let Some(repository) = repositories::find(tx, name)? else { return Ok(None) };
    tx.prepare_cached(BODY)?
        .query_row(params![repository, digest.to_string(), Micros(now)], |row| {
            Ok((row.get(0)?, Bytes::from(row.get::<Vec<u8>>(1)?)))
        })
        .optional()
}

/// Records a deleted manifest again. With tags in `record` exactly these point at it then; without, those that it had and
/// that point at nothing now.
pub(crate) fn restore(tx: &Tx<'_>, record: &ManifestRecord) -> Result<Restore> {
    tx.lock(|locks| {
        locks.repository(&record.repository);
        locks.change_contents(record.blobs.iter().chain(&record.children));
    })?;
    let Some(repository) = repositories::find(tx, &record.repository)? else { return Ok(Restore::Unknown) };
    let digest = record.digest.to_string();
    let had: Option<Vec<Tag>> = tx
        .prepare_cached(TAGS)?
        .query_row(params![repository, digest, Micros(record.now)], |row| tag_list(row, 0))
        .optional()?;
    let Some(had) = had else { return Ok(Restore::Unknown) };
    if let Some(refusal) = associate_all(tx, repository, record)? {
        return Ok(refusal);
    }
    let mut wanted = record.clone();
    if wanted.tags.is_empty() {
        for tag in had {
            if tags::current(tx, repository, &tag)?.is_none() {
                wanted.tags.push(tag);
            }
        }
    }
    let tags = wanted.tags.clone();
    match push::record(tx, &wanted.into())? {
        RecordManifest::Recorded { .. } => {}
        RecordManifest::Missing { blobs, children } => {
            return Ok(Restore::Missing(blobs.into_iter().chain(children).collect()));
        }
        // It was stored under another media type meanwhile; it has no conditions.
        RecordManifest::MediaTypeConflict | RecordManifest::ConditionFailed => return Ok(Restore::Unknown),
    }
    tx.prepare_cached(FORGET)?.execute(params![repository, digest])?;
    let audited = AuditRecord::done(&record.by, record.now, "manifest.restore");
    audit::append(tx, &audited.on(&record.repository).to(record.digest))?;
    Ok(Restore::Restored { tags })
}

/// Gives the repository back what its manifest needs, as far as the content is there. Looks at everything before it
/// changes anything.
fn associate_all(tx: &Tx<'_>, repository: Key, record: &ManifestRecord) -> Result<Option<Restore>> {
    let (mut lost, mut condemned, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for digest in &record.blobs {
        if blobs::live_in(tx, repository, digest)?.is_some() {
            continue;
        }
        match blobs::row(tx, digest)? {
            Some((blob, state, _)) if state == "live" => lost.push((digest, blob)),
            Some((_, state, _)) if state == "deleting" => condemned.push(*digest),
            _ => missing.push(*digest),
        }
    }
    if !missing.is_empty() {
        return Ok(Some(Restore::Missing(missing)));
    }
    if !condemned.is_empty() {
        return Ok(Some(Restore::Condemned(condemned)));
    }
    lost.sort_unstable();
    for (digest, _) in &lost {
        reviews::add(tx, repository, Kind::Blob, digest, record.review_at)?;
    }
    for (_, blob) in lost {
        blobs::associate(tx, repository, blob, record.now, &record.by)?;
    }
    Ok(None)
}

/// Takes back that content is to go; the caller has seen its bytes and excludes that they are being removed. Should
/// nothing come to need it, the collector looks again at `review_at`.
pub(crate) fn revive(tx: &Tx<'_>, name: &RepositoryName, digest: &Digest, review_at: Timestamp) -> Result<bool> {
    tx.lock(|locks| locks.change_contents([digest]))?;
    let Some(repository) = repositories::find(tx, name)? else { return Ok(false) };
    reviews::add(tx, repository, Kind::Blob, digest, review_at)?;
    let Some((blob, ..)) = blobs::row(tx, digest)? else { return Ok(false) };
    Ok(tx.prepare_cached(REVIVE)?.execute([blob])? == 1)
}

/// Points a tag at a manifest that the repository has; `false` if it does not have it.
pub(crate) fn retag(
    tx: &Tx<'_>,
    name: &RepositoryName,
    tag: &Tag,
    digest: &Digest,
    by: &Attribution,
    now: Timestamp,
    review_at: Timestamp,
) -> Result<bool> {
    tx.lock(|locks| locks.repository(name))?;
    let Some(repository) = repositories::find(tx, name)? else { return Ok(false) };
    let Some((manifest, _)) = manifests::key(tx, repository, digest)? else { return Ok(false) };
    tags::point(tx, &Change { repository, name, by, now, review_at }, tag, manifest, digest)?;
    Ok(true)
}

/// Forgets deleted manifests that cannot be restored any more, at most `limit`.
pub(crate) fn forget(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Result<u32> {
    let over: Vec<(Key, String)> = tx
        .prepare_cached(OVER)?
        .query_map(params![Micros(now), limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    let mut forgotten = 0;
    for (repository, digest) in over {
        tx.prepare_cached(FORGET)?.execute(params![repository, digest])?;
        forgotten += 1;
    }
    Ok(forgotten)
}
