#![allow(clippy::unwrap_used)]

mod contract;
mod copying;
mod plans;
mod races;
mod replicas;
mod server;
mod statements;
mod upgrade;

use std::sync::Arc;

use tempfile::TempDir;
use wharf_testkit::{PostgresDatabase, PostgresServer};

use super::{PostgresConfig, PostgresMetadata, Sharing};
use crate::Metadata;

fn config(database: &PostgresDatabase) -> PostgresConfig {
    PostgresConfig { url: Some(database.url.parse().unwrap()), ..PostgresConfig::default() }
}

/// A database, and a directory that stands for the registry's.
struct Place {
    database: PostgresDatabase,
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self::on(PostgresServer::shared())
    }

    fn on(server: &PostgresServer) -> Self {
        Self { database: server.database(), directory: TempDir::new().unwrap() }
    }

    async fn open(&self) -> PostgresMetadata {
        self.try_open(&config(&self.database)).await.unwrap()
    }

    async fn try_open(&self, config: &PostgresConfig) -> crate::Result<PostgresMetadata> {
        PostgresMetadata::open(config, &self.directory.path().join("wharf.db"), Sharing::Alone).await
    }

    /// A replica, with a directory of its own.
    async fn replica(&self) -> (Arc<PostgresMetadata>, TempDir) {
        let own = TempDir::new().unwrap();
        let beside = own.path().join("wharf.db");
        let opened = PostgresMetadata::open(&config(&self.database), &beside, Sharing::Replicas).await;
        (Arc::new(opened.unwrap()), own)
    }
}

async fn fresh() -> (Place, Arc<dyn Metadata>) {
    let place = Place::new();
    let metadata = Arc::new(place.open().await);
    (place, metadata)
}
