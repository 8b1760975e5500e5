//! The room as others see it: credentials in, somebody who asks out.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use wharf_base::{Clock, Rng, Secret, Shutdown, Spawner, StoreId, Timestamp};
use wharf_meta::{AuditRecord, Metadata, Outcome, SigningKey, TokenKind, Versions};
use wharf_policy::{AccountType, Asker, Attribution, Denied, Limits, Principal};

use crate::audit_queue::AuditQueue;
use crate::config::ProviderName;
use crate::directory::Directory;
use crate::holder::{Holder, IssuedTo};
use crate::jwt::{self, KeyRing, SharedRing, Verified};
use crate::limits::{Limit, Network};
use crate::local::{Local, Tokens};
use crate::mcias::{McIas, McIasProvider};
use crate::oidc::Oidc;
use crate::password::Passwords;
use crate::provider::{Attempt, Login, Proof, Provider, Verdict};
use crate::remembered::{Recognised, Remembered};
use crate::secret_text;
use crate::{AuditConfig, AuthError, Config, StartError, first, mcias, oidc};

/// One more failed login is let through after this, once there were too many (security requirements, §3.3).
const FAILURE_STEP: Duration = Duration::from_secs(10);

/// How often identities' own housekeeping looks for work.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(60);

/// How many verified bearer tokens are remembered, so that a signature is checked once.
const VERIFIED_MAX: usize = 10_000;

/// How many sign-ins with other providers may be begun from one network in a minute.
const SIGN_INS_PER_SOURCE: u32 = 60;

/// The longest name that is looked at, in bytes.
const USERNAME_MAX_BYTES: usize = 512;

/// What was presented.
#[derive(Clone)]
pub enum Credentials<'r> {
    /// Nothing, or an empty name with an empty password (P-079).
    None,
    /// A name and a password, or an API token in the place of one.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret<String>,
    },
    /// A bearer token of whatever kind, where it stands in the request: most are known, and need no copy of their own.
    Bearer(&'r str),
}

/// Says of which kind they are and who names themselves, never the secret.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Basic { username, .. } => f.debug_struct("Basic").field("username", username).finish_non_exhaustive(),
            Self::Bearer(_) => f.write_str("Bearer([redacted])"),
        }
    }
}

/// From where a request comes.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The client's address (S-079).
    pub source: Option<IpAddr>,
    /// The request's id.
    pub request_id: Arc<str>,
}

/// Where credentials are presented; not every kind is good everywhere (S-024).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `/v2/`.
    Registry,
    /// `/api/v1/`: our bearer tokens are for content, and mean nothing here.
    Api,
}

/// What configuration says about identities.
#[derive(Clone, Debug, Default)]
pub struct Configs {
    /// `[auth]`.
    pub auth: Config,
    /// `[mcias]`.
    pub mcias: mcias::Config,
    /// `[oidc]`.
    pub oidc: oidc::Config,
    /// `[audit]`.
    pub audit: AuditConfig,
}

/// What identities are made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Accounts, tokens, keys, records.
    pub meta: Arc<dyn Metadata>,
    /// Wall and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for secrets and ids.
    pub rng: Arc<dyn Rng>,
    /// The registry's own id: what issues tokens.
    pub store_id: StoreId,
    /// The service that tokens are for, unless configuration names one.
    pub default_service: String,
}

/// Who people are. One a process.
pub struct Identity {
    pub(crate) config: Config,
    pub(crate) meta: Arc<dyn Metadata>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) ring: SharedRing,
    pub(crate) issuer: String,
    pub(crate) service: String,
    pub(crate) audit: Arc<AuditQueue>,
    pub(crate) issued_to: Limit<String>,
    pub(crate) issued_from: Limit<Network>,
    tokens: Tokens,
    providers: Vec<Arc<dyn Provider>>,
    pub(crate) mcias: Option<Arc<McIas>>,
    pub(crate) oidc: Option<Arc<Oidc>>,
    pub(crate) sign_ins_from: Limit<Network>,
    verified: Cache<[u8; 32], Verified>,
    failures: Limit<(String, Network)>,
    failures_from: Limit<Network>,
    seen: std::sync::Mutex<Option<Versions>>,
}

impl Identity {
    /// Reads the keys, or makes the first one, and sets up the providers.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn start(configs: Configs, parts: Parts) -> Result<Arc<Self>, StartError> {
        let Parts { meta, clock, rng, store_id, default_service } = parts;
        let ring = load_ring(&*meta, &*clock, &*rng).await?;
        let directory = Arc::new(Directory::new(Arc::clone(&meta)));
        let passwords = Arc::new(Passwords::new(Arc::clone(&clock), &*rng));
        let mcias = McIas::new(&configs.mcias, Arc::clone(&clock))?.map(Arc::new);
        let oidc = Oidc::new(&configs.oidc, Arc::clone(&clock))?.map(Arc::new);
        let local = Arc::new(Local {
            directory: Arc::clone(&directory),
            passwords: Arc::clone(&passwords),
            meta: Arc::clone(&meta),
            rng: Arc::clone(&rng),
        });
        let mut providers: Vec<Arc<dyn Provider>> = Vec::new();
        for name in &configs.auth.providers {
            match name {
                ProviderName::Local => providers.push(Arc::clone(&local) as Arc<dyn Provider>),
                ProviderName::Mcias => {
                    let provider =
                        mcias.as_ref().map(|mcias| McIasProvider::new(Arc::clone(mcias), Arc::clone(&clock), &*rng));
                    providers.extend(provider.map(|provider| Arc::new(provider) as Arc<dyn Provider>));
                }
                ProviderName::Oidc => providers.extend(oidc.clone().map(|oidc| oidc as Arc<dyn Provider>)),
            }
        }
        let is_on = |name| configs.auth.providers.contains(&name);
        let config = configs.auth.clone();
        Ok(Arc::new(Self {
            service: config.service.clone().unwrap_or(default_service),
            issuer: format!("urn:wharf:{store_id}"),
            ring: SharedRing::from_pointee(ring),
            audit: Arc::new(AuditQueue::new(Arc::clone(&meta), Arc::clone(&clock), configs.audit)),
            tokens: Tokens { directory: Arc::clone(&directory), clock: Arc::clone(&clock) },
            mcias: mcias.filter(|_| is_on(ProviderName::Mcias)),
            oidc: oidc.filter(|_| is_on(ProviderName::Oidc)),
            sign_ins_from: per_minute(SIGN_INS_PER_SOURCE),
            verified: Cache::new(VERIFIED_MAX),
            failures: Limit::new(config.failures_per_account, FAILURE_STEP),
            failures_from: Limit::new(config.failures_per_source, FAILURE_STEP),
            issued_to: per_minute(config.tokens_per_principal),
            issued_from: per_minute(config.tokens_per_source),
            seen: std::sync::Mutex::default(),
            providers,
            directory,
            passwords,
            config,
            meta,
            clock,
            rng,
        }))
    }

    /// The name under which tokens are issued and accepted.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The public halves of the keys that sign tokens.
    pub fn jwks(&self) -> serde_json::Value {
        self.ring.load().jwks()
    }

    /// Who asks, on every request; `remembered` is that of the connection it came over.
    ///
    /// # Errors
    ///
    /// [`AuthError`]; wrong credentials are never anonymous (P-080).
    pub async fn authenticate(
        &self,
        credentials: &Credentials<'_>,
        origin: &Origin,
        place: Place,
        remembered: &Remembered,
    ) -> Result<Asker, AuthError> {
        match credentials {
            Credentials::None => Ok(asker(Principal::anonymous(), Limits::default(), origin)),
            Credentials::Basic { username, password } => {
                let login = Box::pin(self.check(username, password, origin)).await?;
                Ok(asker(login.principal, Limits { bearer: None, api_token: login.scopes }, origin))
            }
            Credentials::Bearer(token) => {
                // Before anything is looked up: what changes meanwhile counts it up.
                let generation = self.directory.generation();
                if place == Place::Registry
                    && let Some(asker) = remembered.recall(token, generation, self.clock.now(), origin)
                {
                    return Ok(asker);
                }
                let sha256 = secret_text::sha256(token);
                if place == Place::Registry
                    && let Some(recognised) = self.recognise(token, &sha256, generation, origin)
                {
                    let asker = recognised.asker(origin);
                    remembered.keep(recognised);
                    return Ok(asker);
                }
                Box::pin(self.bearer(token, sha256, origin, place)).await
            }
        }
    }

    /// Who logs in, at the token service.
    ///
    /// # Errors
    ///
    /// [`AuthError`].
    pub async fn log_in(&self, username: &str, password: &Secret<String>, origin: &Origin) -> Result<Login, AuthError> {
        let login = self.check(username, password, origin).await?;
        self.note_login(&login, origin);
        Ok(login)
    }

    /// Who a refresh token stands for.
    ///
    /// # Errors
    ///
    /// [`AuthError::WrongCredentials`]; [`AuthError::Meta`].
    pub async fn log_in_with_refresh_token(&self, token: &Secret<String>, origin: &Origin) -> Result<Login, AuthError> {
        let network = Network::of(origin.source);
        self.failures_from.take(&network, self.clock.monotonic()).map_err(too_many)?;
        match self.tokens.log_in(token, TokenKind::Refresh, origin.source).await {
            Ok(Some(login)) => {
                self.failures_from.give_back(&network);
                Ok(login)
            }
            Ok(None) => {
                self.note_failure("", origin);
                Err(AuthError::WrongCredentials)
            }
            Err(error) => {
                self.failures_from.give_back(&network);
                Err(error)
            }
        }
    }

    /// Something about accounts or tokens was changed by this process.
    pub fn changed(&self) {
        self.directory.changed();
    }

    /// Brings what other replicas have changed into force.
    pub async fn refresh(&self, versions: &Versions) {
        let before = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).replace(*versions);
        if before.is_none_or(|before| before.identities != versions.identities) {
            self.directory.changed();
        }
        // At the first look as well: a key may have been made since the ring was loaded.
        if before.is_none_or(|before| before.keys != versions.keys)
            && let Err(error) = self.reload_keys().await
        {
            // The ring stays as it was, and the next look tries again (S-084).
            *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = before;
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the signing keys could not be loaded; those in force stay"
            );
        }
    }

    /// Audit records that were lost since the start, because the database or the disk was too slow for them.
    pub fn audit_records_lost(&self) -> u64 {
        self.audit.lost_in_all()
    }

    /// A denial, for the audit log (F-09).
    pub fn note_denial(&self, asker: &Asker, denied: &Denied) {
        self.audit.note_denial(asker, denied);
    }

    /// Starts everything that runs beside the requests.
    pub fn spawn_background(self: &Arc<Self>, spawner: &Spawner, shutdown: &Shutdown) {
        self.audit.note_start();
        spawner.spawn("write the audit log", Arc::clone(&self.audit).keep(shutdown.clone()));
        spawner.spawn("look after tokens and keys", Arc::clone(self).keep_house(shutdown.clone()));
    }

    /// Name and password, or an API token in the place of one.
    pub(crate) async fn check(
        &self,
        username: &str,
        password: &Secret<String>,
        origin: &Origin,
    ) -> Result<Login, AuthError> {
        if username.len() > USERNAME_MAX_BYTES {
            return Err(AuthError::WrongCredentials);
        }
        let network = Network::of(origin.source);
        let key = (username.to_owned(), network);
        let now = self.clock.monotonic();
        // Counted before it is known whether it fails, so that many at once count as many; a success is taken back.
        self.failures_from.take(&network, now).map_err(too_many)?;
        self.failures.take(&key, now).map_err(|wait| {
            self.failures_from.give_back(&network);
            too_many(wait)
        })?;
        let verdict = self.ask(&Attempt { username, password, origin }).await;
        let has_failed = matches!(verdict, Ok(Verdict::Wrong | Verdict::NotMine));
        if !has_failed {
            self.failures_from.give_back(&network);
            self.failures.give_back(&key);
        }
        match verdict? {
            Verdict::Right(login) => Ok(login),
            Verdict::Wrong | Verdict::NotMine => {
                self.note_failure(username, origin);
                Err(AuthError::WrongCredentials)
            }
        }
    }

    /// The providers in their order, until one knows.
    async fn ask(&self, attempt: &Attempt<'_>) -> Result<Verdict, AuthError> {
        match self.tokens.verify(attempt).await? {
            Verdict::NotMine => {}
            verdict => return Ok(verdict),
        }
        for provider in &self.providers {
            match provider.verify(attempt).await? {
                Verdict::NotMine => {}
                verdict => return Ok(verdict),
            }
        }
        Ok(Verdict::NotMine)
    }

    /// What [`bearer`](Self::bearer) would say of one of our own tokens, if it would not have to ask the database.
    fn recognise(&self, token: &str, sha256: &[u8; 32], generation: u64, origin: &Origin) -> Option<Recognised> {
        let Verified { claims, access, .. } = self.known(sha256)?;
        let now = self.clock.now();
        if !jwt::is_alive(&claims, now) {
            return None;
        }
        let holder = match IssuedTo::of(&claims)? {
            IssuedTo::Foreign(principal) => Holder::foreign(principal),
            IssuedTo::Account(name) => Holder::of_account(&*self.directory.known_account(name)?)?,
            IssuedTo::ApiToken(id) => {
                let found = self.directory.known_token(id)?;
                Holder::of_api_token(found, &claims, now, origin.source)?
            }
        };
        Some(Recognised { token: token.into(), generation, claims, holder, access })
    }

    async fn bearer(&self, text: &str, sha256: [u8; 32], origin: &Origin, place: Place) -> Result<Asker, AuthError> {
        if secret_text::is_ours(text) {
            let login = self.tokens.log_in(&text.into(), TokenKind::Api, origin.source).await?;
            let login = login.ok_or(AuthError::InvalidToken)?;
            return Ok(asker(login.principal, Limits { bearer: None, api_token: login.scopes }, origin));
        }
        if self.known(&sha256).is_some() || jwt::is_ours(text, &self.issuer) {
            return match place {
                Place::Registry => self.own_token(text, sha256, origin).await,
                Place::Api => Err(AuthError::InvalidToken),
            };
        }
        let Some(mcias) = &self.mcias else { return Err(AuthError::InvalidToken) };
        let vouched = mcias.validate_token(&text.into()).await?.ok_or(AuthError::InvalidToken)?;
        Ok(asker(vouched.principal, Limits::default(), origin))
    }

    async fn own_token(&self, text: &str, sha256: [u8; 32], origin: &Origin) -> Result<Asker, AuthError> {
        let verified = self.verified(text, sha256)?;
        let holder = self.holder(&verified.claims, origin).await?.ok_or(AuthError::InvalidToken)?;
        Ok(holder.asker(verified.access, origin))
    }

    /// A token that the keys in force have verified. What others have verified goes when the cache wants its place.
    fn known(&self, sha256: &[u8; 32]) -> Option<Verified> {
        self.verified.get(sha256).filter(|known| known.ring == self.ring.load().number())
    }

    fn verified(&self, text: &str, sha256: [u8; 32]) -> Result<Verified, AuthError> {
        let now = self.clock.now();
        if let Some(known) = self.known(&sha256)
            && jwt::is_alive(&known.claims, now)
        {
            return Ok(known);
        }
        let ring = self.ring.load();
        let claims = ring.verify(text, &self.issuer, &self.service, now).ok_or(AuthError::InvalidToken)?;
        let access =
            claims.access.iter().filter_map(jwt::Line::scope).map(|scope| crate::scopes::access(&scope)).collect();
        let verified = Verified { ring: ring.number(), claims: Arc::new(claims), access };
        self.verified.insert(sha256, verified.clone());
        Ok(verified)
    }

    /// Whoever a token was issued to; `None`: nobody who may use it any longer.
    async fn holder(&self, claims: &jwt::Claims, origin: &Origin) -> Result<Option<Holder>, AuthError> {
        Ok(match IssuedTo::of(claims) {
            None => None,
            Some(IssuedTo::Foreign(principal)) => Some(Holder::foreign(principal)),
            Some(IssuedTo::Account(name)) => {
                self.directory.account(name).await?.and_then(|known| Holder::of_account(&known))
            }
            Some(IssuedTo::ApiToken(id)) => {
                let found = self.directory.token_by_id(id).await?;
                found.and_then(|found| Holder::of_api_token(found, claims, self.clock.now(), origin.source))
            }
        })
    }

    pub(crate) fn note_login(&self, login: &Login, origin: &Origin) {
        let how = match &login.proof {
            Proof::Anonymous => "anonymous",
            Proof::Password => "password",
            Proof::Token(_) => "token",
            Proof::Mcias { .. } => "mcias",
            Proof::Workload { .. } => "oidc",
            Proof::SignIn => "oidc sign-in",
        };
        self.audit.note(AuditRecord {
            at: self.clock.now(),
            request_id: origin.request_id.to_string(),
            principal: login.principal.name().to_owned(),
            account_type: login.principal.account_type(),
            source: origin.source,
            action: "login",
            repository: None,
            target: None,
            outcome: Outcome::Done,
            rule_id: None,
            detail: Some(serde_json::json!({ "with": how })),
        });
    }

    /// The name is what somebody typed: nobody has vouched for it.
    pub(crate) fn note_failure(&self, username: &str, origin: &Origin) {
        self.audit.note(AuditRecord {
            at: self.clock.now(),
            request_id: origin.request_id.to_string(),
            principal: String::new(),
            account_type: AccountType::Anonymous,
            source: origin.source,
            action: "login",
            repository: None,
            target: Some(username.chars().filter(|c| !c.is_control()).take(128).collect()),
            outcome: Outcome::Failed,
            rule_id: None,
            detail: None,
        });
    }

    /// Makes a new key, unless one was made since a time; that one is not told then.
    pub(crate) async fn rotate(
        &self,
        unless_made_since: Option<Timestamp>,
        by: &Attribution,
    ) -> Result<Option<SigningKey>, crate::AdminError> {
        let signs_from = self.clock.now().plus(jwt::SIGNS_AFTER);
        let key = jwt::generate(&*self.clock, &*self.rng, signs_from)
            .map_err(|_| crate::AdminError::invalid("key", "could not be made; try again"))?;
        let is_added = self.meta.add_signing_key(&key, unless_made_since, by).await?;
        if let Err(error) = self.reload_keys().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the signing keys could not be loaded; those in force stay"
            );
        }
        Ok(is_added.then_some(key))
    }

    async fn reload_keys(&self) -> Result<(), StartError> {
        self.ring.store(Arc::new(KeyRing::new(self.meta.signing_keys().await?)?));
        // What a key has verified that is gone must be verified again, also where a connection remembers it (`known`).
        self.directory.changed();
        Ok(())
    }

    async fn keep_house(self: Arc<Self>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.started() => break,
                () = tokio::time::sleep(HOUSEKEEPING_EVERY) => {}
            }
            self.directory.write_uses().await;
            let tidied = match wharf_meta::under_lease(&*self.meta, "tokens and keys", self.tidy()).await {
                Ok(Some(tidied)) => tidied,
                // Another replica does it.
                Ok(None) => Ok(()),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = tidied {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "tokens and keys could not be looked after: {error}"
                );
            }
        }
        self.directory.write_uses().await;
    }

    async fn tidy(&self) -> Result<(), crate::AdminError> {
        let now = self.clock.now();
        let is_due = self.ring.load().newest().is_none_or(|made| made.plus(self.config.key_rotation.get()) <= now);
        // What another replica has made is not among ours yet.
        let before = now.minus(self.config.key_rotation.get()).plus(Duration::from_micros(1));
        if is_due && let Some(key) = self.rotate(Some(before), &first::itself("key rotation")).await? {
            tracing::info!(key.id = key.id, "signing key {} was made; the one before it is retired", key.id);
        }
        // A retired key verifies what it has signed until that has ended, whatever its life was.
        self.meta.remove_retired_keys(now.minus(jwt::LIFE_MAX + jwt::SIGNS_AFTER)).await?;
        self.forget_sessions(now).await?;
        self.meta.remove_expired_tokens(now.minus(Duration::from_secs(7 * 86_400))).await?;
        Ok(())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("service", &self.service).finish_non_exhaustive()
    }
}

/// Before any key was made.
const EVER: Timestamp = Timestamp::from_micros(i64::MIN);

async fn load_ring(meta: &dyn Metadata, clock: &dyn Clock, rng: &dyn Rng) -> Result<KeyRing, StartError> {
    let mut stored = meta.signing_keys().await?;
    if stored.is_empty() {
        let first = jwt::generate(clock, rng, clock.now())?;
        meta.add_signing_key(&first, Some(EVER), &first::itself("first start")).await?;
        stored = meta.signing_keys().await?;
    }
    KeyRing::new(stored)
}

/// `count` at once, and as many again in each minute.
fn per_minute<K: Eq + std::hash::Hash + Clone>(count: u32) -> Limit<K> {
    Limit::new(count, Duration::from_secs(60) / count.max(1))
}

pub(crate) fn asker(principal: Principal, limits: Limits, origin: &Origin) -> Asker {
    Asker { principal, limits, source: origin.source, request_id: Arc::clone(&origin.request_id) }
}

fn too_many(retry_after: Duration) -> AuthError {
    AuthError::TooManyAttempts { retry_after }
}
