//! Workload identity: a program proves who it is with the token that its own platform gives it, and no secret is stored
//! anywhere (S-034, S-035).
//!
//! Such a token is good for one thing here: to be exchanged at the token service, in the place of a password. It has to
//! be for this registry's own audience, from an issuer that configuration names, and its claims have to fit one of the
//! conditions that configuration binds to that issuer.

mod claims;
mod config;
mod issuer;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wharf_base::Clock;
use wharf_policy::{AccountType, Principal};

use crate::provider::{Attempt, Login, Proof, Provider, Verdict};
use crate::{AuthError, StartError};

pub use config::{Config, Issuer, JwtAlgorithm, Trust};
use issuer::TrustedIssuer;

/// The longest token that is looked at, in bytes (security requirements, §3.3).
const TOKEN_MAX_BYTES: usize = 16 << 10;

/// How long to wait when an issuer's keys cannot be fetched.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// All issuers that are trusted.
pub struct Oidc {
    issuers: Vec<TrustedIssuer>,
    audience: String,
    clock: Arc<dyn Clock>,
}

impl Oidc {
    /// The issuers of `config`, which has been checked; `None` if it names none.
    ///
    /// # Errors
    ///
    /// A certificate cannot be read, or is none.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Option<Self>, StartError> {
        let Some(audience) = config.audience.clone().filter(|_| !config.issuers.is_empty()) else { return Ok(None) };
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let issuers = config.issuers.iter().map(TrustedIssuer::new).collect::<Result<_, _>>()?;
        Ok(Some(Self { issuers, audience, clock }))
    }

    /// Whether the token says that it is from one of the issuers; nothing about it has been verified.
    pub fn is_from_known_issuer(&self, token: &str) -> bool {
        self.issuer_of(token).is_some()
    }

    fn issuer_of(&self, token: &str) -> Option<&TrustedIssuer> {
        if token.len() > TOKEN_MAX_BYTES || token.split('.').count() != 3 {
            return None;
        }
        let name = token.split('.').nth(1).and_then(crate::jwt::member("iss"))?;
        self.issuers.iter().find(|issuer| issuer.name == name)
    }

    /// Whose `token` is.
    ///
    /// # Errors
    ///
    /// The issuer's keys could not be fetched.
    ///
    /// # Source
    ///
    /// OpenID Connect Core §3.1.3.7; S-034, S-035.
    pub async fn verify_token(&self, token: &str) -> Result<Verdict, AuthError> {
        let Some(issuer) = self.issuer_of(token) else { return Ok(Verdict::NotMine) };
        let claims = issuer.claims(token, &self.audience, &*self.clock).await.map_err(|source| {
            AuthError::Unavailable { provider: "the OIDC issuer", retry_after: RETRY_AFTER, source: Box::new(source) }
        })?;
        let Some(claims) = claims else { return Ok(Verdict::Wrong) };
        let Some((subject, roles)) = issuer.admit(&claims) else { return Ok(Verdict::Wrong) };
        let provider = wharf_policy::Provider::Oidc;
        Ok(Verdict::Right(Login {
            principal: Principal::new(provider, &subject, AccountType::System, roles),
            scopes: None,
            proof: Proof::Workload { expires_at: claims.expires_at() },
        }))
    }
}

#[async_trait]
impl Provider for Oidc {
    fn name(&self) -> &'static str {
        "oidc"
    }

    /// The token stands in the place of the password; the name does not matter.
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Verdict, AuthError> {
        self.verify_token(attempt.password.expose()).await
    }
}

#[cfg(test)]
mod tests;
