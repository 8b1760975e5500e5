#![allow(clippy::unwrap_used)]

mod contract;
mod statements;

use std::sync::Arc;

use wharf_testkit::{PostgresDatabase, PostgresServer};

use super::{PostgresConfig, PostgresMetadata};
use crate::Metadata;

fn config(database: &PostgresDatabase) -> PostgresConfig {
    PostgresConfig { url: Some(database.url.parse().unwrap()), ..PostgresConfig::default() }
}

async fn open(database: &PostgresDatabase) -> PostgresMetadata {
    PostgresMetadata::open(&config(database)).await.unwrap()
}

async fn fresh() -> (PostgresDatabase, Arc<dyn Metadata>) {
    let database = PostgresServer::shared().database();
    let metadata = Arc::new(open(&database).await);
    (database, metadata)
}
