//! Backups in a bucket.
//!
//! The names are those of a directory, so that one can be copied to the other with any tool. What a directory does by
//! renaming, an order does here: a generation is there when its `generation.json` is, which is written last and removed
//! first. Databases are made and read in a scratch directory of this machine.

mod lock;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use wharf_base::failpoint::reach;
use wharf_base::{StoreId, Timestamp};
use wharf_store::{BucketArchive, BucketConfig, ContentArchive, Error};

use self::lock::Lock;
use super::directory::make_directory;
use super::generation::{ABOUT, DATABASE, LIST, SUMS};
use super::place::{
    Access, GENERATIONS, INCOMPLETE, MARK, SESSION, check_mark, mark_of, no_backup, something_else, store_of,
};
use super::scratch::Scratch;
use super::{BackupPlace, Generation};
use crate::cli::BackupPlaceArgs;
use crate::error::{CommandError, Exit};

/// What else may be there before the first backup is complete.
const OURS: [&str; 5] = [lock::LOCK, "content", GENERATIONS, INCOMPLETE, MARK];

/// Backups in a bucket, locked as long as this is not closed.
pub(crate) struct BackupBucket {
    archive: BucketArchive,
    lock: Option<Lock>,
    scratch: Scratch,
    left_session: Option<String>,
}

impl BackupBucket {
    /// The backups in the bucket.
    ///
    /// # Errors
    ///
    /// When there are none (to be read), or somebody else is at work there, or the bucket does not do its part.
    pub(crate) async fn open(
        config: &BucketConfig,
        access: Access,
        args: &BackupPlaceArgs,
    ) -> Result<Self, CommandError> {
        let archive = BucketArchive::open(config).map_err(|error| CommandError::from_source(Exit::Usage, error))?;
        let place = archive.place().to_owned();
        match archive.get(MARK).await.map_err(refused(&place))? {
            Some(text) => check_mark(&String::from_utf8_lossy(&text), &format!("{place}/{MARK}"))?,
            None if access != Access::Add => return Err(no_backup(&place)),
            None => {
                let found = archive.top().await.map_err(refused(&place))?;
                if !found.iter().all(|name| OURS.contains(&name.as_str())) {
                    return Err(something_else(&place));
                }
            }
        }
        let scratch = Scratch::make(&args.scratch())?;
        let lock = match access {
            Access::Read => None,
            Access::Add | Access::Remove => Some(Lock::take(&archive, args.bucket.break_lock).await?),
        };
        let mut opened = Self { archive, lock, scratch, left_session: None };
        if opened.lock.is_some() {
            opened.clear().await.map_err(refused(&place))?;
        }
        Ok(opened)
    }

    /// Removes what somebody who was killed has left.
    async fn clear(&mut self) -> Result<(), Error> {
        let session = self.archive.get(&format!("{INCOMPLETE}/{SESSION}")).await?;
        self.left_session = session.and_then(|text| String::from_utf8(text.to_vec()).ok());
        self.archive.clear().await?;
        let found = self.archive.names(GENERATIONS).await?;
        for name in &found {
            let Some(generation) = generation_in(name) else { continue };
            let about = format!("{GENERATIONS}/{generation}/{ABOUT}");
            // What a list does not show is asked for by its name before anything goes.
            if found.binary_search(&about).is_err() && self.archive.get(&about).await?.is_none() {
                self.archive.remove(name).await?;
            }
        }
        Ok(())
    }

    fn refused(&self) -> impl Fn(Error) -> CommandError + use<> {
        refused(self.archive.place())
    }

    fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

#[async_trait]
impl BackupPlace for BackupBucket {
    fn name(&self) -> String {
        self.archive.place().to_owned()
    }

    fn content(&self) -> Arc<dyn ContentArchive> {
        Arc::new(self.archive.clone())
    }

    async fn store_id(&self) -> Result<Option<StoreId>, CommandError> {
        let Some(text) = self.archive.get(MARK).await.map_err(self.refused())? else { return Ok(None) };
        store_of(&String::from_utf8_lossy(&text), &format!("{}/{MARK}", self.archive.place())).map(Some)
    }

    async fn belongs_to(&self, store: StoreId) -> Result<(), CommandError> {
        self.archive.put(MARK, mark_of(store).into()).await.map_err(self.refused())
    }

    fn left_session(&self) -> Option<&str> {
        self.left_session.as_deref()
    }

    async fn note_session(&self, session: &str) -> Result<(), CommandError> {
        let name = format!("{INCOMPLETE}/{SESSION}");
        self.archive.put(&name, session.to_owned().into()).await.map_err(self.refused())
    }

    async fn forget_session(&self) {
        // Asked to end once more, a session that has ended says no harm.
        let _ = self.archive.remove(&format!("{INCOMPLETE}/{SESSION}")).await;
    }

    async fn generations(&self) -> Result<Vec<Generation>, CommandError> {
        let found = self.archive.names(GENERATIONS).await.map_err(self.refused())?;
        let mut generations = Vec::new();
        for name in found.iter().filter(|name| name.ends_with(ABOUT)).filter_map(|name| generation_in(name)) {
            let path = self.scratch(name);
            make_directory(&path)?;
            generations.push(Generation::at(path, name));
        }
        Ok(generations)
    }

    async fn bring(&self, generation: &Generation, files: &[&str]) -> Result<(), CommandError> {
        for file in files {
            let path = generation.path().join(file);
            if !path.exists() {
                self.archive.download(&format!("{GENERATIONS}/{}/{file}", generation.name()), &path).await?;
            }
        }
        Ok(())
    }

    async fn draft(&self) -> Result<PathBuf, CommandError> {
        let path = self.scratch("draft");
        make_directory(&path)?;
        Ok(path)
    }

    async fn keep(&self, draft: &Path, taken_at: Timestamp) -> Result<Generation, CommandError> {
        let taken: Vec<_> = self.generations().await?.iter().map(|known| known.name().to_owned()).collect();
        let name = Generation::free_name(taken_at, |name| taken.iter().any(|taken| taken == name));
        let object = |file| format!("{GENERATIONS}/{name}/{file}");
        for file in [DATABASE, LIST, SUMS] {
            self.archive.upload(&object(file), &draft.join(file)).await?;
        }
        reach("backup.uploaded");
        if let Some(lock) = &self.lock {
            lock.confirm().await?;
        }
        self.archive.upload(&object(ABOUT), &draft.join(ABOUT)).await?;
        reach("backup.named");
        Ok(Generation::at(draft.to_owned(), &name))
    }

    async fn discard(&self, generation: &Generation) -> Result<(), CommandError> {
        if let Some(lock) = &self.lock {
            lock.confirm().await?;
        }
        for file in [ABOUT, SUMS, LIST, DATABASE] {
            self.archive
                .remove(&format!("{GENERATIONS}/{}/{file}", generation.name()))
                .await
                .map_err(self.refused())?;
            reach("prune.unnamed");
        }
        reach("prune.removed");
        Ok(())
    }

    async fn lost(&self) -> CommandError {
        match &self.lock {
            Some(lock) => lock.lost().await,
            None => std::future::pending().await,
        }
    }

    async fn close(&self) {
        if let Some(lock) = &self.lock {
            lock.release().await;
        }
    }
}

/// The name of the generation that an object belongs to.
fn generation_in(object: &str) -> Option<&str> {
    let (generation, _) = object.strip_prefix(GENERATIONS)?.strip_prefix('/')?.split_once('/')?;
    Generation::is_name(generation).then_some(generation)
}

/// The error for a bucket that did not do its part.
fn refused(place: &str) -> impl Fn(Error) -> CommandError + use<> {
    let doing = format!("asking {place}");
    move |error| {
        let exit = if let Error::Unavailable { .. } = error { Exit::Unreachable } else { Exit::Unexpected };
        CommandError::because(exit, doing.clone(), &error).with_hint(REACH)
    }
}

/// What helps against a bucket that cannot be reached.
pub(super) const REACH: &str = "see whether the bucket is there, and --s3-endpoint, --s3-region and the credentials \
                                (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) are right; nothing that was there is lost";
