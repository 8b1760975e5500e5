//! Content by digest that no registry serves: that of a backup, and of a data directory while it is being restored.
//!
//! [`ContentArchive`] is what a backup needs of it, wherever it is. [`Archive`] is content in a directory:
//!
//! ```text
//! <content>/<alg>/<aa>/<hex>     content; <aa> are the first two digits of <hex>
//! <staging>/<hex>                content on its way there
//! ```
//!
//! What has its final name is whole: its bytes were hashed as they were written and were on stable storage before it got
//! the name. To make that cheap for very many small files, they are placed in batches, and one `syncfs` stands for the
//! syncs of all files of a batch. (Linux reports errors of writing back to `syncfs` since 5.8.) The names themselves last
//! after [`Archive::sync`].

mod content;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use wharf_base::failpoint::{reach, skips};
use wharf_oci::{Algorithm, Digest};

use crate::Error;
use crate::hash::Running;

pub use content::{Bytewise, ContentArchive, ContentWriter, bytes_of};

/// How much of one content waits for the disk. Whoever syncs anything on the same file system may have to wait for all of
/// it, so that pushes to a registry on the same disk would take longer with every byte more.
const WRITE_BACK_BYTES: u64 = 8 << 20;

/// How much is read at once.
const CHUNK_BYTES: usize = 512 << 10;

/// Content in a directory, for one process at a time. All of it blocks.
#[derive(Debug)]
pub struct Archive {
    content: PathBuf,
    staging: PathBuf,
    /// Opened before anything is written: errors of writing back since then are reported to it.
    file_system: File,
}

/// Why content did not get into an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bytes are not those that the digest names; nothing was kept.
    #[error("what came as {expected} is {found}")]
    OtherBytes {
        /// What was announced.
        expected: Box<Digest>,
        /// What came: another digest, or a number of bytes.
        found: String,
    },
    /// The operating system refused.
    #[error("writing {}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The bucket did not do its part.
    #[error(transparent)]
    Bucket(#[from] Error),
}

/// What is wrong with content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// There is none.
    Missing,
    /// It has another size, or is no file.
    OtherSize,
    /// It has other bytes.
    OtherBytes,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::OtherSize => "of another size",
            Self::OtherBytes => "damaged",
        })
    }
}

/// What was removed because nothing names it any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many files.
    pub files: u64,
    /// Their sizes together.
    pub bytes: u64,
}

impl Archive {
    /// Content below `content`, staged in `staging` on the same file system. Both are made if they are not there.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`].
    pub fn open(content: &Path, staging: &Path) -> Result<Self, ArchiveError> {
        for path in [content, staging] {
            make_directory(path).map_err(failed(path))?;
        }
        let file_system = File::open(content).map_err(failed(content))?;
        Ok(Self { content: content.to_owned(), staging: staging.to_owned(), file_system })
    }

    /// Where the content of `digest` is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.content.join(digest.algorithm().as_str()).join(&hex[..2]).join(hex)
    }

    /// Whether there is content of `digest` with that size. It is not read: it was, before it got its name.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`].
    pub fn has(&self, digest: &Digest, size_bytes: u64) -> Result<bool, ArchiveError> {
        self.look(digest, size_bytes).map(|damage| damage.is_none())
    }

    /// What is wrong with the content of `digest`, as far as it can be seen without reading it.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`].
    pub fn look(&self, digest: &Digest, size_bytes: u64) -> Result<Option<Damage>, ArchiveError> {
        let path = self.path(digest);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() && found.len() == size_bytes => Ok(None),
            Ok(_) => Ok(Some(Damage::OtherSize)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(Damage::Missing)),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    /// The content of `digest`, to be read; `None` if there is none.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn read(&self, digest: &Digest) -> io::Result<Option<File>> {
        let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
        match OpenOptions::new().read(true).custom_flags(flags).open(self.path(digest)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is wrong with the content of `digest`; `None` if it is as it should be. Every byte is read.
    ///
    /// # Errors
    ///
    /// What the operating system says: then nothing is known of the content.
    pub fn examine(&self, digest: &Digest, size_bytes: u64) -> io::Result<Option<Damage>> {
        let Some(mut file) = self.read(digest)? else { return Ok(Some(Damage::Missing)) };
        let found = file.metadata()?;
        if !found.is_file() || found.len() != size_bytes {
            return Ok(Some(Damage::OtherSize));
        }
        let (mut hash, mut buffer) = (Running::new(digest.algorithm()), vec![0; CHUNK_BYTES]);
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok((hash.finish() != *digest).then_some(Damage::OtherBytes)),
                Ok(read) => hash.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Begins to take in the content of `digest`. A digest must not be taken in twice at the same time.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`].
    pub fn stage(&self, digest: &Digest, size_bytes: u64) -> Result<ArchiveWriter, ArchiveError> {
        let path = self.staging.join(digest.hex());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path)(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed(&path))?;
        let staged = Staged { digest: *digest, size_bytes, file: Some(path.clone()) };
        Ok(ArchiveWriter { staged, path, file, hash: Proving::new(digest, size_bytes), unsynced_bytes: 0 })
    }

    /// Gives content its names, after all of it is on stable storage.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`]: some of it may have its name.
    pub fn place(&self, batch: Vec<Staged>) -> Result<(), ArchiveError> {
        self.sync()?;
        reach("archive.synced");
        for mut staged in batch {
            let Some(file) = &staged.file else { continue };
            let path = self.path(&staged.digest);
            let directory = path.parent().unwrap_or(&self.content);
            make_directory(directory).map_err(failed(directory))?;
            fs::rename(file, &path).map_err(failed(&path))?;
            staged.file = None;
            reach("archive.placed");
        }
        Ok(())
    }

    /// Everything that was written to the file system is on stable storage: bytes and names.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`]: what was written since the last success may be lost.
    pub fn sync(&self) -> Result<(), ArchiveError> {
        if skips("archive.sync") {
            return Ok(());
        }
        rustix::fs::syncfs(&self.file_system).map_err(|errno| failed(&self.content)(errno.into()))
    }

    /// Removes content that `is_needed` does not say yes to. May be killed anywhere.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`]: some of it may be gone.
    pub fn sweep(&self, is_needed: impl Fn(&Digest) -> bool) -> Result<Swept, ArchiveError> {
        let mut swept = Swept::default();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for directory in entries(&self.content.join(algorithm.as_str()))? {
                for path in entries(&directory)? {
                    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    // What is not named like content is somebody else's.
                    let Ok(digest) = format!("{algorithm}:{name}").parse::<Digest>() else { continue };
                    if is_needed(&digest) {
                        continue;
                    }
                    let size_bytes = fs::symlink_metadata(&path).map_err(failed(&path))?.len();
                    fs::remove_file(&path).map_err(failed(&path))?;
                    swept.files += 1;
                    swept.bytes += size_bytes;
                    reach("archive.swept");
                }
            }
        }
        Ok(swept)
    }
}

/// Takes in the content of one digest.
pub struct ArchiveWriter {
    staged: Staged,
    path: PathBuf,
    file: File,
    hash: Proving,
    unsynced_bytes: u64,
}

impl ArchiveWriter {
    /// Takes in more bytes.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::OtherBytes`] when there are more than announced; [`ArchiveError::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.hash.update(bytes)?;
        self.file.write_all(bytes).map_err(failed(&self.path))?;
        self.unsynced_bytes += bytes.len() as u64;
        if self.unsynced_bytes >= WRITE_BACK_BYTES && !skips("archive.sync") {
            self.unsynced_bytes = 0;
            self.file.sync_data().map_err(failed(&self.path))?;
        }
        Ok(())
    }

    /// That was all.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::OtherBytes`] when it does not hash to the digest.
    pub fn finish(self) -> Result<Staged, ArchiveError> {
        self.hash.finish()?;
        reach("archive.staged");
        Ok(self.staged)
    }
}

/// Whether what arrives is what was announced.
pub(crate) struct Proving {
    expected: Digest,
    size_bytes: u64,
    hash: Running,
    arrived_bytes: u64,
}

impl Proving {
    pub(crate) fn new(expected: &Digest, size_bytes: u64) -> Self {
        Self { expected: *expected, size_bytes, hash: Running::new(expected.algorithm()), arrived_bytes: 0 }
    }

    /// # Errors
    ///
    /// [`ArchiveError::OtherBytes`]: that is more than was announced.
    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.arrived_bytes += bytes.len() as u64;
        if self.arrived_bytes > self.size_bytes {
            return Err(self.other(format!("longer than its {} bytes", self.size_bytes)));
        }
        self.hash.update(bytes);
        Ok(())
    }

    /// # Errors
    ///
    /// [`ArchiveError::OtherBytes`].
    pub(crate) fn finish(self) -> Result<(), ArchiveError> {
        if self.arrived_bytes != self.size_bytes {
            return Err(self.other(format!("{} bytes instead of {}", self.arrived_bytes, self.size_bytes)));
        }
        let found = self.hash.clone().finish();
        if found == self.expected { Ok(()) } else { Err(self.other(found.to_string())) }
    }

    fn other(&self, found: String) -> ArchiveError {
        ArchiveError::OtherBytes { expected: Box::new(self.expected), found }
    }
}

/// Content that is what its digest says. In a directory it has not got its name yet, and its file goes with it if it never
/// does.
#[derive(Debug)]
pub struct Staged {
    digest: Digest,
    size_bytes: u64,
    /// `None`: there is nothing left to do.
    file: Option<PathBuf>,
}

impl Staged {
    /// Content that has its name.
    pub(crate) fn settled(digest: &Digest, size_bytes: u64) -> Self {
        Self { digest: *digest, size_bytes, file: None }
    }

    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Whoever opens the staging directory next removes what could not be removed now.
            let _ = fs::remove_file(file);
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
    let path = path.to_owned();
    move |source| ArchiveError::Io { path, source }
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What is in a directory; nothing if it does not exist.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    let found = match fs::read_dir(directory) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(directory)(error)),
    };
    found.map(|entry| entry.map(|entry| entry.path()).map_err(failed(directory))).collect()
}

#[cfg(test)]
mod tests;
