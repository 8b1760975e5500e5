use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use wharf_base::failpoint::reach;
use wharf_base::{StoreId, Timestamp};
use wharf_store::Archive;

use super::{Generation, failed, sync_directory};
use crate::error::{CommandError, Exit};

/// The first line of `wharf-backup`.
const FORMAT: &str = "wharf backup 1";

const MARK: &str = "wharf-backup";
const LOCK: &str = "wharf-backup.lock";
const READERS: &str = "wharf-backup.readers";
const CONTENT: &str = "content";
const GENERATIONS: &str = "generations";
const INCOMPLETE: &str = "incomplete";
const SESSION: &str = "session";

/// A directory with backups, locked as long as this lives.
#[derive(Debug)]
pub(crate) struct BackupDirectory {
    path: PathBuf,
    _locks: Vec<File>,
    /// What a process that was killed had begun at a registry.
    left_session: Option<String>,
}

/// What is done in the directory. Whoever restores need not wait for whoever makes a backup: what is there stays there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// By many, and while something is added.
    Read,
    /// By one at a time.
    Add,
    /// By one at a time, while nobody reads.
    Remove,
}

impl BackupDirectory {
    /// The directory at `path`, to be read.
    ///
    /// # Errors
    ///
    /// When it is no backup, or somebody removes something from it.
    pub(crate) fn open(path: &Path) -> Result<Self, CommandError> {
        let found = Self::existing(path, Access::Read)?;
        found.ok_or_else(|| no_backup(path))
    }

    /// The same, to remove something.
    pub(crate) fn open_to_remove(path: &Path) -> Result<Self, CommandError> {
        let mut found = Self::existing(path, Access::Remove)?.ok_or_else(|| no_backup(path))?;
        found.clear()?;
        Ok(found)
    }

    /// The same, to add something; made if there is nothing.
    pub(crate) fn open_or_make(path: &Path) -> Result<Self, CommandError> {
        check_place(path)?;
        if let Some(mut found) = Self::existing(path, Access::Add)? {
            found.clear()?;
            return Ok(found);
        }
        make_directory(path)?;
        let mut others = fs::read_dir(path).map_err(failed("reading", path))?;
        let ours = [LOCK, READERS, CONTENT, GENERATIONS, INCOMPLETE, "lost+found", "wharf-backup.new"];
        if others.any(|entry| entry.is_ok_and(|entry| !ours.iter().any(|ours| entry.file_name() == *ours))) {
            let problem = format!("{} is neither empty nor a backup", path.display());
            return Err(CommandError::new(Exit::Usage, problem).with_hint("name a directory of its own for backups"));
        }
        let locks = lock(path, Access::Add)?;
        let mut made = Self { path: path.to_owned(), _locks: locks, left_session: None };
        for part in [CONTENT, GENERATIONS, INCOMPLETE] {
            make_directory(&path.join(part))?;
        }
        made.clear()?;
        Ok(made)
    }

    fn existing(path: &Path, access: Access) -> Result<Option<Self>, CommandError> {
        check_place(path)?;
        let mark = path.join(MARK);
        match fs::read_to_string(&mark) {
            Ok(text) if text.lines().next() == Some(FORMAT) => {}
            Ok(text) => {
                let found = text.lines().next().unwrap_or_default().to_owned();
                let problem = format!("{} is of a format that is not known here: {found:?}", mark.display());
                return Err(CommandError::new(Exit::WrongStore, problem)
                    .with_hint(format!("use the version of Wharf that wrote it; this one knows {FORMAT:?}")));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(failed("reading", &mark)(error)),
        }
        Ok(Some(Self { path: path.to_owned(), _locks: lock(path, access)?, left_session: None }))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The store whose backups these are; `None` before the first.
    pub(crate) fn store_id(&self) -> Result<Option<StoreId>, CommandError> {
        let mark = self.path.join(MARK);
        let text = match fs::read_to_string(&mark) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("reading", &mark)(error)),
        };
        let id = text.lines().nth(1).and_then(|line| line.strip_prefix("store ")).and_then(|id| id.parse().ok());
        id.map(Some).ok_or_else(|| {
            CommandError::new(Exit::Broken, format!("{} does not say whose backups these are", mark.display()))
                .with_hint(format!("its two lines are \"{FORMAT}\" and \"store …\"; every generation.json has the id"))
        })
    }

    /// From now on these are backups of that store.
    pub(crate) fn belongs_to(&self, store: StoreId) -> Result<(), CommandError> {
        let new = self.path.join("wharf-backup.new");
        write_new(&new, format!("{FORMAT}\nstore {store}\n").as_bytes())?;
        let mark = self.path.join(MARK);
        fs::rename(&new, &mark).map_err(failed("naming", &mark))?;
        sync_directory(&self.path)
    }

    /// The content of all generations.
    pub(crate) fn archive(&self) -> Result<Archive, CommandError> {
        Ok(Archive::open(&self.path.join(CONTENT), &self.path.join(INCOMPLETE).join(CONTENT))?)
    }

    /// The content of all generations, where nothing may be written.
    pub(crate) fn content(&self) -> Result<Archive, CommandError> {
        // Nothing is staged: a directory that exists is enough.
        let content = self.path.join(CONTENT);
        Ok(Archive::open(&content, &content)?)
    }

    /// The session of a process that was killed here, if it got so far.
    pub(super) fn left_session(&self) -> Option<&str> {
        self.left_session.as_deref()
    }

    /// Writes down the session that a registry has begun for us, so that it can be ended if we are killed. Nothing depends
    /// on it: a session that nobody attends to ends by itself, only later.
    pub(super) fn note_session(&self, session: &str) -> Result<(), CommandError> {
        let path = self.path.join(INCOMPLETE).join(SESSION);
        fs::write(&path, session).map_err(failed("writing", &path))
    }

    /// The session has ended.
    pub(super) fn forget_session(&self) {
        // Asked to end once more, a session that has ended says no harm.
        let _ = fs::remove_file(self.path.join(INCOMPLETE).join(SESSION));
    }

    /// The generations, the oldest first.
    pub(crate) fn generations(&self) -> Result<Vec<Generation>, CommandError> {
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

    /// A place for a new generation, which nobody takes for one.
    pub(crate) fn draft(&self) -> Result<PathBuf, CommandError> {
        let path = self.path.join(INCOMPLETE).join("generation");
        make_directory(&path)?;
        Ok(path)
    }

    /// Gives a generation that is complete its name: the time, to the second. Everything in it is on stable storage.
    pub(crate) fn name(&self, draft: &Path, taken_at: Timestamp) -> Result<Generation, CommandError> {
        let generations = self.path.join(GENERATIONS);
        let mut at = taken_at;
        loop {
            let name = Generation::name_of(at);
            let path = generations.join(&name);
            if path.exists() {
                // Two within a second: the later one is named after the next.
                at = at.plus(std::time::Duration::from_secs(1));
                continue;
            }
            fs::rename(draft, &path).map_err(failed("naming", &path))?;
            reach("backup.named");
            sync_directory(&generations)?;
            return Ok(Generation::at(path, &name));
        }
    }

    /// Takes a generation its name; what it consists of is removed later.
    pub(crate) fn unname(&self, generation: &Generation) -> Result<PathBuf, CommandError> {
        let gone = self.path.join(INCOMPLETE).join(generation.name());
        fs::rename(generation.path(), &gone).map_err(failed("removing", generation.path()))?;
        sync_directory(&self.path.join(GENERATIONS))?;
        Ok(gone)
    }

    /// Removes what somebody who was killed has left.
    pub(crate) fn clear(&mut self) -> Result<(), CommandError> {
        let incomplete = self.path.join(INCOMPLETE);
        self.left_session = fs::read_to_string(incomplete.join(SESSION)).ok().or(self.left_session.take());
        match fs::remove_dir_all(&incomplete) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("clearing", &incomplete)(error));
            }
            _ => {}
        }
        make_directory(&incomplete)
    }
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

fn no_backup(path: &Path) -> CommandError {
    CommandError::new(Exit::Usage, format!("there is no backup in {}", path.display()))
        .with_hint("name the directory that was given to `wharf backup`")
}

/// Buckets come with the bucket store.
fn check_place(path: &Path) -> Result<(), CommandError> {
    if path.to_str().is_some_and(|text| text.contains("://")) {
        let problem = format!("{} is not a directory: backups cannot be kept in a bucket yet", path.display());
        return Err(CommandError::new(Exit::Usage, problem)
            .with_hint("name a directory, and copy it to the bucket with a tool of your choice"));
    }
    Ok(())
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
