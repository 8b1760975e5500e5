//! A data directory that is being filled from a backup.
//!
//! `wharf.id` says so from the beginning until everything is there and on stable storage, and no registry opens such a
//! directory. So a restore that is broken off never looks complete, and can be begun again in the same place.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use wharf_base::failpoint::reach;
use wharf_base::{Clock, Rng, StoreId};

use super::files::SystemFiles;
use super::layout;
use super::open::Opening;
use crate::{Archive, ArchiveError, OpenError};

/// The data directory, while this process fills it.
#[derive(Debug)]
pub struct Restoring {
    path: PathBuf,
    directory: OwnedFd,
    _lock: OwnedFd,
    store_id: StoreId,
    archive: Archive,
}

/// Why nothing can be restored into a directory.
#[derive(Debug, thiserror::Error)]
pub enum RestoreTargetError {
    /// There is something in it, and it is not what a restore that was broken off has left.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// It cannot be a data directory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its parts cannot be made.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What is in it cannot be seen or removed.
    #[error("looking at what is in {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Restoring {
    /// Takes the directory at `path`, which is made if it is not there and must be empty if it is, or what a restore that
    /// was broken off has left. The registry will be another one than that of the backup: it has a new store id.
    ///
    /// # Errors
    ///
    /// See [`RestoreTargetError`]; what was there is as it was.
    pub fn begin(path: &Path, clock: &dyn Clock, rng: &dyn Rng) -> Result<Self, RestoreTargetError> {
        let path: PathBuf = path.components().collect();
        let opening = Opening { files: &SystemFiles, path: &path };
        let directory = opening.directory()?;
        opening.check_place(&directory)?;
        let found = Found::look(&path)?;
        if let Found::SomethingElse = found {
            return Err(RestoreTargetError::NotEmpty(path));
        }
        let lock = opening.lock(&directory)?;
        opening.mark_restoring(&directory)?;
        reach("restore.marked");
        if let Found::BrokenOff = found {
            clear(&path)?;
        }
        let layers = opening.make_directory(&directory, &layout::layers())?;
        opening.make_directory(&directory, &layout::uploads())?;
        let sha256 = opening.make_directory(&layers, &layout::algorithm(wharf_oci::Algorithm::Sha256))?;
        for byte in 0..=u8::MAX {
            opening.make_entry(&sha256, &layout::prefix(byte))?;
        }
        let archive = Archive::open(&path.join(layout::layers().as_str()), &path.join(layout::uploads().as_str()))?;
        let store_id = StoreId::generate(clock, rng);
        Ok(Self { directory, _lock: lock, store_id, archive, path })
    }

    /// Where its content goes.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// What the metadata database must say that it belongs to.
    pub fn store_id(&self) -> StoreId {
        self.store_id
    }

    /// Everything is in it: makes it a data directory.
    ///
    /// # Errors
    ///
    /// [`RestoreTargetError::Archive`], [`RestoreTargetError::Open`]: it may not last, and should be done again.
    pub fn finish(self) -> Result<(), RestoreTargetError> {
        self.archive.sync()?;
        reach("restore.synced");
        let opening = Opening { files: &SystemFiles, path: &self.path };
        opening.sync(&self.directory)?;
        opening.write_id(&self.directory, self.store_id)?;
        reach("restore.named");
        Ok(())
    }
}

/// What is in the directory already.
enum Found {
    Nothing,
    BrokenOff,
    SomethingElse,
}

impl Found {
    fn look(path: &Path) -> Result<Self, RestoreTargetError> {
        let failed = |source| RestoreTargetError::Io { path: path.to_owned(), source };
        match fs::read_to_string(path.join(layout::id_file().as_str())) {
            Ok(text) if text == layout::RESTORING => return Ok(Self::BrokenOff),
            Ok(_) => return Ok(Self::SomethingElse),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Self::SomethingElse),
            Err(error) => return Err(failed(error)),
        }
        // A restore that was killed at its very beginning has left these two.
        let ours = [layout::lock_file(), layout::new_id_file()];
        for entry in fs::read_dir(path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // Every file system of its own has the last one.
            if name != "lost+found" && !ours.iter().any(|known| name == known.as_str()) {
                return Ok(Self::SomethingElse);
            }
        }
        Ok(Self::Nothing)
    }
}

/// Removes what is of no use to another attempt. Content stays: what has its name is whole.
fn clear(path: &Path) -> Result<(), RestoreTargetError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreTargetError::Io { path, source }
    };
    let keep = [layout::lock_file(), layout::id_file(), layout::layers()];
    for entry in fs::read_dir(path).map_err(failed(path))? {
        let entry = entry.map_err(failed(path))?;
        let (name, path) = (entry.file_name(), entry.path());
        if name == "lost+found" || keep.iter().any(|kept| name == kept.as_str()) {
            continue;
        }
        let removed = match entry.file_type().map_err(failed(&path))?.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.map_err(failed(&path))?;
    }
    Ok(())
}

/// A data directory that nobody else uses as long as this lives, so that it can be moved away as a whole.
#[derive(Debug)]
pub struct Claim {
    _lock: OwnedFd,
}

impl Claim {
    /// Takes the directory at `path`; `None` if it never was a data directory.
    ///
    /// # Errors
    ///
    /// [`OpenError::InUse`], among others.
    pub fn take(path: &Path) -> Result<Option<Self>, OpenError> {
        let path: PathBuf = path.components().collect();
        if !path.join(layout::lock_file().as_str()).exists() {
            return Ok(None);
        }
        let opening = Opening { files: &SystemFiles, path: &path };
        let directory = opening.directory()?;
        Ok(Some(Self { _lock: opening.lock(&directory)? }))
    }
}
