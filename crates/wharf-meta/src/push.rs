//! The push of a manifest: references checked, manifest and references written, tags moved, all or nothing
//! (`Recorded`) or nothing at all (every other answer).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wharf_base::Timestamp;
use wharf_oci::{AnyDigest, Digest, RepositoryName, Tag};
use wharf_policy::Attribution;

use crate::audit::{self, AuditRecord};
use crate::reviews::{self, Kind};
use crate::sql::{Key, Micros, Result, Tx, json_list, params, parsed, parsed_or_none, row, statements};
use crate::tags::{self, Change, Standing};
use crate::{blobs, repositories};

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
    /// What every push looks at first, for each of its tags.
    LOOK =
        "select r.id, m.id, m.media_type,
                (select c.digest from tags t join manifests c on c.id = t.manifest_id
                  where t.repository_id = r.id and t.name = $1),
                (select coalesce(max(h.version), 0) + 1 from tag_history h
                  where h.repository_id = r.id and h.name = $1)
           from (select 1) one
           left join repositories r on r.name = $2
           left join manifests m on m.repository_id = r.id and m.digest = $3",
    postgres:
        "select r.id, m.id, m.media_type,
                (select c.digest from tags t join manifests c on c.id = t.manifest_id
                  where t.repository_id = r.id and t.name = wanted.value),
                (select coalesce(max(h.version), 0) + 1 from tag_history h
                  where h.repository_id = r.id and h.name = wanted.value)
           from jsonb_array_elements_text(cast(cast($1 as text) as jsonb)) with ordinality wanted (value, place)
           left join repositories r on r.name = $2
           left join manifests m on m.repository_id = r.id and m.digest = $3
          order by wanted.place";
    /// The content's key for each digest, if the repository may serve it.
    BLOBS =
        "select (select b.id from blobs b join repository_blobs a on a.blob_id = b.id
                  where b.digest = $1 and b.state = 'live' and a.repository_id = $2)",
    postgres:
        "select (select b.id from blobs b join repository_blobs a on a.blob_id = b.id
                  where b.digest = wanted.value and b.state = 'live' and a.repository_id = $2)
           from jsonb_array_elements_text(cast(cast($1 as text) as jsonb)) with ordinality wanted (value, place)
          order by wanted.place";
    /// The same, and the key of a manifest.
    CHILDREN =
        "select (select b.id from blobs b join repository_blobs a on a.blob_id = b.id
                  where b.digest = $1 and b.state = 'live' and a.repository_id = $2),
                (select m.id from manifests m where m.digest = $1 and m.repository_id = $2)",
    postgres:
        "select (select b.id from blobs b join repository_blobs a on a.blob_id = b.id
                  where b.digest = wanted.value and b.state = 'live' and a.repository_id = $2),
                (select m.id from manifests m where m.digest = wanted.value and m.repository_id = $2)
           from jsonb_array_elements_text(cast(cast($1 as text) as jsonb)) with ordinality wanted (value, place)
          order by wanted.place";
    HOLD =
        "insert into manifest_blobs (manifest_id, blob_id, repository_id) values ($1, $2, $3) on conflict do nothing",
    postgres:
        "insert into manifest_blobs (manifest_id, blob_id, repository_id)
         select manifest_id, blob_id, repository_id
           from jsonb_to_recordset(cast(cast($1 as text) as jsonb))
             as held (manifest_id bigint, blob_id bigint, repository_id bigint)
             on conflict do nothing";
    /// Content that no look-up has found a key for.
    HOLD_BY_DIGEST =
        "insert into manifest_blobs (manifest_id, blob_id, repository_id)
         select $1, b.id, $2 from json_each($3) cross join blobs b on b.digest = json_each.value where true
             on conflict do nothing",
    postgres:
        "insert into manifest_blobs (manifest_id, blob_id, repository_id)
         select $1, b.id, $2 from blobs b
          where b.digest in (select jsonb_array_elements_text(cast(cast($3 as text) as jsonb)))
             on conflict do nothing";
    HAS_BODY = "select 1 from manifests where id = $1 and body = $2";
    /// The media type never changes; everything else follows from the bytes.
    REPLACE =
        "update manifests
            set artifact_type = $1, subject_digest = $2, config_digest = $3, annotations = $4, body = $5
          where id = $6";
    HELD = "select b.digest from manifest_blobs x join blobs b on b.id = x.blob_id where x.manifest_id = $1";
    RELEASE_BLOBS = "delete from manifest_blobs where manifest_id = $1";
    UNLIST_CHILDREN = "delete from manifest_children where manifest_id = $1";
    LIST_CHILDREN =
        "insert into manifest_children (manifest_id, child_digest, repository_id) values ($1, $2, $3)
             on conflict do nothing",
    postgres:
        "insert into manifest_children (manifest_id, child_digest, repository_id)
         select manifest_id, child_digest, repository_id
           from jsonb_to_recordset(cast(cast($1 as text) as jsonb))
             as listed (manifest_id bigint, child_digest text, repository_id bigint)
             on conflict do nothing";
}

/// A push with its texts made and each name once, where nobody waits for the writer yet.
#[derive(Debug)]
pub(crate) struct Push {
    record: ManifestRecord,
    digest: String,
    config: Option<String>,
    annotations: Option<String>,
    /// In the manifest's order, as the children.
    blobs: Vec<Named>,
    children: Vec<Named>,
    /// In byte order.
    tags: Vec<Tag>,
}

#[derive(Debug)]
struct Named {
    digest: Digest,
    text: String,
}

impl From<ManifestRecord> for Push {
    fn from(record: ManifestRecord) -> Self {
        let annotations = &record.annotations;
        let annotations = (!annotations.is_empty())
            .then(|| serde_json::to_string(annotations).expect("a map of texts has a JSON form"));
        Self {
            digest: record.digest.to_string(),
            config: record.config.map(|config| config.to_string()),
            annotations,
            blobs: each_once(&record.blobs),
            children: each_once(&record.children),
            tags: record.tags.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect(),
            record,
        }
    }
}

fn each_once(digests: &[Digest]) -> Vec<Named> {
    let mut seen = BTreeSet::new();
    let named = |digest: &Digest| Named { digest: *digest, text: digest.to_string() };
    digests.iter().filter(|digest| seen.insert(**digest)).map(named).collect()
}

fn texts(named: &[Named]) -> Vec<&str> {
    named.iter().map(|named| named.text.as_str()).collect()
}

/// Checks come first and write nothing; so every refusal leaves the database as it was.
///
/// A push that could not succeed anyway is told why before its condition is looked at (RFC 9110 §13.2.1).
pub(crate) fn record(tx: &Tx<'_>, push: &Push) -> Result<RecordManifest> {
    let record = &push.record;
    tx.lock(|locks| {
        locks.repository(&record.repository);
        let named = record.blobs.iter().chain(&record.children);
        match (record.missing_blobs, record.missing_children) {
            (Missing::Refuse, Missing::Refuse) => locks.use_contents(named),
            // What is not there gets a row, and what is condemned is saved.
            _ => locks.change_contents(named),
        }
    })?;
    let Looked { repository, known, tags } = look(tx, push)?;
    let references = References::look_up(tx, repository, push)?;
    if let Some(refusal) = references.refusal(push) {
        return Ok(refusal);
    }
    if known.as_ref().is_some_and(|(_, media_type)| *media_type != record.media_type) {
        return Ok(RecordManifest::MediaTypeConflict);
    }
    if !condition_holds(record.condition, &tags) {
        return Ok(RecordManifest::ConditionFailed);
    }

    let repository = match repository {
        Some(repository) => repository,
        None => repositories::find_or_create(tx, &record.repository, record.now)?,
    };
    let (manifest, created) = match known {
        Some((manifest, _)) => (manifest, false),
        None => (insert(tx, repository, push)?, true),
    };
    // Bytes of the same digest that are not the same have been damaged since, and these are right.
    let healed = !created && !has_body(tx, manifest, &record.body)?;
    if healed {
        describe_again(tx, repository, manifest, push)?;
    }
    // Also when the manifest was there: a child that was a manifest then may be a blob by now, and must be held.
    references.write(tx, repository, manifest, push)?;
    let audited = AuditRecord::done(&record.by, record.now, "manifest.push").on(&record.repository).to(&push.digest);
    let mut detail = serde_json::json!({ "media_type": record.media_type, "created": created });
    if healed {
        detail["healed"] = true.into();
    }
    let change =
        Change { repository, name: &record.repository, by: &record.by, now: record.now, review_at: record.review_at };
    let mut records = vec![audited.with(detail)];
    records.extend(tags::point_all(tx, &change, &tags, manifest, &record.digest)?);
    audit::append_all(tx, &records)?;
    Ok(RecordManifest::Recorded { created })
}

/// What stands where a manifest is pushed to.
struct Looked {
    repository: Option<Key>,
    /// The manifest's key and media type, if it is there.
    known: Option<(Key, String)>,
    /// Each tag of the push once, in byte order.
    tags: Vec<Standing>,
}

fn look(tx: &Tx<'_>, push: &Push) -> Result<Looked> {
    // No tag is empty, and a push without one needs a row as well.
    let wanted: Vec<&str> = if push.tags.is_empty() { vec![""] } else { push.tags.iter().map(Tag::as_str).collect() };
    let (mut repository, mut known) = (None, None);
    let stands = tx.query_each(LOOK, &wanted, &[&push.record.repository.as_str(), &push.digest], |row| {
        repository = row.get(0)?;
        known = match row.get(1)? {
            Some(manifest) => Some((manifest, row.get(2)?)),
            None => None,
        };
        Ok((parsed_or_none(row, 3)?, row.get(4)?))
    })?;
    let standing = |(tag, (points_at, next_version)): (&Tag, _)| Standing { tag: tag.clone(), points_at, next_version };
    Ok(Looked { repository, known, tags: push.tags.iter().zip(stands).map(standing).collect() })
}

/// Whether the stored bytes are these.
pub(crate) fn has_body(tx: &Tx<'_>, manifest: Key, body: &[u8]) -> Result<bool> {
    tx.prepare_cached(HAS_BODY)?.exists(params![manifest, body])
}

/// Writes anew what the record says of a manifest that is there: its bytes and everything that follows from them. The
/// collector looks at what is no longer named.
pub(crate) fn describe_again(tx: &Tx<'_>, repository: Key, manifest: Key, push: &Push) -> Result<()> {
    let record = &push.record;
    let mut held: Vec<Digest> =
        tx.prepare_cached(HELD)?.query_map([manifest], |row| parsed(row, 0))?.collect::<Result<_>>()?;
    held.sort_unstable();
    tx.lock(|locks| locks.use_contents(&held))?;
    for digest in held.iter().filter(|digest| !record.blobs.contains(digest)) {
        reviews::add(tx, repository, Kind::Blob, digest, record.review_at)?;
    }
    let references = References::look_up(tx, Some(repository), push)?;
    tx.prepare_cached(REPLACE)?.execute(params![
        record.artifact_type,
        record.subject.as_ref().map(AnyDigest::as_str),
        push.config,
        push.annotations,
        record.body.as_ref(),
        manifest,
    ])?;
    tx.prepare_cached(RELEASE_BLOBS)?.execute_later([manifest])?;
    tx.prepare_cached(UNLIST_CHILDREN)?.execute_later([manifest])?;
    references.write(tx, repository, manifest, push)
}

/// What the repository has of what a manifest names: for each of the push's blobs and children what it is there.
struct References {
    blobs: Vec<Option<Key>>,
    children: Vec<Child>,
}

/// What a child is in the repository.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Child {
    Manifest,
    Blob(Key),
    Missing,
}

impl References {
    fn look_up(tx: &Tx<'_>, repository: Option<Key>, push: &Push) -> Result<Self> {
        let Some(repository) = repository else {
            return Ok(Self {
                blobs: vec![None; push.blobs.len()],
                children: vec![Child::Missing; push.children.len()],
            });
        };
        let blobs = tx.query_each(BLOBS, &texts(&push.blobs), &[&repository], |row| row.get(0))?;
        let children = tx.query_each(CHILDREN, &texts(&push.children), &[&repository], |row| {
            // A blob first: should a manifest of the same digest be deleted, the index still holds the blob.
            Ok(match (row.get::<Option<Key>>(0)?, row.get::<Option<Key>>(1)?) {
                (Some(blob), _) => Child::Blob(blob),
                (None, Some(_)) => Child::Manifest,
                (None, None) => Child::Missing,
            })
        })?;
        Ok(Self { blobs, children })
    }

    fn missing_blobs<'p>(&self, push: &'p Push) -> impl Iterator<Item = &'p Named> {
        push.blobs.iter().zip(&self.blobs).filter(|(_, key)| key.is_none()).map(|(named, _)| named)
    }

    fn missing_children<'p>(&self, push: &'p Push) -> impl Iterator<Item = &'p Named> {
        push.children.iter().zip(&self.children).filter(|(_, child)| **child == Child::Missing).map(|(named, _)| named)
    }

    fn refusal(&self, push: &Push) -> Option<RecordManifest> {
        let blobs: Vec<Digest> = match push.record.missing_blobs {
            Missing::Allow => Vec::new(),
            Missing::Refuse => self.missing_blobs(push).map(|named| named.digest).collect(),
        };
        let children: Vec<Digest> = match push.record.missing_children {
            Missing::Allow => Vec::new(),
            Missing::Refuse => self.missing_children(push).map(|named| named.digest).collect(),
        };
        if blobs.is_empty() && children.is_empty() { None } else { Some(RecordManifest::Missing { blobs, children }) }
    }

    fn write(&self, tx: &Tx<'_>, repository: Key, manifest: Key, push: &Push) -> Result<()> {
        let children = self.children.iter().filter_map(|child| match child {
            Child::Blob(key) => Some(key),
            Child::Manifest | Child::Missing => None,
        });
        let held = self.blobs.iter().flatten().chain(children).map(|key| row![manifest, *key, repository]);
        tx.insert_all(HOLD, ["manifest_id", "blob_id", "repository_id"], held)?;
        // A child that is missing may come as either; if as a blob, it must be held.
        let unknown: BTreeSet<&str> =
            self.missing_blobs(push).chain(self.missing_children(push)).map(|named| &*named.text).collect();
        if !unknown.is_empty() {
            let unknown = json_list(unknown);
            blobs::expect(tx, &unknown, push.record.now)?;
            tx.prepare_cached(HOLD_BY_DIGEST)?.execute_later(params![manifest, repository, unknown])?;
        }
        let listed = push.children.iter().map(|child| row![manifest, &*child.text, repository]);
        tx.insert_all(LIST_CHILDREN, ["manifest_id", "child_digest", "repository_id"], listed)
    }
}

fn condition_holds(condition: Condition, tags: &[Standing]) -> bool {
    let expected = match condition {
        Condition::None => return true,
        Condition::TagIs(digest) => Some(digest),
        Condition::TagAbsent => None,
    };
    tags.iter().all(|standing| standing.points_at == expected)
}

fn insert(tx: &Tx<'_>, repository: Key, push: &Push) -> Result<Key> {
    let record = &push.record;
    tx.prepare_cached(INSERT)?.insert(params![
        repository,
        push.digest,
        record.media_type,
        record.artifact_type,
        record.subject.as_ref().map(AnyDigest::as_str),
        push.config,
        push.annotations,
        Micros(record.now),
        record.by.principal.name(),
        record.body.as_ref(),
    ])
}
