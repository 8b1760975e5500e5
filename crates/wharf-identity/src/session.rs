//! Sessions of the web pages: signing in, who a browser stands for, signing out.
//!
//! A browser holds 256 random bits, and the database their SHA-256. Everything else that a session needs is made from what
//! the browser holds: the token that its forms carry, and the key under which the token of another provider is kept, so that
//! neither is anywhere when the browser is not (S-038, S-039, S-090).

use wharf_base::{Secret, Timestamp};
use wharf_meta::{Account, AuditRecord, Outcome, Session};
use wharf_policy::{AccountSelf, Asker, Authorized, Limits, Principal, Provider};

use crate::identity::Origin;
use crate::provider::{Login, Proof};
use crate::sealed::{derived, open, seal};
use crate::{AuthError, Identity, secret_text};

/// How many digits of base 16 a browser holds.
const SECRET_DIGITS: usize = 64;

/// Below this a later use of a session is not worth writing.
const USE_STEP_MICROS: i64 = 60_000_000;

/// What forms carry, and what a provider's token is kept under, are made from the secret with these words.
const FOR_FORMS: &[u8] = b"wharf: token of forms";
const FOR_TOKENS: &[u8] = b"wharf: key of a provider's token";

/// A session that has just begun.
#[derive(Debug)]
pub struct NewSession {
    /// What the browser is to hold.
    pub secret: Secret<String>,
    /// Who has signed in.
    pub principal: Principal,
}

/// Somebody who has signed in and now asks for something.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Who asks.
    pub asker: Asker,
    /// What every form of this session carries (S-039).
    pub form_token: Secret<String>,
    /// Which of their sessions this is.
    pub session: [u8; 32],
}

impl Identity {
    /// Begins a session for whoever has this name and password. API tokens and tokens of other platforms are for programs and
    /// begin none (S-024).
    ///
    /// # Errors
    ///
    /// [`AuthError`]; one answer for an unknown name, a wrong password and what is not for people (S-028).
    pub async fn sign_in(
        &self,
        username: &str,
        password: &Secret<String>,
        origin: &Origin,
    ) -> Result<NewSession, AuthError> {
        let login = self.check(username, password, origin).await?;
        let provider_token = match &login.proof {
            Proof::Password => None,
            Proof::Mcias { token, expires_at } => Some((token.clone(), Some(*expires_at))),
            Proof::Anonymous | Proof::Token(_) | Proof::Workload { .. } | Proof::SignIn => {
                self.note_failure(username, origin);
                return Err(AuthError::WrongCredentials);
            }
        };
        let begun = self.begin_session(&login, provider_token, origin).await?;
        self.note_login(&login, origin);
        Ok(begun)
    }

    /// With what the provider's word can be had again by, and when that ends.
    pub(crate) async fn begin_session(
        &self,
        login: &Login,
        provider_token: Option<(Secret<String>, Option<Timestamp>)>,
        origin: &Origin,
    ) -> Result<NewSession, AuthError> {
        let mut random = [0; 32];
        self.rng.fill(&mut random);
        let secret = Secret::from(hex::encode(random));
        let now = self.clock.now();
        let longest = now.plus(self.config.session_life.get());
        let ends_at =
            provider_token.as_ref().and_then(|(_, expires_at)| *expires_at).map_or(longest, |end| longest.min(end));
        let sealed_token = provider_token.and_then(|(token, _)| seal(&secret, FOR_TOKENS, token.expose().as_bytes()));
        let principal = &login.principal;
        let session = Session {
            id_sha256: secret_text::sha256(secret.expose()),
            principal: principal.name().to_owned(),
            provider: principal.provider().as_str().to_owned(),
            subject: principal.subject().to_owned(),
            account_type: principal.account_type(),
            roles: principal.roles().to_vec(),
            sealed_token,
            source: origin.source.map_or_else(String::new, |source| source.to_string()),
            created_at: now,
            seen_at: now,
            ends_at,
        };
        self.meta.create_session(&session, self.config.sessions_per_account).await?;
        Ok(NewSession { secret, principal: principal.clone() })
    }

    /// Who the browser that holds `secret` stands for now; `None` if for nobody, or nobody any more.
    ///
    /// # Errors
    ///
    /// [`AuthError::Meta`]; [`AuthError::Unavailable`] when the provider that vouched gives no answer.
    pub async fn visitor(&self, secret: &Secret<String>, origin: &Origin) -> Result<Option<Visitor>, AuthError> {
        if !is_secret(secret.expose()) {
            return Ok(None);
        }
        let id = secret_text::sha256(secret.expose());
        let Some(session) = self.meta.session(&id).await? else { return Ok(None) };
        let now = self.clock.now();
        if now >= session.ends_at || now >= session.seen_at.plus(self.config.session_idle.get()) {
            return Ok(None);
        }
        let Some(principal) = self.still_vouched(&session, secret).await? else { return Ok(None) };
        if now.as_micros().saturating_sub(session.seen_at.as_micros()) >= USE_STEP_MICROS {
            self.meta.touch_session(&id, now).await?;
        }
        let asker = Asker {
            principal,
            limits: Limits::default(),
            source: origin.source,
            request_id: std::sync::Arc::clone(&origin.request_id),
        };
        Ok(Some(Visitor { asker, form_token: Secret::from(hex::encode(derived(secret, FOR_FORMS))), session: id }))
    }

    /// The principal as its provider knows it now. A session from before a change of the account's password, roles or state
    /// is over: what it was begun with does not hold any more (S-038).
    async fn still_vouched(&self, session: &Session, secret: &Secret<String>) -> Result<Option<Principal>, AuthError> {
        if session.provider == Provider::Local.as_str() {
            let known = self.directory.account(&session.subject).await?;
            let is_good = |account: &Account| account.enabled && account.updated_at <= session.created_at;
            return Ok(known.filter(|known| is_good(&known.account)).map(|known| known.principal.clone()));
        }
        let Some(token) = session.sealed_token.as_deref().and_then(|sealed| open(secret, FOR_TOKENS, sealed)) else {
            return Ok(None);
        };
        let Ok(token) = String::from_utf8(token).map(Secret::from) else { return Ok(None) };
        if session.provider == Provider::Oidc.as_str() {
            // Nobody can be asked again; while configuration has that provider, its word holds to the session's end.
            let is_there = self.sign_in_providers().iter().any(|provider| provider.id == *token.expose());
            let principal =
                || Principal::new(Provider::Oidc, &session.subject, session.account_type, session.roles.clone());
            return Ok(is_there.then(principal));
        }
        let Some(mcias) = &self.mcias else { return Ok(None) };
        let vouched = mcias.validate_token(&token).await?;
        Ok(vouched.map(|vouched| vouched.principal).filter(|principal| principal.name() == session.principal))
    }

    /// Ends the session that the browser holds; what it holds is worth nothing afterwards.
    ///
    /// # Errors
    ///
    /// [`AuthError::Meta`].
    pub async fn sign_out(&self, visitor: &Visitor) -> Result<(), AuthError> {
        if self.meta.end_session(&visitor.session).await? {
            self.note_sign_out(&visitor.asker, "one");
        }
        Ok(())
    }

    /// Ends all sessions of whoever asks, in all browsers.
    ///
    /// # Errors
    ///
    /// [`AuthError::Meta`].
    pub async fn sign_out_everywhere(&self, visitor: &Visitor) -> Result<(), AuthError> {
        self.meta.end_sessions_of(visitor.asker.principal.name()).await?;
        self.note_sign_out(&visitor.asker, "all");
        Ok(())
    }

    /// The sessions of whoever asks that are not over, the one used last first.
    ///
    /// # Errors
    ///
    /// [`AuthError::Meta`].
    pub async fn own_sessions(&self, ok: &Authorized<AccountSelf>) -> Result<Vec<Session>, AuthError> {
        let now = self.clock.now();
        let idle = self.config.session_idle.get();
        let mut sessions =
            self.meta.sessions_of(ok.principal().name(), self.config.sessions_per_account.saturating_add(1)).await?;
        sessions.retain(|session| now < session.ends_at && now < session.seen_at.plus(idle));
        Ok(sessions)
    }

    pub(crate) async fn forget_sessions(&self, now: Timestamp) -> Result<(), wharf_meta::Error> {
        self.meta.remove_ended_sessions(now.minus(self.config.session_idle.get()), now).await.map(|_| ())
    }

    fn note_sign_out(&self, asker: &Asker, which: &'static str) {
        self.audit.note(AuditRecord {
            at: self.clock.now(),
            request_id: asker.request_id.to_string(),
            principal: asker.principal.name().to_owned(),
            account_type: asker.principal.account_type(),
            source: asker.source,
            action: "logout",
            repository: None,
            target: None,
            outcome: Outcome::Done,
            rule_id: None,
            detail: Some(serde_json::json!({ "sessions": which })),
        });
    }
}

fn is_secret(text: &str) -> bool {
    text.len() == SECRET_DIGITS && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use wharf_base::Secret;

    use super::{derived, is_secret};

    #[test]
    fn what_is_made_of_a_secret_has_one_purpose() {
        let secret = Secret::from("a".repeat(64));
        assert_ne!(derived(&secret, super::FOR_FORMS), derived(&secret, super::FOR_TOKENS));
        assert!(is_secret(&"0123456789abcdef".repeat(4)));
        for text in ["", "0", &"A".repeat(64), &"a".repeat(63), &"a".repeat(65), &"é".repeat(32)] {
            assert!(!is_secret(text), "{text}");
        }
    }
}
