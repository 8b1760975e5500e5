use std::path::{Path, PathBuf};

use wharf_base::{BackupId, SystemClock, SystemRng};

use super::directory::make_directory;
use crate::error::CommandError;

/// A directory for a while, for its owner alone; it goes with this value.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// A new one in `parent`.
    pub(super) fn make(parent: &Path) -> Result<Self, CommandError> {
        let id = BackupId::generate(&SystemClock::new(), &SystemRng);
        let path = parent.join(format!("wharf-backup-{id}"));
        make_directory(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
