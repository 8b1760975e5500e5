//! A layout that is written into a directory.
//!
//! Content gets its name when it is whole and on stable storage, the index last. So a run that is killed leaves no layout
//! behind, or the one that was there before, and the next run goes on with the content that is there.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use wharf_oci::{Algorithm, Digest, MANIFEST_MAX_BYTES, Reference, RepositoryName};

use super::files::open;
use super::index::{Described, ENTRIES_MAX, Entries};
use super::{INDEX, MARK, MARK_TEXT, blob_path};
use crate::{Blob, Document, Entry, Error, Target};

/// Where content is while it is not whole; gone in the end.
const STAGING: &str = ".wharf-export";

/// A directory that becomes a layout, or in which a layout that was exported grows.
pub struct DirectoryWriter {
    directory: PathBuf,
    host: String,
    entered: Mutex<Entered>,
    next: AtomicU64,
    /// Held to the end.
    _lock: File,
}

/// What the layout lists, and what this run has put there.
#[derive(Debug, Default)]
pub(super) struct Entered {
    pub(super) entries: Entries,
    pub(super) children: std::collections::BTreeSet<(RepositoryName, Digest)>,
}

impl Entered {
    pub(super) fn digest(&self, repository: &RepositoryName, reference: &Reference) -> Option<Digest> {
        match reference {
            Reference::Tag(tag) => {
                self.entries.tagged.get(&(repository.clone(), tag.clone())).map(|described| described.digest)
            }
            Reference::Digest(digest) => {
                let key = (repository.clone(), *digest);
                let is_there = self.children.contains(&key);
                is_there.then_some(*digest)
            }
        }
    }

    pub(super) fn enter(
        &mut self,
        repository: &RepositoryName,
        document: &Document,
        media_type: &str,
        entry: &Entry,
    ) -> Result<(), Error> {
        let described = Described {
            digest: document.digest,
            media_type: media_type.to_owned(),
            size_bytes: document.body.len() as u64,
        };
        self.children.insert((repository.clone(), document.digest));
        match entry {
            Entry::Tag(tag) => _ = self.entries.tagged.insert((repository.clone(), tag.clone()), described),
            Entry::Untagged => _ = self.entries.untagged.insert((repository.clone(), document.digest), described),
            Entry::Child => {}
        }
        if self.entries.len() > ENTRIES_MAX {
            return Err(Error::Usage(format!("a layout has at most {ENTRIES_MAX} entries; export fewer tags at once")));
        }
        Ok(())
    }
}

impl DirectoryWriter {
    /// Begins to write to `directory`, which is made if it is not there; `host` is the registry that is exported.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`]: something else is there, or another process writes to it; [`Error::Io`].
    pub fn create(directory: &Path, host: &str) -> Result<Self, Error> {
        let staging = directory.join(STAGING);
        for path in [&staging, &blobs(directory, Algorithm::Sha256), &blobs(directory, Algorithm::Sha512)] {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
            made.map_err(|error| Error::io(format!("making {}", path.display()), error))?;
        }
        let lock = lock(&staging.join("lock"), directory)?;
        let entries = existing(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            host: host.to_owned(),
            entered: Mutex::new(Entered { entries, ..Entered::default() }),
            next: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// Lists everything that was put there, which makes the directory a layout.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: it is what it was before.
    pub async fn finish(self) -> Result<(), Error> {
        let index = self.entered().entries.write(&self.host);
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let directory = blobs(&self.directory, algorithm);
            // Most layouts have only one of the two.
            if fs::remove_dir(&directory).is_err() {
                sync(&directory)?;
            }
        }
        sync(&self.directory.join("blobs"))?;
        self.place(MARK, Blob::of(MARK_TEXT.into())).await?;
        self.place(INDEX, Blob::of(index.into())).await?;
        sync(&self.directory)?;
        let _ = fs::remove_dir_all(self.directory.join(STAGING));
        Ok(())
    }

    async fn place(&self, name: &str, mut blob: Blob) -> Result<(), Error> {
        let staged = self.directory.join(STAGING).join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let failed = |error| Error::io(format!("writing {name} in {}", self.directory.display()), error);
        let mut file = tokio::fs::File::create(&staged).await.map_err(failed)?;
        while let Some(piece) = blob.bytes.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    let _ = fs::remove_file(&staged);
                    return Err(error);
                }
            };
            file.write_all(&piece).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        file.sync_all().await.map_err(failed)?;
        fs::rename(&staged, self.directory.join(name)).map_err(failed)
    }

    fn entered(&self) -> MutexGuard<'_, Entered> {
        self.entered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Target for DirectoryWriter {
    async fn digest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<Digest>, Error> {
        Ok(self.entered().digest(repository, reference))
    }

    async fn has_blob(&self, _repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let name = blob_path(digest);
        match open(&self.directory.join(&name), &name) {
            Ok(_) => Ok(true),
            Err(Error::Absent(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn mount(&self, _into: &RepositoryName, _digest: &Digest, _from: &RepositoryName) -> Result<bool, Error> {
        Ok(false)
    }

    async fn put_blob(&self, _repository: &RepositoryName, digest: &Digest, blob: Blob) -> Result<(), Error> {
        self.place(&blob_path(digest), blob).await
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        document: &Document,
        media_type: &str,
        entry: &Entry,
    ) -> Result<(), Error> {
        if !self.has_blob(repository, &document.digest).await? {
            self.place(&blob_path(&document.digest), Blob::of(document.body.clone())).await?;
        }
        self.entered().enter(repository, document, media_type, entry)
    }
}

fn blobs(directory: &Path, algorithm: Algorithm) -> PathBuf {
    directory.join("blobs").join(algorithm.as_str())
}

/// Keeps others out as long as the file is open.
pub(super) fn lock(path: &Path, of: &Path) -> Result<File, Error> {
    let failed = |error| Error::io(format!("locking {}", path.display()), error);
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Usage(format!("another process is exporting to {}", of.display()))),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The entries of the layout that is there, which must be one of ours, or none.
fn existing(directory: &Path) -> Result<Entries, Error> {
    let body: Bytes = match open(&directory.join(INDEX), INDEX) {
        Ok(_) => super::files::Files::Directory(directory.to_owned()).read(INDEX, MANIFEST_MAX_BYTES)?,
        Err(Error::Absent(_)) => return Ok(Entries::default()),
        Err(error) => return Err(error),
    };
    if !Entries::are_named(&body) {
        let problem = format!("{} holds a layout that was not exported by this command", directory.display());
        return Err(Error::Usage(problem));
    }
    Entries::read(&body, None)
}

pub(super) fn sync(directory: &Path) -> Result<(), Error> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| Error::io(format!("syncing {}", directory.display()), error))
}
