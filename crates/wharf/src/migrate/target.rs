use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wharf_base::{Clock, Rng, StoreId, SystemClock, SystemRng};
use wharf_meta::{BackingUp as _, Metadata as _, PostgresMetadata, Sharing, SqliteMetadata, Tally};
use wharf_store::BlobStore;

use crate::app::{self, DATABASE};
use crate::backup::{failed, of_database, sync_directory};
use crate::config::Config;
use crate::error::{CommandError, Exit};

/// Where a registry moves to: an empty database.
#[derive(Debug)]
pub(super) enum Target {
    /// A file, which is not there yet.
    Embedded(PathBuf),
    /// In PostgreSQL.
    Postgres(Box<PostgresMetadata>),
}

/// What cannot be moved, or not to there.
pub(super) fn check_places(from: &Config, to: &Config) -> Result<(), CommandError> {
    let usage = |problem: &str, hint: &str| Err(CommandError::new(Exit::Usage, problem).with_hint(hint));
    let (source, target) = (&from.metadata.postgres.url, &to.metadata.postgres.url);
    let same_data = same_data(from, to);
    if source == target && (source.is_some() || same_data) {
        return usage(
            "both configurations name the same database",
            "a registry moves to an empty database; name another with metadata.url or storage.data",
        );
    }
    if same_data && !same_directory(from, to) {
        return usage(
            "both configurations have the same data directory, and content moves",
            "name another directory with storage.data",
        );
    }
    Ok(())
}

fn same_data(from: &Config, to: &Config) -> bool {
    let path = |config: &Config| fs::canonicalize(&config.storage.data).unwrap_or(config.storage.data.clone());
    path(from) == path(to)
}

/// Whether content stays in a directory.
pub(super) fn same_directory(from: &Config, to: &Config) -> bool {
    from.storage.url.is_none() && to.storage.url.is_none() && same_data(from, to)
}

pub(super) async fn open_store(to: &Config) -> Result<Arc<dyn BlobStore>, CommandError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let rng: Arc<dyn Rng> = Arc::new(SystemRng);
    Ok(app::open_store(to, &clock, &rng).await?.0)
}

pub(super) async fn open_database(to: &Config) -> Result<Target, CommandError> {
    let path = to.storage.data.join(DATABASE);
    let Some(url) = &to.metadata.postgres.url else { return Ok(Target::Embedded(path)) };
    let opened = PostgresMetadata::open(&to.metadata.postgres, &path, Sharing::Alone).await;
    let opened = opened.map_err(|source| app::AppError::Meta { place: url.to_string(), source })?;
    Ok(Target::Postgres(Box::new(opened)))
}

pub(super) fn not_empty(to: &Config) -> CommandError {
    let place =
        to.metadata.postgres.url.as_ref().map_or_else(
            || to.storage.data.display().to_string(),
            |url| format!("{} or {url}", to.storage.data.display()),
        );
    CommandError::new(Exit::Refused, format!("there is a registry, or something of one, in {place} already")).with_hint(
        "name a new directory, an empty database and an empty prefix of a bucket; what is there was not touched",
    )
}

impl Target {
    /// The store that the database belongs to; `None` for an empty one.
    pub(super) async fn store_id(&self) -> Result<Option<StoreId>, CommandError> {
        match self {
            Self::Embedded(path) if !path.exists() => Ok(None),
            Self::Embedded(path) => {
                let snapshot = wharf_meta::Snapshot::open(path).map_err(of_database)?;
                snapshot.store_id().map_err(of_database)
            }
            Self::Postgres(database) => database.store_id().await.map_err(of_database),
        }
    }

    /// Makes it what the draft is, all of it or nothing; what it has then, if that is not the very file.
    pub(super) async fn commit(&mut self, draft: &Path, to: &Config) -> Result<Option<Tally>, CommandError> {
        match self {
            Self::Embedded(path) => {
                fs::rename(draft, path).map_err(failed("renaming", draft))?;
                sync_directory(&to.storage.data)?;
                Ok(None)
            }
            Self::Postgres(database) => {
                database.adopt(draft, &to.metadata.embedded).await.map_err(of_database)?;
                database.tally().await.map(Some).map_err(of_database)
            }
        }
    }

    /// Closes it, as a registry that was stopped in order or not.
    pub(super) async fn close(&self, was_clean: bool) -> Result<(), CommandError> {
        match self {
            Self::Postgres(database) if was_clean => database.close().await.map_err(of_database),
            _ => Ok(()),
        }
    }
}

/// No registry uses the source's database any more. Again is fine.
pub(super) async fn give_up(from: &Config, store: StoreId) -> Result<(), CommandError> {
    let path = from.storage.data.join(DATABASE);
    if from.metadata.postgres.url.is_none() {
        return put_by(&path, from).await;
    }
    let database = PostgresMetadata::open(&from.metadata.postgres, &path, Sharing::Alone).await.map_err(of_database)?;
    if database.store_id().await.map_err(of_database)? == Some(store) {
        let nobody = StoreId::generate(&SystemClock::new(), &SystemRng);
        database.give_up(nobody).await.map_err(of_database)?;
    }
    database.close().await.map_err(of_database)
}

/// Puts the embedded database by, whole: its log would otherwise be taken for that of the next one of its name.
async fn put_by(path: &Path, from: &Config) -> Result<(), CommandError> {
    if !path.exists() {
        return Ok(());
    }
    let database = SqliteMetadata::open(path, &from.metadata.embedded).map_err(of_database)?;
    database.close().await.map_err(of_database)?;
    app::put_by(path).map_err(failed("renaming", path))
}
