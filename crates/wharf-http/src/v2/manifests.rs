//! `/v2/<name>/manifests/<reference>` (end-3, end-7a, end-7b, end-9; protocol checklist §13 … §15).

use std::collections::BTreeSet;

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, WARNING};
use wharf_oci::{Code, Digest, DigestError, MANIFEST_MAX_BYTES, Reference, ReferenceError, Tag};
use wharf_policy::{Authorized, Delete, Pull, Push};
use wharf_registry::{Condition, DeletedManifest, ManifestTarget, PushManifest, PushedManifest};

use super::blobs::{DIGEST, FOR_EVER};
use super::{Answer, Call, Failure, conditions};
use crate::body::RequestBody;
use crate::reply::{Payload, Reply, header_value};

/// Tags that one push may name (P-238).
const TAGS_MAX: usize = 100;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");

/// HEAD: what GET would say, without reading the bytes.
pub(super) async fn head(ok: &Authorized<Pull>, call: &Call, reference: &str) -> Answer {
    let reference = read_reference(reference)?;
    let head = call.app.parts.registry.manifest_head(ok, &reference).await?;
    if conditions::is_unchanged(call, &head.digest) {
        return Ok(not_modified(&reference, &head.digest));
    }
    let mut reply = Reply::empty(StatusCode::OK);
    reply.headers.insert(CONTENT_LENGTH, HeaderValue::from(head.size_bytes));
    reply.headers.insert(CONTENT_TYPE, header_value(&head.media_type));
    Ok(describe(reply, &reference, &head.digest))
}

/// GET: the bytes as they were pushed, whatever `Accept` says (P-201).
pub(super) async fn get(ok: &Authorized<Pull>, call: &Call, reference: &str) -> Answer {
    let reference = read_reference(reference)?;
    let manifest = call.app.parts.registry.pull_manifest(ok, &reference).await?;
    call.app.parts.registry.note_pull(ok, &manifest.digest);
    if conditions::is_unchanged(call, &manifest.digest) {
        return Ok(not_modified(&reference, &manifest.digest));
    }
    let reply = Reply::of(StatusCode::OK, header_value(&manifest.media_type), Payload::Bytes(manifest.body));
    Ok(describe(reply, &reference, &manifest.digest))
}

/// PUT: stores a manifest and points tags to it.
pub(super) async fn put(ok: &Authorized<Push>, call: &Call, reference: &str, body: RequestBody) -> Answer {
    let target = target(call, reference)?;
    let condition = match &target {
        ManifestTarget::Tag { .. } => conditions::of_push(call)?,
        ManifestTarget::Digest { .. } => Condition::None,
    };
    if call.length_bytes().is_some_and(|length| length > MANIFEST_MAX_BYTES) {
        return Err(Failure::manifest_too_large(MANIFEST_MAX_BYTES));
    }
    let length_bytes = call.length_bytes().unwrap_or(MANIFEST_MAX_BYTES);
    let _memory = call.app.parts.registry.memory_for_manifest(length_bytes).await?;
    let body = body.collect(MANIFEST_MAX_BYTES).await?;
    let is_by_digest = matches!(target, ManifestTarget::Digest { .. });
    let request = PushManifest { target, content_type: content_type(call)?, body, condition };
    let pushed = call.app.parts.registry.push_manifest(ok, request).await?;
    Ok(created(call, ok, &pushed, is_by_digest))
}

/// DELETE: a manifest with its tags by digest (F-02), or a tag alone where that is allowed (F-01).
pub(super) async fn delete(ok: &Authorized<Delete>, call: &Call, reference: &str) -> Answer {
    let registry = &call.app.parts.registry;
    let is_digest = reference.contains(':');
    if !is_digest {
        registry.may_delete_tags()?;
    }
    match read_reference(reference)? {
        Reference::Tag(tag) => {
            registry.delete_tag(ok, &tag).await?;
            Ok(Reply::empty(StatusCode::ACCEPTED))
        }
        Reference::Digest(digest) => {
            let deleted = registry.delete_manifest(ok, &digest).await?;
            Ok(with_parents(Reply::empty(StatusCode::ACCEPTED), &deleted))
        }
    }
}

/// A reference that something is read or removed by: a malformed digest is the client's mistake, everything else that
/// is no reference names nothing (P-042, P-048).
fn read_reference(text: &str) -> Result<Reference, Failure> {
    text.parse().map_err(|error: ReferenceError| match &error {
        ReferenceError::Digest(digest @ DigestError::Malformed(_)) => Failure::digest_invalid(digest),
        ReferenceError::Digest(DigestError::Unsupported(_)) | ReferenceError::Tag(_) => {
            Failure::new(StatusCode::NOT_FOUND, Code::ManifestUnknown, error.to_string())
        }
    })
}

/// Where the push goes: the reference, and the query's `tag` or `digest` (P-235 … P-240).
fn target(call: &Call, reference: &str) -> Result<ManifestTarget, Failure> {
    let reference = reference.parse().map_err(|error: ReferenceError| match &error {
        ReferenceError::Digest(digest) => Failure::digest_invalid(digest),
        ReferenceError::Tag(tag) => Failure::new(StatusCode::BAD_REQUEST, Code::ManifestInvalid, tag.to_string()),
    })?;
    let tags: Vec<&str> = call.query.all("tag").collect();
    if tags.len() > TAGS_MAX {
        let message = format!("a push may name at most {TAGS_MAX} tags");
        return Err(Failure::new(StatusCode::URI_TOO_LONG, Code::Unsupported, message));
    }
    match reference {
        Reference::Digest(digest) => Ok(ManifestTarget::Digest { digest, tags: parse_tags(&tags)? }),
        Reference::Tag(_) if !tags.is_empty() => {
            Err(Failure::parameter("the parameter tag goes with a push by digest, not with a push by tag"))
        }
        Reference::Tag(tag) => {
            let digest = call.query.first("digest").map(str::parse::<Digest>).transpose();
            let digest = digest.map_err(|error| Failure::digest_invalid(&error))?;
            Ok(ManifestTarget::Tag { tag, digest })
        }
    }
}

/// Each tag once, in the order in which they were named.
fn parse_tags(texts: &[&str]) -> Result<Vec<Tag>, Failure> {
    let mut seen = BTreeSet::new();
    let mut tags = Vec::with_capacity(texts.len());
    for text in texts.iter().copied().filter(|text| seen.insert(*text)) {
        let tag = text.parse().map_err(|error: wharf_oci::TagError| {
            Failure::new(StatusCode::BAD_REQUEST, Code::ManifestInvalid, error.to_string())
        })?;
        tags.push(tag);
    }
    Ok(tags)
}

/// The one `Content-Type`, if there is one; two would leave it open which of them counts (B-055).
fn content_type(call: &Call) -> Result<Option<&str>, Failure> {
    let mut values = call.inbound.headers.get_all(CONTENT_TYPE).iter();
    let invalid = |message| Failure::new(StatusCode::BAD_REQUEST, Code::ManifestInvalid, message);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| invalid("Content-Type is not text")),
        (Some(_), Some(_)) => Err(invalid("there is more than one Content-Type; send one")),
    }
}

fn created(call: &Call, ok: &Authorized<Push>, pushed: &PushedManifest, is_by_digest: bool) -> Reply {
    let location = call.reference(&format!("/v2/{}/manifests/{}", ok.repository(), pushed.digest));
    let mut reply = Reply::empty(StatusCode::CREATED)
        .with(LOCATION, location)
        .with(DIGEST, header_value(&pushed.digest.to_string()));
    if let Some(subject) = &pushed.subject {
        reply = reply.with(SUBJECT, header_value(subject.as_str()));
    }
    // Tells a client that asked for tags that this registry knows how to set them (P-237, P-241).
    for tag in pushed.tags.iter().filter(|_| is_by_digest) {
        reply = reply.with(TAG, header_value(tag.as_str()));
    }
    reply
}

fn describe(reply: Reply, reference: &Reference, digest: &Digest) -> Reply {
    let cache_control = match reference {
        Reference::Digest(_) => FOR_EVER,
        Reference::Tag(_) => HeaderValue::from_static("no-cache"),
    };
    conditions::about(reply, digest).with(CACHE_CONTROL, cache_control)
}

fn not_modified(reference: &Reference, digest: &Digest) -> Reply {
    describe(Reply::empty(StatusCode::NOT_MODIFIED), reference, digest)
}

/// Deleting what an index lists is allowed (P-246), but worth a word.
fn with_parents(reply: Reply, deleted: &DeletedManifest) -> Reply {
    if deleted.parents.is_empty() {
        return reply;
    }
    let parents: Vec<String> = deleted.parents.iter().map(ToString::to_string).collect();
    let warning = format!("299 - \"the deleted manifest is still listed by {}\"", parents.join(", "));
    reply.with(WARNING, header_value(&warning))
}
