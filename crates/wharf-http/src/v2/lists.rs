//! The version check and the lists: tags, catalog, referrers (end-1, end-8, end-12; protocol checklist §4, §16 … §18).

use http::StatusCode;
use http::header::{ETAG, HeaderName, HeaderValue, LINK};
use wharf_oci::{Algorithm, AnyDigest, Digest, DigestError, NextLink, PageSize, referrers_index};
use wharf_policy::{Authorized, Catalog, Pull, VersionCheck};
use wharf_registry::{Page, ReferrerCursor};

use super::{Answer, Call, Failure, conditions};
use crate::reply::{Payload, Reply, header_value};

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
const INDEX: HeaderValue = HeaderValue::from_static("application/vnd.oci.image.index.v1+json");

/// Artifact types that one request may filter by.
const ARTIFACT_TYPES_MAX: usize = 64;

/// `GET /v2/`: this is a registry that speaks version 2.
pub(super) fn version_check(_ok: &Authorized<VersionCheck>) -> Answer {
    Ok(Reply::json(StatusCode::OK, b"{}".to_vec()))
}

/// `GET /v2/<name>/tags/list`.
pub(super) async fn tags(ok: &Authorized<Pull>, call: &Call) -> Answer {
    let page = call.app.parts.registry.tags(ok, last(call), length(call)?).await?;
    let tags: Vec<&str> = page.items.iter().map(wharf_oci::Tag::as_str).collect();
    let body = serde_json::json!({ "name": ok.repository().as_str(), "tags": tags });
    let path = format!("/v2/{}/tags/list", ok.repository());
    Ok(list(call, &body, &path, &page, tags.last().copied()))
}

/// `GET /v2/_catalog`.
pub(super) async fn catalog(ok: &Authorized<Catalog>, call: &Call) -> Answer {
    if !call.app.parts.registry.has_catalog() {
        return Err(Failure::not_found());
    }
    let page = call.app.parts.registry.catalog(ok, last(call), length(call)?).await?;
    let names: Vec<&str> = page.items.iter().map(wharf_oci::RepositoryName::as_str).collect();
    let body = serde_json::json!({ "repositories": names });
    Ok(list(call, &body, "/v2/_catalog", &page, names.last().copied()))
}

/// `GET /v2/<name>/referrers/<digest>`.
pub(super) async fn referrers(ok: &Authorized<Pull>, call: &Call, digest: &str) -> Answer {
    let subject: AnyDigest = digest.parse().map_err(|error: DigestError| Failure::digest_invalid(&error))?;
    let artifact_types = artifact_types(call)?;
    let after = match call.query.first("last").filter(|last| !last.is_empty()) {
        Some(last) => Some(last.parse::<ReferrerCursor>().map_err(|()| {
            Failure::parameter("the parameter last is not one that this registry gave out; follow the Link header")
        })?),
        None => None,
    };
    let page = call.app.parts.registry.referrers(ok, &subject, &artifact_types, after.as_ref()).await?;
    let body = referrers_index(&page.referrers);
    let digest = Digest::of(Algorithm::Sha256, &body);
    let mut reply = if conditions::is_unchanged(call, &digest) {
        Reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        Reply::of(StatusCode::OK, INDEX, Payload::Bytes(body.into()))
    };
    reply = reply.with(ETAG, conditions::etag(&digest));
    if !artifact_types.is_empty() {
        reply = reply.with(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let Some(next) = page.next {
        let mut query = format!("last={}", escape(&next.to_string()));
        for artifact_type in &artifact_types {
            query += &format!("&artifactType={}", escape(artifact_type));
        }
        reply = reply.with(LINK, next_link(call, &format!("/v2/{}/referrers/{subject}?{query}", ok.repository())));
    }
    Ok(reply)
}

/// The types to filter by. Media types hold no spaces: a decoded one is a `+` that somebody pasted raw (P-275).
fn artifact_types(call: &Call) -> Result<Vec<String>, Failure> {
    let types = call.query.all("artifactType").filter(|wanted| !wanted.is_empty());
    let types: Vec<String> = types.map(|wanted| wanted.replace(' ', "+")).collect();
    if types.len() > ARTIFACT_TYPES_MAX {
        return Err(Failure::parameter(format!("at most {ARTIFACT_TYPES_MAX} artifact types can be filtered by")));
    }
    Ok(types)
}

/// Where the list goes on; an empty `last` is none (P-285).
fn last(call: &Call) -> Option<&str> {
    call.query.first("last").filter(|last| !last.is_empty())
}

fn length(call: &Call) -> Result<Option<u32>, Failure> {
    let length = PageSize::parse(call.query.first("n")).map_err(|error| Failure::parameter(error.to_string()))?;
    Ok(length.map(PageSize::get))
}

fn list<T>(call: &Call, body: &serde_json::Value, path: &str, page: &Page<T>, last: Option<&str>) -> Reply {
    let reply = Reply::json(StatusCode::OK, body.to_string().into_bytes());
    match (page.next, last) {
        (Some(length), Some(last)) => {
            let target = format!("{path}?n={length}&last={}", escape(last));
            reply.with(LINK, next_link(call, &target))
        }
        _ => reply,
    }
}

fn next_link(call: &Call, target: &str) -> HeaderValue {
    header_value(&NextLink { target: format!("{}{target}", call.inbound.base) }.to_string())
}

/// Everything but letters, digits and `-._~` as `%XX`, so that no byte of a value ends the URL or the parameter.
fn escape(value: &str) -> percent_encoding::PercentEncode<'_> {
    const KEPT: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(value, &KEPT)
}
