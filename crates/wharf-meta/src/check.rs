//! Rows as a check wants them: all of them, in pages, with what other rows say about them.
//!
//! A page is one statement, or several in one read transaction, so what it says fits together; the next page is of a
//! later moment. Texts are not parsed here: a row that cannot be read would otherwise keep all others from being checked.

use bytes::Bytes;
use wharf_base::{Location, Timestamp, UploadId};
use wharf_oci::Digest;

use crate::sql::{Key, Micros, OptionalExtension as _, Result, Row, Sql, Tx, params, statements};
use crate::{
    Affected, CheckedBlob, CheckedChange, CheckedChild, CheckedDeleted, CheckedLink, CheckedManifest, CheckedTag,
    CheckedUpload,
};

/// Where a check goes on: behind this row. Good for as long as the database is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CheckCursor {
    key: Key,
    second: Key,
    text: String,
}

/// Some rows, and where the next ones begin; `None` at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Behind the last row that was looked at.
    pub next: Option<CheckCursor>,
}

/// The bytes of manifests that one page has before it ends: one may have 4 MiB.
const BODIES_MAX_BYTES: usize = 8 << 20;

/// How many tags of a damaged manifest are named.
const TAGS_MAX: u32 = 10;

statements! {
    BLOBS =
        "select b.id, b.digest, b.state, b.size_bytes,
                exists (select 1 from manifest_blobs x where x.blob_id = b.id),
                exists (select 1 from repository_blobs a where a.blob_id = b.id)
           from blobs b
          where b.id > $1
          order by b.id
          limit $2";
    BLOB =
        "select b.id, b.digest, b.state, b.size_bytes,
                exists (select 1 from manifest_blobs x where x.blob_id = b.id),
                exists (select 1 from repository_blobs a where a.blob_id = b.id)
           from blobs b
          where b.digest = $1";
    LINKS =
        "select a.repository_id, a.blob_id, r.name, b.digest, b.state, b.size_bytes,
                exists (select 1 from manifest_blobs x where x.blob_id = a.blob_id and x.repository_id = a.repository_id),
                exists (select 1 from gc_reviews g
                         where g.repository_id = a.repository_id and g.kind = 'blob' and g.digest = b.digest)
           from repository_blobs a
          cross join repositories r on r.id = a.repository_id
          cross join blobs b on b.id = a.blob_id
          where (a.repository_id, a.blob_id) > ($1, $2)
          order by a.repository_id, a.blob_id
          limit $3";
    MANIFESTS =
        "select m.id, m.repository_id, r.name, m.digest, m.media_type, m.artifact_type, m.subject_digest,
                m.config_digest, m.annotations, m.body
           from manifests m
          cross join repositories r on r.id = m.repository_id
          where m.id > $1
          order by m.id
          limit $2";
    HOLDS =
        "select b.digest, x.repository_id
           from manifest_blobs x
          cross join blobs b on b.id = x.blob_id
          where x.manifest_id = $1
          order by x.blob_id";
    CHILDREN =
        "select c.child_digest, c.repository_id,
                exists (select 1 from manifests m
                         where m.repository_id = c.repository_id and m.digest = c.child_digest)
                or exists (select 1
                             from blobs b
                             join repository_blobs a on a.repository_id = c.repository_id and a.blob_id = b.id
                            where b.digest = c.child_digest and b.state in ('live', 'quarantined'))
           from manifest_children c
          where c.manifest_id = $1
          order by c.child_digest";
    TAGS_OF = "select name from tags where manifest_id = $1 order by name limit $2";
    TAGS =
        "select t.repository_id, t.name, r.name, m.digest, t.version,
                (select h.version from tag_history h
                  where h.repository_id = t.repository_id and h.name = t.name
                  order by h.version desc
                  limit 1),
                (select h.to_digest from tag_history h
                  where h.repository_id = t.repository_id and h.name = t.name
                  order by h.version desc
                  limit 1)
           from tags t
          cross join repositories r on r.id = t.repository_id
           left join manifests m on m.id = t.manifest_id and m.repository_id = t.repository_id
          where (t.repository_id, t.name) > ($1, $2)
          order by t.repository_id, t.name
          limit $3";
    CHANGES =
        "select h.repository_id, h.name, h.version, r.name, h.from_digest, h.to_digest,
                (select p.version from tag_history p
                  where p.repository_id = h.repository_id and p.name = h.name and p.version < h.version
                  order by p.version desc
                  limit 1),
                (select p.to_digest from tag_history p
                  where p.repository_id = h.repository_id and p.name = h.name and p.version < h.version
                  order by p.version desc
                  limit 1),
                h.to_digest is not null
                and not exists (select 1 from tag_history n
                                 where n.repository_id = h.repository_id and n.name = h.name and n.version > h.version)
                and not exists (select 1 from tags t where t.repository_id = h.repository_id and t.name = h.name)
           from tag_history h
          cross join repositories r on r.id = h.repository_id
          where (h.repository_id, h.name, h.version) > ($1, $2, $3)
          order by h.repository_id, h.name, h.version
          limit $4";
    DELETED =
        "select d.repository_id, d.digest, r.name, d.media_type, d.restorable_until_us, d.body
           from deleted_manifests d
          cross join repositories r on r.id = d.repository_id
          where (d.repository_id, d.digest) > ($1, $2)
          order by d.repository_id, d.digest
          limit $3";
    UPLOADS =
        "select id, repository, algorithm, state, offset_bytes, hash_state, expires_at_us from uploads
          where id > $1
          order by id
          limit $2";
    UPLOAD =
        "select id, repository, algorithm, state, offset_bytes, hash_state, expires_at_us from uploads where id = $1";
    REMOVALS = "select key from gc_removals where key > $1 order by key limit $2";
    /// A row, or a note that it is being removed.
    NAMED =
        "select 1 from blobs where digest = $1
         union all
         select 1 from gc_removals where key = $1";
    LOCATED =
        "select 1 from blobs where storage_key = $1
         union all
         select 1 from gc_removals where key = $1";
    HAS_SESSION = "select 1 from uploads where id = $1";
    AFFECTED =
        "select r.name, m.digest, t.name
           from blobs b
          cross join manifest_blobs x on x.blob_id = b.id
          cross join manifests m on m.id = x.manifest_id
          cross join repositories r on r.id = m.repository_id
           left join tags t on t.manifest_id = m.id
          where b.digest = $1
          limit $2";
    /// By way of an index: people know images of several platforms by the index's tag.
    AFFECTED_BY_INDEX =
        "select r.name, m.digest, t.name
           from blobs b
          cross join manifest_blobs x on x.blob_id = b.id
          cross join manifests m on m.id = x.manifest_id
          cross join repositories r on r.id = m.repository_id
          cross join manifest_children c on c.repository_id = m.repository_id and c.child_digest = m.digest
          cross join tags t on t.manifest_id = c.manifest_id
          where b.digest = $1
          limit $2";
}

/// A page has come to its end when it is not full.
fn page<T>(rows: Vec<(CheckCursor, T)>, limit: u32) -> Page<T> {
    let is_full = rows.len() >= limit as usize;
    let next = rows.last().filter(|_| is_full).map(|(cursor, _)| cursor.clone());
    Page { rows: rows.into_iter().map(|(_, row)| row).collect(), next }
}

fn start(after: Option<&CheckCursor>) -> CheckCursor {
    after.cloned().unwrap_or(CheckCursor { key: i64::MIN, second: i64::MIN, text: String::new() })
}

/// A size that cannot be one is no size.
fn size(row: &Row<'_>, column: usize) -> Result<Option<u64>> {
    Ok(row.get::<Option<i64>>(column)?.and_then(|size| u64::try_from(size).ok()))
}

fn blob(row: &Row<'_>) -> Result<(CheckCursor, CheckedBlob)> {
    let cursor = CheckCursor { key: row.get(0)?, ..CheckCursor::default() };
    let blob = CheckedBlob {
        digest: row.get(1)?,
        state: row.get(2)?,
        size_bytes: size(row, 3)?,
        is_referenced: row.get(4)?,
        is_associated: row.get(5)?,
    };
    Ok((cursor, blob))
}

pub(crate) fn blobs(tx: &Tx<'_>, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedBlob>> {
    let rows: Result<Vec<_>> = tx.prepare_cached(BLOBS)?.query_map(params![start(after).key, limit], blob)?.collect();
    Ok(page(rows?, limit))
}

pub(crate) fn one_blob(tx: &Tx<'_>, digest: &Digest) -> Result<Option<CheckedBlob>> {
    let found = tx.prepare_cached(BLOB)?.query_row([digest.to_string()], blob).optional()?;
    Ok(found.map(|(_, blob)| blob))
}

pub(crate) fn links(tx: &Tx<'_>, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedLink>> {
    let after = start(after);
    let rows: Result<Vec<_>> = tx
        .prepare_cached(LINKS)?
        .query_map(params![after.key, after.second, limit], |row| {
            let cursor = CheckCursor { key: row.get(0)?, second: row.get(1)?, text: String::new() };
            let link = CheckedLink {
                repository: row.get(2)?,
                digest: row.get(3)?,
                state: row.get(4)?,
                size_bytes: size(row, 5)?,
                is_referenced: row.get(6)?,
                has_review: row.get(7)?,
            };
            Ok((cursor, link))
        })?
        .collect();
    Ok(page(rows?, limit))
}

pub(crate) fn manifests(tx: &Tx<'_>, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedManifest>> {
    let limit = tx.rows_with_bodies(limit);
    let mut statement = tx.prepare_cached(MANIFESTS)?;
    let mut rows = statement.query(params![start(after).key, limit])?;
    let (mut found, mut next, mut bytes) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        let key: Key = row.get(0)?;
        let manifest = manifest(tx, key, &row)?;
        bytes += manifest.body.len();
        found.push(manifest);
        if found.len() >= limit as usize || bytes >= BODIES_MAX_BYTES {
            next = Some(CheckCursor { key, ..CheckCursor::default() });
            break;
        }
    }
    Ok(Page { rows: found, next })
}

fn manifest(tx: &Tx<'_>, key: Key, row: &Row<'_>) -> Result<CheckedManifest> {
    let repository: Key = row.get(1)?;
    let mut is_of_one_repository = true;
    let mut holds = Vec::new();
    let mut statement = tx.prepare_cached(HOLDS)?;
    let mut held = statement.query([key])?;
    while let Some(row) = held.next()? {
        holds.push(row.get(0)?);
        is_of_one_repository &= row.get::<Key>(1)? == repository;
    }
    let mut children = Vec::new();
    let mut statement = tx.prepare_cached(CHILDREN)?;
    let mut listed = statement.query([key])?;
    while let Some(row) = listed.next()? {
        children.push(CheckedChild { digest: row.get(0)?, exists: row.get(2)? });
        is_of_one_repository &= row.get::<Key>(1)? == repository;
    }
    let tags: Result<Vec<String>> =
        tx.prepare_cached(TAGS_OF)?.query_map(params![key, TAGS_MAX], |row| row.get(0))?.collect();
    Ok(CheckedManifest {
        repository: row.get(2)?,
        digest: row.get(3)?,
        media_type: row.get(4)?,
        artifact_type: row.get(5)?,
        subject: row.get(6)?,
        config: row.get(7)?,
        annotations: row.get(8)?,
        body: Bytes::from(row.get::<Vec<u8>>(9)?),
        holds,
        children,
        is_of_one_repository,
        tags: tags?,
    })
}

pub(crate) fn tags(tx: &Tx<'_>, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedTag>> {
    let after = start(after);
    let rows: Result<Vec<_>> = tx
        .prepare_cached(TAGS)?
        .query_map(params![after.key, after.text, limit], |row| {
            let tag = CheckedTag {
                repository: row.get(2)?,
                name: row.get(1)?,
                digest: row.get(3)?,
                version: row.get(4)?,
                last_version: row.get(5)?,
                last_digest: row.get(6)?,
            };
            Ok((CheckCursor { key: row.get(0)?, second: 0, text: tag.name.clone() }, tag))
        })?
        .collect();
    Ok(page(rows?, limit))
}

pub(crate) fn changes(tx: &Tx<'_>, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedChange>> {
    let after = start(after);
    let rows: Result<Vec<_>> = tx
        .prepare_cached(CHANGES)?
        .query_map(params![after.key, after.text, after.second, limit], |row| {
            let has_earlier = row.get::<Option<i64>>(6)?.is_some();
            let change = CheckedChange {
                repository: row.get(3)?,
                name: row.get(1)?,
                version: row.get(2)?,
                from: row.get(4)?,
                to: row.get(5)?,
                before: if has_earlier { Some(row.get(7)?) } else { None },
                is_last_of_none: row.get(8)?,
            };
            Ok((CheckCursor { key: row.get(0)?, second: change.version, text: change.name.clone() }, change))
        })?
        .collect();
    Ok(page(rows?, limit))
}

pub(crate) fn deleted(
    tx: &Tx<'_>,
    after: Option<&CheckCursor>,
    now: Timestamp,
    limit: u32,
) -> Result<Page<CheckedDeleted>> {
    let after = start(after);
    let limit = tx.rows_with_bodies(limit);
    let mut statement = tx.prepare_cached(DELETED)?;
    let mut rows = statement.query(params![after.key, after.text, limit])?;
    let (mut found, mut next, mut bytes, mut seen) = (Vec::new(), None, 0, 0);
    while let Some(row) = rows.next()? {
        let digest: String = row.get(1)?;
        let cursor = CheckCursor { key: row.get(0)?, second: 0, text: digest.clone() };
        seen += 1;
        if row.get::<Micros>(4)?.0 > now {
            let body = Bytes::from(row.get::<Vec<u8>>(5)?);
            bytes += body.len();
            found.push(CheckedDeleted { repository: row.get(2)?, digest, media_type: row.get(3)?, body });
        }
        if seen >= limit || bytes >= BODIES_MAX_BYTES {
            next = Some(cursor);
            break;
        }
    }
    Ok(Page { rows: found, next })
}

fn upload(row: &Row<'_>) -> Result<(CheckCursor, CheckedUpload)> {
    let upload = CheckedUpload {
        id: row.get(0)?,
        repository: row.get(1)?,
        algorithm: row.get(2)?,
        is_open: row.get_str(3)? == "open",
        offset_bytes: size(row, 4)?.unwrap_or(0),
        hash_state: row.get(5)?,
        expires_at: row.get::<Micros>(6)?.0,
    };
    Ok((CheckCursor { text: upload.id.clone(), ..CheckCursor::default() }, upload))
}

pub(crate) fn uploads(tx: &Tx<'_>, after: Option<&CheckCursor>, limit: u32) -> Result<Page<CheckedUpload>> {
    let rows: Result<Vec<_>> =
        tx.prepare_cached(UPLOADS)?.query_map(params![start(after).text, limit], upload)?.collect();
    Ok(page(rows?, limit))
}

pub(crate) fn one_upload(tx: &Tx<'_>, id: UploadId) -> Result<Option<CheckedUpload>> {
    let found = tx.prepare_cached(UPLOAD)?.query_row([id.to_string()], upload).optional()?;
    Ok(found.map(|(_, upload)| upload))
}

pub(crate) fn removals(tx: &Tx<'_>, after: Option<&CheckCursor>, limit: u32) -> Result<Page<String>> {
    let rows: Result<Vec<_>> = tx
        .prepare_cached(REMOVALS)?
        .query_map(params![start(after).text, limit], |row| {
            let key: String = row.get(0)?;
            Ok((CheckCursor { text: key.clone(), ..CheckCursor::default() }, key))
        })?
        .collect();
    Ok(page(rows?, limit))
}

pub(crate) fn unnamed(tx: &Tx<'_>, digests: &[Digest]) -> Result<Vec<Digest>> {
    absent(tx, NAMED, digests)
}

pub(crate) fn unlocated(tx: &Tx<'_>, locations: &[Location]) -> Result<Vec<Location>> {
    absent(tx, LOCATED, locations)
}

pub(crate) fn sessionless(tx: &Tx<'_>, ids: &[UploadId]) -> Result<Vec<UploadId>> {
    absent(tx, HAS_SESSION, ids)
}

fn absent<T: ToString + Clone>(tx: &Tx<'_>, statement: Sql, wanted: &[T]) -> Result<Vec<T>> {
    let mut statement = tx.prepare_cached(statement)?;
    let mut absent = Vec::new();
    for item in wanted {
        if !statement.exists([item.to_string()])? {
            absent.push(item.clone());
        }
    }
    Ok(absent)
}

pub(crate) fn affected(tx: &Tx<'_>, digest: &Digest, limit: u32) -> Result<Vec<Affected>> {
    let mut found = Vec::new();
    for statement in [AFFECTED, AFFECTED_BY_INDEX] {
        let mut statement = tx.prepare_cached(statement)?;
        let rows = statement.query_map(params![digest.to_string(), limit], |row| {
            Ok(Affected { repository: row.get(0)?, manifest: row.get(1)?, tag: row.get(2)? })
        })?;
        for row in rows {
            found.push(row?);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
