#![allow(clippy::unwrap_used)]

mod audit;
mod contract;
mod files;
mod lifecycle;
mod model;
mod model_operations;
mod remembered;
mod rows;
mod snapshots;
mod statements;
mod writing;

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;

use super::{SqliteConfig, SqliteMetadata};
use crate::Metadata;

/// A directory with a database in it.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("wharf.db")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.directory.path().join(format!("wharf.db{suffix}"))
    }

    fn open(&self) -> SqliteMetadata {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> crate::Result<SqliteMetadata> {
        SqliteMetadata::open(&self.path(), &SqliteConfig::default())
    }

    /// A connection that looks at rows past all code of this crate.
    fn look(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }
}

async fn fresh() -> (Place, Arc<dyn Metadata>) {
    let place = Place::new();
    let metadata = Arc::new(place.open());
    (place, metadata)
}
