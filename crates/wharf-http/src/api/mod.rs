//! `/api/v1/`: administration. JSON in and out, problem details for errors (RFC 9457).
//!
//! The routes are a table ([`routes`]): each line names its permission, and the handler gets the proof of it as its
//! first argument, so a route without a permission cannot be written down (S-001, S-002). Cookies mean nothing here, and
//! a browser that was sent by another site is turned away, because it would bring along the Basic credentials that a
//! person once typed (S-039).

mod accounts;
mod audit;
mod backup;
mod check;
mod document;
mod forms;
mod gc;
mod idempotency;
mod keys;
mod me;
pub(crate) mod policy;
mod problem;
mod reference;
mod routes;
mod tokens;
mod types;
pub(crate) mod undo;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH};
use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wharf_identity::{Identity, Place};
use wharf_oci::{Query, RepositoryName};
use wharf_policy::{Asker, Authorized, Permission, Target};

use crate::App;
use crate::auth::{self, Refused};
use crate::body::{CollectError, RequestBody};
use crate::reply::{Reply, header_value};
use crate::routes::find;
use crate::service::Inbound;

pub(crate) use problem::Problem;
pub use reference::api_reference;
pub(crate) use routes::ROUTES;

/// The longest JSON body that is read, in bytes (security requirements, §3.1).
const BODY_MAX_BYTES: u64 = 64 << 10;

/// How many items a page has that asks for no length, and at most.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1_000;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a handler answers.
pub(crate) type Answer = Result<Reply, Problem>;

/// A request on its way to a handler.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) inbound: Box<Inbound>,
    pub(crate) query: Query,
    pub(crate) asker: Asker,
    /// What stands in the path where the table has braces, decoded.
    pub(crate) parameters: Vec<String>,
    body: Body,
}

/// What was sent, as far as it has been looked at.
enum Body {
    Unread(RequestBody),
    Read(Bytes),
    Gone,
}

impl Call {
    /// Asks policy about the registry as a whole, or about the repository that the request names.
    pub(crate) fn authorize<A: Permission<Target: Named>>(&self) -> Result<Authorized<A>, Problem> {
        let target = Named::named_by(self)?;
        auth::require_policy(&self.app, &self.asker, target).map_err(|denied| {
            if self.asker.principal.is_anonymous() {
                Problem::unauthorized("log in: this needs an account")
            } else {
                denied.into()
            }
        })
    }

    /// Who people are; a registry that is open to everybody knows nobody.
    pub(crate) fn identity(&self) -> Result<&Arc<Identity>, Problem> {
        self.app.parts.identity.as_ref().ok_or_else(Problem::open)
    }

    /// What stands in the path at the `index`-th brace.
    pub(crate) fn parameter(&self, index: usize) -> &str {
        self.parameters.get(index).map_or("", String::as_str)
    }

    /// The body as `T`. Unknown and repeated members are refused by name (B-104).
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        let is_json =
            self.inbound.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
                value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
            });
        if !is_json {
            let message = "send JSON: Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let bytes = self.bytes().await?;
        // An array would be taken for the members in their order.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(Problem::invalid("the body must be a JSON object"));
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| Problem::invalid(format!("the body is not what is expected here: {error}")))
    }

    /// The body as it was sent; empty when it has been asked for before.
    async fn bytes(&mut self) -> Result<Bytes, Problem> {
        match std::mem::replace(&mut self.body, Body::Gone) {
            Body::Gone => Ok(Bytes::new()),
            Body::Read(bytes) => Ok(bytes),
            Body::Unread(body) => body.collect(BODY_MAX_BYTES).await.map_err(|error| match error {
                CollectError::TooLarge => {
                    let message = format!("a body may have at most {BODY_MAX_BYTES} bytes here");
                    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message)
                }
                CollectError::Body(_) => Problem::invalid("the body did not arrive as a whole"),
            }),
        }
    }

    /// The version that the writer has read, as `If-Match` says it; `None`: whatever it is.
    pub(crate) fn expected_version(&self) -> Result<Option<i64>, Problem> {
        let Some(value) = self.inbound.headers.get(IF_MATCH) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(None);
        }
        let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let version = quoted.and_then(|version| version.parse().ok());
        version.map(Some).ok_or_else(|| Problem::field("If-Match", "is not an ETag that this registry gave out"))
    }

    /// How many items the page shall have: `limit`, 1 to 1,000, 100 if it is not said.
    pub(crate) fn limit(&self) -> Result<u32, Problem> {
        let Some(text) = self.query.first("limit") else { return Ok(PAGE) };
        match text.parse::<u32>() {
            Ok(limit @ 1..=PAGE_MAX) => Ok(limit),
            _ => Err(Problem::field("limit", format!("must be a number from 1 to {PAGE_MAX}"))),
        }
    }

    /// Where the page begins: `after`, as the page before gave it out.
    pub(crate) fn after<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        let Some(text) = self.query.first("after").filter(|text| !text.is_empty()) else { return Ok(None) };
        let parsed = text.parse().map(Some);
        parsed.map_err(|_| Problem::field("after", "is not a cursor that this registry gave out"))
    }
}

/// What a request is about.
pub(crate) trait Named: Target + Sized {
    /// As the request says it.
    fn named_by(call: &Call) -> Result<Self, Problem>;
}

impl Named for () {
    fn named_by(_call: &Call) -> Result<Self, Problem> {
        Ok(())
    }
}

impl Named for RepositoryName {
    /// The parameter `repository`: a name has slashes and would end a part of the path.
    fn named_by(call: &Call) -> Result<Self, Problem> {
        let text = call.query.first("repository").ok_or_else(|| Problem::field("repository", "is missing"))?;
        repository(text)
    }
}

/// Whether the path is one of this room's.
pub(crate) fn is_below(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// Answers a request.
pub(crate) async fn answer(app: &Arc<App>, inbound: Box<Inbound>, body: RequestBody) -> Reply {
    let request_id = Arc::clone(&inbound.request_id);
    let limit = app.config.request_timeout.get();
    let answering = tokio::time::timeout(limit, dispatch(app, inbound, body)).await;
    let reply = answer_or_problem(answering.unwrap_or_else(|_| Err(Problem::timed_out())), &request_id);
    reply.with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

fn answer_or_problem(answer: Answer, request_id: &str) -> Reply {
    answer.unwrap_or_else(|problem| problem.into_reply(request_id))
}

async fn dispatch(app: &Arc<App>, inbound: Box<Inbound>, body: RequestBody) -> Answer {
    let (route, parameters) = find(ROUTES, &inbound, "there is nothing at this path")?;
    let query = Query::parse(inbound.query.as_deref()).map_err(|error| Problem::invalid(error.to_string()))?;
    check_site(&inbound)?;
    let asker = auth::require_auth(app, &inbound, Place::Api).await.map_err(|refused| match refused {
        Refused::Unreadable(error) => Problem::unauthorized(error.to_string()),
        Refused::Auth(error) => error.into(),
    })?;
    let call = Call { app: Arc::clone(app), inbound, query, asker, parameters, body: Body::Unread(body) };
    idempotency::answer(route, call).await
}

/// A repository that a request names.
pub(crate) fn repository(text: &str) -> Result<RepositoryName, Problem> {
    text.parse().map_err(|error: wharf_oci::NameError| Problem::field("repository", format!("is not a name: {error}")))
}

/// A browser says where a request comes from; from elsewhere nothing may be changed with credentials that it has kept.
fn check_site(inbound: &Inbound) -> Result<(), Problem> {
    let is_safe = matches!(inbound.method, Method::GET | Method::HEAD);
    match inbound.headers.get(FETCH_SITE).map(HeaderValue::as_bytes) {
        Some(b"same-origin" | b"none") | None => Ok(()),
        Some(_) if is_safe => Ok(()),
        Some(_) => Err(Problem::new(StatusCode::FORBIDDEN, "this request comes from another site")),
    }
}

/// 200 with `body`.
pub(crate) fn ok<T: Serialize>(body: &T) -> Answer {
    json(StatusCode::OK, body)
}

/// `status` with `body`.
pub(crate) fn json<T: Serialize>(status: StatusCode, body: &T) -> Answer {
    let bytes = serde_json::to_vec(body).map_err(|_| Problem::internal())?;
    Ok(Reply::json(status, bytes))
}

/// With the version that `If-Match` may name.
pub(crate) fn with_etag(answer: Answer, version: i64) -> Answer {
    Ok(answer?.with(ETAG, header_value(&format!("\"{version}\""))))
}

/// 204.
pub(crate) fn done() -> Answer {
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests;
