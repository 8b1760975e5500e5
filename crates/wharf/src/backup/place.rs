//! Where backups are kept: a directory, or objects in a bucket, under the same names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use wharf_base::{StoreId, Timestamp};
use wharf_store::ContentArchive;

use super::generation::{ABOUT, About};
use super::{BackupBucket, BackupDirectory, Generation};
use crate::cli::BackupPlaceArgs;
use crate::error::CommandError;

/// The first line of [`MARK`].
pub(super) const FORMAT: &str = "wharf backup 1";

/// Which format, and whose backups.
pub(super) const MARK: &str = "wharf-backup";
/// Where generations are.
pub(super) const GENERATIONS: &str = "generations";
/// Where that is which is being made or removed.
pub(super) const INCOMPLETE: &str = "incomplete";
/// Below it, what a process has begun at a registry.
pub(super) const SESSION: &str = "session";

/// What is done there. Whoever restores need not wait for whoever makes a backup: what is there stays there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// By many, and while something is added.
    Read,
    /// By one at a time; made if there is nothing.
    Add,
    /// By one at a time, while nobody reads (which a bucket cannot tell).
    Remove,
}

/// A place with backups, for one process that does what it was opened for.
#[async_trait]
pub(crate) trait BackupPlace: Send + Sync {
    /// What it is called, for people.
    fn name(&self) -> String;

    /// The content of all generations.
    fn content(&self) -> Arc<dyn ContentArchive>;

    /// The store whose backups these are; `None` before the first.
    async fn store_id(&self) -> Result<Option<StoreId>, CommandError>;

    /// From now on these are backups of that store.
    async fn belongs_to(&self, store: StoreId) -> Result<(), CommandError>;

    /// The session of a process that was killed here, if it got so far.
    fn left_session(&self) -> Option<&str>;

    /// Writes down the session that a registry has begun for us, so that it can be ended if we are killed. Nothing depends
    /// on it: a session that nobody attends to ends by itself, only later.
    async fn note_session(&self, session: &str) -> Result<(), CommandError>;

    /// The session has ended.
    async fn forget_session(&self);

    /// The generations, the oldest first. Their files need to be brought.
    async fn generations(&self) -> Result<Vec<Generation>, CommandError>;

    /// Makes files of a generation readable at its path, where they are not. What is missing stays missing.
    async fn bring(&self, generation: &Generation, files: &[&str]) -> Result<(), CommandError>;

    /// A directory for a new generation, which nobody takes for one.
    async fn draft(&self) -> Result<PathBuf, CommandError>;

    /// Keeps a generation that is complete under its name: the time, to the second. All content that it names is there.
    async fn keep(&self, draft: &Path, taken_at: Timestamp) -> Result<Generation, CommandError>;

    /// Removes a generation: first its name, then what it consists of.
    async fn discard(&self, generation: &Generation) -> Result<(), CommandError>;

    /// Resolves when somebody else may be at work here, and never otherwise.
    async fn lost(&self) -> CommandError;

    /// Others may work here at once. A place that is not closed is free, too, but only later.
    async fn close(&self);

    /// What a generation says about itself.
    async fn about(&self, generation: &Generation) -> Result<About, CommandError> {
        self.bring(generation, &[ABOUT]).await?;
        generation.about()
    }
}

/// Does `work` in the place that `args` name, and leaves it free for others.
///
/// # Errors
///
/// When it is no backup, when somebody else is at work there, and what `work` says.
pub(crate) async fn at_place<T>(
    args: &BackupPlaceArgs,
    access: Access,
    work: impl AsyncFnOnce(&dyn BackupPlace) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let place: Box<dyn BackupPlace> = match args.bucket()? {
        Some(config) => Box::new(BackupBucket::open(&config, access, args).await?),
        None => Box::new(BackupDirectory::open(&args.place, access)?),
    };
    let worked = tokio::select! {
        worked = work(&*place) => worked,
        error = place.lost() => Err(error),
    };
    place.close().await;
    worked
}

/// What the mark says of backups of `store`.
pub(super) fn mark_of(store: StoreId) -> String {
    format!("{FORMAT}\nstore {store}\n")
}

/// Whether the mark is that of backups as they are made here. `at` is where it is.
pub(super) fn check_mark(text: &str, at: &str) -> Result<(), CommandError> {
    let found = text.lines().next().unwrap_or_default();
    if found == FORMAT {
        return Ok(());
    }
    let problem = format!("{at} is of a format that is not known here: {found:?}");
    Err(CommandError::new(crate::error::Exit::WrongStore, problem)
        .with_hint(format!("use the version of Wharf that wrote it; this one knows {FORMAT:?}")))
}

/// The store that a mark names.
pub(super) fn store_of(text: &str, at: &str) -> Result<StoreId, CommandError> {
    let id = text.lines().nth(1).and_then(|line| line.strip_prefix("store ")).and_then(|id| id.parse().ok());
    id.ok_or_else(|| {
        CommandError::new(crate::error::Exit::Broken, format!("{at} does not say whose backups these are"))
            .with_hint(format!("its two lines are \"{FORMAT}\" and \"store …\"; every generation.json has the id"))
    })
}

pub(super) fn no_backup(place: &str) -> CommandError {
    CommandError::new(crate::error::Exit::Usage, format!("there is no backup in {place}"))
        .with_hint("name the place that was given to `wharf backup`")
}

pub(super) fn something_else(place: &str) -> CommandError {
    CommandError::new(crate::error::Exit::Usage, format!("{place} is neither empty nor a backup"))
        .with_hint("name a place of its own for backups")
}
