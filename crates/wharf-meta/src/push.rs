//! The push of a manifest: references checked, manifest and references written, tags moved, all or nothing
//! (`Recorded`) or nothing at all (every other answer).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wharf_base::Timestamp;
use wharf_oci::{AnyDigest, Digest, RepositoryName, Tag};
use wharf_policy::Attribution;

use crate::audit::{self, AuditRecord};
use crate::reviews::{self, Kind};
use crate::sql::{Key, Micros, Result, Tx, params, parsed, statements};
use crate::tags::{self, Change};
use crate::{blobs, manifests, repositories};

/// A parsed manifest whose bytes hash to its digest, and what shall point at it.
#[derive(Clone, Debug)]
pub struct ManifestRecord {
    /// Where.
    pub repository: RepositoryName,
    /// Its digest, verified.
    pub digest: Digest,
    /// The media type it is served with.
    pub media_type: String,
    /// Its artifact type by the rule of P-272.
    pub artifact_type: Option<String>,
    /// What it refers to; need not exist (P-230).
    pub subject: Option<AnyDigest>,
    /// Its config, also among `blobs`.
    pub config: Option<Digest>,
    /// Its top-level annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its bytes, at most 4 MiB.
    pub body: Bytes,
    /// The blobs it references: config and layers that are not foreign; repetitions are fine.
    pub blobs: Vec<Digest>,
    /// The children of an index; manifests or blobs of the repository (P-225), repetitions are fine.
    pub children: Vec<Digest>,
    /// What to do about blobs that the repository does not have.
    pub missing_blobs: Missing,
    /// What to do about children that the repository has neither as manifest nor as blob.
    pub missing_children: Missing,
    /// The tags that shall point at it; all or none of them move.
    pub tags: Vec<Tag>,
    /// What must hold for each of `tags` before.
    pub condition: Condition,
    /// Who pushes.
    pub by: Attribution,
    /// When.
    pub now: Timestamp,
    /// When the collector may first look at manifests whose tags move away.
    pub review_at: Timestamp,
}

/// Whether a manifest may name what the repository does not have (P-223 … P-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No: the push is refused.
    Refuse,
    /// Yes; should it come later, the manifest holds it.
    Allow,
}

/// What must hold for every tag of a push, decided on the tags' rows (P-233).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    None,
    /// The tag points at this digest (`If-Match`).
    TagIs(Digest),
    /// There is no such tag (`If-None-Match: *`).
    TagAbsent,
}

/// The answer to the push of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordManifest {
    /// It is there, and all tags point at it.
    Recorded {
        /// Whether the repository did not have it before.
        created: bool,
    },
    /// The repository lacks these, each once, in the manifest's order; nothing has changed.
    Missing {
        /// Blobs without a live association.
        blobs: Vec<Digest>,
        /// Children that are neither manifest nor blob.
        children: Vec<Digest>,
    },
    /// A tag is not what the condition asks for; nothing has changed.
    ConditionFailed,
    /// The repository has these bytes under another media type; nothing has changed.
    MediaTypeConflict,
}

statements! {
    INSERT =
        "insert into manifests (repository_id, digest, media_type, artifact_type, subject_digest, config_digest,
                                annotations, pushed_at_us, pushed_by, body)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    HOLD_BLOB =
        "insert into manifest_blobs (manifest_id, blob_id, repository_id) values ($1, $2, $3) on conflict do nothing";
    HAS_BODY = "select 1 from manifests where id = $1 and body = $2";
    /// The media type never changes; everything else follows from the bytes.
    REPLACE =
        "update manifests
            set artifact_type = $1, subject_digest = $2, config_digest = $3, annotations = $4, body = $5
          where id = $6";
    HELD = "select b.digest from manifest_blobs x join blobs b on b.id = x.blob_id where x.manifest_id = $1";
    RELEASE_BLOBS = "delete from manifest_blobs where manifest_id = $1";
    UNLIST_CHILDREN = "delete from manifest_children where manifest_id = $1";
    LIST_CHILD =
        "insert into manifest_children (manifest_id, child_digest, repository_id)
         values ($1, $2, $3)
             on conflict do nothing";
}

/// Checks come first and write nothing; so every refusal leaves the database as it was.
///
/// A push that could not succeed anyway is told why before its condition is looked at (RFC 9110 §13.2.1).
pub(crate) fn record(tx: &Tx<'_>, record: &ManifestRecord) -> Result<RecordManifest> {
    tx.lock(|locks| {
        locks.repository(&record.repository);
        let named = record.blobs.iter().chain(&record.children);
        match (record.missing_blobs, record.missing_children) {
            (Missing::Refuse, Missing::Refuse) => locks.use_contents(named),
            // What is not there gets a row, and what is condemned is saved.
            _ => locks.change_contents(named),
        }
    })?;
    let repository = repositories::find(tx, &record.repository)?;
    let references = References::look_up(tx, repository, record)?;
    if let Some(refusal) = references.refusal(record) {
        return Ok(refusal);
    }
    let known = match repository {
        Some(repository) => manifests::key(tx, repository, &record.digest)?,
        None => None,
    };
    if known.as_ref().is_some_and(|(_, media_type)| *media_type != record.media_type) {
        return Ok(RecordManifest::MediaTypeConflict);
    }
    if !condition_holds(tx, repository, record)? {
        return Ok(RecordManifest::ConditionFailed);
    }

    let repository = repositories::find_or_create(tx, &record.repository, record.now)?;
    let (manifest, created) = match known {
        Some((manifest, _)) => (manifest, false),
        None => (insert(tx, repository, record)?, true),
    };
    // Bytes of the same digest that are not the same have been damaged since, and these are right.
    let healed = !created && !has_body(tx, manifest, &record.body)?;
    if healed {
        describe_again(tx, repository, manifest, record)?;
    }
    // Also when the manifest was there: a child that was a manifest then may be a blob by now, and must be held.
    references.write(tx, repository, manifest, record.now)?;
    let audited = AuditRecord::done(&record.by, record.now, "manifest.push").on(&record.repository).to(record.digest);
    let mut detail = serde_json::json!({ "media_type": record.media_type, "created": created });
    if healed {
        detail["healed"] = true.into();
    }
    audit::append(tx, &audited.with(detail))?;
    let change =
        Change { repository, name: &record.repository, by: &record.by, now: record.now, review_at: record.review_at };
    for tag in sorted(&record.tags) {
        tags::point(tx, &change, tag, manifest, &record.digest)?;
    }
    Ok(RecordManifest::Recorded { created })
}

/// Whether the stored bytes are these.
pub(crate) fn has_body(tx: &Tx<'_>, manifest: Key, body: &[u8]) -> Result<bool> {
    tx.prepare_cached(HAS_BODY)?.exists(params![manifest, body])
}

/// Writes anew what the record says of a manifest that is there: its bytes and everything that follows from them. The
/// collector looks at what is no longer named.
pub(crate) fn describe_again(tx: &Tx<'_>, repository: Key, manifest: Key, record: &ManifestRecord) -> Result<()> {
    let mut held: Vec<Digest> =
        tx.prepare_cached(HELD)?.query_map([manifest], |row| parsed(row, 0))?.collect::<Result<_>>()?;
    held.sort_unstable();
    tx.lock(|locks| locks.use_contents(&held))?;
    for digest in held.iter().filter(|digest| !record.blobs.contains(digest)) {
        reviews::add(tx, repository, Kind::Blob, digest, record.review_at)?;
    }
    let references = References::look_up(tx, Some(repository), record)?;
    tx.prepare_cached(REPLACE)?.execute(params![
        record.artifact_type,
        record.subject.as_ref().map(AnyDigest::as_str),
        record.config.map(|config| config.to_string()),
        annotations(record),
        record.body.as_ref(),
        manifest,
    ])?;
    tx.prepare_cached(RELEASE_BLOBS)?.execute([manifest])?;
    tx.prepare_cached(UNLIST_CHILDREN)?.execute([manifest])?;
    references.write(tx, repository, manifest, record.now)
}

/// What a manifest names, as far as the repository has it. Each digest once, in the manifest's order.
struct References {
    blobs: Vec<(Digest, Option<Key>)>,
    children: Vec<(Digest, Child)>,
}

/// What a child is in the repository.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Child {
    Manifest,
    Blob(Key),
    Missing,
}

impl References {
    fn look_up(tx: &Tx<'_>, repository: Option<Key>, record: &ManifestRecord) -> Result<Self> {
        let blobs = unique(&record.blobs)
            .map(|digest| Ok((*digest, live_blob(tx, repository, digest)?)))
            .collect::<Result<_>>()?;
        let children = unique(&record.children)
            .map(|digest| Ok((*digest, child(tx, repository, digest)?)))
            .collect::<Result<_>>()?;
        Ok(Self { blobs, children })
    }

    fn refusal(&self, record: &ManifestRecord) -> Option<RecordManifest> {
        let blobs: Vec<Digest> = match record.missing_blobs {
            Missing::Allow => Vec::new(),
            Missing::Refuse => self.blobs.iter().filter(|(_, key)| key.is_none()).map(|(digest, _)| *digest).collect(),
        };
        let children: Vec<Digest> = match record.missing_children {
            Missing::Allow => Vec::new(),
            Missing::Refuse => {
                self.children.iter().filter(|(_, child)| *child == Child::Missing).map(|(digest, _)| *digest).collect()
            }
        };
        if blobs.is_empty() && children.is_empty() { None } else { Some(RecordManifest::Missing { blobs, children }) }
    }

    fn write(&self, tx: &Tx<'_>, repository: Key, manifest: Key, now: Timestamp) -> Result<()> {
        let mut held = BTreeMap::new();
        for (digest, key) in &self.blobs {
            held.insert(digest, *key);
        }
        for (digest, child) in &self.children {
            match child {
                Child::Manifest => {}
                Child::Blob(key) => _ = held.insert(digest, Some(*key)),
                // It may come as either; if as a blob, it must be held.
                Child::Missing => _ = held.entry(digest).or_insert(None),
            }
        }
        for (digest, key) in held {
            let blob = match key {
                Some(key) => key,
                None => blobs::expect(tx, digest, now)?,
            };
            tx.prepare_cached(HOLD_BLOB)?.execute([manifest, blob, repository])?;
        }
        for (digest, _) in &self.children {
            tx.prepare_cached(LIST_CHILD)?.execute(params![manifest, digest.to_string(), repository])?;
        }
        Ok(())
    }
}

fn live_blob(tx: &Tx<'_>, repository: Option<Key>, digest: &Digest) -> Result<Option<Key>> {
    match repository {
        Some(repository) => blobs::live_in(tx, repository, digest),
        None => Ok(None),
    }
}

fn child(tx: &Tx<'_>, repository: Option<Key>, digest: &Digest) -> Result<Child> {
    // A blob first: should a manifest of the same digest be deleted, the index still holds the blob.
    if let Some(key) = live_blob(tx, repository, digest)? {
        return Ok(Child::Blob(key));
    }
    let Some(repository) = repository else { return Ok(Child::Missing) };
    let is_manifest = manifests::key(tx, repository, digest)?.is_some();
    Ok(if is_manifest { Child::Manifest } else { Child::Missing })
}

fn unique(digests: &[Digest]) -> impl Iterator<Item = &Digest> {
    let mut seen = BTreeSet::new();
    digests.iter().filter(move |digest| seen.insert(**digest))
}

fn sorted(tags: &[Tag]) -> BTreeSet<&Tag> {
    tags.iter().collect()
}

fn condition_holds(tx: &Tx<'_>, repository: Option<Key>, record: &ManifestRecord) -> Result<bool> {
    let expected = match record.condition {
        Condition::None => return Ok(true),
        Condition::TagIs(digest) => Some(digest),
        Condition::TagAbsent => None,
    };
    for tag in &record.tags {
        let current = match repository {
            Some(repository) => tags::current(tx, repository, tag)?,
            None => None,
        };
        if current != expected {
            return Ok(false);
        }
    }
    Ok(true)
}

fn insert(tx: &Tx<'_>, repository: Key, record: &ManifestRecord) -> Result<Key> {
    tx.prepare_cached(INSERT)?.insert(params![
        repository,
        record.digest.to_string(),
        record.media_type,
        record.artifact_type,
        record.subject.as_ref().map(AnyDigest::as_str),
        record.config.map(|config| config.to_string()),
        annotations(record),
        Micros(record.now),
        record.by.principal.name(),
        record.body.as_ref(),
    ])
}

fn annotations(record: &ManifestRecord) -> Option<String> {
    let has_some = !record.annotations.is_empty();
    has_some.then(|| serde_json::to_string(&record.annotations).expect("a map of texts has a JSON form"))
}
