//! What somebody who has logged in is given.

use std::time::Duration;

use wharf_base::{Secret, Timestamp, TokenId};
use wharf_meta::{ApiToken, AuditRecord, CreateToken, NewApiToken, Outcome, TokenKind};
use wharf_policy::{Access, Action, Attribution};

use crate::identity::{Identity, Origin};
use crate::jwt::{self, Claims, Line};
use crate::limits::Network;
use crate::provider::{Login, Proof};
use crate::{AuthError, scopes, secret_text};

/// Clients take anything shorter for this (P-092).
const LIFE_MIN: Duration = Duration::from_secs(60);

/// A bearer token.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token.
    pub token: Secret<String>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// How long it lives.
    pub expires_in: Duration,
}

impl Identity {
    /// A bearer token for `access`, of which policy has been asked. Whom the single sign-on vouches for is handed its
    /// token as it is, which says nothing of access (F-14, S-090).
    ///
    /// # Errors
    ///
    /// [`AuthError::TooManyAttempts`]: too many are asked for.
    pub fn issue(&self, login: &Login, access: &[Access], origin: &Origin) -> Result<Issued, AuthError> {
        let monotonic = self.clock.monotonic();
        let too_many = |retry_after| AuthError::TooManyAttempts { retry_after };
        self.issued_from.take(&Network::of(origin.source), monotonic).map_err(too_many)?;
        if !login.principal.is_anonymous() {
            self.issued_to.take(&login.principal.name().to_owned(), monotonic).map_err(too_many)?;
        }
        let issued = self.sign(login, access)?;
        self.note_issue(login, access, origin, issued.issued_at);
        Ok(issued)
    }

    fn sign(&self, login: &Login, access: &[Access]) -> Result<Issued, AuthError> {
        let now = self.clock.now();
        let left = |end: Timestamp| {
            Duration::from_micros(u64::try_from(end.as_micros().saturating_sub(now.as_micros())).unwrap_or(0))
        };
        let life = match &login.proof {
            Proof::Mcias { token, expires_at } => {
                return Ok(Issued { token: token.clone(), issued_at: now, expires_in: left(*expires_at) });
            }
            // What is issued for another platform's token ends with it, but not before a client can use it.
            Proof::Workload { expires_at } => left(*expires_at).clamp(LIFE_MIN, self.config.token_life.get()),
            _ => self.config.token_life.get(),
        };
        let claims = self.claims(login, access, now, life);
        let token =
            self.ring.load().sign(&claims, now).ok_or(AuthError::Busy { retry_after: Duration::from_secs(1) })?;
        Ok(Issued { token, issued_at: now, expires_in: life })
    }

    fn claims(&self, login: &Login, access: &[Access], now: Timestamp, life: Duration) -> Claims {
        let principal = &login.principal;
        let token = match &login.proof {
            Proof::Token(id) => Some(id.to_string()),
            _ => None,
        };
        let iat = now.as_micros().div_euclid(1_000_000);
        let life = i64::try_from(life.as_secs()).unwrap_or(0);
        let mut jti = [0; 16];
        self.rng.fill(&mut jti);
        Claims {
            iss: self.issuer.clone(),
            sub: principal.subject().to_owned(),
            aud: self.service.clone(),
            exp: iat.saturating_add(life),
            nbf: iat,
            iat,
            jti: hex::encode(jti),
            access: access.iter().filter_map(scopes::scope).map(|scope| Line::new(&scope)).collect(),
            wharf: jwt::Origin {
                provider: principal.provider().as_str().to_owned(),
                account_type: principal.account_type().as_str().to_owned(),
                roles: principal.roles().to_vec(),
                token,
            },
        }
    }

    fn note_issue(&self, login: &Login, access: &[Access], origin: &Origin, at: Timestamp) {
        let scopes: Vec<String> = access.iter().filter_map(scopes::scope).map(|scope| scope.to_string()).collect();
        self.audit.note(AuditRecord {
            at,
            request_id: origin.request_id.to_string(),
            principal: login.principal.name().to_owned(),
            account_type: login.principal.account_type(),
            source: origin.source,
            action: "token.issue",
            repository: None,
            target: None,
            outcome: Outcome::Done,
            rule_id: None,
            detail: Some(serde_json::json!({ "access": scopes, "roles": login.principal.roles() })),
        });
    }

    /// A token to fetch bearer tokens with, so that a client need not keep the password; `None` where there is none to
    /// have: it is turned off, or another place keeps the account (P-096, P-102, P-103).
    ///
    /// # Errors
    ///
    /// [`AuthError::Meta`].
    pub async fn refresh_token(&self, login: &Login, origin: &Origin) -> Result<Option<Secret<String>>, AuthError> {
        if !self.config.refresh_tokens || !matches!(login.proof, Proof::Password) {
            return Ok(None);
        }
        let secret = secret_text::generate(TokenKind::Refresh, &*self.rng);
        let now = self.clock.now();
        let token = ApiToken {
            id: TokenId::generate(&*self.clock, &*self.rng),
            account: login.principal.subject().to_owned(),
            kind: TokenKind::Refresh,
            description: "kept by a client that logged in".to_owned(),
            scopes: Vec::new(),
            networks: Vec::new(),
            created_at: now,
            created_by: login.principal.name().to_owned(),
            expires_at: now.plus(self.config.refresh_token_life.get()),
            last_used_at: None,
        };
        let new = NewApiToken {
            token,
            secret_sha256: secret_text::sha256(secret.expose()),
            tokens_max: self.config.api_tokens_per_account,
        };
        let by = Attribution {
            principal: login.principal.clone(),
            source: origin.source,
            request_id: origin.request_id.clone(),
            action: Action::AccountSelf,
            rule: "login".into(),
        };
        let created = self.meta.create_token(&new, &by).await?;
        self.directory.changed();
        Ok((created == CreateToken::Created).then_some(secret))
    }
}
