//! Conditional requests (RFC 9110 §13). Validators are strong and are the digest itself.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderValue, StatusCode};
use wharf_oci::{Code, Digest};
use wharf_registry::Condition;

use super::blobs::DIGEST;
use super::{Call, Failure};
use crate::reply::Reply;

/// `"<digest>"`.
pub(super) fn etag(digest: &Digest) -> HeaderValue {
    named(digest).1
}

/// What `Docker-Content-Digest` says, and what `ETag` says, which is the same in quotes: one text.
fn named(digest: &Digest) -> (HeaderValue, HeaderValue) {
    let algorithm = digest.algorithm();
    let mut text = String::with_capacity(algorithm.as_str().len() + algorithm.hex_len() + r#"":""#.len());
    // Writing into a string does not fail.
    let _ = write!(text, "\"{digest}\"");
    let quoted = Bytes::from(text);
    let bare = quoted.slice(1..quoted.len() - 1);
    let value = |text| HeaderValue::from_maybe_shared(text).expect("a digest is visible ASCII");
    (value(bare), value(quoted))
}

/// `reply` with the digest of what it is about, and with its validator.
pub(super) fn about(reply: Reply, digest: &Digest) -> Reply {
    let (bare, quoted) = named(digest);
    reply.with(DIGEST, bare).with(ETAG, quoted)
}

/// Whether the client has this already: `If-None-Match` names the digest, quoted or bare, or is `*` (P-126, P-203).
pub(super) fn is_unchanged(call: &Call, digest: &Digest) -> bool {
    if !call.inbound.headers.contains_key(IF_NONE_MATCH) {
        return false;
    }
    let digest = digest.to_string();
    let values = call.inbound.headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|tag| tag == "*" || unquoted(tag) == digest)
}

/// What a push asks of the tag (P-233).
pub(super) fn of_push(call: &Call) -> Result<Condition, Failure> {
    if call.header(&IF_NONE_MATCH).is_some_and(|value| value.trim() == "*") {
        return Ok(Condition::TagAbsent);
    }
    let Some(value) = call.inbound.headers.get(IF_MATCH) else { return Ok(Condition::None) };
    let digest = value.to_str().ok().and_then(|value| unquoted(value.trim()).parse().ok());
    digest.map(Condition::TagIs).ok_or_else(|| {
        let message = "If-Match must be one digest in quotes, the one that the tag points to";
        Failure::new(StatusCode::PRECONDITION_FAILED, Code::Unsupported, message)
    })
}

fn unquoted(tag: &str) -> &str {
    tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag)
}
