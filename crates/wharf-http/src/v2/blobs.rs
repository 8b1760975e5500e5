//! `/v2/<name>/blobs/<digest>` (end-2, end-10; protocol checklist §7, §8).

use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, IF_RANGE, LOCATION, RANGE};
use http::{HeaderValue, StatusCode};
use wharf_oci::{Digest, DigestError, RangeRequest};
use wharf_policy::{Authorized, Delete, Pull};

use super::{Answer, Call, Failure, conditions, ranges};
use crate::reply::{Reply, header_value};

pub(super) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A digest names its content for ever; whether this client may have it is not for ever, so shared caches keep out.
pub(super) const FOR_EVER: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// HEAD: what GET would say, without opening the content. `Range` is ignored (P-124).
pub(super) async fn head(ok: &Authorized<Pull>, call: &Call, digest: &str) -> Answer {
    let digest = read_digest(digest)?;
    let head = call.app.parts.registry.blob_head(ok, &digest).await?;
    if conditions::is_unchanged(call, &digest) {
        return Ok(not_modified(&digest));
    }
    let mut reply = Reply::empty(StatusCode::OK);
    reply.headers.insert(CONTENT_LENGTH, HeaderValue::from(head.size_bytes));
    reply.headers.insert(CONTENT_TYPE, OCTETS);
    Ok(describe(reply, &digest))
}

/// GET: the bytes, or the ranges of them that were asked for.
pub(super) async fn get(ok: &Authorized<Pull>, call: &Call, digest: &str) -> Answer {
    let digest = read_digest(digest)?;
    let registry = &call.app.parts.registry;
    if conditions::is_unchanged(call, &digest) {
        registry.blob_head(ok, &digest).await?;
        return Ok(not_modified(&digest));
    }
    let blob = registry.open_blob(ok, &digest).await?;
    let redirects = &call.app.parts.redirects;
    if redirects.are_for(call.inbound.client)
        && let Some(link) = blob.link("application/octet-stream", redirects.lifetime).await?
    {
        return Ok(elsewhere(&digest, &link));
    }
    let range = if blob.is_whole_only() { RangeRequest::Whole } else { wanted_range(call, &digest) };
    let reply = ranges::reply(&blob, range.resolve(blob.size_bytes), OCTETS)?;
    Ok(describe(reply, &digest))
}

/// The bucket has it; the client repeats its request there, with the range that it wants. Nobody keeps this answer: the
/// address ends.
fn elsewhere(digest: &Digest, link: &str) -> Reply {
    Reply::empty(StatusCode::TEMPORARY_REDIRECT)
        .with(LOCATION, header_value(link))
        .with(DIGEST, header_value(&digest.to_string()))
        .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// DELETE: takes the blob out of this repository only (F-03).
pub(super) async fn delete(ok: &Authorized<Delete>, call: &Call, digest: &str) -> Answer {
    let digest = read_digest(digest)?;
    call.app.parts.registry.delete_blob(ok, &digest).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// A digest that something is read by: malformed is the client's mistake, an algorithm we do not know names nothing we
/// have (P-048).
fn read_digest(text: &str) -> Result<Digest, Failure> {
    text.parse().map_err(|error: DigestError| match error {
        DigestError::Malformed(_) => Failure::digest_invalid(&error),
        DigestError::Unsupported(_) => Failure::unknown_blob(&error),
    })
}

/// The ranges asked for; with an `If-Range` that is not our validator, everything (P-125).
fn wanted_range(call: &Call, digest: &Digest) -> RangeRequest {
    let condition_holds = call.inbound.headers.get(IF_RANGE).is_none_or(|value| *value == conditions::etag(digest));
    match call.header(&RANGE) {
        Some(range) if condition_holds => RangeRequest::parse(range),
        _ => RangeRequest::Whole,
    }
}

fn describe(reply: Reply, digest: &Digest) -> Reply {
    conditions::about(reply, digest)
        .with(ACCEPT_RANGES, HeaderValue::from_static("bytes"))
        .with(CACHE_CONTROL, FOR_EVER)
}

fn not_modified(digest: &Digest) -> Reply {
    describe(Reply::empty(StatusCode::NOT_MODIFIED), digest)
}
