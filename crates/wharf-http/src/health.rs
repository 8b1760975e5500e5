//! What anybody may ask: `/healthz` and `/readyz`, whether the process lives, and whether it should be sent requests; and the
//! public keys that our bearer tokens can be verified with.
//!
//! `/readyz?verbose` says in JSON how the machine under the registry does. What is wrong with a disk is nobody's business on
//! the network (S-075), so only whoever asks from this machine is told; others get the plain answer.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::Serialize;

use crate::reply::{Payload, Reply};
use crate::service::{Peer, Port};
use crate::{App, metrics};

/// Whether `path` may be one of these.
pub(crate) fn is_here(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics" | "/.well-known/jwks.json")
}

/// The answer to `path`, if it is one of these.
pub(crate) async fn answer(app: &App, method: &Method, uri: &Uri, asker: Asker) -> Option<Reply> {
    let reply = match uri.path() {
        path if is_here(path) && !matches!(*method, Method::GET | Method::HEAD) => {
            text(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD\n").with(ALLOW, HeaderValue::from_static("GET, HEAD"))
        }
        "/.well-known/jwks.json" => keys(app)?,
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if asker != Asker::Anybody && uri.query() == Some("verbose") => verbose_readiness(app).await,
        "/metrics" if asker.may_see_metrics(app) => metrics::answer(app).await,
        "/readyz" => readiness(app).await,
        _ => return None,
    };
    Some(reply.with(CACHE_CONTROL, HeaderValue::from_static("no-store")))
}

/// From where something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// On the addresses that are for it.
    Watcher,
    /// From this very machine, by nobody's mediation.
    OfThisMachine,
    /// From the network, or by a proxy that may stand for the network.
    Anybody,
}

impl Asker {
    pub(crate) fn of(peer: Peer, headers: &HeaderMap) -> Self {
        if peer.port == Port::Metrics {
            return Self::Watcher;
        }
        let is_mediated =
            ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| headers.contains_key(*name));
        if peer.address.to_canonical().is_loopback() && !is_mediated { Self::OfThisMachine } else { Self::Anybody }
    }
}

impl Asker {
    /// Where they have addresses of their own they are nowhere else.
    fn may_see_metrics(self, app: &App) -> bool {
        match self {
            Self::Watcher => true,
            Self::OfThisMachine => app.config.metrics_listen.is_empty(),
            Self::Anybody => false,
        }
    }
}

/// How the machine does.
#[derive(Serialize)]
struct Report {
    ready: bool,
    writes: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<TroubleReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    space: Option<SpaceReport>,
}

#[derive(Serialize)]
struct TroubleReport {
    what: String,
    details: String,
    remedy: &'static str,
    since: String,
}

#[derive(Serialize)]
struct SpaceReport {
    free_bytes: u64,
    total_bytes: u64,
    min_free_bytes: u64,
    low: bool,
    reserve_spent: bool,
}

/// The status is that of the plain answer: a registry that takes no writes still serves reads.
async fn verbose_readiness(app: &App) -> Reply {
    let plain = readiness(app).await;
    let health = app.parts.registry.health();
    let is_low = health.room.is_some_and(|room| room.is_low || room.is_reserve_spent);
    let report = Report {
        ready: plain.status == StatusCode::OK,
        writes: if health.protection.is_some() {
            "refused"
        } else if is_low {
            "deletions only"
        } else {
            "taken"
        },
        trouble: health.protection.map(|protection| TroubleReport {
            what: protection.trouble.to_string(),
            remedy: protection.trouble.remedy(),
            details: protection.details,
            since: protection.since.to_string(),
        }),
        space: health.room.map(|room| SpaceReport {
            free_bytes: room.free_bytes,
            total_bytes: room.total_bytes,
            min_free_bytes: room.min_free_bytes,
            low: room.is_low,
            reserve_spent: room.is_reserve_spent,
        }),
    };
    let mut reply = Reply::json(plain.status, serde_json::to_vec(&report).unwrap_or_default());
    reply.cause = plain.into_parts().cause;
    reply
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
