use proptest::prelude::*;

use crate::{NameError, Route, RouteError};

/// What a path means, in the words of the tables below.
fn read(path: &str) -> String {
    match Route::parse(path) {
        Ok(Route::Base) => "base".into(),
        Ok(Route::Token) => "token".into(),
        Ok(Route::Catalog) => "catalog".into(),
        Ok(Route::ExtensionDiscovery) => "extensions".into(),
        Ok(Route::Blob { name, digest }) => format!("blob {name} {digest}"),
        Ok(Route::Uploads { name }) => format!("uploads {name}"),
        Ok(Route::Upload { name, session }) => format!("upload {name} {session}"),
        Ok(Route::Manifest { name, reference }) => format!("manifest {name} {reference}"),
        Ok(Route::Tags { name }) => format!("tags {name}"),
        Ok(Route::Referrers { name, digest }) => format!("referrers {name} {digest}"),
        Err(RouteError::NotFound) => "404".into(),
        Err(RouteError::NameInvalid(_)) => "400".into(),
    }
}

#[track_caller]
fn check(table: &[(&str, &str)]) {
    for (path, expected) in table {
        assert_eq!(read(path), *expected, "{path}");
    }
}

#[test]
fn every_endpoint_has_its_path() {
    check(&[
        ("/v2/", "base"),
        ("/v2", "base"),
        ("/v2/token", "token"),
        ("/v2/_catalog", "catalog"),
        ("/v2/_oci/ext/discover", "extensions"),
        ("/v2/a/b/_oci/ext/discover", "extensions"),
        ("/v2/a/blobs/sha256:1", "blob a sha256:1"),
        ("/v2/a/b/blobs/uploads/", "uploads a/b"),
        ("/v2/a/b/blobs/uploads", "uploads a/b"),
        ("/v2/a/b/blobs/uploads/1-2", "upload a/b 1-2"),
        ("/v2/a/manifests/latest", "manifest a latest"),
        ("/v2/a/tags/list", "tags a"),
        ("/v2/a/referrers/sha256:1", "referrers a sha256:1"),
    ]);
}

#[test]
fn b024_b025_b026_the_last_segments_decide() {
    check(&[
        ("/v2/alpha/blobs/uploads/blobs/uploads/", "uploads alpha/blobs/uploads"),
        ("/v2/blobs/uploads/blobs/uploads/x", "upload blobs/uploads x"),
        ("/v2/blobs/uploads/tags/list", "tags blobs/uploads"),
        ("/v2/blobs/uploads/manifests/v1", "manifest blobs/uploads v1"),
        ("/v2/alpha/manifests/beta/tags/list", "tags alpha/manifests/beta"),
        ("/v2/pub/img/manifests/x/manifests/latest", "manifest pub/img/manifests/x latest"),
        ("/v2/tags/list/tags/list", "tags tags/list"),
        ("/v2/tags/list/blobs/d", "blob tags/list d"),
        ("/v2/v2/v2/manifests/manifests", "manifest v2/v2 manifests"),
        ("/v2/a/blobs/uploads/uploads", "upload a uploads"),
        ("/v2/a/uploads/blobs/uploads", "uploads a/uploads"),
        ("/v2/a/blobs/blobs", "blob a blobs"),
        ("/v2/a/tags/manifests/list", "manifest a/tags list"),
        ("/v2/referrers/referrers/d", "referrers referrers d"),
    ]);
}

#[test]
fn p008_b017_b029_paths_that_mean_nothing() {
    check(&[
        ("", "404"),
        ("/", "404"),
        ("/v3/", "404"),
        ("/v1/search", "404"),
        ("/v22", "404"),
        ("/v2//", "404"),
        ("/V2/", "404"),
        ("v2/", "404"),
        ("/v2/a", "404"),
        ("/v2/a/", "404"),
        ("/v2/alpha/app/foo", "404"),
        ("/v2/_catalog/", "404"),
        ("/v2/tags/list", "404"),
        ("/v2/blobs/uploads/", "404"),
        ("/v2/blobs/uploads/x", "404"),
        ("/v2/manifests/v1", "404"),
        ("/v2/a/tags/list/", "404"),
        ("/v2/a/tags/other", "404"),
        ("/v2/a/manifests/", "404"),
        ("/v2/a/manifests/v1/", "404"),
        ("/v2/a/manifests//v1", "404"),
        ("/v2/a/blobs/uploads//", "404"),
        ("/v2/a/blobs/uploads/x/", "404"),
        ("/v2/a/uploads/x", "404"),
        ("/v2/a/manifests/.", "404"),
        ("/v2/a/manifests/..", "404"),
        ("/v2/../../etc/passwd", "404"),
        ("/v2/a/blobs/sha256:../../../../etc/passwd", "404"),
    ]);
}

#[test]
fn b013_to_b020_names_that_are_refused() {
    check(&[
        ("/v2/alpha/../beta/secret/tags/list", "400"),
        ("/v2/./a/tags/list", "400"),
        ("/v2/alpha%2fapp/tags/list", "400"),
        ("/v2/t%2Fa/manifests/v1", "400"),
        ("/v2/alpha/%2e%2e/beta/secret/tags/list", "400"),
        ("/v2/a%2eb/tags/list", "400"),
        ("/v2/alpha%252fapp/tags/list", "400"),
        ("/v2/alpha\\app/tags/list", "400"),
        ("/v2/alpha%5capp/tags/list", "400"),
        ("/v2//app/tags/list", "400"),
        ("/v2/alpha//app/tags/list", "400"),
        ("/v2//tags/list", "400"),
        ("/v2/alpha/app%00.txt/tags/list", "400"),
        ("/v2/a%0d%0aSet-Cookie:x=1/tags/list", "400"),
        ("/v2/%ff%fe/tags/list", "400"),
        ("/v2/%c0%ae%c0%ae%c0%af/tags/list", "400"),
        ("/v2/a%/tags/list", "400"),
        ("/v2/a%zz/tags/list", "400"),
        ("/v2/Alpha/App/tags/list", "400"),
        ("/v2/älpha/tags/list", "400"),
        ("/v2/%C3%A4lpha/tags/list", "400"),
        ("/v2/a___b/blobs/uploads/", "400"),
        ("/v2/-a/blobs/uploads/x", "400"),
        ("/v2/a./referrers/x", "400"),
        ("/v2/_trash/blobs/x", "400"),
        ("/v2/A/_oci/ext/discover", "400"),
    ]);
    let long = format!("/v2/{}/tags/list", "a".repeat(256));
    assert_eq!(Route::parse(&long), Err(RouteError::NameInvalid(NameError::TooLong { length_bytes: 256 })));
}

#[test]
fn p009_escapes_are_decoded_exactly_once() {
    check(&[
        ("/v2/a/blobs/sha256%3Aab", "blob a sha256:ab"),
        ("/v2/a/blobs/sha256%3aab", "blob a sha256:ab"),
        ("/v2/%61/b%2Db/tags/list", "tags a/b-b"),
        ("/%762/a/t%61gs/list", "tags a"),
        ("/v2/a/manifests/latest%20", "manifest a latest "),
        ("/v2/a/manifests/%C3%BCn%C3%AF", "manifest a ünï"),
        ("/v2/a/manifests/ünï", "manifest a ünï"),
        ("/v2/a/manifests/v1%2e0", "404"),
        ("/v2/a/manifests/v1%2f0", "404"),
        ("/v2/a/manifests/v%2561", "404"),
        ("/v2/a/manifests/v1%00", "404"),
        ("/v2/a/manifests/v1%0a", "404"),
        ("/v2/a/manifests/v1%5c", "404"),
        ("/v2/a/manifests/v1%ff", "404"),
        ("/v2/a/manifests/v1%", "404"),
        ("/v2/a/blobs/uploads/..%2f..", "404"),
        ("/v2/a%2ftags%2flist", "404"),
    ]);
}

#[test]
fn p013_methods() {
    for (path, methods) in [
        ("/v2/", "GET HEAD"),
        ("/v2/token", "GET HEAD POST"),
        ("/v2/_catalog", "GET HEAD"),
        ("/v2/a/blobs/d", "GET HEAD DELETE"),
        ("/v2/a/blobs/uploads/", "POST"),
        ("/v2/a/blobs/uploads/u", "GET HEAD PATCH PUT DELETE"),
        ("/v2/a/manifests/r", "GET HEAD PUT DELETE"),
        ("/v2/a/tags/list", "GET HEAD"),
        ("/v2/a/referrers/d", "GET HEAD"),
    ] {
        assert_eq!(Route::parse(path).unwrap().methods().join(" "), methods, "{path}");
    }
}

/// Names made of the words that routes are made of (S-042).
fn names() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["blobs", "manifests", "tags", "list", "uploads", "referrers", "v2", "a"]);
    prop::collection::vec(word, 1..8).prop_map(|words| words.join("/"))
}

fn last_parts() -> impl Strategy<Value = String> {
    prop_oneof![
        names().prop_map(|name| name.rsplit('/').next().unwrap_or_default().to_owned()),
        "[a-zA-Z0-9_][a-zA-Z0-9._:-]{0,20}",
        "[^/\\\\%\\x00-\\x1f\\x7f]{1,20}",
    ]
    .prop_filter("dot segments are no last part", |part| part != "." && part != "..")
}

proptest! {
    #[test]
    fn s042_any_name_works_in_any_route(name in names(), part in last_parts()) {
        let name: crate::RepositoryName = name.parse().unwrap();
        let (reference, digest, session) = (part.clone(), part.clone(), part.clone());
        let mut routes = vec![
            Route::Uploads { name: name.clone() },
            Route::Tags { name: name.clone() },
            Route::Upload { name: name.clone(), session },
            Route::Manifest { name: name.clone(), reference },
            Route::Referrers { name: name.clone(), digest: digest.clone() },
        ];
        // The one word that a blob's path cannot end with: it is the path of the uploads.
        if digest != "uploads" {
            routes.push(Route::Blob { name: name.clone(), digest });
        }
        for route in routes {
            prop_assert_eq!(route.name(), Some(&name));
            prop_assert_eq!(Route::parse(&route.to_string()), Ok(route));
        }
    }

    #[test]
    fn s041_any_path_is_answered_and_prints_as_it_was_understood(path in "/v2/\\PC{0,60}|/v2/(blobs|manifests|tags|list|uploads|referrers|a|%[0-9a-f]{2}|%|\\.|/|é){0,12}", any in any::<String>()) {
        for path in [path, any] {
            if let Ok(route) = Route::parse(&path) {
                prop_assert_eq!(Route::parse(&route.to_string()), Ok(route));
            }
        }
    }
}
