//! Tags: the only file that moves or removes one (S-015). Whether a push creates or overwrites a tag is decided on the
//! tag's row inside the writing transaction (S-014); every change leaves a line in `tag_history`, and the digest it
//! displaces is looked at by the collector.

use wharf_base::Timestamp;
use wharf_oci::{Digest, RepositoryName, Tag};
use wharf_policy::Attribution;

use crate::audit::{self, AuditRecord};
use crate::repositories;
use crate::reviews::{self, Kind};
use crate::sql::{Key, OptionalExtension as _, Result, Tx, params, parsed, parsed_or_none, row, statements};

statements! {
    /// Also says whether the repository is known: then there is at least one row, perhaps without a tag.
    PAGE =
        "select t.name
           from repositories r
           left join tags t on t.repository_id = r.id and t.name > $1
          where r.name = $2
          order by t.name
          limit $3",
    // The limit stands where the index is read: PostgreSQL would read all tags and sort them otherwise.
    postgres:
        "select t.name
           from repositories r
           left join lateral (select name from tags
                               where repository_id = r.id and name > $1
                               order by name
                               limit $3) t on true
          where r.name = $2
          order by t.name";
    CURRENT =
        "select m.digest
           from tags t
           join manifests m on m.id = t.manifest_id
          where t.repository_id = $1 and t.name = $2";
    OF_MANIFEST = "select name from tags where manifest_id = $1 order by name";
    NEXT_VERSION =
        "select coalesce(max(version), 0) + 1 from tag_history where repository_id = $1 and name = $2";
    POINT =
        "insert into tags (repository_id, name, manifest_id, version, updated_at_us, updated_by)
         values ($1, $2, $3, $4, $5, $6)
             on conflict (repository_id, name) do update
            set manifest_id = excluded.manifest_id,
                version = excluded.version,
                updated_at_us = excluded.updated_at_us,
                updated_by = excluded.updated_by",
    postgres:
        "insert into tags (repository_id, name, manifest_id, version, updated_at_us, updated_by)
         select repository_id, name, manifest_id, version, updated_at_us, updated_by
           from jsonb_to_recordset(cast(cast($1 as text) as jsonb))
             as moved (repository_id bigint, name text, manifest_id bigint, version bigint, updated_at_us bigint,
                       updated_by text)
             on conflict (repository_id, name) do update
            set manifest_id = excluded.manifest_id,
                version = excluded.version,
                updated_at_us = excluded.updated_at_us,
                updated_by = excluded.updated_by";
    NOTE =
        "insert into tag_history (repository_id, name, version, from_digest, to_digest, changed_at_us, changed_by)
         values ($1, $2, $3, $4, $5, $6, $7)",
    postgres:
        "insert into tag_history (repository_id, name, version, from_digest, to_digest, changed_at_us, changed_by)
         select repository_id, name, version, from_digest, to_digest, changed_at_us, changed_by
           from jsonb_to_recordset(cast(cast($1 as text) as jsonb))
             as changed (repository_id bigint, name text, version bigint, from_digest text, to_digest text,
                         changed_at_us bigint, changed_by text)";
    DELETE = "delete from tags where repository_id = $1 and name = $2";
}

/// Who changes tags, when, and from when on the collector may look at what they displace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) repository: Key,
    /// The repository's name, for records.
    pub(crate) name: &'a RepositoryName,
    pub(crate) by: &'a Attribution,
    pub(crate) now: Timestamp,
    pub(crate) review_at: Timestamp,
}

/// What the tag points at, decided on its row.
pub(crate) fn current(tx: &Tx<'_>, repository: Key, tag: &Tag) -> Result<Option<Digest>> {
    tx.prepare_cached(CURRENT)?.query_row(params![repository, tag.as_str()], |row| parsed(row, 0)).optional()
}

/// Where a tag points, and the version that its next move makes.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) tag: Tag,
    pub(crate) points_at: Option<Digest>,
    pub(crate) next_version: i64,
}

/// Points the tag at a manifest of the same repository.
pub(crate) fn point(tx: &Tx<'_>, change: &Change<'_>, tag: &Tag, manifest: Key, digest: &Digest) -> Result<()> {
    let points_at = current(tx, change.repository, tag)?;
    let records = point_all(tx, change, &[standing(tx, change, tag, points_at)?], manifest, digest)?;
    audit::append_all(tx, &records)
}

/// Points tags at a manifest of the same repository. Pointing one where it points already changes nothing. What is to
/// be recorded in the audit log, whose place is taken last.
pub(crate) fn point_all(
    tx: &Tx<'_>,
    change: &Change<'_>,
    tags: &[Standing],
    manifest: Key,
    digest: &Digest,
) -> Result<Vec<AuditRecord>> {
    let moved: Vec<&Standing> = tags.iter().filter(|standing| standing.points_at.as_ref() != Some(digest)).collect();
    if moved.is_empty() {
        return Ok(Vec::new());
    }
    let by = change.by.principal.name();
    note(tx, change, moved.iter().copied(), Some(digest))?;
    let rows = moved.iter().map(|standing| {
        row![change.repository, standing.tag.as_str(), manifest, standing.next_version, change.now.as_micros(), by]
    });
    tx.insert_all(POINT, ["repository_id", "name", "manifest_id", "version", "updated_at_us", "updated_by"], rows)?;
    for displaced in moved.iter().filter_map(|standing| standing.points_at.as_ref()) {
        reviews::add(tx, change.repository, Kind::Manifest, displaced, change.review_at)?;
    }
    let records = moved.iter().map(|standing| {
        let from = standing.points_at.as_ref();
        record(change, if from.is_some() { "tag.move" } else { "tag.create" }, &standing.tag, from, Some(digest))
    });
    Ok(records.collect())
}

/// Removes one tag; its manifest stays (P-250).
pub(crate) fn delete(tx: &Tx<'_>, change: &Change<'_>, tag: &Tag) -> Result<bool> {
    let Some(digest) = current(tx, change.repository, tag)? else { return Ok(false) };
    note(tx, change, [&standing(tx, change, tag, Some(digest))?], None)?;
    reviews::add(tx, change.repository, Kind::Manifest, &digest, change.review_at)?;
    tx.prepare_cached(DELETE)?.execute(params![change.repository, tag.as_str()])?;
    audit::append(tx, &record(change, "tag.delete", tag, Some(&digest), None))?;
    Ok(true)
}

/// Writes the history of a manifest's tags, which its deletion is about to remove by cascade (F-02), and names them.
pub(crate) fn note_removal(tx: &Tx<'_>, change: &Change<'_>, manifest: Key, digest: &Digest) -> Result<Vec<Tag>> {
    let tags: Vec<Tag> =
        tx.prepare_cached(OF_MANIFEST)?.query_map([manifest], |row| parsed(row, 0))?.collect::<Result<_>>()?;
    let removed = tags.iter().map(|tag| standing(tx, change, tag, Some(*digest))).collect::<Result<Vec<_>>>()?;
    note(tx, change, &removed, None)?;
    let records: Vec<_> = tags.iter().map(|tag| record(change, "tag.delete", tag, Some(digest), None)).collect();
    audit::append_all(tx, &records)?;
    Ok(tags)
}

/// Writes into the history that tags point at `to` from now on.
fn note<'a>(
    tx: &Tx<'_>,
    change: &Change<'_>,
    changed: impl IntoIterator<Item = &'a Standing>,
    to: Option<&Digest>,
) -> Result<()> {
    let columns = ["repository_id", "name", "version", "from_digest", "to_digest", "changed_at_us", "changed_by"];
    let rows = changed.into_iter().map(|standing| {
        row![
            change.repository,
            standing.tag.as_str(),
            standing.next_version,
            standing.points_at.as_ref().map(Digest::to_string),
            to.map(Digest::to_string),
            change.now.as_micros(),
            change.by.principal.name(),
        ]
    });
    tx.insert_all(NOTE, columns, rows)
}

fn standing(tx: &Tx<'_>, change: &Change<'_>, tag: &Tag, points_at: Option<Digest>) -> Result<Standing> {
    let next_version =
        tx.prepare_cached(NEXT_VERSION)?.query_row(params![change.repository, tag.as_str()], |row| row.get(0))?;
    Ok(Standing { tag: tag.clone(), points_at, next_version })
}

fn record(
    change: &Change<'_>,
    action: &'static str,
    tag: &Tag,
    from: Option<&Digest>,
    to: Option<&Digest>,
) -> AuditRecord {
    let detail = serde_json::json!({ "from": from.map(Digest::to_string), "to": to.map(Digest::to_string) });
    AuditRecord::done(change.by, change.now, action).on(change.name).to(tag).with(detail)
}

/// Tags strictly after `after` in byte order; `None` for an unknown repository (P-256, P-257, P-261).
pub(crate) fn page(
    tx: &Tx<'_>,
    repository: &RepositoryName,
    after: Option<&str>,
    limit: u32,
) -> Result<Option<Vec<Tag>>> {
    if limit == 0 {
        return Ok(repositories::find(tx, repository)?.map(|_| Vec::new()));
    }
    let rows: Vec<Option<Tag>> = tx
        .prepare_cached(PAGE)?
        // No tag is empty, so the empty text stands before all of them.
        .query_map(params![after.unwrap_or(""), repository.as_str(), limit], |row| parsed_or_none(row, 0))?
        .collect::<Result<_>>()?;
    if rows.is_empty() { Ok(None) } else { Ok(Some(rows.into_iter().flatten().collect())) }
}
