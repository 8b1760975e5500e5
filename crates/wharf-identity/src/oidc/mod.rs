//! Other platforms that vouch for somebody: for people with a browser (`sign_in`), and for programs.
//!
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
mod sign_in;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;
use wharf_base::{Clock, Secret};
use wharf_policy::{AccountType, Principal};

use crate::provider::{Attempt, Login, Proof, Provider, Verdict};
use crate::{AuthError, StartError};

pub use config::{Config, Issuer, JwtAlgorithm, Person, SignIn, Trust};
use issuer::TrustedIssuer;
use sign_in::SignInClient;
pub(crate) use sign_in::{Admitted, state};
pub use sign_in::{SignInAnswer, SignInError, SignInProvider};

/// The longest token that is looked at, in bytes (security requirements, §3.3).
const TOKEN_MAX_BYTES: usize = 16 << 10;

/// How long to wait when an issuer's keys cannot be fetched.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// All issuers that are trusted.
pub struct Oidc {
    issuers: Vec<TrustedIssuer>,
    /// What programs' tokens are made for; `None` if none are taken.
    audience: Option<String>,
    clock: Arc<dyn Clock>,
}

impl Oidc {
    /// The issuers of `config`, which has been checked; `None` if it names none.
    ///
    /// # Errors
    ///
    /// A certificate cannot be read, or is none.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Option<Self>, StartError> {
        if config.issuers.is_empty() {
            return Ok(None);
        }
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let issuers = config.issuers.iter().map(TrustedIssuer::new).collect::<Result<_, _>>()?;
        Ok(Some(Self { issuers, audience: config.audience.clone(), clock }))
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
        self.issuers.iter().find(|issuer| issuer.name == name && issuer.is_for_programs())
    }

    /// The providers that people can sign in with, in the order of the configuration.
    pub fn sign_in_providers(&self) -> Vec<SignInProvider> {
        let configs = self.issuers.iter().filter_map(|issuer| issuer.sign_in.as_ref());
        configs
            .map(|client| SignInProvider { id: client.config.id.clone(), name: client.config.name.clone() })
            .collect()
    }

    fn provider(&self, id: &str) -> Result<(&TrustedIssuer, &SignInClient), SignInError> {
        let of_issuer =
            |issuer: &'_ TrustedIssuer| issuer.sign_in.as_ref().is_some_and(|client| client.config.id == id);
        let issuer = self.issuers.iter().find(|issuer| of_issuer(issuer)).ok_or(SignInError::UnknownProvider)?;
        Ok((issuer, issuer.sign_in.as_ref().ok_or(SignInError::UnknownProvider)?))
    }

    /// Where a browser that holds `secret` goes to sign in with the provider `id`.
    pub(crate) async fn sign_in_address(
        &self,
        id: &str,
        secret: &Secret<String>,
        redirect_uri: &str,
    ) -> Result<Url, SignInError> {
        let (issuer, client) = self.provider(id)?;
        client.address(issuer, secret, redirect_uri, &*self.clock).await
    }

    /// Whether what a browser brought back is of the provider `id`; the code, if it has let somebody in.
    pub(crate) async fn sign_in_code(&self, id: &str, answer: &SignInAnswer) -> Result<Secret<String>, SignInError> {
        let (issuer, client) = self.provider(id)?;
        client.check_provider(issuer, answer, &*self.clock).await?;
        match &answer.code {
            Some(code) if answer.error.is_none() => Ok(code.clone()),
            _ => Err(SignInError::Refused(client.config.name.clone())),
        }
    }

    /// Whom the provider `id` vouches for with `code`.
    pub(crate) async fn sign_in_admits(
        &self,
        id: &str,
        secret: &Secret<String>,
        code: &Secret<String>,
        redirect_uri: &str,
    ) -> Result<Admitted, SignInError> {
        let (issuer, client) = self.provider(id)?;
        client.admit(issuer, secret, code, redirect_uri, &*self.clock).await
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
        let (Some(issuer), Some(audience)) = (self.issuer_of(token), &self.audience) else {
            return Ok(Verdict::NotMine);
        };
        let claims = issuer.claims(token, audience, &*self.clock).await.map_err(|source| AuthError::Unavailable {
            provider: "the OIDC issuer",
            retry_after: RETRY_AFTER,
            source: Box::new(source),
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
