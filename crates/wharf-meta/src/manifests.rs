//! Manifests as they are read: by tag or by digest, in one statement each, only in the repository that has them.

use bytes::Bytes;
use wharf_oci::{Digest, Reference, RepositoryName};

use crate::sql::{Count, Key, OptionalExtension as _, Result, Row, Sql, Tx, params, parsed, statements};

/// A manifest, byte for byte as it was pushed (P-197, P-212). What is known of its bytes makes it no other.
#[derive(Clone, Debug)]
pub struct StoredManifest {
    /// The digest it was pushed or tagged with.
    pub digest: Digest,
    /// The media type it was pushed with.
    pub media_type: String,
    /// Its bytes.
    pub body: Bytes,
    /// Whether they are known to hash to `digest`.
    pub is_intact: bool,
}

/// A manifest without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// The digest it was pushed or tagged with.
    pub digest: Digest,
    /// The media type it was pushed with.
    pub media_type: String,
    /// The length of its bytes.
    pub size_bytes: u64,
}

impl StoredManifest {
    /// Whether its bytes hash to its digest; they are hashed at most once.
    pub fn verify(&mut self) -> bool {
        self.is_intact = self.is_intact || Digest::of(self.digest.algorithm(), &self.body) == self.digest;
        self.is_intact
    }
}

impl PartialEq for StoredManifest {
    fn eq(&self, other: &Self) -> bool {
        (&self.digest, &self.media_type, &self.body) == (&other.digest, &other.media_type, &other.body)
    }
}

impl Eq for StoredManifest {}

impl From<StoredManifest> for ManifestHead {
    fn from(manifest: StoredManifest) -> Self {
        let size_bytes = manifest.body.len() as u64;
        Self { digest: manifest.digest, media_type: manifest.media_type, size_bytes }
    }
}

statements! {
    KEY = "select id, media_type from manifests where repository_id = $1 and digest = $2";
    BY_TAG =
        "select m.digest, m.media_type, m.body
           from repositories r
           join tags t on t.repository_id = r.id and t.name = $1
           join manifests m on m.id = t.manifest_id
          where r.name = $2";
    BY_DIGEST =
        "select m.digest, m.media_type, m.body
           from repositories r
           join manifests m on m.repository_id = r.id and m.digest = $1
          where r.name = $2";
    /// The length of a body is known without reading it.
    HEAD_BY_TAG =
        "select m.digest, m.media_type, length(m.body)
           from repositories r
           join tags t on t.repository_id = r.id and t.name = $1
           join manifests m on m.id = t.manifest_id
          where r.name = $2";
    HEAD_BY_DIGEST =
        "select m.digest, m.media_type, length(m.body)
           from repositories r
           join manifests m on m.repository_id = r.id and m.digest = $1
          where r.name = $2";
}

pub(crate) fn find(tx: &Tx<'_>, repository: &RepositoryName, reference: &Reference) -> Result<Option<StoredManifest>> {
    by_reference(tx, repository, reference, BY_TAG, BY_DIGEST, |row| {
        Ok(StoredManifest {
            digest: parsed(row, 0)?,
            media_type: row.get(1)?,
            body: Bytes::from(row.get::<Vec<u8>>(2)?),
            is_intact: false,
        })
    })
}

pub(crate) fn head(tx: &Tx<'_>, repository: &RepositoryName, reference: &Reference) -> Result<Option<ManifestHead>> {
    by_reference(tx, repository, reference, HEAD_BY_TAG, HEAD_BY_DIGEST, |row| {
        Ok(ManifestHead { digest: parsed(row, 0)?, media_type: row.get(1)?, size_bytes: row.get::<Count>(2)?.0 })
    })
}

fn by_reference<T>(
    tx: &Tx<'_>,
    repository: &RepositoryName,
    reference: &Reference,
    by_tag: Sql,
    by_digest: Sql,
    read: fn(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    match reference {
        Reference::Tag(tag) => {
            tx.prepare_cached(by_tag)?.query_row(params![tag.as_str(), repository.as_str()], read).optional()
        }
        Reference::Digest(digest) => {
            tx.prepare_cached(by_digest)?.query_row(params![digest.to_string(), repository.as_str()], read).optional()
        }
    }
}

/// The manifest's key and media type, for the transactions that change something.
pub(crate) fn key(tx: &Tx<'_>, repository: Key, digest: &Digest) -> Result<Option<(Key, String)>> {
    tx.prepare_cached(KEY)?
        .query_row(params![repository, digest.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}
