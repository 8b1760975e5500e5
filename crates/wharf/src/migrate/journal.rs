use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use wharf_base::{Location, StoreId};
use wharf_oci::Digest;

use crate::backup::failed;
use crate::error::{CommandError, Exit};

/// What lies in the target's data directory until everything has moved: a line for each thing that was done.
pub(super) const NAME: &str = "wharf.migrating";

/// How far a move has come. Lines are added when what they say is true; one that is cut off counts for nothing.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    stores: (StoreId, StoreId),
    copied: HashMap<Digest, Location>,
    tally: Option<String>,
    is_whole: bool,
}

impl Journal {
    /// The journal in a data directory; `None`: no move has begun there.
    pub(super) fn find(data: &Path) -> Result<Option<Self>, CommandError> {
        let path = data.join(NAME);
        let text = match fs::read(&path) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("reading", &path)(error)),
        };
        let whole_bytes = text.rfind('\n').map_or(0, |end| end + 1);
        let mut lines = text[..whole_bytes].lines();
        // Killed before its first line was there.
        let Some(first) = lines.next() else { return Ok(None) };
        let stores = stores_of(first).ok_or_else(|| {
            CommandError::new(Exit::Broken, format!("{} is not what `wharf migrate` writes", path.display()))
                .with_hint("empty the target, and begin anew")
        })?;
        let file = OpenOptions::new().append(true).open(&path).map_err(failed("opening", &path))?;
        file.set_len(whole_bytes as u64).map_err(failed("writing", &path))?;
        let mut journal = Self { path, file, stores, copied: HashMap::new(), tally: None, is_whole: false };
        for line in lines {
            journal.take(line);
        }
        Ok(Some(journal))
    }

    /// Begins one.
    pub(super) fn begin(data: &Path, from: StoreId, to: StoreId) -> Result<Self, CommandError> {
        let path = data.join(NAME);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = file.map_err(failed("writing", &path))?;
        let mut journal = Self { path, file, stores: (from, to), copied: HashMap::new(), tally: None, is_whole: false };
        journal.add(&format!("stores {from} {to}"))?;
        journal.sync()?;
        crate::backup::sync_directory(data)?;
        Ok(journal)
    }

    /// From which store to which.
    pub(super) fn stores(&self) -> (StoreId, StoreId) {
        self.stores
    }

    /// Where content was put.
    pub(super) fn location(&self, digest: &Digest) -> Option<&Location> {
        self.copied.get(digest)
    }

    /// What the source had when the target's database was made.
    pub(super) fn tally(&self) -> Option<&str> {
        self.tally.as_deref()
    }

    /// Whether everything is in the target.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Content is in the target.
    pub(super) fn copied(&mut self, digest: Digest, location: Location) -> Result<(), CommandError> {
        self.add(&format!("content {digest} {location}"))?;
        self.copied.insert(digest, location);
        Ok(())
    }

    /// The target's database is about to be made of what the source has now.
    pub(super) fn note_tally(&mut self, tally: &str) -> Result<(), CommandError> {
        self.add(&format!("tally {tally}"))?;
        self.tally = Some(tally.to_owned());
        self.sync()
    }

    /// The target's database is there.
    pub(super) fn note_whole(&mut self) -> Result<(), CommandError> {
        self.add("whole")?;
        self.is_whole = true;
        self.sync()
    }

    /// Nothing is left to do.
    pub(super) fn remove(self) -> Result<(), CommandError> {
        fs::remove_file(&self.path).map_err(failed("removing", &self.path))
    }

    fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("content"), Some(digest), Some(location)) => {
                if let Ok(digest) = digest.parse() {
                    self.copied.insert(digest, Location::recorded(location));
                }
            }
            (Some("tally"), Some(tally), None) => self.tally = Some(tally.to_owned()),
            (Some("whole"), None, None) => self.is_whole = true,
            _ => {}
        }
    }

    fn add(&mut self, line: &str) -> Result<(), CommandError> {
        self.file.write_all(format!("{line}\n").as_bytes()).map_err(failed("writing", &self.path))
    }

    fn sync(&self) -> Result<(), CommandError> {
        self.file.sync_all().map_err(failed("syncing", &self.path))
    }
}

fn stores_of(line: &str) -> Option<(StoreId, StoreId)> {
    let (from, to) = line.strip_prefix("stores ")?.split_once(' ')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}
