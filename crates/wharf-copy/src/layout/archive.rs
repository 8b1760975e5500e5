//! A layout that is written into a tar archive, under another name until it is whole.

use std::collections::HashSet;
use std::fs;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use wharf_oci::{Digest, Reference, RepositoryName};

use super::directory::{Entered, lock, sync};
use super::{INDEX, MARK, MARK_TEXT, blob_path};
use crate::{Blob, Document, Entry, Error, Target};

/// What an archive consists of.
const BLOCK_BYTES: usize = 512;

/// An archive that becomes a layout. It takes one blob after another.
pub struct ArchiveWriter {
    path: PathBuf,
    staged: PathBuf,
    host: String,
    archive: tokio::sync::Mutex<Archive>,
    entered: Mutex<Entered>,
}

struct Archive {
    file: File,
    /// Where the next file begins.
    end_bytes: u64,
    /// The blobs that are in it.
    blobs: HashSet<Digest>,
}

impl ArchiveWriter {
    /// Begins to write the archive at `path`; `host` is the registry that is exported.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`]: another process writes it; [`Error::Io`].
    pub fn create(path: &Path, host: &str) -> Result<Self, Error> {
        let mut staged = path.as_os_str().to_owned();
        staged.push(".partial");
        let staged = PathBuf::from(staged);
        let file = lock(&staged, path)?;
        // What a run left that was killed.
        file.set_len(0).map_err(|error| Error::io(format!("writing {}", staged.display()), error))?;
        Ok(Self {
            path: path.to_owned(),
            staged,
            host: host.to_owned(),
            archive: tokio::sync::Mutex::new(Archive {
                file: File::from_std(file),
                end_bytes: 0,
                blobs: HashSet::new(),
            }),
            entered: Mutex::default(),
        })
    }

    /// Lists everything that was put there, and gives the archive its name.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: what had the name before is still there.
    pub async fn finish(self) -> Result<(), Error> {
        let index = self.entered().entries.write(&self.host);
        let mut archive = self.archive.lock().await;
        self.append(&mut archive, MARK, Blob::of(MARK_TEXT.into())).await?;
        self.append(&mut archive, INDEX, Blob::of(index.into())).await?;
        let failed = |error| Error::io(format!("writing {}", self.staged.display()), error);
        archive.file.write_all(&[0; 2 * BLOCK_BYTES]).await.map_err(failed)?;
        archive.file.flush().await.map_err(failed)?;
        archive.file.sync_all().await.map_err(failed)?;
        fs::rename(&self.staged, &self.path).map_err(failed)?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync(parent.unwrap_or(Path::new(".")))
    }

    /// Gives up: nothing is left.
    pub fn abandon(self) {
        let _ = fs::remove_file(&self.staged);
    }

    async fn append(&self, archive: &mut Archive, name: &str, blob: Blob) -> Result<(), Error> {
        let begin_bytes = archive.end_bytes;
        let appended = self.write(archive, name, blob).await;
        if appended.is_err() {
            // The next file begins where this one would have.
            let failed = |error| Error::io(format!("writing {}", self.staged.display()), error);
            archive.file.flush().await.map_err(failed)?;
            archive.file.set_len(begin_bytes).await.map_err(failed)?;
            archive.file.seek(SeekFrom::Start(begin_bytes)).await.map_err(failed)?;
            archive.end_bytes = begin_bytes;
        }
        appended
    }

    async fn write(&self, archive: &mut Archive, name: &str, mut blob: Blob) -> Result<(), Error> {
        let failed = |error| Error::io(format!("writing {}", self.staged.display()), error);
        let header = header(name, blob.size_bytes).map_err(failed)?;
        archive.file.write_all(&header).await.map_err(failed)?;
        while let Some(piece) = blob.bytes.next().await {
            archive.file.write_all(&piece?).await.map_err(failed)?;
        }
        let padding = blob.size_bytes.next_multiple_of(BLOCK_BYTES as u64) - blob.size_bytes;
        archive.file.write_all(&vec![0; usize::try_from(padding).unwrap_or_default()]).await.map_err(failed)?;
        archive.end_bytes += header.len() as u64 + blob.size_bytes + padding;
        Ok(())
    }

    async fn put(&self, digest: &Digest, blob: Blob) -> Result<(), Error> {
        let mut archive = self.archive.lock().await;
        if !archive.blobs.contains(digest) {
            self.append(&mut archive, &blob_path(digest), blob).await?;
            archive.blobs.insert(*digest);
        }
        Ok(())
    }

    fn entered(&self) -> MutexGuard<'_, Entered> {
        self.entered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands before a file, in whole blocks. The same for the same file, whoever exports it.
fn header(name: &str, size_bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size_bytes);
    header.set_mode(0o644);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, name, std::io::empty())?;
    let mut blocks = builder.into_inner()?;
    // The end of an archive, which it is not.
    blocks.truncate(blocks.len() - 2 * BLOCK_BYTES);
    Ok(blocks)
}

#[async_trait]
impl Target for ArchiveWriter {
    async fn digest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<Digest>, Error> {
        Ok(self.entered().digest(repository, reference))
    }

    async fn has_blob(&self, _repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        Ok(self.archive.lock().await.blobs.contains(digest))
    }

    async fn mount(&self, _into: &RepositoryName, _digest: &Digest, _from: &RepositoryName) -> Result<bool, Error> {
        Ok(false)
    }

    async fn put_blob(&self, _repository: &RepositoryName, digest: &Digest, blob: Blob) -> Result<(), Error> {
        self.put(digest, blob).await
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        document: &Document,
        media_type: &str,
        entry: &Entry,
    ) -> Result<(), Error> {
        self.put(&document.digest, Blob::of(document.body.clone())).await?;
        self.entered().enter(repository, document, media_type, entry)
    }
}
