//! What a push of a manifest will check and write, decided without touching anything.

use wharf_base::Timestamp;
use wharf_meta::{ManifestRecord, Missing};
use wharf_oci::{Algorithm, Digest, Manifest, Tag};
use wharf_policy::Attribution;

use crate::{Config, Error, ManifestTarget, PushManifest};

/// What the client asks of the tag before it is moved (RFC 9110 §13.1; P-233).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// `If-Match: "<digest>"`: it points there.
    TagIs(Digest),
    /// `If-None-Match: *`: it does not exist.
    TagAbsent,
}

/// Who pushes, where to, and when.
pub(crate) struct Circumstances<'a> {
    pub(crate) repository: &'a wharf_oci::RepositoryName,
    pub(crate) by: Attribution,
    pub(crate) now: Timestamp,
    /// When the collector may look at what the push displaces.
    pub(crate) review_at: Timestamp,
    pub(crate) config: &'a Config,
}

/// Parses and checks the manifest and says what to record.
///
/// # Errors
///
/// [`Error::DigestMismatch`] when the bytes do not hash to the digest they are pushed under (P-210);
/// [`Error::ManifestInvalid`].
pub(crate) fn push(request: &PushManifest<'_>, at: &Circumstances<'_>) -> Result<ManifestRecord, Error> {
    let digest = digest_of(&request.target, &request.body)?;
    let manifest = Manifest::parse(request.content_type, &request.body)?;
    let blobs = manifest.blobs().map(|blob| blob.digest).collect();
    let allow = |allowed| if allowed { Missing::Allow } else { Missing::Refuse };
    Ok(ManifestRecord {
        repository: at.repository.clone(),
        digest,
        media_type: manifest.kind.as_str().to_owned(),
        artifact_type: manifest.artifact_type,
        subject: manifest.subject,
        config: manifest.config.map(|config| config.digest),
        annotations: manifest.annotations,
        blobs,
        children: manifest.children.iter().map(|child| child.digest).collect(),
        missing_blobs: allow(at.config.allow_missing_layers),
        missing_children: allow(at.config.allow_missing_children),
        tags: tags(&request.target),
        condition: match request.condition {
            Condition::None => wharf_meta::Condition::None,
            Condition::TagIs(digest) => wharf_meta::Condition::TagIs(digest),
            Condition::TagAbsent => wharf_meta::Condition::TagAbsent,
        },
        body: request.body.clone(),
        by: at.by.clone(),
        now: at.now,
        review_at: at.review_at,
    })
}

fn digest_of(target: &ManifestTarget, body: &[u8]) -> Result<Digest, Error> {
    let expected = match target {
        ManifestTarget::Tag { digest: None, .. } => return Ok(Digest::of(Algorithm::Sha256, body)),
        ManifestTarget::Tag { digest: Some(digest), .. } | ManifestTarget::Digest { digest, .. } => *digest,
    };
    let actual = Digest::of(expected.algorithm(), body);
    if actual == expected {
        Ok(actual)
    } else {
        Err(Error::DigestMismatch { expected: Box::new(expected), actual: Box::new(actual) })
    }
}

fn tags(target: &ManifestTarget) -> Vec<Tag> {
    match target {
        ManifestTarget::Tag { tag, .. } => vec![tag.clone()],
        ManifestTarget::Digest { tags, .. } => tags.clone(),
    }
}
