//! `/v2/`: the distribution protocol.
//!
//! Checks run in one order: path and method, name, policy, then what the request says in detail (P-059). Policy is
//! asked here, in [`dispatch`], and nowhere else: each arm names the permission that its handler's first argument
//! asks for, so an arm without one does not compile (S-001).

mod blobs;
mod conditions;
pub(crate) mod error;
mod lists;
mod manifests;
mod ranges;
pub(crate) mod table;
mod token;
mod uploads;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::poll;
use http::header::ALLOW;
use http::{Method, StatusCode};
use wharf_identity::Place;
use wharf_oci::{Code, Query, RepositoryName, Route};
use wharf_policy::{Action, Asker, Authorized, Permission, VersionCheck};

use crate::App;
use crate::auth::{self, Demand};
use crate::body::RequestBody;
use crate::reply::{Reply, header_value};
use crate::service::Inbound;

pub(crate) use error::Failure;

/// What a handler answers.
pub(crate) type Answer = Result<Reply, Failure>;

/// A request on its way to a handler.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) inbound: Box<Inbound>,
    pub(crate) query: Query,
    /// Who asks.
    pub(crate) asker: Asker,
    /// What the table says this request needs.
    action: Option<Action>,
}

impl Call {
    /// `path` below the registry's own address, for `Location` and `Link` (P-025).
    pub(crate) fn reference(&self, path: &str) -> http::HeaderValue {
        header_value(&format!("{}{path}", self.inbound.base))
    }

    /// The header `name`, if it is there and text.
    pub(crate) fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.inbound.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The request's `Content-Length`. HTTP itself has checked that the body agrees with it.
    pub(crate) fn length_bytes(&self) -> Option<u64> {
        self.header(&http::header::CONTENT_LENGTH).and_then(|value| value.parse().ok())
    }

    /// What the client is told if it has to prove more for this request.
    pub(crate) fn demand(&self) -> Demand<'_> {
        Demand { app: &self.app, inbound: &self.inbound }
    }

    fn authorize<A: Permission>(&self, target: A::Target) -> Result<Authorized<A>, Failure> {
        debug_assert_eq!(Some(A::ACTION), self.action, "the table and the handler name the same action");
        auth::require_policy(&self.app, &self.asker, target).map_err(|denied| self.demand().denied(&self.asker, denied))
    }
}

/// Answers a request; every failure is an answer in the form of the specification.
pub(crate) async fn answer(app: &Arc<App>, inbound: Box<Inbound>, body: RequestBody) -> Reply {
    let answer = match read(&inbound) {
        Ok((Route::Token, query)) => Box::pin(token::answer(app, &inbound, &query, body)).await,
        Ok((route, query)) => guarded(app, inbound, route, query, body).await,
        Err(failure) => Err(failure),
    };
    answer.unwrap_or_else(Failure::into_reply)
}

fn read(inbound: &Inbound) -> Result<(Route, Query), Failure> {
    let route = Route::parse(&inbound.path)?;
    let allowed = route.methods();
    if !allowed.contains(&inbound.method.as_str()) {
        let message = format!("{} cannot be used here, only {}", inbound.method, allowed.join(", "));
        let failure = Failure::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message);
        return Err(failure.with(ALLOW, header_value(&allowed.join(", "))));
    }
    let query = Query::parse(inbound.query.as_deref())?;
    Ok((route, query))
}

/// The way of every request but those for tokens: who asks, then what.
async fn guarded(app: &Arc<App>, inbound: Box<Inbound>, route: Route, query: Query, body: RequestBody) -> Answer {
    let action = table::action(&route, &inbound.method);
    let asker = auth::require_auth(app, &inbound, Place::Registry).await;
    let asker = asker.map_err(|refused| Demand { app, inbound: &inbound }.refused(refused))?;
    // Clients read from this answer alone that there is a token to fetch, so it is asked for also where anonymous may
    // pull (P-061).
    let must_log_in = route == Route::Base && app.parts.identity.is_some() && !inbound.has_credentials();
    if must_log_in {
        return Err(Demand { app, inbound: &inbound }.credentials());
    }
    within_time(route, Call { app: Arc::clone(app), inbound, query, asker, action }, body).await
}

/// Requests that carry no blob have a time limit; transfers have only the limits of their bodies (P-023).
async fn within_time(route: Route, call: Call, body: RequestBody) -> Answer {
    let carries_content = matches!(route, Route::Uploads { .. } | Route::Upload { .. })
        || (matches!(route, Route::Manifest { .. }) && call.inbound.method == Method::PUT);
    let limit: Duration = call.app.config.request_timeout.get();
    let mut dispatched = pin!(dispatch(route, call, body));
    if carries_content {
        return dispatched.await;
    }
    // What is answered from memory needs no timer.
    if let Poll::Ready(answer) = poll!(&mut dispatched) {
        return answer;
    }
    tokio::time::timeout(limit, dispatched).await.unwrap_or_else(|_| Err(Failure::timed_out()))
}

/// The table of contents: what is asked, which permission it needs, who answers.
/// Tokens are answered before this: whoever asks for one has none yet.
///
/// What changes something, and lists, are boxed: their futures are many times as large as those of the other reads,
/// which would have to be moved with as many bytes.
async fn dispatch(route: Route, call: Call, body: RequestBody) -> Answer {
    match (route, call.inbound.method.clone()) {
        (Route::Base, _) => lists::version_check(&call.authorize::<VersionCheck>(())?),
        (Route::Catalog, _) => Box::pin(lists::catalog(&call.authorize(())?, &call)).await,
        (Route::Tags { name }, _) => Box::pin(lists::tags(&call.authorize(name)?, &call)).await,
        (Route::Referrers { name, digest }, _) => {
            Box::pin(lists::referrers(&call.authorize(name)?, &call, &digest)).await
        }

        (Route::Blob { name, digest }, Method::DELETE) => {
            Box::pin(blobs::delete(&call.authorize(name)?, &call, &digest)).await
        }
        (Route::Blob { name, digest }, Method::HEAD) => blobs::head(&call.authorize(name)?, &call, &digest).await,
        (Route::Blob { name, digest }, _) => blobs::get(&call.authorize(name)?, &call, &digest).await,

        (Route::Uploads { name }, _) => Box::pin(uploads::begin(&call.authorize(name)?, &call, body)).await,
        (Route::Upload { name, session }, Method::PATCH) => {
            Box::pin(uploads::append(&call.authorize(name)?, &call, &session, body)).await
        }
        (Route::Upload { name, session }, Method::PUT) => {
            Box::pin(uploads::finish(&call.authorize(name)?, &call, &session, body)).await
        }
        (Route::Upload { name, session }, Method::DELETE) => {
            Box::pin(uploads::cancel(&call.authorize(name)?, &call, &session)).await
        }
        (Route::Upload { name, session }, _) => {
            Box::pin(uploads::status(&call.authorize(name)?, &call, &session)).await
        }

        (Route::Manifest { name, reference }, Method::PUT) => {
            Box::pin(manifests::put(&call.authorize(name)?, &call, &reference, body)).await
        }
        (Route::Manifest { name, reference }, Method::DELETE) => {
            Box::pin(manifests::delete(&call.authorize(name)?, &call, &reference)).await
        }
        (Route::Manifest { name, reference }, Method::HEAD) => {
            manifests::head(&call.authorize(name)?, &call, &reference).await
        }
        (Route::Manifest { name, reference }, _) => manifests::get(&call.authorize(name)?, &call, &reference).await,

        (Route::ExtensionDiscovery, _) => {
            call.authorize::<VersionCheck>(())?;
            Err(Failure::not_found())
        }
        (Route::Token, _) => Err(Failure::not_found()),
    }
}

/// `/v2/<name>/blobs/<digest>`.
fn blob_path(name: &RepositoryName, digest: &wharf_oci::Digest) -> String {
    format!("/v2/{name}/blobs/{digest}")
}
