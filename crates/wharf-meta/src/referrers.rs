//! Referrers: the manifests of a repository whose subject is a given digest, in the order of their push (P-273, P-278).

use std::collections::BTreeMap;

use wharf_base::Timestamp;
use wharf_oci::{AnyDigest, Digest, RepositoryName};

use crate::sql::{Contradiction, Count, Micros, Result, Row, Tx, json_list, params, parsed, statements};

/// A manifest that refers to the subject, with what its descriptor shows (P-271).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// The length of its bytes.
    pub size_bytes: u64,
    /// Its artifact type by the rule of P-272.
    pub artifact_type: Option<String>,
    /// Its top-level annotations.
    pub annotations: BTreeMap<String, String>,
    /// Where the next page begins if this is the last of one.
    pub cursor: ReferrerCursor,
}

/// A place in the list of referrers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReferrerCursor {
    /// When the manifest was first pushed.
    pub pushed_at: Timestamp,
    /// Its digest, for manifests of the same instant; compared as text.
    pub digest: Digest,
}

statements! {
    PAGE =
        "select m.media_type, m.digest, length(m.body), m.artifact_type, m.annotations, m.pushed_at_us
           from repositories r
           join manifests m on m.repository_id = r.id
          where r.name = $1 and m.subject_digest = $2 and (m.pushed_at_us, m.digest) > ($3, $4)
          order by m.pushed_at_us, m.digest
          limit $5",
    // One repository, as PostgreSQL can see: it reads an index in its order then, and sorts nothing.
    postgres:
        "select m.media_type, m.digest, length(m.body), m.artifact_type, m.annotations, m.pushed_at_us
           from manifests m
          where m.repository_id = (select id from repositories where name = $1)
            and m.subject_digest = $2 and (m.pushed_at_us, m.digest) > ($3, $4)
          order by m.pushed_at_us, m.digest
          limit $5";
    PAGE_OF_TYPES =
        "select m.media_type, m.digest, length(m.body), m.artifact_type, m.annotations, m.pushed_at_us
           from repositories r
           join manifests m on m.repository_id = r.id
          where r.name = $1 and m.subject_digest = $2 and (m.pushed_at_us, m.digest) > ($3, $4)
            and m.artifact_type in (select value from json_each($5))
          order by m.pushed_at_us, m.digest
          limit $6",
    postgres:
        "select m.media_type, m.digest, length(m.body), m.artifact_type, m.annotations, m.pushed_at_us
           from manifests m
          where m.repository_id = (select id from repositories where name = $1)
            and m.subject_digest = $2 and (m.pushed_at_us, m.digest) > ($3, $4)
            and m.artifact_type in (select jsonb_array_elements_text(cast(cast($5 as text) as jsonb)))
          order by m.pushed_at_us, m.digest
          limit $6";
}

/// Referrers strictly after `after`; of any of `artifact_types`, or of every type if there are none (P-274).
pub(crate) fn page(
    tx: &Tx<'_>,
    repository: &RepositoryName,
    subject: &AnyDigest,
    artifact_types: &[String],
    after: Option<&ReferrerCursor>,
    limit: u32,
) -> Result<Vec<Referrer>> {
    let (pushed_at, digest) = match after {
        Some(cursor) => (cursor.pushed_at, cursor.digest.to_string()),
        // No digest is empty, and no manifest was pushed before this.
        None => (Timestamp::from_micros(i64::MIN), String::new()),
    };
    let repository = repository.as_str();
    let subject = subject.as_str();
    let pushed_at = Micros(pushed_at);
    if artifact_types.is_empty() {
        return tx
            .prepare_cached(PAGE)?
            .query_map(params![repository, subject, pushed_at, digest, limit], referrer)?
            .collect();
    }
    tx.prepare_cached(PAGE_OF_TYPES)?
        .query_map(params![repository, subject, pushed_at, digest, json_list(artifact_types), limit], referrer)?
        .collect()
}

fn referrer(row: &Row<'_>) -> Result<Referrer> {
    let digest = parsed(row, 1)?;
    Ok(Referrer {
        media_type: row.get(0)?,
        digest,
        size_bytes: row.get::<Count>(2)?.0,
        artifact_type: row.get(3)?,
        annotations: annotations(row.get(4)?)?,
        cursor: ReferrerCursor { pushed_at: row.get::<Micros>(5)?.0, digest },
    })
}

fn annotations(json: Option<String>) -> Result<BTreeMap<String, String>> {
    let Some(json) = json else { return Ok(BTreeMap::new()) };
    serde_json::from_str(&json).map_err(|error| Contradiction(format!("annotations do not parse: {error}")).into())
}
