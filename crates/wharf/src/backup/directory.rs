use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rustix::fs::FlockOperation;
use wharf_base::failpoint::reach;
use wharf_base::{StoreId, Timestamp};
use wharf_store::{Archive, ContentArchive};

use super::place::{
    Access, GENERATIONS, INCOMPLETE, MARK, SESSION, check_mark, mark_of, no_backup, something_else, store_of,
};
use super::{BackupPlace, Generation, failed, sync_directory};
use crate::error::{CommandError, Exit};

const LOCK: &str = "wharf-backup.lock";
const READERS: &str = "wharf-backup.readers";
const CONTENT: &str = "content";

/// A directory with backups, locked as long as this lives.
pub(crate) struct BackupDirectory {
    path: PathBuf,
    _locks: Vec<File>,
    archive: Arc<Archive>,
    /// What a process that was killed had begun at a registry.
    left_session: Option<String>,
}

impl BackupDirectory {
    /// The directory at `path`.
    ///
    /// # Errors
    ///
    /// When it is no backup, or somebody does something else there.
    pub(crate) fn open(path: &Path, access: Access) -> Result<Self, CommandError> {
        let is_there = check_format(path)?;
        match access {
            Access::Read | Access::Remove if !is_there => return Err(no_backup(&path.display().to_string())),
            Access::Add if !is_there => make(path)?,
            _ => {}
        }
        let locks = lock(path, access)?;
        let (content, incomplete) = (path.join(CONTENT), path.join(INCOMPLETE));
        // Where nothing may be written nothing is staged: a directory that exists is enough.
        let (staging, left_session) = match access {
            Access::Read => (content.clone(), None),
            Access::Add | Access::Remove => (incomplete.join(CONTENT), clear(&incomplete)?),
        };
        let archive = Arc::new(Archive::open(&content, &staging)?);
        Ok(Self { path: path.to_owned(), _locks: locks, archive, left_session })
    }

    /// Takes a generation its name; what it consists of is removed later.
    fn unname(&self, generation: &Generation) -> Result<PathBuf, CommandError> {
        let gone = self.path.join(INCOMPLETE).join(generation.name());
        fs::rename(generation.path(), &gone).map_err(failed("removing", generation.path()))?;
        sync_directory(&self.path.join(GENERATIONS))?;
        Ok(gone)
    }
}

#[async_trait]
impl BackupPlace for BackupDirectory {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn content(&self) -> Arc<dyn ContentArchive> {
        Arc::new(Arc::clone(&self.archive))
    }

    async fn store_id(&self) -> Result<Option<StoreId>, CommandError> {
        let mark = self.path.join(MARK);
        match fs::read_to_string(&mark) {
            Ok(text) => store_of(&text, &mark.display().to_string()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("reading", &mark)(error)),
        }
    }

    async fn belongs_to(&self, store: StoreId) -> Result<(), CommandError> {
        let new = self.path.join("wharf-backup.new");
        write_new(&new, mark_of(store).as_bytes())?;
        let mark = self.path.join(MARK);
        fs::rename(&new, &mark).map_err(failed("naming", &mark))?;
        sync_directory(&self.path)
    }

    fn left_session(&self) -> Option<&str> {
        self.left_session.as_deref()
    }

    async fn note_session(&self, session: &str) -> Result<(), CommandError> {
        let path = self.path.join(INCOMPLETE).join(SESSION);
        fs::write(&path, session).map_err(failed("writing", &path))
    }

    async fn forget_session(&self) {
        // Asked to end once more, a session that has ended says no harm.
        let _ = fs::remove_file(self.path.join(INCOMPLETE).join(SESSION));
    }

    async fn generations(&self) -> Result<Vec<Generation>, CommandError> {
        let directory = self.path.join(GENERATIONS);
        let mut found = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed("reading", &directory))? {
            let entry = entry.map_err(failed("reading", &directory))?;
            if let Some(name) = entry.file_name().to_str().filter(|name| Generation::is_name(name)) {
                found.push(Generation::at(entry.path(), name));
            }
        }
        found.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(found)
    }

    async fn bring(&self, _: &Generation, _: &[&str]) -> Result<(), CommandError> {
        Ok(())
    }

    async fn draft(&self) -> Result<PathBuf, CommandError> {
        let path = self.path.join(INCOMPLETE).join("generation");
        make_directory(&path)?;
        Ok(path)
    }

    async fn keep(&self, draft: &Path, taken_at: Timestamp) -> Result<Generation, CommandError> {
        let generations = self.path.join(GENERATIONS);
        let name = Generation::free_name(taken_at, |name| generations.join(name).exists());
        let path = generations.join(&name);
        fs::rename(draft, &path).map_err(failed("naming", &path))?;
        reach("backup.named");
        sync_directory(&generations)?;
        Ok(Generation::at(path, &name))
    }

    async fn discard(&self, generation: &Generation) -> Result<(), CommandError> {
        let gone = self.unname(generation)?;
        reach("prune.unnamed");
        fs::remove_dir_all(&gone).map_err(failed("removing", &gone))?;
        reach("prune.removed");
        Ok(())
    }

    async fn lost(&self) -> CommandError {
        // The operating system keeps the lock as long as the process lives.
        std::future::pending().await
    }

    async fn close(&self) {}
}

/// Whether there is a backup of a format that is known here.
fn check_format(path: &Path) -> Result<bool, CommandError> {
    let mark = path.join(MARK);
    match fs::read_to_string(&mark) {
        Ok(text) => check_mark(&text, &mark.display().to_string()).map(|()| true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(failed("reading", &mark)(error)),
    }
}

/// A directory that is empty, or what a process has left that was killed before its first backup was complete.
fn make(path: &Path) -> Result<(), CommandError> {
    make_directory(path)?;
    let mut found = fs::read_dir(path).map_err(failed("reading", path))?;
    let ours = [LOCK, READERS, CONTENT, GENERATIONS, INCOMPLETE, "lost+found", "wharf-backup.new"];
    if found.any(|entry| entry.is_ok_and(|entry| !ours.iter().any(|ours| entry.file_name() == *ours))) {
        return Err(something_else(&path.display().to_string()));
    }
    for part in [CONTENT, GENERATIONS, INCOMPLETE] {
        make_directory(&path.join(part))?;
    }
    Ok(())
}

/// Removes what somebody who was killed has left; the session that was begun at a registry.
fn clear(incomplete: &Path) -> Result<Option<String>, CommandError> {
    let session = fs::read_to_string(incomplete.join(SESSION)).ok();
    match fs::remove_dir_all(incomplete) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("clearing", incomplete)(error)),
        _ => {}
    }
    make_directory(incomplete)?;
    Ok(session)
}

/// A file with all of `bytes`, on stable storage, for its owner alone.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(failed("writing", path))
}

pub(super) fn make_directory(path: &Path) -> Result<(), CommandError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("making", path))
}

fn lock(path: &Path, access: Access) -> Result<Vec<File>, CommandError> {
    let (writers, readers) = (path.join(LOCK), path.join(READERS));
    match access {
        Access::Read => {
            // Also where nothing may be written; and a copy without locks is one that nobody writes to.
            let file = match File::open(&readers) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                file => file.map_err(failed("opening", &readers))?,
            };
            Ok(vec![locked(file, &readers, FlockOperation::NonBlockingLockShared)?])
        }
        Access::Add => {
            lock_file(&readers)?;
            Ok(vec![locked(lock_file(&writers)?, &writers, FlockOperation::NonBlockingLockExclusive)?])
        }
        Access::Remove => {
            let exclusive = |path: &Path| locked(lock_file(path)?, path, FlockOperation::NonBlockingLockExclusive);
            Ok(vec![exclusive(&writers)?, exclusive(&readers)?])
        }
    }
}

fn lock_file(path: &Path) -> Result<File, CommandError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map_err(failed("opening", path))
}

fn locked(file: File, path: &Path, operation: FlockOperation) -> Result<File, CommandError> {
    match rustix::fs::flock(&file, operation) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let problem = format!("another process is at work: {} is locked", path.display());
            Err(CommandError::new(Exit::InUse, problem).with_hint("wait for its end and try again"))
        }
        Err(errno) => Err(failed("locking", path)(errno.into())),
    }
}
