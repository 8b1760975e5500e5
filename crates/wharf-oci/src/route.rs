//! Which resource a request path means.
//!
//! Repository names may hold the very words that the endpoints are made of: `a/manifests/b`, `blobs/uploads`,
//! `tags/list` are names. So a path is split from the right, its last segments decide, and whatever stands before them
//! is the name (P-005). Authorization and use cases get the name from the same split and so cannot disagree with the
//! router about it (S-042).
//!
//! The name is parsed here, because authorization needs it. The last part, digest, reference or session, is handed out
//! as text and parsed after authorization, so that what is wrong with it tells a stranger nothing (P-059).

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::path::{self, REFUSED};
use crate::{NameError, RepositoryName};

/// What may not stand raw in the last segment of a path.
const IN_SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A resource under `/v2/`. Printed as its path, which parses as the same route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`: is this a registry, and am I let in (end-1).
    Base,
    /// `/v2/token`: the token service. No repository can be of that path, because none is without an endpoint.
    Token,
    /// `/v2/_catalog`.
    Catalog,
    /// `/v2/_oci/ext/discover` and `/v2/<name>/_oci/ext/discover` (P-287).
    ExtensionDiscovery,
    /// `/v2/<name>/blobs/<digest>` (end-2, end-10).
    Blob {
        /// The repository.
        name: RepositoryName,
        /// Decoded, not parsed.
        digest: String,
    },
    /// `/v2/<name>/blobs/uploads/` (end-4, end-11).
    Uploads {
        /// The repository.
        name: RepositoryName,
    },
    /// `/v2/<name>/blobs/uploads/<session>` (end-5, end-6, end-13, end-14).
    Upload {
        /// The repository.
        name: RepositoryName,
        /// Decoded, not parsed.
        session: String,
    },
    /// `/v2/<name>/manifests/<reference>` (end-3, end-7, end-9).
    Manifest {
        /// The repository.
        name: RepositoryName,
        /// Decoded, not parsed.
        reference: String,
    },
    /// `/v2/<name>/tags/list` (end-8).
    Tags {
        /// The repository.
        name: RepositoryName,
    },
    /// `/v2/<name>/referrers/<digest>` (end-12).
    Referrers {
        /// The repository.
        name: RepositoryName,
        /// Decoded, not parsed.
        digest: String,
    },
}

/// Why a path means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No endpoint has this form (P-008, P-013).
    #[error("there is nothing at this path")]
    NotFound,
    /// An endpoint, but not of a repository (P-037).
    #[error(transparent)]
    NameInvalid(#[from] NameError),
}

impl Route {
    /// Reads a request path as it was sent: without query, still percent-encoded.
    ///
    /// `/v2` is `/v2/`, and `…/blobs/uploads` is `…/blobs/uploads/` (P-006, P-007). Any other trailing slash, empty or
    /// dot segment, control character or encoded separator is an error (P-008, P-009).
    ///
    /// # Errors
    ///
    /// [`RouteError::NameInvalid`] if the path has the form of an endpoint and only the name is wrong, else
    /// [`RouteError::NotFound`].
    ///
    /// # Source
    ///
    /// distribution-spec "Endpoints"; P-005 … P-009, P-037, S-041, S-042.
    pub fn parse(raw_path: &str) -> Result<Self, RouteError> {
        let path = path::decode(raw_path);
        let rest = path.strip_prefix("/v2").ok_or(RouteError::NotFound)?;
        match rest {
            "" | "/" => Ok(Self::Base),
            "/token" => Ok(Self::Token),
            "/_catalog" => Ok(Self::Catalog),
            "/_oci/ext/discover" => Ok(Self::ExtensionDiscovery),
            _ => Self::of_repository(rest.strip_prefix('/').ok_or(RouteError::NotFound)?),
        }
    }

    fn of_repository(path: &str) -> Result<Self, RouteError> {
        let path = if path.ends_with("/blobs/uploads/") { &path[..path.len() - 1] } else { path };
        let (rest, last) = path.rsplit_once('/').ok_or(RouteError::NotFound)?;
        let (name, endpoint) = rest.rsplit_once('/').ok_or(RouteError::NotFound)?;
        if is_unusable(last) {
            return Err(RouteError::NotFound);
        }
        let last_part = || last.to_owned();
        match (endpoint, last) {
            ("blobs", "uploads") => Ok(Self::Uploads { name: name.parse()? }),
            ("blobs", _) => Ok(Self::Blob { name: name.parse()?, digest: last_part() }),
            ("manifests", _) => Ok(Self::Manifest { name: name.parse()?, reference: last_part() }),
            ("tags", "list") => Ok(Self::Tags { name: name.parse()? }),
            ("referrers", _) => Ok(Self::Referrers { name: name.parse()?, digest: last_part() }),
            ("uploads", _) => {
                let name = name.strip_suffix("/blobs").ok_or(RouteError::NotFound)?;
                Ok(Self::Upload { name: name.parse()?, session: last_part() })
            }
            ("ext", "discover") => {
                let name = name.strip_suffix("/_oci").ok_or(RouteError::NotFound)?;
                name.parse::<RepositoryName>()?;
                Ok(Self::ExtensionDiscovery)
            }
            _ => Err(RouteError::NotFound),
        }
    }

    /// The methods that make sense here, as the header `Allow` lists them (P-013).
    #[must_use]
    pub fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Base | Self::Catalog | Self::ExtensionDiscovery | Self::Tags { .. } | Self::Referrers { .. } => {
                &["GET", "HEAD"]
            }
            Self::Token => &["GET", "HEAD", "POST"],
            Self::Blob { .. } => &["GET", "HEAD", "DELETE"],
            Self::Uploads { .. } => &["POST"],
            Self::Upload { .. } => &["GET", "HEAD", "PATCH", "PUT", "DELETE"],
            Self::Manifest { .. } => &["GET", "HEAD", "PUT", "DELETE"],
        }
    }

    /// The repository, where there is one.
    #[must_use]
    pub fn name(&self) -> Option<&RepositoryName> {
        match self {
            Self::Base | Self::Token | Self::Catalog | Self::ExtensionDiscovery => None,
            Self::Blob { name, .. }
            | Self::Uploads { name }
            | Self::Upload { name, .. }
            | Self::Manifest { name, .. }
            | Self::Tags { name }
            | Self::Referrers { name, .. } => Some(name),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segment = |text| utf8_percent_encode(text, IN_SEGMENT);
        match self {
            Self::Base => f.write_str("/v2/"),
            Self::Token => f.write_str("/v2/token"),
            Self::Catalog => f.write_str("/v2/_catalog"),
            Self::ExtensionDiscovery => f.write_str("/v2/_oci/ext/discover"),
            Self::Blob { name, digest } => write!(f, "/v2/{name}/blobs/{}", segment(digest)),
            Self::Uploads { name } => write!(f, "/v2/{name}/blobs/uploads/"),
            Self::Upload { name, session } => write!(f, "/v2/{name}/blobs/uploads/{}", segment(session)),
            Self::Manifest { name, reference } => write!(f, "/v2/{name}/manifests/{}", segment(reference)),
            Self::Tags { name } => write!(f, "/v2/{name}/tags/list"),
            Self::Referrers { name, digest } => write!(f, "/v2/{name}/referrers/{}", segment(digest)),
        }
    }
}

/// Whether a last segment is empty, a dot segment, or has something in it that was refused.
fn is_unusable(segment: &str) -> bool {
    matches!(segment, "" | "." | "..") || segment.contains(REFUSED)
}
