//! Every route there is, as data: for the tests that ask each of them as everybody (S-002).

use wharf_policy::Action;

use crate::{api, v2, web};

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteInfo {
    /// Its method.
    pub method: String,
    /// Its path, with braces where a parameter stands.
    pub path: &'static str,
    /// The action that policy is asked about; `None` for the token service, which asks for credentials itself.
    pub action: Option<Action>,
}

/// All routes under `/v2/` and `/api/v1/`, and all pages. Beside them there are only `/healthz`, `/readyz`, the public keys, and
/// the style and script of the pages, which are for everybody.
pub fn routes() -> Vec<RouteInfo> {
    let registry = v2::table::routes();
    let registry = registry.map(|(method, path, action)| RouteInfo { method: method.to_owned(), path, action });
    let administration = api::ROUTES.iter().map(|route| RouteInfo {
        method: route.method.to_string(),
        path: route.path,
        action: Some(route.action),
    });
    let pages = web::ROUTES.iter().map(|route| RouteInfo {
        method: route.method.to_string(),
        path: route.path,
        action: Some(route.action),
    });
    registry.chain(administration).chain(pages).collect()
}
