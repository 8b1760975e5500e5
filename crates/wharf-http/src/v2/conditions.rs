//! Conditional requests (RFC 9110 §13). Validators are strong and are the digest itself.

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderValue, StatusCode};
use wharf_oci::{Code, Digest};
use wharf_registry::Condition;

use super::{Call, Failure};
use crate::reply::header_value;

/// `"<digest>"`.
pub(super) fn etag(digest: &Digest) -> HeaderValue {
    header_value(&format!("\"{digest}\""))
}

/// Whether the client has this already: `If-None-Match` names the digest, quoted or bare, or is `*` (P-126, P-203).
pub(super) fn is_unchanged(call: &Call, digest: &Digest) -> bool {
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

/// The header of [`etag`].
pub(super) const NAME: http::HeaderName = ETAG;
