//! The one place where failures become answers (P-051 … P-059, table A1 of the checklist).

use std::error::Error as StdError;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, HeaderName, RETRY_AFTER, WARNING};
use http::{HeaderMap, HeaderValue, StatusCode};
use wharf_identity::AuthError;
use wharf_oci::{Code, DigestError, ErrorEntry, QueryError, RouteError, error_body};
use wharf_policy::Denied;
use wharf_registry::{BodyError, Error};

use crate::body::CollectError;
use crate::reply::Reply;

/// With what a client is told that pushing what it asked for would bring it back.
const SET_ASIDE: &str = "299 - \"the stored content was damaged and is set aside; push it again to bring it back\"";

/// A refusal or a fault on its way to the client.
#[derive(Debug)]
pub(crate) struct Failure(Box<Refusal>);

#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    entries: Vec<ErrorEntry>,
    headers: HeaderMap,
    /// Members that stand beside `errors`, for readers of another form.
    members: Vec<(&'static str, String)>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        let entry = ErrorEntry { code, message: message.into(), detail: None };
        Self(Box::new(Refusal {
            status,
            entries: vec![entry],
            headers: HeaderMap::new(),
            members: Vec::new(),
            cause: None,
        }))
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    /// More members of the body, beside `errors`.
    pub(crate) fn with_members(mut self, members: &[(&'static str, &str)]) -> Self {
        self.0.members = members.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self
    }

    fn because(mut self, cause: impl StdError + Send + Sync + 'static) -> Self {
        self.0.cause = Some(Box::new(cause));
        self
    }

    fn listing(mut self, entries: Vec<ErrorEntry>) -> Self {
        self.0.entries = entries;
        self
    }

    /// An unknown path, or one whose feature is off (P-013, P-286).
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::Unsupported, "there is nothing at this path")
    }

    /// A digest that is none, or one that cannot be written under (P-047).
    pub(crate) fn digest_invalid(error: &DigestError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::DigestInvalid, error.to_string())
    }

    /// A blob under a digest of an algorithm that nothing here is stored under (P-048).
    pub(crate) fn unknown_blob(error: &DigestError) -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::BlobUnknown, error.to_string())
    }

    /// A parameter that cannot be understood (P-264).
    pub(crate) fn parameter(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::Unsupported, message)
    }

    pub(crate) fn manifest_too_large(limit_bytes: u64) -> Self {
        let message = format!("a manifest may have at most {limit_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::ManifestInvalid, message)
    }

    /// Framing that another reader on the way may understand differently (S-044); the connection ends with the answer.
    pub(crate) fn ambiguous_framing() -> Self {
        let message = "the only transfer coding understood here is `chunked`, once";
        Self::new(StatusCode::BAD_REQUEST, Code::Unsupported, message)
            .with(CONNECTION, HeaderValue::from_static("close"))
    }

    /// Over the rate (P-032).
    pub(crate) fn too_many_requests(wait: Duration) -> Self {
        let failure = Self::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, "too many requests; slow down");
        failure.with(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)))
    }

    /// All places for such requests are taken. Not 503: some clients give up at once on that.
    pub(crate) fn busy(wait: Duration) -> Self {
        let message = "the registry is busy with other requests; try again in a moment";
        let failure = Self::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, message);
        failure.with(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)))
    }

    pub(crate) fn timed_out() -> Self {
        Self::unavailable("the request took too long")
    }

    /// A bug of ours.
    pub(crate) fn internal() -> Self {
        let message = "the registry failed; the log has the reason under the id in X-Request-Id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message)
    }

    /// Something that the registry needs is not there; the same request may work soon (P-033).
    fn unavailable(message: &str) -> Self {
        let failure = Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message);
        failure.with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    fn body(error: BodyError) -> Self {
        match error {
            BodyError::Stalled => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                Code::BlobUploadInvalid,
                "the body arrived too slowly; ask for the status of the upload and go on from there",
            ),
            BodyError::Broken => {
                Self::new(StatusCode::BAD_REQUEST, Code::BlobUploadInvalid, "the body broke off before its end")
            }
        }
    }

    pub(crate) fn into_reply(self) -> Reply {
        let Refusal { status, entries, headers, members, cause } = *self.0;
        let mut reply = Reply::json(status, with_members(error_body(&entries), members));
        reply.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply.headers.extend(headers);
        reply.cause = cause;
        reply
    }
}

/// `body`, an object, with `members` put in.
fn with_members(body: Vec<u8>, members: Vec<(&'static str, String)>) -> Vec<u8> {
    if members.is_empty() {
        return body;
    }
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&body).unwrap_or_default();
    object.extend(members.into_iter().map(|(name, value)| (name.to_owned(), value.into())));
    serde_json::to_vec(&object).unwrap_or(body)
}

impl From<RouteError> for Failure {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::NotFound => Self::not_found(),
            RouteError::NameInvalid(error) => Self::new(StatusCode::BAD_REQUEST, Code::NameInvalid, error.to_string()),
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::new(StatusCode::URI_TOO_LONG, Code::Unsupported, error.to_string())
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Self::new(StatusCode::FORBIDDEN, Code::Denied, denied.to_string())
    }
}

/// A 401 gets its challenge from [`Demand`](crate::auth::Demand), which knows the request.
impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        let later = |status, code, wait: Duration| {
            Self::new(status, code, error.to_string()).with(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)))
        };
        match &error {
            AuthError::InvalidToken | AuthError::WrongCredentials => {
                Self::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, error.to_string())
            }
            AuthError::TooManyAttempts { retry_after } | AuthError::Busy { retry_after } => {
                later(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, *retry_after)
            }
            AuthError::Unavailable { retry_after, .. } => {
                later(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, *retry_after).because(error)
            }
            AuthError::Meta(_) => {
                Self::unavailable("the registry cannot look up who you are; try again").because(error)
            }
        }
    }
}

impl From<CollectError> for Failure {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::TooLarge => Self::manifest_too_large(wharf_oci::MANIFEST_MAX_BYTES),
            CollectError::Body(error) => Self::body(error).listing(vec![broken_manifest()]),
        }
    }
}

fn broken_manifest() -> ErrorEntry {
    let message = "the manifest did not arrive as a whole".to_owned();
    ErrorEntry { code: Code::ManifestInvalid, message, detail: None }
}

/// No wildcard: a new variant does not compile until somebody has chosen its answer.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let say = |status, code| Self::new(status, code, error.to_string());
        match &error {
            Error::BlobUnknown(_) => say(StatusCode::NOT_FOUND, Code::BlobUnknown),
            Error::BlobSetAside(_) => {
                say(StatusCode::NOT_FOUND, Code::BlobUnknown).with(WARNING, HeaderValue::from_static(SET_ASIDE))
            }
            Error::ManifestUnknown(_) => say(StatusCode::NOT_FOUND, Code::ManifestUnknown),
            // Of the administration API; see `api::problem`.
            Error::NothingToRestore(_) => say(StatusCode::NOT_FOUND, Code::ManifestUnknown),
            Error::ContentGone(_)
            | Error::CollectionHeld { .. }
            | Error::CheckRunning
            | Error::BackupRunning { .. }
            | Error::BackupUnknown
            | Error::BackupHoldGone
            | Error::NoSnapshot(_) => say(StatusCode::CONFLICT, Code::Unsupported),
            Error::RepositoryUnknown(_) => say(StatusCode::NOT_FOUND, Code::NameUnknown),
            // The challenge comes from the handler, which knows the request (P-154).
            Error::SourceScope => say(StatusCode::UNAUTHORIZED, Code::Unauthorized),
            Error::UploadUnknown => say(StatusCode::NOT_FOUND, Code::BlobUploadUnknown),
            Error::OutOfOrder { .. } | Error::UploadBusy { .. } => {
                say(StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid)
            }
            Error::UploadInterrupted => Self::unavailable(&error.to_string()).because(error),
            Error::SizeInvalid { .. } => say(StatusCode::BAD_REQUEST, Code::SizeInvalid),
            Error::BlobTooLarge { .. } => say(StatusCode::PAYLOAD_TOO_LARGE, Code::BlobUploadInvalid),
            Error::TooManyChunks { .. } => say(StatusCode::BAD_REQUEST, Code::BlobUploadInvalid),
            Error::TooManyUploads { .. } => say(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests)
                .with(RETRY_AFTER, HeaderValue::from_static("60")),
            Error::OutOfMemory => say(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests)
                .with(RETRY_AFTER, HeaderValue::from_static("5")),
            Error::DigestMismatch { .. } => say(StatusCode::BAD_REQUEST, Code::DigestInvalid),
            Error::Body(error) => Self::body(*error),
            Error::ManifestInvalid(_) => say(StatusCode::BAD_REQUEST, Code::ManifestInvalid),
            Error::ReferencesMissing(digests) => {
                let entries = digests.iter().map(|digest| ErrorEntry {
                    code: Code::ManifestBlobUnknown,
                    message: format!("{digest} is not in this repository; push it first"),
                    detail: Some(digest.to_string()),
                });
                say(StatusCode::BAD_REQUEST, Code::ManifestBlobUnknown).listing(entries.collect())
            }
            Error::MediaTypeConflict(_) => say(StatusCode::BAD_REQUEST, Code::ManifestInvalid),
            Error::ConditionFailed => say(StatusCode::PRECONDITION_FAILED, Code::Unsupported),
            Error::ReadOnly => say(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported)
                .with(ALLOW, HeaderValue::from_static("GET, HEAD")),
            // Later, not never: a 405 would be taken for a property of the registry.
            Error::WriteProtected(_) => say(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
                .with(RETRY_AFTER, HeaderValue::from_static("10")),
            Error::DeletionDisabled(_) => {
                let allow = HeaderValue::from_static("GET, HEAD, PUT");
                say(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported).with(ALLOW, allow)
            }
            Error::StorageFull => {
                let full = Self::new(StatusCode::INSUFFICIENT_STORAGE, Code::Unavailable, error.to_string());
                full.with(RETRY_AFTER, HeaderValue::from_static("60")).because(error)
            }
            Error::Damaged(_) | Error::TaskLost => Self::internal().because(error),
            Error::Meta { .. } | Error::Store { .. } | Error::Read { .. } | Error::DatabaseSlow => {
                Self::unavailable("the registry cannot do this right now; try again").because(error)
            }
        }
    }
}
