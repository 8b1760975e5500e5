//! Who asks, and whether they may: `require_auth` and `require_policy` (F-09, F-14).
//!
//! Both stand between the route and its handler, on every route: a handler's first argument is the proof that
//! [`require_policy`] alone hands out, and `require_policy` wants the asker that [`require_auth`] found (S-001).

mod credentials;

use std::sync::Arc;

use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use wharf_identity::{AuthError, Credentials, Origin, Place};
use wharf_oci::{Challenge, ChallengeError, Code, ScopeAction};
use wharf_policy::{Asker, Authorized, Denied, Permission, Principal, Reason};

use crate::App;
use crate::reply::header_value;
use crate::service::Inbound;
use crate::v2::{Failure, table};

pub(crate) use credentials::{BadCredentials, read as read_credentials};

/// Who asks, by the credentials in the request's headers.
///
/// # Errors
///
/// 401 for credentials that are wrong, also where none would have been needed (P-080); 429 and 503 as identity says.
pub(crate) async fn require_auth(app: &App, inbound: &Inbound, place: Place) -> Result<Asker, Refused> {
    let asked = inbound.asked();
    let Some(identity) = &app.parts.identity else {
        return Ok(Asker::new(Principal::anonymous(), asked.source, asked.request_id));
    };
    let credentials = read_credentials(&inbound.headers)?;
    Ok(identity.authenticate(&credentials, &asked, place, inbound.connection.remembered()).await?)
}

/// Asks policy, and hands out the proof. A denial is told to the audit log (F-09).
///
/// # Errors
///
/// [`Denied`].
pub(crate) fn require_policy<A: Permission>(
    app: &App,
    asker: &Asker,
    target: A::Target,
) -> Result<Authorized<A>, Denied> {
    app.parts.policy.authorize(asker, target).inspect_err(|denied| {
        if let Some(identity) = &app.parts.identity {
            identity.note_denial(asker, denied);
        }
    })
}

/// Why nobody is found to have asked.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The headers hold no credentials that could be looked at.
    Unreadable(BadCredentials),
    /// Identity says so.
    Auth(AuthError),
}

impl From<BadCredentials> for Refused {
    fn from(error: BadCredentials) -> Self {
        Self::Unreadable(error)
    }
}

impl From<AuthError> for Refused {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

/// What `/v2/` tells a client that has to prove more: realm, service, and what this request needs (P-065 … P-074).
pub(crate) struct Demand<'c> {
    pub(crate) app: &'c App,
    pub(crate) inbound: &'c Inbound,
}

impl Demand<'_> {
    /// Nobody has presented anything, and somebody must.
    pub(crate) fn credentials(&self) -> Failure {
        self.failure("log in: this needs an account", None)
    }

    /// What was presented cannot be used.
    pub(crate) fn refused(&self, refused: Refused) -> Failure {
        match refused {
            Refused::Unreadable(error) => self.failure(&error.to_string(), Some(ChallengeError::InvalidToken)),
            Refused::Auth(error) => match &error {
                AuthError::InvalidToken | AuthError::WrongCredentials => {
                    self.failure(&error.to_string(), Some(ChallengeError::InvalidToken))
                }
                _ => Failure::from(error),
            },
        }
    }

    /// Policy, or what the credentials are limited to, stands against it (P-070, P-072, S-007).
    pub(crate) fn denied(&self, asker: &Asker, denied: Denied) -> Failure {
        let has_token = asker.limits.bearer.is_some();
        match denied.reason {
            Reason::BearerScope => self.scope_missing(),
            Reason::TokenScope => denied.into(),
            Reason::Policy { .. } if !asker.principal.is_anonymous() => denied.into(),
            Reason::Policy { .. } if has_token => self.scope_missing(),
            Reason::Policy { .. } => self.credentials(),
        }
    }

    /// The token does not say so; another one may.
    pub(crate) fn scope_missing(&self) -> Failure {
        self.failure(
            "the token does not allow this; fetch one with the scope named",
            Some(ChallengeError::InsufficientScope),
        )
    }

    fn failure(&self, message: &str, error: Option<ChallengeError>) -> Failure {
        let service = self.app.parts.identity.as_ref().map_or("", |identity| identity.service());
        let challenge = Challenge::Bearer {
            realm: self.inbound.absolute(&self.app.origins, "/v2/token"),
            service: service.to_owned(),
            scopes: table::scopes(self.inbound),
            error,
        };
        unauthorized(message, &challenge)
    }
}

/// 401 with a challenge, in the form of the specification (P-071).
pub(crate) fn unauthorized(message: &str, challenge: &Challenge) -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message)
        .with(WWW_AUTHENTICATE, header_value(&challenge.to_string()))
}

/// The words of token scopes for a permission on a repository (P-074): who pushes reads as well.
pub(crate) fn scope_actions(action: wharf_policy::Action) -> &'static [ScopeAction] {
    use wharf_policy::Action;
    match action {
        Action::Pull => &[ScopeAction::Pull],
        Action::Push => &[ScopeAction::Pull, ScopeAction::Push],
        Action::Delete => &[ScopeAction::Delete],
        _ => &[],
    }
}

impl Inbound {
    /// Who asks from where, as identity wants to know it.
    pub(crate) fn asked(&self) -> Origin {
        Origin { source: Some(self.client), request_id: Arc::clone(&self.request_id) }
    }

    /// Whether credentials were presented at all.
    pub(crate) fn has_credentials(&self) -> bool {
        !matches!(read_credentials(&self.headers), Ok(Credentials::None))
    }
}
