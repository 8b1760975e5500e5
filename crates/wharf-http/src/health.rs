//! What anybody may ask: `/healthz` and `/readyz`, whether the process lives, and whether it should be sent requests; and the
//! public keys that our bearer tokens can be verified with.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};

use crate::App;
use crate::reply::{Payload, Reply};

/// The answer to `path`, if it is one of these.
pub(crate) async fn answer(app: &App, method: &Method, path: &str) -> Option<Reply> {
    let reply = match path {
        "/healthz" | "/readyz" | "/.well-known/jwks.json" if !matches!(*method, Method::GET | Method::HEAD) => {
            text(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD\n").with(ALLOW, HeaderValue::from_static("GET, HEAD"))
        }
        "/.well-known/jwks.json" => keys(app)?,
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => readiness(app).await,
        _ => return None,
    };
    Some(reply.with(CACHE_CONTROL, HeaderValue::from_static("no-store")))
}

async fn readiness(app: &App) -> Reply {
    if app.shutdown.has_started() {
        return not_ready("stopping\n");
    }
    match app.parts.registry.ready().await {
        Ok(()) => text(StatusCode::OK, "ready\n"),
        Err(error) => {
            let mut reply = not_ready("not ready\n");
            reply.cause = Some(Box::new(error));
            reply
        }
    }
}

/// A key set (RFC 7517); nothing at all where nobody has to log in.
fn keys(app: &App) -> Option<Reply> {
    let identity = app.parts.identity.as_ref()?;
    let body = serde_json::to_vec(&identity.jwks()).unwrap_or_default();
    Some(Reply::json(StatusCode::OK, body))
}

fn not_ready(reason: &'static str) -> Reply {
    text(StatusCode::SERVICE_UNAVAILABLE, reason).with(RETRY_AFTER, HeaderValue::from_static("1"))
}

fn text(status: StatusCode, body: &'static str) -> Reply {
    let payload = Payload::Bytes(Bytes::from_static(body.as_bytes()));
    Reply::of(status, HeaderValue::from_static("text/plain; charset=utf-8"), payload)
}
