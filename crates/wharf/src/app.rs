//! Wiring: from a configuration to a running registry. Read it once and know what is connected to what.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wharf_base::{Clock, Rng, Shutdown, Spawner, StoreId, SystemClock, SystemRng};
use wharf_http::{Server, StartError};
use wharf_meta::{Metadata, SqliteMetadata};
use wharf_policy::Engine;
use wharf_registry::Registry;
use wharf_store::{BlobStore, DirectoryStore, OpenError};

use crate::config::Config;

/// The metadata database, beside the content it names.
const DATABASE: &str = "wharf.db";

/// How long changes that have begun to commit may take after the last request.
const COMMIT_GRACE: Duration = Duration::from_secs(10);

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
    #[error("opening the metadata database {}", .path.display())]
    Meta {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: wharf_meta::Error,
    },
    /// Database and content do not belong together; nothing may be written or removed (B-138).
    #[error("the metadata database belongs to store {database}, the content to store {content}")]
    ForeignStore {
        /// What the database says.
        database: StoreId,
        /// What `wharf.id` says.
        content: StoreId,
    },
    /// The server cannot listen.
    #[error(transparent)]
    Server(#[from] StartError),
}

/// A registry that listens.
pub struct App {
    server: Server,
    registry: Arc<Registry>,
    meta: Arc<dyn Metadata>,
    spawner: Spawner,
    shutdown: Shutdown,
}

impl App {
    /// Opens everything, in an order that leaves nothing half done when something is missing, and listens.
    ///
    /// # Errors
    ///
    /// [`AppError`]; nothing listens then, and nothing that was stored has been touched.
    pub async fn start(config: &Config, policy: Engine, shutdown: Shutdown) -> Result<Self, AppError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let rng: Arc<dyn Rng> = Arc::new(SystemRng);
        let store = open_store(config, &clock, &rng).await?;
        let meta = open_meta(config, store.store_id()).await?;
        let policy = Arc::new(policy);
        let spawner = Spawner::new();
        let parts = wharf_registry::Parts {
            meta: Arc::clone(&meta),
            store,
            policy: Arc::clone(&policy),
            clock: Arc::clone(&clock),
            rng: Arc::clone(&rng),
            spawner: spawner.clone(),
        };
        let registry = Registry::new(parts, config.registry.clone());
        let parts = wharf_http::Parts { registry: Arc::clone(&registry), policy, clock, rng };
        let server = Server::bind(config.server.clone(), parts, shutdown.clone()).await?;
        Ok(Self { server, registry, meta, spawner, shutdown })
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.server.addresses()
    }

    /// Serves until shutdown, then ends in order: requests, changes that have begun to commit, the database.
    /// Says whether all of it ended by itself.
    pub async fn run(self) -> bool {
        self.spawner.spawn("expire uploads", Arc::clone(&self.registry).keep_expiring(self.shutdown.clone()));
        let requests_ended = self.server.run().await;
        let changes_ended = self.spawner.drain(COMMIT_GRACE).await;
        let closed = self.meta.close().await;
        if let Err(error) = &closed {
            tracing::error!(error = error as &dyn std::error::Error, "the metadata database was not closed in order");
        }
        requests_ended && changes_ended && closed.is_ok()
    }
}

async fn open_store(
    config: &Config,
    clock: &Arc<dyn Clock>,
    rng: &Arc<dyn Rng>,
) -> Result<Arc<dyn BlobStore>, AppError> {
    let path = config.storage.data.clone();
    let store = DirectoryStore::open(&path, &**clock, &**rng);
    let store = store.map_err(|source| AppError::Store { path: path.clone(), source })?;
    store.probe().await.map_err(|source| AppError::Probe { path, source })?;
    Ok(Arc::new(store))
}

async fn open_meta(config: &Config, store_id: StoreId) -> Result<Arc<dyn Metadata>, AppError> {
    let path = config.storage.data.join(DATABASE);
    let failed = |source| AppError::Meta { path: path.clone(), source };
    let meta = SqliteMetadata::open(&path, &config.metadata).map_err(failed)?;
    match meta.store_id().await.map_err(failed)? {
        None => meta.set_store_id(store_id).await.map_err(failed)?,
        Some(found) if found == store_id => {}
        Some(database) => return Err(AppError::ForeignStore { database, content: store_id }),
    }
    Ok(Arc::new(meta))
}
