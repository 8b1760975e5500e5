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
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use http::header::ALLOW;
use http::{Method, StatusCode};
use wharf_oci::{Code, Query, RepositoryName, Route};
use wharf_policy::{Authorized, Permission, Principal, VersionCheck};

use crate::App;
use crate::body::RequestBody;
use crate::reply::{Reply, header_value};
use crate::service::Inbound;

pub(crate) use error::Failure;

/// What a handler answers.
pub(crate) type Answer = Result<Reply, Failure>;

/// A request on its way to a handler.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) inbound: Inbound,
    pub(crate) query: Query,
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

    fn authorize<A: Permission>(&self, target: A::Target) -> Result<Authorized<A>, Failure> {
        Ok(self.app.parts.policy.authorize(&Principal::anonymous(), target)?)
    }
}

/// Answers a request; every failure is an answer in the form of the specification.
pub(crate) async fn answer(app: &Arc<App>, inbound: Inbound, body: RequestBody) -> Reply {
    let answer = match prepare(app, inbound) {
        Ok((route, call)) => within_time(route, call, body).await,
        Err(failure) => Err(failure),
    };
    answer.unwrap_or_else(Failure::into_reply)
}

fn prepare(app: &Arc<App>, inbound: Inbound) -> Result<(Route, Call), Failure> {
    let route = Route::parse(&inbound.path)?;
    let allowed = route.methods();
    if !allowed.contains(&inbound.method.as_str()) {
        let message = format!("{} cannot be used here, only {}", inbound.method, allowed.join(", "));
        let failure = Failure::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message);
        return Err(failure.with(ALLOW, header_value(&allowed.join(", "))));
    }
    let query = Query::parse(inbound.query.as_deref())?;
    Ok((route, Call { app: Arc::clone(app), inbound, query }))
}

/// Requests that carry no blob have a time limit; transfers have only the limits of their bodies (P-023).
async fn within_time(route: Route, call: Call, body: RequestBody) -> Answer {
    let carries_content = matches!(route, Route::Uploads { .. } | Route::Upload { .. })
        || (matches!(route, Route::Manifest { .. }) && call.inbound.method == Method::PUT);
    if carries_content {
        return dispatch(route, call, body).await;
    }
    let limit: Duration = call.app.config.request_timeout.get();
    tokio::time::timeout(limit, dispatch(route, call, body)).await.unwrap_or_else(|_| Err(Failure::timed_out()))
}

/// The table of contents: what is asked, which permission it needs, who answers.
async fn dispatch(route: Route, call: Call, body: RequestBody) -> Answer {
    match (route, call.inbound.method.clone()) {
        (Route::Base, _) => lists::version_check(&call.authorize::<VersionCheck>(())?),
        (Route::Catalog, _) => lists::catalog(&call.authorize(())?, &call).await,
        (Route::Tags { name }, _) => lists::tags(&call.authorize(name)?, &call).await,
        (Route::Referrers { name, digest }, _) => lists::referrers(&call.authorize(name)?, &call, &digest).await,

        (Route::Blob { name, digest }, Method::DELETE) => blobs::delete(&call.authorize(name)?, &call, &digest).await,
        (Route::Blob { name, digest }, Method::HEAD) => blobs::head(&call.authorize(name)?, &call, &digest).await,
        (Route::Blob { name, digest }, _) => blobs::get(&call.authorize(name)?, &call, &digest).await,

        (Route::Uploads { name }, _) => uploads::begin(&call.authorize(name)?, &call, body).await,
        (Route::Upload { name, session }, Method::PATCH) => {
            uploads::append(&call.authorize(name)?, &call, &session, body).await
        }
        (Route::Upload { name, session }, Method::PUT) => {
            uploads::finish(&call.authorize(name)?, &call, &session, body).await
        }
        (Route::Upload { name, session }, Method::DELETE) => {
            uploads::cancel(&call.authorize(name)?, &call, &session).await
        }
        (Route::Upload { name, session }, _) => uploads::status(&call.authorize(name)?, &call, &session).await,

        (Route::Manifest { name, reference }, Method::PUT) => {
            manifests::put(&call.authorize(name)?, &call, &reference, body).await
        }
        (Route::Manifest { name, reference }, Method::DELETE) => {
            manifests::delete(&call.authorize(name)?, &call, &reference).await
        }
        (Route::Manifest { name, reference }, Method::HEAD) => {
            manifests::head(&call.authorize(name)?, &call, &reference).await
        }
        (Route::Manifest { name, reference }, _) => manifests::get(&call.authorize(name)?, &call, &reference).await,

        (Route::ExtensionDiscovery, _) => Err(Failure::not_found()),
    }
}

/// `/v2/<name>/blobs/<digest>`.
fn blob_path(name: &RepositoryName, digest: &wharf_oci::Digest) -> String {
    format!("/v2/{name}/blobs/{digest}")
}
