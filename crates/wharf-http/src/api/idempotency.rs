//! A `POST` that a client sends again because it has not heard what became of it: with an `Idempotency-Key` it is carried out
//! once.
//!
//! The first request with a key claims it in the database before it is carried out, and leaves its answer there. The answer may
//! hold a secret, so it is sealed under the key itself, of which only the hash is kept. What was refused has changed nothing and
//! is not kept. Of what failed nobody knows whether it took effect; so it is not carried out again, and the client is told.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HeaderName, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use wharf_base::Secret;
use wharf_identity::{open, seal};
use wharf_oci::{Algorithm, Digest};
use wharf_registry::{Registry, Retried, WriteClaim};

use super::{Answer, Body, Call, Problem};
use crate::reply::{Payload, Reply, header_value};
use crate::routes::Route;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest answer that is kept, in bytes. What changes something says less; what only asks may say more, and may be asked
/// again.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// What answers are sealed for.
const FOR_ANSWERS: &[u8] = b"wharf: answer of a change";

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    content_type: Option<String>,
    etag: Option<String>,
    body: String,
}

/// Answers a request by its line of the table, and not twice if it says so.
pub(super) async fn answer(route: &'static Route<Call, Answer>, mut call: Call) -> Answer {
    let Some(key) = key(&call)? else { return (route.run)(call).await };
    if call.asker.principal.is_anonymous() && call.app.parts.identity.is_some() {
        // Whoever has not logged in changes nothing, and has no claims.
        return (route.run)(call).await;
    }
    let body = call.bytes().await?;
    let said = sha256(&[
        route.path.as_bytes(),
        call.inbound.path.as_bytes(),
        call.inbound.query.as_deref().unwrap_or_default().as_bytes(),
        &body,
    ]);
    call.body = Body::Read(body);
    let registry = Arc::clone(&call.app.parts.registry);
    let principal = call.asker.principal.name().to_owned();
    match registry.claim_write(&principal, sha256(&[key.expose().as_bytes()]), said).await? {
        Retried::First(claim) => {
            // A client that hangs up asks again: by then there has to be an answer.
            let carrying_out = tokio::spawn(async move { carry_out(route, call, &registry, &claim, &key).await });
            carrying_out.await.unwrap_or_else(|_| Err(Problem::internal()))
        }
        Retried::Answered(sealed) => again(&key, &sealed),
        Retried::Begun => Err(Problem::conflict(
            "this request was begun before and has no answer yet; send it again in a moment, and if that stays so, see \
             whether it took effect, and use another key",
        )
        .with(RETRY_AFTER, HeaderValue::from_static("1"))),
        Retried::Another => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "this Idempotency-Key came with another request before; each request needs one of its own",
        )),
    }
}

fn key(call: &Call) -> Result<Option<Secret<String>>, Problem> {
    if call.inbound.method != Method::POST {
        return Ok(None);
    }
    let Some(value) = call.inbound.headers.get(KEY) else { return Ok(None) };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let text = value.to_str().ok().filter(|text| (16..=128).contains(&text.len()) && text.as_bytes().iter().all(plain));
    let problem = "must have 16 to 128 letters, digits, '.', '_' and '-'; a UUID is a good one";
    text.map(|text| Some(text.into())).ok_or_else(|| Problem::field("Idempotency-Key", problem))
}

async fn carry_out(
    route: &'static Route<Call, Answer>,
    call: Call,
    registry: &Registry,
    claim: &WriteClaim,
    key: &Secret<String>,
) -> Answer {
    let answer = (route.run)(call).await;
    let noted = match &answer {
        Ok(reply) => match kept(reply).and_then(|kept| seal(key, FOR_ANSWERS, &serde_json::to_vec(&kept).ok()?)) {
            Some(sealed) if sealed.len() <= ANSWER_MAX_BYTES => registry.keep_answer(claim, sealed).await,
            Some(_) => registry.release_write(claim).await,
            None => Ok(()),
        },
        Err(problem) if problem.status().is_client_error() => registry.release_write(claim).await,
        Err(_) => Ok(()),
    };
    if let Err(error) = noted {
        tracing::warn!(error = &error as &dyn std::error::Error, "the answer of a change could not be kept");
    }
    answer
}

fn kept(reply: &Reply) -> Option<Kept> {
    let body = match &reply.payload {
        Payload::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
        Payload::Empty => String::new(),
        _ => return None,
    };
    let header = |name| reply.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Some(Kept { status: reply.status.as_u16(), content_type: header(CONTENT_TYPE), etag: header(ETAG), body })
}

fn again(key: &Secret<String>, sealed: &[u8]) -> Answer {
    let kept = open(key, FOR_ANSWERS, sealed).and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
    let Kept { status, content_type, etag, body } = kept.ok_or_else(Problem::internal)?;
    let status = StatusCode::from_u16(status).map_err(|_| Problem::internal())?;
    let reply = match content_type {
        Some(content_type) => Reply::of(status, header_value(&content_type), Payload::Bytes(Bytes::from(body))),
        None => Reply::empty(status),
    };
    Ok(match etag {
        Some(etag) => reply.with(ETAG, header_value(&etag)),
        None => reply,
    })
}

/// Of the parts one behind the other, each with its length, so that nothing slides from one into the next.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut all = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    Digest::of(Algorithm::Sha256, &all).as_bytes().try_into().expect("a SHA-256 has 32 bytes")
}
