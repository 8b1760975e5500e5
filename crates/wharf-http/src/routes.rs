//! The tables that the administration API and the pages are, how a request finds its line in one, and every route there is as
//! data: for the tests that ask each of them as everybody (S-002).

use futures_util::future::BoxFuture;
use http::header::ALLOW;
use http::{Method, StatusCode};
use wharf_policy::Action;

use crate::api::Problem;
use crate::reply::header_value;
use crate::service::Inbound;
use crate::{api, v2, web};

/// One line of a table: what is asked for, which permission it needs, who answers.
pub(crate) struct Route<Call: 'static, Answer: 'static> {
    pub(crate) method: Method,
    /// With braces where a parameter stands.
    pub(crate) path: &'static str,
    pub(crate) action: Action,
    pub(crate) run: fn(Call) -> BoxFuture<'static, Answer>,
}

/// Declares the table `ROUTES`. The handler gets the proof of its line's permission as its first argument (S-001).
macro_rules! table {
    ($(#[$doc:meta])* $call:ty => $answer:ty: $($method:ident $path:literal $permission:ident $handler:path;)+) => {
        $(#[$doc])*
        pub(crate) static ROUTES: &[$crate::routes::Route<$call, $answer>] = &[$(
            $crate::routes::Route {
                method: ::http::Method::$method,
                path: $path,
                action: <$permission as ::wharf_policy::Permission>::ACTION,
                run: |call| Box::pin(async move {
                    let ok = call.authorize::<$permission>()?;
                    $handler(ok, call).await
                }),
            }
        ),+];
    };
}
pub(crate) use table;

/// The line of `table` that a request is for, and what stands in its braces.
///
/// # Errors
///
/// 404 with `nothing` as its words, or 405 with the methods that are allowed.
pub(crate) fn find<C, A>(
    table: &'static [Route<C, A>],
    inbound: &Inbound,
    nothing: &'static str,
) -> Result<(&'static Route<C, A>, Vec<String>), Problem> {
    let mut allowed = Vec::new();
    for route in table {
        let Some(parameters) = matches(route.path, &inbound.path) else { continue };
        if route.method == inbound.method || (inbound.method == Method::HEAD && route.method == Method::GET) {
            return Ok((route, parameters));
        }
        allowed.push(route.method.as_str());
    }
    if allowed.is_empty() {
        return Err(Problem::new(StatusCode::NOT_FOUND, nothing));
    }
    let message = format!("{} cannot be used here, only {}", inbound.method, allowed.join(", "));
    Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, message).with(ALLOW, header_value(&allowed.join(", "))))
}

/// What stands in the braces of `pattern`, if `path` has its form.
pub(crate) fn matches(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut parameters = Vec::new();
    let (mut wanted, mut found) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return Some(parameters),
            (Some(wanted), Some(found)) if wanted.starts_with('{') && !found.is_empty() => {
                let decoded = percent_encoding::percent_decode_str(found).decode_utf8().ok()?;
                if decoded.chars().any(|c| c.is_control() || c == '/') {
                    return None;
                }
                parameters.push(decoded.into_owned());
            }
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return None,
        }
    }
}

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
    registry.chain(api::ROUTES.iter().map(RouteInfo::of)).chain(web::ROUTES.iter().map(RouteInfo::of)).collect()
}

impl RouteInfo {
    fn of<C, A>(route: &Route<C, A>) -> Self {
        Self { method: route.method.to_string(), path: route.path, action: Some(route.action) }
    }
}
