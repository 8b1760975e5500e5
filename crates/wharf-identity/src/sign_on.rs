//! Sessions of people whom another provider vouches for: how one is begun, and finished (S-065).

use std::time::Duration;

use url::Url;
use wharf_base::Secret;
use wharf_meta::SignIn;
use wharf_policy::{AccountType, Principal, Provider};

use crate::identity::Origin;
use crate::limits::Network;
use crate::oidc::{self, SignInAnswer, SignInError, SignInProvider};
use crate::provider::{Login, Proof};
use crate::session::NewSession;
use crate::{AuthError, Identity, secret_text};

/// How long a sign-in may take, and how many may be under way.
pub(crate) const SIGN_IN_LIFE: Duration = Duration::from_secs(600);
const SIGN_INS_MAX: u32 = 10_000;

/// A sign-in that has begun.
#[derive(Debug)]
pub struct BegunSignIn {
    /// What the browser is to hold until it comes back.
    pub secret: Secret<String>,
    /// Where it goes.
    pub address: Url,
}

impl Identity {
    /// The other providers that people can sign in with.
    pub fn sign_in_providers(&self) -> Vec<SignInProvider> {
        self.oidc.as_ref().map(|oidc| oidc.sign_in_providers()).unwrap_or_default()
    }

    /// Begins a sign-in with the provider `id`, which sends the browser back to `redirect_uri`; it goes on at `next`.
    ///
    /// # Errors
    ///
    /// [`SignInError`].
    pub async fn begin_sign_in(
        &self,
        id: &str,
        redirect_uri: &str,
        next: &str,
        origin: &Origin,
    ) -> Result<BegunSignIn, SignInError> {
        let oidc = self.oidc.as_ref().ok_or(SignInError::UnknownProvider)?;
        let too_many = |retry_after| SignInError::TooMany { retry_after };
        self.sign_ins_from.take(&Network::of(origin.source), self.clock.monotonic()).map_err(too_many)?;
        let mut random = [0; 32];
        self.rng.fill(&mut random);
        let secret = Secret::from(hex::encode(random));
        let address = oidc.sign_in_address(id, &secret, redirect_uri).await?;
        let now = self.clock.now();
        let new = SignIn {
            id_sha256: secret_text::sha256(secret.expose()),
            provider: id.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            next: next.to_owned(),
            created_at: now,
        };
        if !self.meta.begin_sign_in(&new, now.minus(SIGN_IN_LIFE), SIGN_INS_MAX).await? {
            return Err(too_many(SIGN_IN_LIFE));
        }
        Ok(BegunSignIn { secret, address })
    }

    /// Finishes the sign-in of the browser that holds `secret`, with what it brings back from the provider `id`. The session,
    /// and where it goes on.
    ///
    /// # Errors
    ///
    /// [`SignInError`]; nobody is signed in then, and unless it was begun in another browser the sign-in is over.
    pub async fn finish_sign_in(
        &self,
        id: &str,
        secret: &Secret<String>,
        answer: &SignInAnswer,
        origin: &Origin,
    ) -> Result<(NewSession, String), SignInError> {
        let oidc = self.oidc.as_ref().ok_or(SignInError::UnknownProvider)?;
        // Before the row is taken: a stranger who leads a browser here must not end what that browser has begun.
        if answer.state != oidc::state(secret) {
            return Err(SignInError::Stale);
        }
        let begun = self.meta.take_sign_in(&secret_text::sha256(secret.expose())).await?.ok_or(SignInError::Stale)?;
        if begun.created_at < self.clock.now().minus(SIGN_IN_LIFE) {
            return Err(SignInError::Stale);
        }
        if begun.provider != id {
            return Err(SignInError::OtherProvider);
        }
        let admitted = async {
            let code = oidc.sign_in_code(id, answer).await?;
            oidc.sign_in_admits(id, secret, &code, &begun.redirect_uri).await
        };
        let admitted = admitted.await.inspect_err(|error| {
            if matches!(error, SignInError::NotAdmitted(_) | SignInError::Refused(_) | SignInError::Invalid { .. }) {
                self.note_failure(&format!("oidc:{id}"), origin);
            }
        })?;
        let principal = Principal::new(Provider::Oidc, &admitted.subject, AccountType::Human, admitted.roles);
        let login = Login { principal, scopes: None, proof: Proof::SignIn };
        let session =
            self.begin_session(&login, Some((Secret::from(id), None)), origin).await.map_err(|error| match error {
                AuthError::Meta(error) => SignInError::Meta(error),
                other => SignInError::Unavailable { provider: id.to_owned(), source: other.into() },
            })?;
        self.note_login(&login, origin);
        Ok((session, begun.next))
    }
}
