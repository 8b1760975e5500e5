//! The one place where failures of the administration API become answers (RFC 9457).

use http::header::{HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use wharf_identity::oidc::SignInError;
use wharf_identity::{AdminError, AuthError};
use wharf_oci::Challenge;
use wharf_policy::Denied;
use wharf_registry::RulesError;

use crate::reply::{Payload, Reply, header_value};

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A refusal or a fault on its way to the client.
#[derive(Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    detail: String,
    field: Option<String>,
    headers: HeaderMap,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemDetails<'p> {
    /// Always `about:blank`: the status says what kind of problem it is.
    r#type: &'static str,
    /// The status in words.
    title: &'p str,
    /// The HTTP status.
    status: u16,
    /// What was wrong, and what to do about it.
    detail: &'p str,
    /// The member, parameter or part of the path that was wrong, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'p str>,
    /// The id under which the log knows the request.
    request_id: &'p str,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let inner = Inner { status, detail: detail.into(), field: None, headers: HeaderMap::new(), cause: None };
        Self(Box::new(inner))
    }

    /// 400 that is about the request as a whole.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 400 that is about one field; `problem` continues a sentence that begins with its name.
    pub(crate) fn field(name: impl Into<String>, problem: impl AsRef<str>) -> Self {
        let name = name.into();
        let mut invalid = Self::invalid(format!("{name} {}", problem.as_ref()));
        invalid.0.field = Some(name);
        invalid
    }

    /// 404; also for what the asker may not see (S-010).
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    /// 409.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 401, with the scheme that programs shall use. A page of ours that fetches from here has to catch it before the
    /// browser asks the person for a password.
    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        let challenge = Challenge::Basic { realm: "wharf".into() };
        Self::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, header_value(&challenge.to_string()))
    }

    /// There are no accounts.
    pub(crate) fn open() -> Self {
        Self::conflict("this registry runs with --open, so it has no accounts; start it without --open to have some")
    }

    pub(crate) fn timed_out() -> Self {
        Self::unavailable("the request took too long")
    }

    /// A bug of ours.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the registry failed; the log has the reason under the request's id",
        )
    }

    fn unavailable(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    fn because(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.cause = Some(Box::new(cause));
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What was wrong, as a sentence.
    pub(crate) fn sentence(&self) -> String {
        let mut characters = self.0.detail.chars();
        let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        let end = if self.0.detail.ends_with(['.', '?', '!']) { "" } else { "." };
        format!("{first}{}{end}", characters.as_str())
    }

    /// The headers of the answer, and what the log says.
    pub(crate) fn into_rest(self) -> (HeaderMap, Option<Box<dyn std::error::Error + Send + Sync>>) {
        (self.0.headers, self.0.cause)
    }

    pub(crate) fn into_reply(self, request_id: &str) -> Reply {
        let Inner { status, detail, field, headers, cause } = *self.0;
        let details = ProblemDetails {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("error"),
            status: status.as_u16(),
            detail: &detail,
            field: field.as_deref(),
            request_id,
        };
        let body = serde_json::to_vec(&details).unwrap_or_default();
        let mut reply = Reply::of(status, PROBLEM, Payload::Bytes(body.into()));
        reply.headers.extend(headers);
        reply.cause = cause;
        reply
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("{denied}; ask an administrator"))
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let later = |status, wait: std::time::Duration| {
            Self::new(status, error.to_string()).with(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)))
        };
        match &error {
            AuthError::InvalidToken | AuthError::WrongCredentials => Self::unauthorized(error.to_string()),
            AuthError::TooManyAttempts { retry_after } | AuthError::Busy { retry_after } => {
                later(StatusCode::TOO_MANY_REQUESTS, *retry_after)
            }
            AuthError::Unavailable { retry_after, .. } => {
                later(StatusCode::SERVICE_UNAVAILABLE, *retry_after).because(error)
            }
            AuthError::Meta(_) => {
                Self::unavailable("the registry cannot look up who you are; try again").because(error)
            }
        }
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        let text = error.to_string();
        match &error {
            SignInError::UnknownProvider => Self::new(StatusCode::NOT_FOUND, text),
            SignInError::Stale | SignInError::OtherProvider => Self::invalid(text),
            SignInError::Refused(_) | SignInError::NotAdmitted(_) => Self::new(StatusCode::FORBIDDEN, text),
            SignInError::Invalid { .. } => Self::new(StatusCode::BAD_GATEWAY, text),
            SignInError::TooMany { retry_after } => Self::new(StatusCode::TOO_MANY_REQUESTS, text)
                .with(RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1))),
            SignInError::Unavailable { .. } => Self::unavailable(&text),
            SignInError::Meta(_) => Self::unavailable("the registry cannot sign you in right now; try again"),
        }
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let text = error.to_string();
        match error {
            AdminError::Invalid { field, problem } => Self::field(field, problem),
            AdminError::AccountUnknown(_) | AdminError::TokenUnknown => Self::new(StatusCode::NOT_FOUND, text),
            AdminError::NameTaken(_)
            | AdminError::LastAdmin(_)
            | AdminError::TooManyTokens { .. }
            | AdminError::NotLocal(_) => Self::conflict(text),
            AdminError::Conflict => Self::new(StatusCode::PRECONDITION_FAILED, text),
            AdminError::BeyondGranter(_) => Self::new(StatusCode::FORBIDDEN, text),
            AdminError::WrongPassword => Self::field("current", "is not the password in force"),
            AdminError::Auth(error) => error.into(),
            AdminError::Meta(_) => Self::unavailable("the registry cannot do this right now; try again").because(error),
        }
    }
}

impl From<RulesError> for Problem {
    fn from(error: RulesError) -> Self {
        let text = error.to_string();
        match error {
            RulesError::Invalid(error) => Self::field(error.field, error.problem),
            RulesError::MatchesEverything => Self::invalid(text),
            RulesError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, text),
            RulesError::Builtin(_) | RulesError::TooMany | RulesError::LocksOut => Self::conflict(text),
            RulesError::Conflict => Self::new(StatusCode::PRECONDITION_FAILED, text),
            RulesError::BeyondGranter => Self::new(StatusCode::FORBIDDEN, text),
            RulesError::Meta(_) => Self::unavailable("the registry cannot do this right now; try again").because(error),
            RulesError::Reload(_) => Self::unavailable(&text).because(error),
        }
    }
}

/// Those use cases of the registry that are asked from here.
impl From<wharf_registry::Error> for Problem {
    fn from(error: wharf_registry::Error) -> Self {
        use wharf_registry::Error;
        let text = error.to_string();
        match &error {
            Error::NothingToRestore(_)
            | Error::ManifestUnknown(_)
            | Error::RepositoryUnknown(_)
            | Error::BlobSetAside(_) => Self::new(StatusCode::NOT_FOUND, text),
            Error::ContentGone(digests) => {
                let names: Vec<String> = digests.iter().take(5).map(ToString::to_string).collect();
                Self::conflict(format!("{text}: {}", names.join(", ")))
            }
            Error::WriteProtected(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, text).with(RETRY_AFTER, HeaderValue::from_static("10"))
            }
            Error::StorageFull => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, text).with(RETRY_AFTER, HeaderValue::from_static("60"))
            }
            Error::BackupUnknown | Error::BlobUnknown(_) => Self::new(StatusCode::NOT_FOUND, text),
            Error::CollectionHeld { .. }
            | Error::CheckRunning
            | Error::ReadOnly
            | Error::DeletionDisabled(_)
            | Error::BackupRunning { .. }
            | Error::BackupHoldGone
            | Error::Damaged(_) => Self::conflict(text),
            Error::NoSnapshot(_) => Self::unavailable(&text),
            // The first are told to whoever pushes; nothing that is asked from here comes to them.
            Error::UploadUnknown
            | Error::SourceScope
            | Error::OutOfOrder { .. }
            | Error::UploadBusy { .. }
            | Error::UploadInterrupted
            | Error::SizeInvalid { .. }
            | Error::BlobTooLarge { .. }
            | Error::TooManyChunks { .. }
            | Error::TooManyUploads { .. }
            | Error::OutOfMemory
            | Error::DigestMismatch { .. }
            | Error::Body(_)
            | Error::ManifestInvalid(_)
            | Error::ReferencesMissing(_)
            | Error::MediaTypeConflict(_)
            | Error::ConditionFailed
            | Error::Meta { .. }
            | Error::DatabaseSlow
            | Error::Store { .. }
            | Error::Read { .. }
            | Error::TaskLost => Self::unavailable("the registry cannot do this right now; try again").because(error),
        }
    }
}
