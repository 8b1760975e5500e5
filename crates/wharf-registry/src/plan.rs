//! What a push of a manifest will check and write, decided without touching anything.

use std::collections::BTreeMap;

use wharf_base::Timestamp;
use wharf_meta::{ManifestRecord, Missing};
use wharf_oci::{Algorithm, AnyDigest, Digest, Manifest, Tag};
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

/// What is recorded of a manifest, read from its bytes alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) media_type: String,
    pub(crate) artifact_type: Option<String>,
    pub(crate) subject: Option<AnyDigest>,
    pub(crate) config: Option<Digest>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Config and layers that are not foreign; repetitions are possible.
    pub(crate) blobs: Vec<Digest>,
    pub(crate) children: Vec<Digest>,
}

/// The one reading of a manifest that push, restore and check share.
pub(crate) fn describe(manifest: &Manifest) -> Described {
    Described {
        media_type: manifest.kind.as_str().to_owned(),
        artifact_type: manifest.artifact_type.clone(),
        subject: manifest.subject.clone(),
        config: manifest.config.as_ref().map(|config| config.digest),
        annotations: manifest.annotations.clone(),
        blobs: manifest.blobs().map(|blob| blob.digest).collect(),
        children: manifest.children.iter().map(|child| child.digest).collect(),
    }
}

/// Parses and checks the manifest and says what to record.
///
/// # Errors
///
/// [`Error::DigestMismatch`] when the bytes do not hash to the digest they are pushed under (P-210);
/// [`Error::ManifestInvalid`].
pub(crate) fn push(request: &PushManifest<'_>, at: &Circumstances<'_>) -> Result<ManifestRecord, Error> {
    let digest = digest_of(&request.target, &request.body)?;
    let manifest = describe(&Manifest::parse(request.content_type, &request.body)?);
    let allow = |allowed| if allowed { Missing::Allow } else { Missing::Refuse };
    Ok(ManifestRecord {
        repository: at.repository.clone(),
        digest,
        media_type: manifest.media_type,
        artifact_type: manifest.artifact_type,
        subject: manifest.subject,
        config: manifest.config,
        annotations: manifest.annotations,
        blobs: manifest.blobs,
        children: manifest.children,
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
