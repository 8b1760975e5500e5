//! The push of a manifest: references checked, manifest and references written, tags moved, all or nothing
//! (`Recorded`) or nothing at all (every other answer).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wharf_base::Timestamp;
use wharf_oci::{AnyDigest, Digest, RepositoryName, Tag};
use wharf_policy::Attribution;

use crate::audit::{self, AuditRecord};
use crate::reviews::{self, Kind};
use crate::sql::{Key, Micros, Result, Row, Sql, Tx, ValueRef, json_list, params, parsed, row, statements};
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
    /// What every push looks at first. A repository that is there has a row for each tag, and one if there is none.
    LOOK =
        "select r.id, m.id, m.media_type, json_each.value,
                (select c.digest from tags t join manifests c on c.id = t.manifest_id
                  where t.repository_id = r.id and t.name = json_each.value),
                (select coalesce(max(h.version), 0) + 1 from tag_history h
                  where h.repository_id = r.id and h.name = json_each.value)
           from repositories r
           left join manifests m on m.repository_id = r.id and m.digest = $1
           left join json_each($2) on true
          where r.name = $3",
    postgres:
        "select r.id, m.id, m.media_type, wanted.value,
                (select c.digest from tags t join manifests c on c.id = t.manifest_id
                  where t.repository_id = r.id and t.name = wanted.value),
                (select coalesce(max(h.version), 0) + 1 from tag_history h
                  where h.repository_id = r.id and h.name = wanted.value)
           from repositories r
           left join manifests m on m.repository_id = r.id and m.digest = $1
           left join jsonb_array_elements_text(cast(cast($2 as text) as jsonb)) wanted (value) on true
          where r.name = $3";
    /// A row for each digest, with the content's key if the repository may serve it.
    BLOBS =
        "select value,
                (select b.id from blobs b join repository_blobs a on a.repository_id = $1 and a.blob_id = b.id
                  where b.digest = json_each.value and b.state = 'live')
           from json_each($2)",
    postgres:
        "select value,
                (select b.id from blobs b join repository_blobs a on a.repository_id = $1 and a.blob_id = b.id
                  where b.digest = wanted.value and b.state = 'live')
           from jsonb_array_elements_text(cast(cast($2 as text) as jsonb)) wanted (value)";
    /// The same, and the key of a manifest.
    CHILDREN =
        "select value,
                (select b.id from blobs b join repository_blobs a on a.repository_id = $1 and a.blob_id = b.id
                  where b.digest = json_each.value and b.state = 'live'),
                (select m.id from manifests m where m.repository_id = $1 and m.digest = json_each.value)
           from json_each($2)",
    postgres:
        "select value,
                (select b.id from blobs b join repository_blobs a on a.repository_id = $1 and a.blob_id = b.id
                  where b.digest = wanted.value and b.state = 'live'),
                (select m.id from manifests m where m.repository_id = $1 and m.digest = wanted.value)
           from jsonb_array_elements_text(cast(cast($2 as text) as jsonb)) wanted (value)";
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
    let Looked { repository, known, tags } = look(tx, record)?;
    let references = References::look_up(tx, repository, record)?;
    if let Some(refusal) = references.refusal(record) {
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

fn look(tx: &Tx<'_>, record: &ManifestRecord) -> Result<Looked> {
    let wanted: BTreeSet<&Tag> = record.tags.iter().collect();
    let untouched = wanted.iter().map(|tag| Standing { tag: (*tag).clone(), points_at: None, next_version: 1 });
    let mut looked = Looked { repository: None, known: None, tags: untouched.collect() };
    let mut statement = tx.prepare_cached(LOOK)?;
    let mut rows =
        statement.query(params![record.digest.to_string(), json_list(wanted), record.repository.as_str()])?;
    while let Some(row) = rows.next()? {
        looked.repository = row.get(0)?;
        looked.known = match row.get(1)? {
            Some(manifest) => Some((manifest, row.get(2)?)),
            None => None,
        };
        let Some(name) = row.get::<Option<String>>(3)? else { continue };
        if let Some(standing) = looked.tags.iter_mut().find(|standing| standing.tag.as_str() == name) {
            standing.points_at = if row.get_ref(4)? == ValueRef::Null { None } else { Some(parsed(&row, 4)?) };
            standing.next_version = row.get(5)?;
        }
    }
    Ok(looked)
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
    tx.prepare_cached(RELEASE_BLOBS)?.execute_later([manifest])?;
    tx.prepare_cached(UNLIST_CHILDREN)?.execute_later([manifest])?;
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
        let found = found(tx, BLOBS, repository, &record.blobs, |row| row.get::<Option<Key>>(1))?;
        let blobs = unique(&record.blobs).map(|digest| (*digest, found.get(digest).copied().flatten())).collect();
        let found = found_children(tx, repository, &record.children)?;
        let children = unique(&record.children)
            .map(|digest| (*digest, found.get(digest).copied().unwrap_or(Child::Missing)))
            .collect();
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
        let known = held.values().flatten().map(|key| row![manifest, *key, repository]);
        tx.insert_all(HOLD, ["manifest_id", "blob_id", "repository_id"], known)?;
        let unknown: Vec<&Digest> = held.iter().filter(|(_, key)| key.is_none()).map(|(digest, _)| *digest).collect();
        if !unknown.is_empty() {
            let unknown = json_list(unknown);
            blobs::expect(tx, &unknown, now)?;
            tx.prepare_cached(HOLD_BY_DIGEST)?.execute_later(params![manifest, repository, unknown])?;
        }
        let listed = self.children.iter().map(|(digest, _)| row![manifest, digest.to_string(), repository]);
        tx.insert_all(LIST_CHILDREN, ["manifest_id", "child_digest", "repository_id"], listed)?;
        Ok(())
    }
}

/// What `read` makes of the rows that `sql` has for digests, however many there are.
fn found<T>(
    tx: &Tx<'_>,
    sql: Sql,
    repository: Option<Key>,
    digests: &[Digest],
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<BTreeMap<Digest, T>> {
    match repository {
        Some(repository) if !digests.is_empty() => tx
            .prepare_cached(sql)?
            .query_map(params![repository, json_list(unique(digests))], |row| Ok((parsed(row, 0)?, read(row)?)))?
            .collect(),
        _ => Ok(BTreeMap::new()),
    }
}

fn found_children(tx: &Tx<'_>, repository: Option<Key>, digests: &[Digest]) -> Result<BTreeMap<Digest, Child>> {
    found(tx, CHILDREN, repository, digests, |row| {
        // A blob first: should a manifest of the same digest be deleted, the index still holds the blob.
        Ok(match (row.get::<Option<Key>>(1)?, row.get::<Option<Key>>(2)?) {
            (Some(blob), _) => Child::Blob(blob),
            (None, Some(_)) => Child::Manifest,
            (None, None) => Child::Missing,
        })
    })
}

fn unique(digests: &[Digest]) -> impl Iterator<Item = &Digest> {
    let mut seen = BTreeSet::new();
    digests.iter().filter(move |digest| seen.insert(**digest))
}

fn condition_holds(condition: Condition, tags: &[Standing]) -> bool {
    let expected = match condition {
        Condition::None => return true,
        Condition::TagIs(digest) => Some(digest),
        Condition::TagAbsent => None,
    };
    tags.iter().all(|standing| standing.points_at == expected)
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
