use std::sync::Arc;

use tempfile::TempDir;
use wharf_base::{Clock, ManualClock, Rng, Secret, Shutdown, StoreId, SystemRng, Timestamp, TokenId};
use wharf_meta::{Metadata, SqliteConfig, SqliteMetadata};
use wharf_policy::{AccountManage, AccountType, Asker, Authorized, Engine, Principal, Provider};

use crate::{
    AuthError, ChangeAccount, Configs, Credentials, Identity, Login, NewAccount, NewToken, Origin, Parts, Place,
    Remembered,
};

pub(super) const PASSWORD: &str = "canary-password";

/// Identities over a database of their own.
pub(super) struct World {
    pub(super) identity: Arc<Identity>,
    /// The one connection that everybody asks over.
    pub(super) connection: Remembered,
    pub(super) meta: Arc<dyn Metadata>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) rng: Arc<dyn Rng>,
    pub(super) directory: TempDir,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(Configs::default()).await
    }

    pub(super) async fn with(configs: Configs) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let meta =
            SqliteMetadata::open(&directory.path().join("wharf.db"), &SqliteConfig::default()).expect("a database");
        let meta: Arc<dyn Metadata> = Arc::new(meta);
        let now: Timestamp = "2027-01-31T12:00:00Z".parse().expect("a time");
        let clock = Arc::new(ManualClock::at(now));
        let rng: Arc<dyn Rng> = Arc::new(SystemRng);
        let parts = Parts {
            meta: Arc::clone(&meta),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            rng: Arc::clone(&rng),
            store_id: StoreId::generate(&*clock, &*rng),
            default_service: "registry.example.org".to_owned(),
        };
        let identity = Identity::start(configs, parts).await.expect("identities");
        Self { identity, connection: Remembered::default(), meta, clock, rng, directory }
    }

    /// Proof that policy let an administrator manage accounts.
    pub(super) fn proof(&self) -> Authorized<AccountManage> {
        let principal = Principal::new(Provider::Local, "root", AccountType::Human, vec!["admin".to_owned()]);
        let asker = Asker::new(principal, None, "r-admin".into());
        Engine::with_defaults().authorize(&asker, ()).expect("an administrator may")
    }

    pub(super) async fn human(&self, name: &str, roles: &[&str]) {
        self.human_with(name, roles, PASSWORD).await;
    }

    pub(super) async fn human_with(&self, name: &str, roles: &[&str], password: &str) {
        self.account(name, AccountType::Human, roles, Some(password.into())).await;
    }

    pub(super) async fn robot(&self, name: &str) {
        self.account(name, AccountType::System, &[], None).await;
    }

    async fn account(&self, name: &str, account_type: AccountType, roles: &[&str], password: Option<Secret<String>>) {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let new = NewAccount { name: name.parse().expect("a name"), account_type, roles, password };
        self.identity.create_account(&self.proof(), new).await.expect("an account");
    }

    pub(super) async fn change(&self, name: &str, roles: Option<&[&str]>, enabled: Option<bool>) {
        let roles = roles.map(|roles| roles.iter().map(|role| (*role).to_owned()).collect());
        self.identity
            .change_account(&self.proof(), name, ChangeAccount { roles, enabled, version: None })
            .await
            .expect("a change");
    }

    pub(super) async fn token(&self, account: &str, new: NewToken) -> (TokenId, Secret<String>) {
        let (token, secret) = self.identity.create_token(&self.proof(), account, new).await.expect("a token");
        (token.id, secret)
    }

    pub(super) async fn delete_token(&self, id: TokenId) {
        self.identity.delete_token(&self.proof(), id).await.expect("a token");
    }

    pub(super) async fn rotate(&self) {
        self.identity.rotate_keys(&self.proof()).await.expect("a key");
    }

    pub(super) fn origin(&self) -> Origin {
        Origin { source: Some([192, 0, 2, 200].into()), request_id: "r-1".into() }
    }

    pub(super) async fn log_in(&self, name: &str, password: &str) -> Result<Login, AuthError> {
        self.identity.log_in(name, &password.into(), &self.origin()).await
    }

    pub(super) async fn log_in_from(&self, source: &str, name: &str, password: &str) -> Result<Login, AuthError> {
        let origin = Origin { source: Some(source.parse().expect("an address")), request_id: "r-1".into() };
        self.identity.log_in(name, &password.into(), &origin).await
    }

    /// A bearer token without scopes.
    pub(super) async fn bearer(&self, name: &str) -> Secret<String> {
        let login = self.log_in(name, PASSWORD).await.expect("a login");
        self.identity.issue(&login, &[], &self.origin()).expect("a token").token
    }

    /// Asks with `token`, which is good, until the connection knows it: the first time its account is looked up.
    pub(super) async fn remember(&self, token: &Secret<String>) {
        for _ in 0..2 {
            self.authenticate(token, Place::Registry).await.expect("a good token");
        }
        assert!(self.recalls(token));
    }

    /// Whether the connection alone knows whose `token` is.
    pub(super) fn recalls(&self, token: &Secret<String>) -> bool {
        self.recalls_from(&self.origin(), token)
    }

    /// The same, where it comes from elsewhere: over the connection of a proxy.
    pub(super) fn recalls_from(&self, origin: &Origin, token: &Secret<String>) -> bool {
        let generation = self.identity.directory.generation();
        self.connection.recall(token.expose(), generation, self.clock.now(), origin).is_some()
    }

    pub(super) async fn authenticate(&self, bearer: &Secret<String>, place: Place) -> Result<Asker, AuthError> {
        self.identity.authenticate(&Credentials::Bearer(bearer.expose()), &self.origin(), place, &self.connection).await
    }

    pub(super) async fn with_token_of(&self, name: &str) -> Result<Asker, AuthError> {
        self.authenticate(&self.bearer(name).await, Place::Registry).await
    }

    /// Writes and seals what waits in the queue, as a server does that stops.
    pub(super) async fn flush(&self) {
        let shutdown = Shutdown::new();
        shutdown.start();
        Arc::clone(&self.identity.audit).keep(shutdown).await;
    }

    /// A hash of [`PASSWORD`] that is too cheap to make.
    pub(super) fn weaker_hash(&self) -> Secret<String> {
        use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
        let params = Params::new(64, 1, 1, None).expect("parameters");
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = hasher.hash_password_with_salt(PASSWORD.as_bytes(), b"0123456789abcdef").expect("a hash");
        hash.to_string().into()
    }
}
