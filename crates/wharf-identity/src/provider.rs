//! What knows who somebody is.

use std::time::Duration;

use async_trait::async_trait;
use wharf_base::{Secret, Timestamp};
use wharf_policy::{Access, Principal};

use crate::Origin;

/// A name and a password, or what stands in place of one.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// The name, as it was typed.
    pub username: &'a str,
    /// The password, API token or identity token.
    pub password: &'a Secret<String>,
    /// From where.
    pub origin: &'a Origin,
}

/// What a provider says to an attempt.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It knows who that is, and vouches.
    Right(Login),
    /// It would know, and it is not so.
    Wrong,
    /// It does not know such names or secrets; somebody else may.
    NotMine,
}

/// The provider could not find out. Never an answer: whoever asked has to wait (S-033).
#[derive(Debug, thiserror::Error)]
#[error("{provider} did not answer")]
pub struct Unavailable {
    /// Which provider.
    pub provider: &'static str,
    /// When asking again may help.
    pub retry_after: Duration,
    /// What went wrong.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Somebody who was vouched for.
#[derive(Clone, Debug)]
pub struct Login {
    /// Who.
    pub principal: Principal,
    /// What the scopes of an API token limit it to.
    pub scopes: Option<std::sync::Arc<[Access]>>,
    /// How they proved it, and what can be made of that.
    pub proof: Proof,
}

impl Login {
    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self { principal: Principal::anonymous(), scopes: None, proof: Proof::Anonymous }
    }
}

/// How somebody proved who they are.
#[derive(Clone, Debug)]
pub enum Proof {
    /// Not at all.
    Anonymous,
    /// With the password of a local account.
    Password,
    /// With an API token or a refresh token; what is issued for it ends with it.
    Token(wharf_base::TokenId),
    /// With a token of the single sign-on, which is handed on as it is (F-14).
    Mcias {
        /// The token.
        token: Secret<String>,
        /// When it ends.
        expires_at: Timestamp,
    },
    /// By signing in to another provider, in a browser.
    SignIn,
    /// With an identity token of another platform.
    Workload {
        /// When that ends; what is issued for it ends no later.
        expires_at: Timestamp,
    },
}

/// Local accounts, API tokens, single sign-on, workload identity: each answers *mine and right*, *mine and wrong* or *not
/// mine*, and they are asked in the configured order.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The name for logs and configuration.
    fn name(&self) -> &'static str;

    /// What it says to `attempt`.
    ///
    /// # Errors
    ///
    /// It could not find out, or will not try now; never "not mine" in that case.
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Verdict, crate::AuthError>;
}
