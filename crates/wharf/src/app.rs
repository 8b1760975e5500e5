//! Wiring: from a configuration to a running registry. Read it once and know what is connected to what.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use wharf_base::{Clock, Rng, Secret, Shutdown, Spawner, SteeredClock, StoreId, SystemRng};
use wharf_http::{Server, StartError};
use wharf_identity::Identity;
use wharf_meta::{Metadata, PostgresMetadata, Sharing, SqliteMetadata};
use wharf_oci::Digest;
use wharf_policy::Engine;
use wharf_registry::Registry;
use wharf_store::{BlobStore, BucketError, BucketStore, DirectoryStore, Entry, OpenError, Place};

use crate::config::Config;
use crate::error::{CommandError, Exit};

/// The metadata database, beside the content it names.
pub const DATABASE: &str = "wharf.db";

/// How long changes that have begun to commit may take after the last request.
const COMMIT_GRACE: Duration = Duration::from_secs(10);

/// After a commit that could not be synced: how long reads in flight may go on before the process ends.
const READ_GRACE: Duration = Duration::from_secs(5);

/// How often the rules and accounts are looked at for changes that another replica made, should its word of them be lost; at most
/// 2 s may pass until they are in force (S-009).
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// How often the time is compared with the database's.
const TAKE_TIME_EVERY: Duration = Duration::from_secs(10);

/// By how much a clock may be off before somebody should look at it: 5 minutes.
const CLOCK_OFF_MAX_US: u64 = 300_000_000;

/// Who is let in.
#[derive(Debug)]
pub enum Access {
    /// Everybody, to everything: `--open`.
    Open,
    /// Whoever has credentials, to what policy allows.
    Accounts {
        /// The password of `admin`, should it have to be created (S-080).
        admin_password: Option<Secret<String>>,
    },
}

/// Why the registry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The blob store cannot be opened.
    #[error("opening the data directory {}", .path.display())]
    Store {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: OpenError,
    },
    /// It takes no writes, or does not give back what was written.
    #[error("trying out the data directory {}", .path.display())]
    Probe {
        /// Where.
        path: PathBuf,
        /// What went wrong.
        source: wharf_store::Error,
    },
    /// The metadata database cannot be opened.
    #[error("opening the metadata database {place}")]
    Meta {
        /// Where, as people may be told.
        place: String,
        /// Why not.
        source: wharf_meta::Error,
    },
    /// The key of the bucket cannot be read.
    #[error("looking for the credentials of the bucket")]
    Credentials(#[source] crate::config::Unreadable),
    /// The bucket cannot be used.
    #[error("opening the bucket {place}")]
    Bucket {
        /// Bucket and prefix.
        place: String,
        /// Why not.
        source: BucketError,
    },
    /// The embedded database, of which another one has everything by now, cannot be put by.
    #[error("renaming {}, whose rows are in PostgreSQL by now", .path.display())]
    PutBy {
        /// The embedded database.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is content, and no database that says whose it is. An empty one in its place would be a registry that has lost
    /// everything, and whose collector finds nothing but orphans.
    #[error("the data directory has content, but its metadata database {place} is missing")]
    NoDatabase {
        /// Where it should be, as people may be told.
        place: String,
    },
    /// Database and content do not belong together; nothing may be written or removed (B-138).
    #[error("the metadata database belongs to store {database}, the content to store {content}")]
    ForeignStore {
        /// What the database says.
        database: StoreId,
        /// What `wharf.id` says.
        content: StoreId,
    },
    /// Who people are cannot be found out: a first account that cannot be made, a certificate that cannot be read.
    #[error("setting up accounts and single sign-on")]
    Identity(#[from] wharf_identity::StartError),
    /// Collection cannot be held although the last end was not in order or the clock is in doubt.
    #[error("holding collection, whose dates may be wrong")]
    Hold(#[source] wharf_registry::Error),
    /// The rules cannot be loaded; without them nothing is decided (S-003).
    #[error("loading the policy's rules")]
    Rules(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody knows what time it is for all replicas.
    #[error("asking the metadata database what time it is")]
    Time(#[source] wharf_meta::Error),
    /// The database was not closed in order.
    #[error("closing the metadata database")]
    Close(#[source] wharf_meta::Error),
    /// The server cannot listen.
    #[error(transparent)]
    Server(#[from] StartError),
}

/// How a registry came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to, and everything ended by itself.
    InOrder,
    /// It was asked to, and something had to be cut off.
    CutOff,
    /// A commit could not be brought to stable storage; only opening the database again tells what lasted.
    NotSynced,
}

/// A registry that listens.
pub struct App {
    server: Server,
    registry: Arc<Registry>,
    meta: Arc<dyn Metadata>,
    clock: Arc<SteeredClock>,
    identity: Option<Arc<Identity>>,
    first_password: Option<Secret<String>>,
    spawner: Spawner,
    shutdown: Shutdown,
    /// Whether the database had been closed in order.
    was_clean: bool,
}

impl App {
    /// Opens everything, in an order that leaves nothing half done when something is missing, and listens.
    ///
    /// # Errors
    ///
    /// [`AppError`]; nothing listens then, and nothing that was stored has been touched.
    pub async fn start(config: &Config, access: Access, shutdown: Shutdown) -> Result<Self, AppError> {
        let steered = Arc::new(SteeredClock::new());
        let clock: Arc<dyn Clock> = Arc::clone(&steered) as _;
        let rng: Arc<dyn Rng> = Arc::new(SystemRng);
        let (store, is_new) = open_store(config, &clock, &rng).await?;
        let store_id = store.store_id();
        let sharing = match config.storage.url {
            Some(_) => Sharing::Replicas,
            None => Sharing::Alone,
        };
        let (meta, was_clean) = open_meta(config, &*store, is_new, sharing).await?;
        if meta.is_shared() {
            let ahead_us = take_time(&steered, &*meta).await.map_err(AppError::Time)?;
            warn_of_clock(ahead_us);
        }
        let spawner = Spawner::new();
        let (policy, identity, first_password) = match access {
            Access::Open => (Engine::open(), None, None),
            Access::Accounts { admin_password } => {
                let created = wharf_identity::ensure_admin(&*meta, admin_password, &*clock, &*rng).await?;
                let parts = wharf_identity::Parts {
                    meta: Arc::clone(&meta),
                    clock: Arc::clone(&clock),
                    rng: Arc::clone(&rng),
                    store_id,
                    default_service: config.server.external_host().unwrap_or_else(|| "wharf".to_owned()),
                };
                let identity = Identity::start(config.identity(), parts).await?;
                (Engine::with_defaults(), Some(identity), created)
            }
        };
        let policy = Arc::new(policy);
        let parts = wharf_registry::Parts {
            meta: Arc::clone(&meta),
            store,
            policy: Arc::clone(&policy),
            clock: Arc::clone(&clock),
            rng: Arc::clone(&rng),
            spawner: spawner.clone(),
        };
        let registry = Registry::new(parts, config.use_cases());
        registry.check_clock_at_start().await.map_err(AppError::Hold)?;
        registry.look_at_disk().await;
        if !was_clean {
            registry.hold_after_crash().await.map_err(AppError::Hold)?;
        }
        registry.reload_rules().await.map_err(AppError::Rules)?;
        let shown = config.clone();
        let configuration: wharf_http::LazyText = LazyLock::new(Box::new(move || shown.show()));
        let about = wharf_http::About { version: env!("CARGO_PKG_VERSION"), configuration: Arc::new(configuration) };
        let parts = wharf_http::Parts {
            registry: Arc::clone(&registry),
            policy,
            identity: identity.clone(),
            about,
            clock,
            rng,
            redirects: config.storage.redirects(),
        };
        let server = Server::bind(config.server.clone(), parts, shutdown.clone()).await?;
        Ok(Self { server, registry, meta, clock: steered, identity, first_password, spawner, shutdown, was_clean })
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.server.addresses()
    }

    /// The addresses of `/metrics`, where it has its own.
    pub fn metrics_addresses(&self) -> Vec<SocketAddr> {
        self.server.metrics_addresses()
    }

    /// The password of `admin`, if this start has made both; to be shown once, and not in the log (S-080).
    pub fn take_first_password(&mut self) -> Option<Secret<String>> {
        self.first_password.take()
    }

    /// Serves until shutdown, then ends in order: requests, changes that have begun to commit, the database. A commit
    /// that could not be synced ends it as well, with a moment for reads in flight and without closing the database,
    /// which would be one more write that nobody could rely on.
    pub async fn run(self) -> End {
        if !self.was_clean {
            let checking = Arc::clone(&self.registry).look_through_database(self.shutdown.clone());
            self.spawner.spawn("check the database", checking);
        }
        self.spawner.spawn("guard", Arc::clone(&self.registry).keep_guard(self.shutdown.clone()));
        self.spawner.spawn("expire uploads", Arc::clone(&self.registry).keep_expiring(self.shutdown.clone()));
        self.spawner.spawn("end checks", Arc::clone(&self.registry).end_checks(self.shutdown.clone()));
        self.spawner.spawn("end backups", Arc::clone(&self.registry).keep_ending_backups(self.shutdown.clone()));
        self.spawner.spawn("note what is used", Arc::clone(&self.registry).keep_usage(self.shutdown.clone()));
        self.spawner.spawn("scrub", Arc::clone(&self.registry).keep_scrubbing(self.shutdown.clone()));
        self.spawner.spawn("collect", Arc::clone(&self.registry).keep_collecting(self.shutdown.clone()));
        if self.meta.is_shared() {
            let keeping = keep_time(Arc::clone(&self.clock), Arc::clone(&self.meta), self.shutdown.clone());
            self.spawner.spawn("keep the database's time", keeping);
        }
        if let Some(identity) = &self.identity {
            identity.spawn_background(&self.spawner, &self.shutdown);
            let refreshing = keep_fresh(
                Arc::clone(&self.registry),
                Arc::clone(identity),
                Arc::clone(&self.meta),
                self.shutdown.clone(),
            );
            self.spawner.spawn("refresh rules and accounts", refreshing);
        }
        let mut serving = std::pin::pin!(self.server.run());
        let requests_ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = self.meta.storage_failed() => {
                tracing::error!(
                    "the metadata database does not keep what this process commits any more; it ends, and the next start \
                     tells what lasted"
                );
                self.shutdown.start();
                let _ = tokio::time::timeout(READ_GRACE, serving).await;
                return End::NotSynced;
            }
        };
        let changes_ended = self.spawner.drain(COMMIT_GRACE).await;
        let closed = self.meta.close().await;
        match &closed {
            Err(wharf_meta::Error::StorageFailed { .. }) => return End::NotSynced,
            Err(error) => {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    "the metadata database was not closed in order"
                );
            }
            Ok(()) => {}
        }
        if requests_ended && changes_ended && closed.is_ok() { End::InOrder } else { End::CutOff }
    }
}

/// Commands that look into a data directory make nothing: neither a registry where somebody has misspelled it, nor a database
/// for content that lost its own.
///
/// # Errors
///
/// [`CommandError`]: there is no registry, or its database is missing.
pub fn check_data(config: &Config) -> Result<(), CommandError> {
    let data = &config.storage.data;
    let usage = |problem: String| Err(CommandError::new(Exit::Usage, problem).with_hint("name it with --data"));
    if !data.is_dir() {
        return usage(format!("there is no data directory {}", data.display()));
    }
    if !data.join("wharf.id").exists() {
        return usage(format!("{} is not the data directory of a registry", data.display()));
    }
    if config.metadata.postgres.url.is_none() && !data.join(DATABASE).exists() {
        let problem = format!("{} holds content and no database that says whose it is", data.display());
        return Err(CommandError::new(Exit::WrongStore, problem).with_hint("restore wharf.db from a backup"));
    }
    Ok(())
}

/// Content and metadata of a registry that does not run: nobody else can use them until this is gone.
#[derive(Debug)]
pub struct Offline {
    /// The content.
    pub store: Arc<dyn BlobStore>,
    /// The metadata.
    pub meta: Arc<dyn Metadata>,
    was_clean: bool,
}

impl Offline {
    /// Where the content of the digest lies.
    ///
    /// # Errors
    ///
    /// [`CommandError`]: the database does not answer.
    pub async fn place(&self, digest: &Digest) -> Result<Place, CommandError> {
        if self.store.is_by_digest() {
            return Ok(Place::by_digest(*digest));
        }
        let found = self.meta.locations(std::slice::from_ref(digest)).await;
        let found = found.map_err(|error| CommandError::from_source(Exit::Unexpected, error))?;
        let location = found.into_iter().next().unwrap_or_default();
        Ok(Place { digest: *digest, location })
    }

    /// Whether the registry had been stopped in order.
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// Closes both. That the registry itself was not stopped in order is still known at its next start, which then holds
    /// collection.
    ///
    /// # Errors
    ///
    /// [`AppError::Close`].
    pub async fn close(&self) -> Result<(), AppError> {
        if self.was_clean { self.meta.close().await.map_err(AppError::Close) } else { Ok(()) }
    }
}

/// Opens what a registry that does not run has.
///
/// # Errors
///
/// [`AppError`], that it runs after all among them.
pub async fn open_offline(config: &Config, clock: Arc<dyn Clock>) -> Result<Offline, AppError> {
    let rng: Arc<dyn Rng> = Arc::new(SystemRng);
    let (store, is_new) = open_store(config, &clock, &rng).await?;
    let (meta, was_clean) = open_meta(config, &*store, is_new, Sharing::Alone).await?;
    Ok(Offline { store, meta, was_clean })
}

/// The store, and whether it has just been made.
pub(crate) async fn open_store(
    config: &Config,
    clock: &Arc<dyn Clock>,
    rng: &Arc<dyn Rng>,
) -> Result<(Arc<dyn BlobStore>, bool), AppError> {
    let path = config.storage.data.clone();
    let store = DirectoryStore::open(&path, &**clock, &**rng);
    let store = store.map_err(|source| AppError::Store { path: path.clone(), source })?;
    store.probe().await.map_err(|source| AppError::Probe { path, source })?;
    let bucket = config.storage.bucket(config.registry.blob_size_max.as_u64()).map_err(AppError::Credentials)?;
    let Some(bucket) = bucket else {
        let is_new = store.is_new();
        return Ok((Arc::new(store), is_new));
    };
    let opened = BucketStore::open(&bucket, Arc::clone(clock), Arc::clone(rng)).await;
    let place = config.storage.place().display().to_string();
    let opened = opened.map_err(|source| AppError::Bucket { place, source })?;
    let is_new = opened.is_new();
    // An embedded database lies in the directory, and snapshots are made there: nobody else may use it.
    Ok((Arc::new(opened.beside(store)), is_new))
}

/// The database, and whether it had been closed in order.
async fn open_meta(
    config: &Config,
    store: &dyn BlobStore,
    is_new: bool,
    sharing: Sharing,
) -> Result<(Arc<dyn Metadata>, bool), AppError> {
    let path = config.storage.data.join(DATABASE);
    let place = match &config.metadata.postgres.url {
        Some(url) => url.to_string(),
        None => path.display().to_string(),
    };
    let failed = |source| AppError::Meta { place: place.clone(), source };
    let missing = || async {
        let has_content = has_content(store).await;
        let has_content =
            has_content.map_err(|source| AppError::Probe { path: config.storage.data.clone(), source })?;
        if has_content { Err(AppError::NoDatabase { place: place.clone() }) } else { Ok(()) }
    };
    let (meta, was_clean): (Arc<dyn Metadata>, bool) = if config.metadata.postgres.url.is_some() {
        let mut meta = PostgresMetadata::open(&config.metadata.postgres, &path, sharing).await.map_err(failed)?;
        let is_empty = meta.store_id().await.map_err(failed)?.is_none();
        if is_empty && path.exists() {
            tracing::info!("{place} is empty and takes over what {} has", path.display());
            meta.adopt(&path, &config.metadata.embedded).await.map_err(failed)?;
        } else if is_empty && !is_new {
            missing().await?;
        }
        let was_clean = meta.was_clean_shutdown();
        (Arc::new(meta), was_clean)
    } else {
        if !is_new && !path.exists() {
            missing().await?;
        }
        let meta = SqliteMetadata::open(&path, &config.metadata.embedded).map_err(failed)?;
        let was_clean = meta.was_clean_shutdown();
        (Arc::new(meta), was_clean)
    };
    let store_id = store.store_id();
    match meta.store_id().await.map_err(failed)? {
        None => meta.set_store_id(store_id).await.map_err(failed)?,
        Some(found) if found == store_id => {}
        Some(database) => return Err(AppError::ForeignStore { database, content: store_id }),
    }
    // Taken over just now, or before the process was killed here.
    if config.metadata.postgres.url.is_some() && path.exists() {
        put_by(&path).map_err(|source| AppError::PutBy { path: path.clone(), source })?;
    }
    Ok((meta, was_clean))
}

/// What the embedded database was is in the other one. It stays for whoever wants to look at it, under a name by which nobody
/// takes it for what is in force.
pub(crate) fn put_by(path: &Path) -> std::io::Result<()> {
    let mut by = path.as_os_str().to_owned();
    by.push(".moved");
    std::fs::rename(path, by)
}

/// Whether anything was ever pushed. Asked only where there is no database, so it may take its time.
pub(crate) async fn has_content(store: &dyn BlobStore) -> Result<bool, wharf_store::Error> {
    let mut after = None;
    loop {
        let page = store.list(after.as_ref(), 1).await?;
        if page.entries.iter().any(|entry| matches!(entry, Entry::Content(_) | Entry::Located(_))) {
            return Ok(true);
        }
        after = page.next;
        if after.is_none() {
            return Ok(false);
        }
    }
}

/// Takes the database's time over, so that all replicas date by one clock. By how many microseconds this machine's is ahead.
async fn take_time(clock: &SteeredClock, meta: &dyn Metadata) -> wharf_meta::Result<i64> {
    let asked = clock.monotonic();
    let theirs = meta.time().await?;
    Ok(clock.steer(theirs, asked, clock.monotonic()))
}

async fn keep_time(clock: Arc<SteeredClock>, meta: Arc<dyn Metadata>, shutdown: Shutdown) {
    while tokio::time::timeout(TAKE_TIME_EVERY, shutdown.started()).await.is_err() {
        // Until the database answers, monotonic time goes on as well as ever.
        if let Err(error) = take_time(&clock, &*meta).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the database did not say what time it is");
        }
    }
}

fn warn_of_clock(ahead_us: i64) {
    if ahead_us.unsigned_abs() > CLOCK_OFF_MAX_US {
        tracing::warn!(
            clock.ahead_s = ahead_us / 1_000_000,
            "this machine's clock is {} s ahead of the database's, which is the one that counts: look at it (`timedatectl`)",
            ahead_us / 1_000_000
        );
    }
}

/// Brings what other replicas have changed into force. When the database does not answer, what was in force stays.
async fn keep_fresh(registry: Arc<Registry>, identity: Arc<Identity>, meta: Arc<dyn Metadata>, shutdown: Shutdown) {
    let mut seen = None;
    loop {
        tokio::select! {
            () = shutdown.started() => return,
            () = tokio::time::sleep(REFRESH_EVERY) => {}
            () = meta.changed() => {}
        }
        let versions = match meta.versions().await {
            Ok(versions) => versions,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "rules and accounts could not be looked at");
                continue;
            }
        };
        if seen != Some(versions.rules) {
            match registry.reload_rules().await {
                Ok(()) => seen = Some(versions.rules),
                Err(error) => tracing::error!(error = &*error, "the rules could not be loaded; those in force stay"),
            }
        }
        identity.refresh(&versions).await;
    }
}
