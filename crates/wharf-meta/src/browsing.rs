//! What people look at: lists with more in a line than the protocol tells, and what a manifest holds up. Nothing here
//! changes anything, and every list has a limit.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use wharf_base::Timestamp;
use wharf_oci::{Digest, RepositoryName, Tag};

use crate::repositories;
use crate::sql::{Count, Key, Micros, OptionalExtension as _, Result, Row, Tx, params, parsed, statements};

/// Tags of one repository are counted up to this.
pub const TAGS_COUNTED_MAX: u32 = 1_000;

/// How many other manifests that hold the same blob are counted.
pub const HOLDERS_COUNTED_MAX: u32 = 100;

/// How many tags and parents of one manifest are named.
pub const NAMED_MAX: u32 = 100;

/// A repository in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositorySummary {
    /// Its name.
    pub name: RepositoryName,
    /// How many tags it has, counted up to [`TAGS_COUNTED_MAX`] + 1.
    pub tags: u64,
    /// When anything in it was last changed, as far as the audit log reaches.
    pub changed_at: Option<Timestamp>,
}

/// A tag in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagSummary {
    /// The tag.
    pub tag: Tag,
    /// What it points at.
    pub digest: Digest,
    /// The media type of that.
    pub media_type: String,
    /// The manifest, if it has at most 256 KiB.
    pub body: Option<Bytes>,
    /// Everything that it holds, each blob once, in bytes; of an index, with its first 64 children.
    pub size_bytes: u64,
    /// When the tag was last moved.
    pub updated_at: Timestamp,
    /// Who moved it.
    pub updated_by: String,
    /// When what it points at was last pulled, to the minute.
    pub last_pulled_at: Option<Timestamp>,
}

/// What is known of a manifest besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestDetails {
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// By whom.
    pub pushed_by: String,
    /// The tags that point at it, at most [`NAMED_MAX`].
    pub tags: Vec<Tag>,
    /// Indexes of the repository that list it, at most [`NAMED_MAX`].
    pub parents: Vec<Digest>,
    /// The blobs that it holds.
    pub blobs: Vec<HeldBlob>,
    /// How many manifests of the repository refer to it, counted up to [`NAMED_MAX`].
    pub referrers: u64,
}

/// A blob that a manifest holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBlob {
    /// Which.
    pub digest: Digest,
    /// How large, in bytes; 0 if it is not here.
    pub size_bytes: u64,
    /// How many other manifests of the same repository hold it, counted up to [`HOLDERS_COUNTED_MAX`].
    pub others: u64,
    /// Whether nothing else in the whole registry holds it.
    pub is_last: bool,
}

/// A part of the sum of all content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentPortion {
    /// How many blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes that they would have if each repository kept its own.
    pub unshared_bytes: u64,
    /// Where the next portion begins; `None` after the last.
    pub next: Option<i64>,
}

/// Read models of the web pages. As with [`Metadata`](crate::Metadata), each method is one transaction.
#[async_trait]
pub trait Browsing: Send + Sync + Debug {
    /// At most `limit` names of repositories with a manifest that contain `text`, in byte order, strictly after `after`.
    async fn repositories_like(
        &self,
        text: &str,
        after: Option<&str>,
        limit: u32,
    ) -> crate::Result<Vec<RepositoryName>>;

    /// More about these repositories; those that are not there are left out.
    async fn repository_summaries(&self, names: &[RepositoryName]) -> crate::Result<Vec<RepositorySummary>>;

    /// At most `limit` tags that contain `text`, whatever the case of its letters, in byte order, strictly after `after`;
    /// `None` for an unknown repository.
    async fn tag_summaries(
        &self,
        repository: &RepositoryName,
        text: &str,
        after: Option<&str>,
        limit: u32,
    ) -> crate::Result<Option<Vec<TagSummary>>>;

    /// More about a manifest.
    async fn manifest_details(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> crate::Result<Option<ManifestDetails>>;

    /// Counts at most `limit` blobs, from where the portion before ended.
    async fn content_portion(&self, after: Option<i64>, limit: u32) -> crate::Result<ContentPortion>;
}

statements! {
    LIKE =
        "select r.name
           from repositories r
          where r.name > $1 and r.name like $2 escape '\\'
            and exists (select 1 from manifests m where m.repository_id = r.id)
          order by r.name
          limit $3";
    TAGS_COUNT = "select count(*) from (select 1 from tags where repository_id = $1 limit $2) as counted";
    CHANGED =
        "select at_us
           from audit_log
          where repository = $1 and outcome = 'done'
          order by sequence desc
          limit 1";
    TAGS =
        "select t.name, m.digest, m.media_type, case when length(m.body) <= 262144 then m.body end, t.updated_at_us,
                t.updated_by, m.id, m.last_pulled_at_us
           from tags t
           join manifests m on m.id = t.manifest_id
          where t.repository_id = $1 and t.name > $2 and lower(t.name) like $3 escape '\\'
          order by t.name
          limit $4";
    OWN_BLOBS =
        "select b.id, coalesce(b.size_bytes, 0)
           from manifest_blobs h
           join blobs b on b.id = h.blob_id
          where h.manifest_id = $1";
    CHILDREN =
        "select m.id
           from manifest_children c
           join manifests m on m.repository_id = c.repository_id and m.digest = c.child_digest
          where c.manifest_id = $1
          limit $2";
    MANIFEST = "select id, pushed_at_us, pushed_by from manifests where repository_id = $1 and digest = $2";
    TAGS_OF = "select name from tags where manifest_id = $1 order by name limit $2";
    PARENTS =
        "select m.digest
           from manifest_children c
           join manifests m on m.id = c.manifest_id
          where c.repository_id = $1 and c.child_digest = $2
          limit $3";
    HELD =
        "select b.digest, coalesce(b.size_bytes, 0),
                (select count(*)
                   from (select 1
                           from manifest_blobs o
                          where o.blob_id = b.id and o.repository_id = $1 and o.manifest_id <> $2
                          limit $3) as counted),
                case when exists (select 1 from manifest_blobs o where o.blob_id = b.id and o.manifest_id <> $2)
                     then 0 else 1 end
           from manifest_blobs h
           join blobs b on b.id = h.blob_id
          where h.manifest_id = $2";
    REFERRERS =
        "select count(*)
           from (select 1 from manifests where repository_id = $1 and subject_digest = $2 limit $3) as counted";
    PORTION =
        "select b.id, b.size_bytes, (select count(*) from repository_blobs a where a.blob_id = b.id)
           from blobs b
          where b.id > $1 and b.state in ('live', 'deleting') and b.size_bytes is not null
          order by b.id
          limit $2";
}

/// How many children of an index count in its size.
const CHILDREN_SIZED_MAX: u32 = 64;

/// A pattern of `like` for everything that contains `text`.
fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

pub(crate) fn repositories_like(
    tx: &Tx<'_>,
    text: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<RepositoryName>> {
    let after = after.unwrap_or("");
    tx.prepare_cached(LIKE)?.query_map(params![after, containing(text), limit], |row| parsed(row, 0))?.collect()
}

pub(crate) fn summaries(tx: &Tx<'_>, names: &[RepositoryName]) -> Result<Vec<RepositorySummary>> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let Some(key) = repositories::find(tx, name)? else { continue };
        let tags: Count =
            tx.prepare_cached(TAGS_COUNT)?.query_row(params![key, TAGS_COUNTED_MAX + 1], |row| row.get(0))?;
        let changed_at = tx.prepare_cached(CHANGED)?.query_row([name.as_str()], |row| row.get::<Micros>(0));
        let changed_at = changed_at.optional()?.map(|at| at.0);
        found.push(RepositorySummary { name: name.clone(), tags: tags.0, changed_at });
    }
    Ok(found)
}

pub(crate) fn tags(
    tx: &Tx<'_>,
    repository: &RepositoryName,
    text: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Option<Vec<TagSummary>>> {
    let Some(key) = repositories::find(tx, repository)? else { return Ok(None) };
    let rows: Vec<(TagSummary, Key)> = tx
        .prepare_cached(TAGS)?
        .query_map(params![key, after.unwrap_or(""), containing(text), limit], tag_row)?
        .collect::<Result<_>>()?;
    let mut found = Vec::with_capacity(rows.len());
    for (mut summary, manifest) in rows {
        summary.size_bytes = size(tx, manifest)?;
        found.push(summary);
    }
    Ok(Some(found))
}

fn tag_row(row: &Row<'_>) -> Result<(TagSummary, Key)> {
    let summary = TagSummary {
        tag: parsed(row, 0)?,
        digest: parsed(row, 1)?,
        media_type: row.get(2)?,
        body: row.get::<Option<Vec<u8>>>(3)?.map(Bytes::from),
        size_bytes: 0,
        updated_at: row.get::<Micros>(4)?.0,
        updated_by: row.get(5)?,
        last_pulled_at: row.get::<Option<Micros>>(7)?.map(|at| at.0),
    };
    Ok((summary, row.get(6)?))
}

/// What a manifest and its children hold, each blob once.
fn size(tx: &Tx<'_>, manifest: Key) -> Result<u64> {
    let children: Vec<Key> = tx
        .prepare_cached(CHILDREN)?
        .query_map(params![manifest, CHILDREN_SIZED_MAX], |row| row.get(0))?
        .collect::<Result<_>>()?;
    let mut sizes = std::collections::HashMap::new();
    for holder in std::iter::once(manifest).chain(children) {
        let mut statement = tx.prepare_cached(OWN_BLOBS)?;
        let held = statement.query_map([holder], |row| Ok((row.get::<Key>(0)?, row.get::<Count>(1)?.0)))?;
        for blob in held {
            let (key, size_bytes) = blob?;
            sizes.insert(key, size_bytes);
        }
    }
    Ok(sizes.into_values().fold(0, u64::saturating_add))
}

pub(crate) fn details(tx: &Tx<'_>, repository: &RepositoryName, digest: &Digest) -> Result<Option<ManifestDetails>> {
    let Some(repository) = repositories::find(tx, repository)? else { return Ok(None) };
    let found = tx
        .prepare_cached(MANIFEST)?
        .query_row(params![repository, digest.to_string()], |row| {
            Ok((row.get::<Key>(0)?, row.get::<Micros>(1)?.0, row.get::<String>(2)?))
        })
        .optional()?;
    let Some((key, pushed_at, pushed_by)) = found else { return Ok(None) };
    let tags =
        tx.prepare_cached(TAGS_OF)?.query_map(params![key, NAMED_MAX], |row| parsed(row, 0))?.collect::<Result<_>>()?;
    let parents = tx
        .prepare_cached(PARENTS)?
        .query_map(params![repository, digest.to_string(), NAMED_MAX], |row| parsed(row, 0))?
        .collect::<Result<_>>()?;
    let blobs = tx
        .prepare_cached(HELD)?
        .query_map(params![repository, key, HOLDERS_COUNTED_MAX], |row| {
            Ok(HeldBlob {
                digest: parsed(row, 0)?,
                size_bytes: row.get::<Count>(1)?.0,
                others: row.get::<Count>(2)?.0,
                is_last: row.get(3)?,
            })
        })?
        .collect::<Result<_>>()?;
    let referrers: Count = tx
        .prepare_cached(REFERRERS)?
        .query_row(params![repository, digest.to_string(), NAMED_MAX], |row| row.get(0))?;
    let details = ManifestDetails { pushed_at, pushed_by, tags, parents, blobs, referrers: referrers.0 };
    Ok(Some(details))
}

pub(crate) fn portion(tx: &Tx<'_>, after: Option<i64>, limit: u32) -> Result<ContentPortion> {
    let mut portion = ContentPortion { blobs: 0, bytes: 0, unshared_bytes: 0, next: None };
    let mut statement = tx.prepare_cached(PORTION)?;
    let mut rows = statement.query(params![after.unwrap_or(0), limit])?;
    while let Some(row) = rows.next()? {
        let (size_bytes, repositories) = (row.get::<Count>(1)?.0, row.get::<Count>(2)?.0);
        portion.blobs += 1;
        portion.bytes = portion.bytes.saturating_add(size_bytes);
        portion.unshared_bytes = portion.unshared_bytes.saturating_add(size_bytes.saturating_mul(repositories));
        portion.next = Some(row.get(0)?);
    }
    if portion.blobs < u64::from(limit) {
        portion.next = None;
    }
    Ok(portion)
}
