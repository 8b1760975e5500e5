use std::fmt;

use http::Method;

/// What kind of work a request is (`reliability` §9.2): what is limited together and measured together. Known from method
/// and path alone, before anything else is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Health, readiness, metrics, public keys.
    Health,
    /// Tokens: passwords have a limit of their own, where they are verified.
    Login,
    /// Answers from the metadata: manifests, HEAD, tags, referrers, the catalog, pages.
    Read,
    /// Blobs on their way out.
    Download,
    /// Blobs on their way in.
    Upload,
    /// Small changes: manifests, deletions, sessions.
    Commit,
    /// The administration API, and what is changed on pages.
    Admin,
}

/// Tables by class are looked up by its number.
const _: () = {
    let mut number = 0;
    while number < Class::ALL.len() {
        assert!(Class::ALL[number] as usize == number, "ALL has each class in its place");
        number += 1;
    }
};

impl Class {
    pub(crate) const ALL: [Self; 7] =
        [Self::Health, Self::Login, Self::Read, Self::Download, Self::Upload, Self::Commit, Self::Admin];

    /// `path` is without the configured prefix.
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        if path.starts_with("/api/") {
            return Self::Admin;
        }
        if matches!(path, "/healthz" | "/readyz" | "/metrics") || path.starts_with("/.well-known/") {
            return Self::Health;
        }
        if path == "/v2/token" || (path == "/login" && !is_read) {
            return Self::Login;
        }
        if !path.starts_with("/v2") {
            return if is_read { Self::Read } else { Self::Admin };
        }
        // A repository may have these words in its name; the last of them counts.
        let kind = path.rsplit('/').find(|part| matches!(*part, "blobs" | "uploads" | "manifests"));
        match kind {
            Some("uploads") if !is_read && *method != Method::DELETE => Self::Upload,
            Some("blobs") if *method == Method::GET => Self::Download,
            _ if is_read => Self::Read,
            _ => Self::Commit,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Login => "login",
            Self::Read => "read",
            Self::Download => "download",
            Self::Upload => "upload",
            Self::Commit => "commit",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_known_from_method_and_path() {
        let check = |line: &str, expected: Class| {
            let (method, path) = line.split_once(' ').expect("a method and a path");
            assert_eq!(Class::of(&method.parse().expect("a method"), path), expected, "{line}");
        };
        check("GET /healthz", Class::Health);
        check("GET /.well-known/jwks.json", Class::Health);
        check("GET /api/v1/gc", Class::Admin);
        check("GET /", Class::Read);
        check("GET /image", Class::Read);
        check("GET /login", Class::Read);
        check("POST /login", Class::Login);
        check("POST /delete", Class::Admin);
        check("GET /v2/", Class::Read);
        check("GET /v2/token", Class::Login);
        check("GET /v2/_catalog", Class::Read);
        check("GET /v2/a/b/manifests/v1", Class::Read);
        check("PUT /v2/a/b/manifests/v1", Class::Commit);
        check("DELETE /v2/a/b/manifests/v1", Class::Commit);
        check("HEAD /v2/a/b/blobs/sha256:00", Class::Read);
        check("GET /v2/a/b/blobs/sha256:00", Class::Download);
        check("DELETE /v2/a/b/blobs/sha256:00", Class::Commit);
        check("POST /v2/a/b/blobs/uploads/", Class::Upload);
        check("PATCH /v2/a/b/blobs/uploads/1", Class::Upload);
        check("PUT /v2/a/b/blobs/uploads/1", Class::Upload);
        check("GET /v2/a/b/blobs/uploads/1", Class::Read);
        check("DELETE /v2/a/b/blobs/uploads/1", Class::Commit);
        check("GET /v2/blobs/x/manifests/v1", Class::Read);
        check("GET /v2/uploads/blobs/sha256:00", Class::Download);
    }
}
