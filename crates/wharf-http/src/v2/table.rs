//! Which action each request needs: one table, for dispatch, for challenges, and for the tests that walk it (S-002).

use http::Method;
use wharf_oci::{Query, RepositoryName, Route, Scope, ScopeAction};
use wharf_policy::Action;

use crate::auth::scope_actions;
use crate::service::Inbound;

/// The action that `method` on `route` needs; `None` for the token service, which asks for credentials itself.
pub(crate) fn action(route: &Route, method: &Method) -> Option<Action> {
    let action = match route {
        Route::Token => return None,
        Route::Base | Route::ExtensionDiscovery => Action::VersionCheck,
        Route::Catalog => Action::Catalog,
        Route::Tags { .. } | Route::Referrers { .. } => Action::Pull,
        // Who has opened a session may look at it and end it (P-075).
        Route::Uploads { .. } | Route::Upload { .. } => Action::Push,
        Route::Blob { .. } | Route::Manifest { .. } => match *method {
            Method::DELETE => Action::Delete,
            Method::PUT => Action::Push,
            _ => Action::Pull,
        },
    };
    Some(action)
}

/// The scopes that a token needs for this request; the target comes first (P-074). Only a refusal wants to know them,
/// so the request is read again for it.
pub(crate) fn scopes(inbound: &Inbound) -> Vec<Scope> {
    let Ok(route) = Route::parse(&inbound.path) else { return Vec::new() };
    let Some(action) = action(&route, &inbound.method) else { return Vec::new() };
    if action == Action::Catalog {
        return vec![Scope::catalog()];
    }
    let Some(name) = route.name() else { return Vec::new() };
    let mut scopes = vec![Scope::repository(name, scope_actions(action))];
    let query = Query::parse(inbound.query.as_deref()).unwrap_or_default();
    if matches!(route, Route::Uploads { .. })
        && query.first("mount").is_some()
        && let Some(source) = query.first("from").and_then(|from| from.parse::<RepositoryName>().ok())
        && source != *name
    {
        scopes.push(Scope::repository(&source, &[ScopeAction::Pull]));
    }
    scopes
}

/// A path of each kind, with names in braces for what stands there.
pub(crate) const PATHS: &[&str] = &[
    "/v2/",
    "/v2/token",
    "/v2/_catalog",
    "/v2/_oci/ext/discover",
    "/v2/{name}/blobs/{digest}",
    "/v2/{name}/blobs/uploads/",
    "/v2/{name}/blobs/uploads/{session}",
    "/v2/{name}/manifests/{reference}",
    "/v2/{name}/tags/list",
    "/v2/{name}/referrers/{digest}",
];

/// Every method on every path, with the action it needs.
pub(crate) fn routes() -> impl Iterator<Item = (&'static str, &'static str, Option<Action>)> {
    PATHS.iter().flat_map(|path| {
        let example = path.replace("{name}", "n").replace(['{', '}'], "");
        let route = Route::parse(&example).expect("the paths of the table are paths of the protocol");
        let methods = route.methods().iter();
        methods.map(move |name| {
            let method = Method::from_bytes(name.as_bytes()).expect("methods have names of letters");
            (*name, *path, action(&route, &method))
        })
    })
}

#[cfg(test)]
mod tests {
    use wharf_oci::Route;

    use super::{PATHS, routes};

    /// One number for each kind of route; a new kind does not compile until it stands here, and then not without a path.
    fn kind(route: &Route) -> usize {
        match route {
            Route::Base => 0,
            Route::Token => 1,
            Route::Catalog => 2,
            Route::ExtensionDiscovery => 3,
            Route::Blob { .. } => 4,
            Route::Uploads { .. } => 5,
            Route::Upload { .. } => 6,
            Route::Manifest { .. } => 7,
            Route::Tags { .. } => 8,
            Route::Referrers { .. } => 9,
        }
    }

    #[test]
    fn s002_the_table_has_a_path_for_each_kind_of_route() {
        for (index, path) in PATHS.iter().enumerate() {
            let example = path.replace("{name}", "n").replace(['{', '}'], "");
            assert_eq!(kind(&Route::parse(&example).expect("a path of the protocol")), index, "{path}");
        }
        assert_eq!(PATHS.len(), 10);
    }

    #[test]
    fn s002_the_table_as_anybody_can_read_it() {
        let lines: Vec<String> = routes()
            .map(|(method, path, action)| format!("{method} {path} {}", action.map_or("token service", |a| a.as_str())))
            .collect();
        let expected = "\
GET /v2/ registry:version_check
HEAD /v2/ registry:version_check
GET /v2/token token service
HEAD /v2/token token service
POST /v2/token token service
GET /v2/_catalog registry:catalog
HEAD /v2/_catalog registry:catalog
GET /v2/_oci/ext/discover registry:version_check
HEAD /v2/_oci/ext/discover registry:version_check
GET /v2/{name}/blobs/{digest} registry:pull
HEAD /v2/{name}/blobs/{digest} registry:pull
DELETE /v2/{name}/blobs/{digest} registry:delete
POST /v2/{name}/blobs/uploads/ registry:push
GET /v2/{name}/blobs/uploads/{session} registry:push
HEAD /v2/{name}/blobs/uploads/{session} registry:push
PATCH /v2/{name}/blobs/uploads/{session} registry:push
PUT /v2/{name}/blobs/uploads/{session} registry:push
DELETE /v2/{name}/blobs/uploads/{session} registry:push
GET /v2/{name}/manifests/{reference} registry:pull
HEAD /v2/{name}/manifests/{reference} registry:pull
PUT /v2/{name}/manifests/{reference} registry:push
DELETE /v2/{name}/manifests/{reference} registry:delete
GET /v2/{name}/tags/list registry:pull
HEAD /v2/{name}/tags/list registry:pull
GET /v2/{name}/referrers/{digest} registry:pull
HEAD /v2/{name}/referrers/{digest} registry:pull";
        assert_eq!(lines.join("\n"), expected);
    }
}
