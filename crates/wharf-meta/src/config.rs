use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PostgresConfig, SqliteConfig};

/// `[metadata]`: where the metadata is kept: in the embedded database, or in PostgreSQL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Which of both, and how PostgreSQL is used.
    #[serde(flatten)]
    pub postgres: PostgresConfig,
    /// How the embedded database is used.
    #[serde(flatten)]
    pub embedded: SqliteConfig,
}

impl Config {
    /// Relations between keys that cannot hold; empty when all is well.
    pub fn check(&self) -> Vec<String> {
        self.postgres.check()
    }
}
