//! The files of a layout that is read. Nothing is ever unpacked: a blob of an archive is read where it lies.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{INDEX, MARK};
use crate::Error;

/// Most files of an archive.
const FILES_MAX: usize = 1_000_000;

/// Longest name of a file in an archive, in bytes.
const NAME_MAX_BYTES: usize = 512;

pub(super) enum Files {
    Directory(PathBuf),
    Archive { path: PathBuf, places: HashMap<String, Place> },
}

/// Where a file lies in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    offset_bytes: u64,
    size_bytes: u64,
}

impl Files {
    /// The files of the layout at `path`; of an archive all headers are read.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let about = fs::metadata(path).map_err(|error| Error::io(format!("looking at {}", path.display()), error))?;
        let files = if about.is_dir() {
            Self::Directory(path.to_owned())
        } else {
            Self::Archive { path: path.to_owned(), places: places(path)? }
        };
        match files.find(MARK).and_then(|_| files.find(INDEX)) {
            Ok(_) => Ok(files),
            Err(Error::Absent(name)) => {
                Err(Error::Usage(format!("{} is no OCI image layout: it has no {name}", path.display())))
            }
            Err(error) => Err(error),
        }
    }

    /// The file called `name`, open where it begins, and its size in bytes.
    pub(super) fn find(&self, name: &str) -> Result<(File, u64), Error> {
        match self {
            Self::Directory(directory) => open(&directory.join(name), name),
            Self::Archive { path, places } => {
                let place = places.get(name).ok_or_else(|| Error::Absent(name.to_owned()))?;
                let failed = |error| Error::io(format!("reading {}", path.display()), error);
                let mut file = File::open(path).map_err(failed)?;
                file.seek(SeekFrom::Start(place.offset_bytes)).map_err(failed)?;
                Ok((file, place.size_bytes))
            }
        }
    }

    /// All of a file that has at most `max_bytes`.
    pub(super) fn read(&self, name: &str, max_bytes: u64) -> Result<Bytes, Error> {
        let (file, size_bytes) = self.find(name)?;
        if size_bytes > max_bytes {
            return Err(Error::damaged(name, format!("it has more than {max_bytes} bytes")));
        }
        let mut body = Vec::new();
        file.take(size_bytes).read_to_end(&mut body).map_err(|error| Error::damaged(name, error.to_string()))?;
        Ok(body.into())
    }
}

/// A regular file and its size; a link is not followed.
pub(crate) fn open(path: &Path, name: &str) -> Result<(File, u64), Error> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits() | rustix::fs::OFlags::NONBLOCK.bits());
    let opened = OpenOptions::new().read(true).custom_flags(no_follow.unwrap_or_default()).open(path);
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::Absent(name.to_owned()),
        _ => Error::damaged(name, error.to_string()),
    })?;
    let about = file.metadata().map_err(|error| Error::damaged(name, error.to_string()))?;
    if about.is_file() { Ok((file, about.len())) } else { Err(Error::damaged(name, "it is not a file")) }
}

/// Where each file of an archive lies.
fn places(path: &Path) -> Result<HashMap<String, Place>, Error> {
    let about = |error: io::Error| Error::damaged(path.display().to_string(), format!("it is no tar archive: {error}"));
    let file = File::open(path).map_err(|error| Error::io(format!("opening {}", path.display()), error))?;
    let length_bytes = file.metadata().map_err(about)?.len();
    let mut places = HashMap::new();
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek().map_err(about)? {
        let entry = entry.map_err(about)?;
        let refuse = |name: &str, why: &str| Error::damaged(format!("{name} in {}", path.display()), why);
        let bytes = entry.path_bytes();
        let name = std::str::from_utf8(&bytes).map_err(|_| refuse("a file", "its name is not UTF-8"))?;
        let name = name.strip_prefix("./").unwrap_or(name);
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        if !kind.is_file() {
            return Err(refuse(name, "a layout has files and directories only, no links and no devices"));
        }
        if name.len() > NAME_MAX_BYTES || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(refuse(name, "its name leads elsewhere"));
        }
        let place = Place { offset_bytes: entry.raw_file_position(), size_bytes: entry.size() };
        if place.offset_bytes.checked_add(place.size_bytes).is_none_or(|end| end > length_bytes) {
            return Err(refuse(name, "the archive ends within it"));
        }
        if places.insert(name.to_owned(), place).is_some() {
            return Err(refuse(name, "it is there twice"));
        }
        if places.len() > FILES_MAX {
            return Err(refuse(name, "the archive has more files than any layout"));
        }
    }
    Ok(places)
}
