//! The deletion of a manifest (F-02): the only file that removes one (S-015).
//!
//! The collector is told about everything the manifest listed *before* the cascade forgets what that was; the manifest
//! itself is kept aside with its tags until the grace period ends, so that it can be restored.

use wharf_base::Timestamp;
use wharf_oci::{Digest, RepositoryName, Tag};
use wharf_policy::Attribution;

use crate::audit::{self, AuditRecord};
use crate::reviews::{self, Kind};
use crate::sql::{Key, Micros, Result, Sql, Tx, json_list, params, parsed, statements};
use crate::tags::{self, Change};
use crate::{manifests, repositories};

/// What went with a deleted manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedManifest {
    /// The tags that pointed at it, in byte order; they are gone too.
    pub tags: Vec<Tag>,
    /// Up to five indexes of the repository that still list it; for a warning.
    pub parents: Vec<Digest>,
}

/// A warning that names more helps nobody.
const PARENTS_NAMED_MAX: u32 = 5;

statements! {
    BLOBS =
        "select b.digest
           from manifest_blobs x
           join blobs b on b.id = x.blob_id
          where x.manifest_id = $1
          order by b.digest";
    CHILDREN = "select child_digest from manifest_children where manifest_id = $1 order by child_digest";
    PARENTS =
        "select m.digest
           from manifest_children c
           join manifests m on m.id = c.manifest_id
          where c.repository_id = $1 and c.child_digest = $2
          order by c.manifest_id
          limit $3";
    KEEP_ASIDE =
        "insert or replace into deleted_manifests (repository_id, digest, media_type, tags, deleted_at_us, deleted_by,
                                                   restorable_until_us, body)
         select repository_id, digest, media_type, $1, $2, $3, $4, body from manifests where id = $5",
    postgres:
        "insert into deleted_manifests (repository_id, digest, media_type, tags, deleted_at_us, deleted_by,
                                        restorable_until_us, body)
         select repository_id, digest, media_type, $1, $2, $3, $4, body from manifests where id = $5
             on conflict (repository_id, digest) do update
            set media_type = excluded.media_type, tags = excluded.tags, deleted_at_us = excluded.deleted_at_us,
                deleted_by = excluded.deleted_by, restorable_until_us = excluded.restorable_until_us,
                body = excluded.body";
    DELETE = "delete from manifests where id = $1";
}

pub(crate) fn delete(
    tx: &Tx<'_>,
    name: &RepositoryName,
    digest: &Digest,
    by: &Attribution,
    now: Timestamp,
    review_at: Timestamp,
) -> Result<Option<DeletedManifest>> {
    tx.lock(|locks| locks.repository(name))?;
    let Some(repository) = repositories::find(tx, name)? else { return Ok(None) };
    let Some((manifest, _)) = manifests::key(tx, repository, digest)? else { return Ok(None) };

    let blobs = digests(tx, BLOBS, manifest)?;
    tx.lock(|locks| locks.use_contents(&blobs))?;
    for blob in blobs {
        reviews::add(tx, repository, Kind::Blob, &blob, review_at)?;
    }
    for child in digests(tx, CHILDREN, manifest)? {
        reviews::add(tx, repository, Kind::Manifest, &child, review_at)?;
    }
    let tags = tags::note_removal(tx, &Change { repository, name, by, now, review_at }, manifest, digest)?;
    let kept = params![json_list(&tags), Micros(now), by.principal.name(), Micros(review_at), manifest];
    tx.prepare_cached(KEEP_ASIDE)?.execute(kept)?;
    tx.prepare_cached(DELETE)?.execute([manifest])?;
    let detail = serde_json::json!({ "tags": tags.iter().map(Tag::as_str).collect::<Vec<_>>() });
    audit::append(tx, &AuditRecord::done(by, now, "manifest.delete").on(name).to(digest).with(detail))?;
    Ok(Some(DeletedManifest { tags, parents: parents(tx, repository, digest)? }))
}

fn digests(tx: &Tx<'_>, statement: Sql, manifest: Key) -> Result<Vec<Digest>> {
    tx.prepare_cached(statement)?.query_map([manifest], |row| parsed(row, 0))?.collect()
}

fn parents(tx: &Tx<'_>, repository: Key, child: &Digest) -> Result<Vec<Digest>> {
    tx.prepare_cached(PARENTS)?
        .query_map(params![repository, child.to_string(), PARENTS_NAMED_MAX], |row| parsed(row, 0))?
        .collect()
}
