//! Manifests that no tag names any more, where a rule asks for their deletion (`reliability` §4.3 B).
//!
//! Each has an entry in `gc_reviews` since its tag moved away; one that never had a tag gets its own when the collector
//! walks past ([`walk`]). Whether it goes is decided in the transaction that deletes it: a tag that was set meanwhile keeps it.

use wharf_base::Timestamp;
use wharf_oci::{Digest, RepositoryName};
use wharf_policy::Attribution;

use crate::reviews::{self, Kind};
use crate::sql::{Key, Micros, Result, Tx, params, parsed, statements};
use crate::{deletion, manifests, repositories};

/// A manifest that shall be looked at now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueManifest {
    /// Where.
    pub repository: RepositoryName,
    /// Which.
    pub digest: Digest,
    /// When it was due.
    pub due_at: Timestamp,
    /// Whether the age that its rule asks for has been waited for already.
    pub waited: bool,
}

/// What became of a manifest whose time had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// It is deleted, and can be restored like any other.
    Deleted,
    /// A tag names it, an index lists it, or what it refers to is there.
    Needed,
    /// It was gone already.
    Gone,
}

/// Where a walk over the manifests goes on: behind this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ManifestCursor(Key);

/// A manifest without a tag that nobody will look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untagged {
    /// Where.
    pub repository: RepositoryName,
    /// Which.
    pub digest: Digest,
    /// When it was pushed.
    pub pushed_at: Timestamp,
}

statements! {
    DUE =
        "select r.name, g.digest, g.due_at_us, g.tries
           from gc_reviews g
           join repositories r on r.id = g.repository_id
          where g.kind = 'manifest' and g.due_at_us <= $1
          order by g.due_at_us
          limit $2";
    /// `tries` says that the rule's age has been waited for. An entry that has moved since it was read begins anew.
    WAIT =
        "update gc_reviews set due_at_us = $1, tries = 1
          where repository_id = $2 and kind = 'manifest' and digest = $3 and due_at_us = $4";
    ENTER =
        "insert into gc_reviews (repository_id, kind, digest, due_at_us, tries) values ($1, 'manifest', $2, $3, 1)
             on conflict do nothing";
    TAGGED = "select 1 from tags where manifest_id = $1 limit 1";
    LISTED = "select 1 from manifest_children where repository_id = $1 and child_digest = $2 limit 1";
    /// A referrer is kept while its subject is there.
    SUBJECT_IS_THERE =
        "select 1
           from manifests m
           join manifests s on s.repository_id = m.repository_id and s.digest = m.subject_digest
          where m.id = $1";
    LAST = "select coalesce(max(id), 0) from manifests";
    WALK =
        "select r.name, m.digest, m.pushed_at_us
           from manifests m
           join repositories r on r.id = m.repository_id
          where m.id > $1 and m.id <= $2
            and not exists (select 1 from tags t where t.manifest_id = m.id)
            and not exists (select 1 from gc_reviews g
                             where g.repository_id = m.repository_id and g.kind = 'manifest' and g.digest = m.digest)
          order by m.id";
}

pub(crate) fn due(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Result<Vec<DueManifest>> {
    tx.prepare_cached(DUE)?
        .query_map(params![Micros(now), limit], |row| {
            Ok(DueManifest {
                repository: parsed(row, 0)?,
                digest: parsed(row, 1)?,
                due_at: row.get::<Micros>(2)?.0,
                waited: row.get::<u32>(3)? > 0,
            })
        })?
        .collect()
}

/// Looks again at `until`, when the age that the rule asks for is over.
pub(crate) fn wait(tx: &Tx<'_>, due: &DueManifest, until: Timestamp) -> Result<()> {
    let Some(repository) = repositories::find(tx, &due.repository)? else { return Ok(()) };
    tx.prepare_cached(WAIT)?.execute(params![Micros(until), repository, due.digest.to_string(), Micros(due.due_at)])?;
    Ok(())
}

/// Looks at a manifest that nobody would have looked at, at `due_at`.
pub(crate) fn enter(tx: &Tx<'_>, untagged: &Untagged, due_at: Timestamp) -> Result<()> {
    let Some(repository) = repositories::find(tx, &untagged.repository)? else { return Ok(()) };
    tx.prepare_cached(ENTER)?.execute(params![repository, untagged.digest.to_string(), Micros(due_at)])?;
    Ok(())
}

/// No rule asks for its deletion: nobody looks again until its tags change.
pub(crate) fn keep(tx: &Tx<'_>, name: &RepositoryName, digest: &Digest) -> Result<()> {
    let Some(repository) = repositories::find(tx, name)? else { return Ok(()) };
    reviews::strike(tx, repository, Kind::Manifest, digest)
}

/// Deletes a manifest that nothing needs, by the same function as anybody's deletion (S-015); each look is a statement of
/// its own.
pub(crate) fn retire(
    tx: &Tx<'_>,
    name: &RepositoryName,
    digest: &Digest,
    by: &Attribution,
    now: Timestamp,
    review_at: Timestamp,
) -> Result<Retired> {
    tx.lock(|locks| locks.repository(name))?;
    let Some(repository) = repositories::find(tx, name)? else { return Ok(Retired::Gone) };
    reviews::strike(tx, repository, Kind::Manifest, digest)?;
    let Some((manifest, _)) = manifests::key(tx, repository, digest)? else { return Ok(Retired::Gone) };
    let is_needed = tx.prepare_cached(TAGGED)?.exists([manifest])?
        || tx.prepare_cached(LISTED)?.exists(params![repository, digest.to_string()])?
        || tx.prepare_cached(SUBJECT_IS_THERE)?.exists([manifest])?;
    if is_needed {
        return Ok(Retired::Needed);
    }
    deletion::delete(tx, name, digest, by, now, review_at)?;
    Ok(Retired::Deleted)
}

/// Untagged manifests without an entry among the next `span` that were ever recorded, and where to go on; `None` at the
/// end. A piece costs its span, however few it finds.
pub(crate) fn walk(tx: &Tx<'_>, after: ManifestCursor, span: u32) -> Result<(Vec<Untagged>, Option<ManifestCursor>)> {
    let last: Key = tx.prepare_cached(LAST)?.query_row((), |row| row.get(0))?;
    let until = after.0.saturating_add(span.into());
    let found = tx
        .prepare_cached(WALK)?
        .query_map([after.0, until], |row| {
            Ok(Untagged { repository: parsed(row, 0)?, digest: parsed(row, 1)?, pushed_at: row.get::<Micros>(2)?.0 })
        })?
        .collect::<Result<_>>()?;
    Ok((found, (until < last).then_some(ManifestCursor(until))))
}
