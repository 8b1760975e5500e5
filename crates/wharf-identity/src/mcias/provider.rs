use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};
use wharf_base::{Clock, Rng, Secret, Timestamp};

use super::{McIas, McIasLogin};
use crate::AuthError;
use crate::provider::{Attempt, Login, Proof, Provider, Verdict};

/// For how long the token of a login is used again for the same name and password, for clients that send them with every
/// request. Whose it is, is asked all the same.
const LOGIN_KEPT_FOR: Duration = Duration::from_secs(30);
const LOGINS_MAX: usize = 1_000;

/// MCIAS among the providers: it knows every name, or at least says so.
pub(crate) struct McIasProvider {
    pub(crate) mcias: Arc<McIas>,
    logins: Cache<[u8; 32], (Duration, McIasLogin)>,
    key: Secret<[u8; 32]>,
    clock: Arc<dyn Clock>,
}

impl McIasProvider {
    pub(crate) fn new(mcias: Arc<McIas>, clock: Arc<dyn Clock>, rng: &dyn Rng) -> Self {
        let mut key = [0; 32];
        rng.fill(&mut key);
        Self { mcias, logins: Cache::new(LOGINS_MAX), key: Secret::new(key), clock }
    }

    fn fingerprint(&self, attempt: &Attempt<'_>) -> [u8; 32] {
        let mut fingerprint = Sha256::new();
        fingerprint.update(self.key.expose());
        fingerprint.update((attempt.username.len() as u64).to_be_bytes());
        fingerprint.update(attempt.username);
        fingerprint.update(attempt.password.expose());
        fingerprint.finalize().into()
    }

    async fn whose(&self, token: &Secret<String>, expires_at: Timestamp) -> Result<Option<Login>, AuthError> {
        let vouched = self.mcias.validate_token(token).await?;
        // The subject it names is the principal, not the name that was typed (S-090).
        Ok(vouched.map(|vouched| Login {
            principal: vouched.principal,
            scopes: None,
            proof: Proof::Mcias { token: token.clone(), expires_at: expires_at.min(vouched.expires_at) },
        }))
    }
}

#[async_trait]
impl Provider for McIasProvider {
    fn name(&self) -> &'static str {
        "mcias"
    }

    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Verdict, AuthError> {
        let key = self.fingerprint(attempt);
        let now = self.clock.monotonic();
        if let Some((since, login)) = self.logins.get(&key)
            && now.saturating_sub(since) < LOGIN_KEPT_FOR
            && let Some(login) = self.whose(&login.token, login.expires_at).await?
        {
            return Ok(Verdict::Right(login));
        }
        self.logins.remove(&key);
        let Some(login) = self.mcias.login(attempt.username, attempt.password).await? else {
            return Ok(Verdict::Wrong);
        };
        let whose = self.whose(&login.token, login.expires_at).await?;
        self.logins.insert(key, (now, login));
        Ok(whose.map_or(Verdict::Wrong, Verdict::Right))
    }
}
