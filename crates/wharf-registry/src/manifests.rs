use bytes::Bytes;
use wharf_base::failpoint;
use wharf_meta::RecordManifest;
use wharf_oci::{AnyDigest, Digest, Reference, Tag};
use wharf_policy::{Authorized, Pull, Push};

use crate::{Condition, Error, Registry, Share, plan};

/// What is known of a manifest without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// The digest it was pushed or tagged with.
    pub digest: Digest,
    /// The media type it was pushed with.
    pub media_type: String,
    /// Its length.
    pub size_bytes: u64,
}

/// A manifest, byte for byte as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledManifest {
    /// The digest it was pushed or tagged with.
    pub digest: Digest,
    /// The media type it was pushed with.
    pub media_type: String,
    /// Its bytes, which hash to `digest`.
    pub body: Bytes,
}

/// Where a manifest is pushed to. "A tag with extra tags" cannot be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestTarget {
    /// By tag; the digest is the SHA-256 of the bytes unless the client names another one (P-235).
    Tag {
        /// The tag to create or move.
        tag: Tag,
        /// What the bytes must hash to.
        digest: Option<Digest>,
    },
    /// By digest, perhaps with tags to create or move (end-7b).
    Digest {
        /// What the bytes must hash to.
        digest: Digest,
        /// Tags, each at most once.
        tags: Vec<Tag>,
    },
}

/// A manifest to be pushed.
#[derive(Clone, Debug)]
pub struct PushManifest<'a> {
    /// Where to.
    pub target: ManifestTarget,
    /// The request's `Content-Type`, unparsed.
    pub content_type: Option<&'a str>,
    /// The bytes, at most [`MANIFEST_MAX_BYTES`](wharf_oci::MANIFEST_MAX_BYTES).
    pub body: Bytes,
    /// What must hold of the tag.
    pub condition: Condition,
}

/// A manifest that has been pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedManifest {
    /// Its digest.
    pub digest: Digest,
    /// What it refers to, if anything.
    pub subject: Option<AnyDigest>,
    /// The tags that point to it by this push.
    pub tags: Vec<Tag>,
}

impl Registry {
    /// What `reference` names, without its bytes (end-3).
    ///
    /// # Errors
    ///
    /// [`Error::ManifestUnknown`]: the database says so.
    pub async fn manifest_head(&self, ok: &Authorized<Pull>, reference: &Reference) -> Result<ManifestHead, Error> {
        let meta = &self.parts.meta;
        let head = match meta.manifest_in_memory(ok.repository(), reference) {
            Some(manifest) => manifest.into(),
            None => {
                let found = meta.manifest_head(ok.repository(), reference).await;
                let found = found.map_err(Error::meta("looking up a manifest"))?;
                found.ok_or_else(|| Error::ManifestUnknown(reference.clone()))?
            }
        };
        Ok(ManifestHead { digest: head.digest, media_type: head.media_type, size_bytes: head.size_bytes })
    }

    /// What `reference` names, byte for byte (end-3). Never converted, never chosen from (P-201).
    ///
    /// # Errors
    ///
    /// [`Error::ManifestUnknown`]; [`Error::Damaged`] when the stored bytes do not hash to their digest any more.
    pub async fn pull_manifest(&self, ok: &Authorized<Pull>, reference: &Reference) -> Result<PulledManifest, Error> {
        let meta = &self.parts.meta;
        let mut manifest = match meta.manifest_in_memory(ok.repository(), reference) {
            Some(manifest) => manifest,
            None => {
                let found = meta.manifest(ok.repository(), reference).await;
                let found = found.map_err(Error::meta("reading a manifest"))?;
                found.ok_or_else(|| Error::ManifestUnknown(reference.clone()))?
            }
        };
        if !manifest.verify() {
            tracing::error!(manifest.digest = %manifest.digest, "manifest {} is damaged", manifest.digest);
            return Err(Error::Damaged(manifest.digest));
        }
        Ok(PulledManifest { digest: manifest.digest, media_type: manifest.media_type, body: manifest.body })
    }

    /// Memory for a manifest that is about to be received.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub async fn memory_for_manifest(&self, length_bytes: u64) -> Result<Share, Error> {
        self.manifest_memory.take(length_bytes).await
    }

    /// Stores a manifest and points tags to it, all in one transaction (end-7a, end-7b).
    ///
    /// # Errors
    ///
    /// [`Error::ManifestInvalid`], [`Error::DigestMismatch`], [`Error::ReferencesMissing`],
    /// [`Error::MediaTypeConflict`], [`Error::ConditionFailed`], [`Error::ReadOnly`], [`Error::WriteProtected`],
    /// [`Error::StorageFull`]; nothing was changed then.
    ///
    /// # Source
    ///
    /// Protocol checklist §14; `reliability.md` §2.4.
    pub async fn push_manifest(
        &self,
        ok: &Authorized<Push>,
        request: PushManifest<'_>,
    ) -> Result<PushedManifest, Error> {
        self.writable()?;
        self.guard.room_for_facts()?;
        let now = self.now();
        let at = plan::Circumstances {
            repository: ok.repository(),
            by: ok.attribution(),
            now,
            review_at: self.review_at(now),
            config: &self.config,
        };
        let record = plan::push(&request, &at)?;
        failpoint::arrive("registry.manifest-planned").await;
        let recorded = self.parts.meta.record_manifest(&record).await;
        failpoint::arrive("registry.manifest-recorded").await;
        match recorded.map_err(Error::meta("recording a manifest"))? {
            RecordManifest::Recorded { .. } => {
                Ok(PushedManifest { digest: record.digest, subject: record.subject, tags: record.tags })
            }
            RecordManifest::Missing { blobs, children } => {
                Err(Error::ReferencesMissing(blobs.into_iter().chain(children).collect()))
            }
            RecordManifest::ConditionFailed => Err(Error::ConditionFailed),
            RecordManifest::MediaTypeConflict => Err(Error::MediaTypeConflict(record.digest)),
        }
    }
}
