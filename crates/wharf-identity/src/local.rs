//! Local accounts, and API tokens.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use wharf_base::{Clock, Secret, Timestamp};
use wharf_meta::{Account, ApiToken, Metadata, TokenKind};
use wharf_policy::{Access, Principal};

use crate::directory::{Directory, OfAccount};
use crate::password::{self, Passwords};
use crate::provider::{Attempt, Login, Proof, Provider, Verdict};
use crate::{AuthError, scopes, secret_text};

/// The principal of a local account, as the account is now.
pub(crate) fn principal(account: &Account) -> Principal {
    let provider = wharf_policy::Provider::Local;
    Principal::new(provider, &account.name, account.account_type, account.roles.clone())
}

/// Accounts of this registry, by name and password.
pub(crate) struct Local {
    pub(crate) directory: Arc<Directory>,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) meta: Arc<dyn Metadata>,
    pub(crate) rng: Arc<dyn wharf_base::Rng>,
}

#[async_trait]
impl Provider for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    /// A name that is not known here is not ours; the work of a check is done all the same (S-028).
    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Verdict, AuthError> {
        let known = self.directory.account(attempt.username).await?;
        let hash = known.as_ref().and_then(|known| known.account.password_hash.as_ref());
        let is_right = self.passwords.verify(hash, attempt.password).await?;
        let Some(known) = known else { return Ok(Verdict::NotMine) };
        if !is_right || !known.account.enabled {
            return Ok(Verdict::Wrong);
        }
        self.strengthen(&known.account, attempt.password).await;
        Ok(Verdict::Right(Login { principal: known.principal.clone(), scopes: None, proof: Proof::Password }))
    }
}

impl Local {
    /// Hashes the password anew if its hash was made with weaker parameters. When that fails the old one still serves.
    async fn strengthen(&self, account: &Account, password: &Secret<String>) {
        let Some(old) = account.password_hash.as_ref().filter(|hash| password::is_weak(hash)) else { return };
        let (rng, text) = (Arc::clone(&self.rng), password.clone());
        let hashing = tokio::task::spawn_blocking(move || password::hash(&text, &*rng)).await;
        let Ok(Ok(new)) = hashing else { return };
        if let Err(error) = self.meta.rehash(&account.name, old, &new).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a stronger hash could not be stored");
        }
        self.directory.changed();
    }
}

/// API tokens: in place of a password, or as a bearer token.
pub(crate) struct Tokens {
    pub(crate) directory: Arc<Directory>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Provider for Tokens {
    fn name(&self) -> &'static str {
        "token"
    }

    async fn verify(&self, attempt: &Attempt<'_>) -> Result<Verdict, AuthError> {
        if !secret_text::is_ours(attempt.password.expose()) {
            return Ok(Verdict::NotMine);
        }
        let found = self.log_in(attempt.password, TokenKind::Api, attempt.origin.source).await?;
        // The name belongs to the token: one robot's secret under another's name is wrong (B-100).
        let login = found.filter(|login| login.principal.subject() == attempt.username);
        Ok(login.map_or(Verdict::Wrong, Verdict::Right))
    }
}

impl Tokens {
    /// Whom `secret` stands for, if it is a token of that kind which may be used from `source` now.
    pub(crate) async fn log_in(
        &self,
        secret: &Secret<String>,
        kind: TokenKind,
        source: Option<IpAddr>,
    ) -> Result<Option<Login>, AuthError> {
        let read = secret_text::parse(secret).filter(|(read, _)| *read == kind);
        let Some((_, sha256)) = read else { return Ok(None) };
        let Some(found) = self.directory.token(&sha256).await? else { return Ok(None) };
        let now = self.clock.now();
        if found.0.kind != kind || !is_good(&found, now, source) {
            return Ok(None);
        }
        let (token, account) = &*found;
        self.directory.used(token, now);
        Ok(Some(Login { principal: principal(account), scopes: access(&token.scopes), proof: Proof::Token(token.id) }))
    }
}

/// Whether the token may be used from `source`, and neither its life nor its account's is over.
pub(crate) fn is_good((token, account): &OfAccount, now: Timestamp, source: Option<IpAddr>) -> bool {
    account.enabled && now < token.expires_at && is_from(token, source)
}

/// A network that cannot be read keeps everybody out.
fn is_from(token: &ApiToken, source: Option<IpAddr>) -> bool {
    token.networks.is_empty()
        || source.is_some_and(|source| {
            let source = source.to_canonical();
            token.networks.iter().filter_map(|text| text.parse::<IpNet>().ok()).any(|network| network.contains(&source))
        })
}

/// What the scopes of a token limit it to; `None` if it has none. One that cannot be read allows nothing.
pub(crate) fn access(texts: &[String]) -> Option<Arc<[Access]>> {
    if texts.is_empty() {
        return None;
    }
    Some(texts.iter().filter_map(|text| scopes::parse(text).ok()).collect())
}
