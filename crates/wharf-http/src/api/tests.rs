use std::collections::BTreeSet;

use super::ROUTES;
use super::document::DOCUMENT;
use crate::routes::matches;

#[test]
fn the_document_describes_every_route_and_nothing_else() {
    let described: BTreeSet<(String, String)> = DOCUMENT["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().expect("methods").keys().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let routes: BTreeSet<(String, String)> =
        ROUTES.iter().map(|route| (route.method.to_string(), route.path.to_owned())).collect();
    assert_eq!(described, routes);
}

#[test]
fn a_path_fits_its_line_of_the_table_and_no_other() {
    let check = |pattern, path, expected: Option<&[&str]>| {
        let found = matches(pattern, path);
        assert_eq!(
            found.as_deref().map(|found| found.iter().map(String::as_str).collect::<Vec<_>>()),
            expected.map(<[&str]>::to_vec),
            "{path}"
        );
    };
    check("/api/v1/me", "/api/v1/me", Some(&[]));
    check("/api/v1/me", "/api/v1/me/", None);
    check("/api/v1/accounts/{name}", "/api/v1/accounts/a", Some(&["a"]));
    check("/api/v1/accounts/{name}", "/api/v1/accounts/a%20b", Some(&["a b"]));
    check("/api/v1/accounts/{name}", "/api/v1/accounts/", None);
    check("/api/v1/accounts/{name}", "/api/v1/accounts/a%2fb", None);
    check("/api/v1/accounts/{name}", "/api/v1/accounts/a%00", None);
    check("/api/v1/accounts/{name}/tokens", "/api/v1/accounts/a/tokens", Some(&["a"]));
    check("/api/v1/accounts/{name}/tokens", "/api/v1/accounts/a", None);
}
