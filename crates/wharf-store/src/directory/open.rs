//! Opening a data directory: whose is it, is it the right kind of place, is it in use, which store is it.
//!
//! Nothing is changed before the lock is held, but for the directory itself. `wharf.id` is written last when a store
//! is made, so a directory that has one is complete, and one that a crash left half made is simply made again.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustix::io::Errno;
use wharf_base::{Clock, Distribution, Rng, StoreId, failpoint};
use wharf_oci::Algorithm;

use super::files::{Access, Files, Stat};
use super::io::{self, fill, write_all};
use super::layout::{self, Name};
use super::root::{Prefixes, Root};
use crate::OpenError;
use crate::lock::DigestLocks;

/// More than any `wharf.id` or `wharf.lock` that this program wrote.
const SMALL_FILE_BYTES: usize = 4096;

/// File systems whose locks and syncs depend on another machine, by their number in `statfs(2)`.
const NETWORK_FILE_SYSTEMS: [(u32, &str); 7] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB2"),
    (0xff53_4d42, "CIFS"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
];

pub(super) fn open(files: Arc<dyn Files>, path: &Path, clock: &dyn Clock, rng: &dyn Rng) -> Result<Root, OpenError> {
    // Without a trailing slash, behind which a symbolic link would be followed.
    let path: PathBuf = path.components().collect();
    let opening = Opening { files: &*files, path: &path };
    let directory = opening.directory()?;
    let stat = opening.check_place(&directory)?;
    let lock = opening.lock(&directory)?;
    let (store_id, is_new) = match opening.read_id(&directory)? {
        Some(id) => (id, false),
        None => (opening.make_store(&directory, StoreId::generate(clock, rng))?, true),
    };
    let uploads = opening.part(&directory, &layout::uploads(), "uploads", &stat)?;
    let layers = opening.part(&directory, &layout::layers(), "layers", &stat)?;
    opening.part(&layers, &layout::algorithm(Algorithm::Sha256), "layers/sha256", &stat)?;
    Ok(Root {
        files,
        path: path.clone(),
        place: (stat.device, stat.inode),
        directory,
        uploads,
        layers,
        _lock: lock,
        store_id,
        is_new,
        digests: DigestLocks::new(),
        sessions: Arc::default(),
        prefixes: Prefixes::new(),
        probing: Mutex::default(),
        sync_seconds: Distribution::new(Distribution::SECONDS),
    })
}

pub(super) struct Opening<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) path: &'a Path,
}

impl Opening<'_> {
    /// The data directory, made if it does not exist.
    pub(super) fn directory(&self) -> Result<OwnedFd, OpenError> {
        match self.files.make_root(self.path) {
            Ok(()) => self.sync_parent()?,
            Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => return Err(OpenError::NoParent { path: self.path.into() }),
            Err(errno) => return Err(self.failed("creating it")(errno)),
        }
        match self.files.open_root(self.path) {
            Err(Errno::LOOP | Errno::NOTDIR) => Err(OpenError::NotADirectory { path: self.path.into() }),
            opened => opened.map_err(self.failed("opening it")),
        }
    }

    fn sync_parent(&self) -> Result<(), OpenError> {
        let parent = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // The parent may be a link where the data directory may not, so "below it" is what gets opened.
        let parent = self.files.open_root(&parent.join(".")).map_err(self.failed("opening its parent"))?;
        self.files.sync(parent.as_fd()).map_err(self.failed("syncing its parent"))
    }

    /// Refuses places that cannot keep the store's promises, before anything is written.
    pub(super) fn check_place(&self, directory: &OwnedFd) -> Result<Stat, OpenError> {
        let stat = self.files.stat(directory.as_fd()).map_err(self.failed("inspecting it"))?;
        let us = rustix::process::geteuid().as_raw();
        if stat.owner != us {
            return Err(OpenError::OtherOwner { path: self.path.into(), owner: stat.owner, us });
        }
        let found = self.files.file_system(directory.as_fd()).map_err(self.failed("inspecting its file system"))?;
        match NETWORK_FILE_SYSTEMS.iter().find(|(number, _)| *number == found) {
            Some((_, kind)) => Err(OpenError::NetworkFileSystem { path: self.path.into(), kind }),
            None => Ok(stat),
        }
    }

    /// Makes the directory ours until the result is closed (B-136).
    pub(super) fn lock(&self, directory: &OwnedFd) -> Result<OwnedFd, OpenError> {
        let doing = "locking wharf.lock";
        let file = self
            .files
            .open(directory.as_fd(), layout::lock_file().as_below(), Access::CreateOrModify)
            .map_err(self.failed(doing))?;
        if let Err(errno) = self.files.lock(file.as_fd()) {
            return Err(match errno {
                Errno::WOULDBLOCK => OpenError::InUse { path: self.path.into(), pid: self.lock_owner(&file) },
                _ => self.failed(doing)(errno),
            });
        }
        let pid = Bytes::from(format!("{}\n", std::process::id()));
        self.files.truncate(file.as_fd(), 0).map_err(self.failed(doing))?;
        write_all(self.files, file.as_fd(), &[pid], 0).map_err(self.failed(doing))?;
        Ok(file)
    }

    /// Only for the message, so an unreadable number is no error.
    fn lock_owner(&self, file: &OwnedFd) -> Option<u32> {
        self.read_small(file).ok()?.trim_ascii_end().parse().ok()
    }

    fn read_id(&self, directory: &OwnedFd) -> Result<Option<StoreId>, OpenError> {
        let file = match self.files.open(directory.as_fd(), layout::id_file().as_below(), Access::Read) {
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(self.bad_id("a symbolic link")),
            opened => opened.map_err(self.failed("opening wharf.id"))?,
        };
        let stat = self.files.stat(file.as_fd()).map_err(self.failed("reading wharf.id"))?;
        if !stat.is_file() {
            return Err(self.bad_id("not a regular file"));
        }
        let text = self.read_small(&file).map_err(self.failed("reading wharf.id"))?;
        self.parse_id(&text).map(Some)
    }

    /// At most [`SMALL_FILE_BYTES`]; what is not UTF-8 becomes text that nothing accepts.
    fn read_small(&self, file: &OwnedFd) -> Result<String, Errno> {
        let mut bytes = Vec::with_capacity(SMALL_FILE_BYTES);
        fill(self.files, file.as_fd(), &mut bytes, 0)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The version comes first and is read first: later layouts may say the rest differently.
    fn parse_id(&self, text: &str) -> Result<StoreId, OpenError> {
        if text == layout::RESTORING {
            return Err(OpenError::Unfinished { path: self.path.into() });
        }
        let (version, rest) = text.split_once('\n').ok_or_else(|| self.bad_id("it has no complete first line"))?;
        let found = version
            .strip_prefix("layout ")
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| self.bad_id("its first line is not a layout version"))?;
        if found > layout::VERSION {
            return Err(OpenError::NewerLayout { path: self.path.into(), found, known: layout::VERSION });
        }
        rest.strip_prefix("store ")
            .and_then(|id| id.strip_suffix('\n'))
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| self.bad_id("its second line is not a store id"))
    }

    /// Lays the store out and gives it its identity, all of it durable.
    fn make_store(&self, directory: &OwnedFd, id: StoreId) -> Result<StoreId, OpenError> {
        self.make_directory(directory, &layout::uploads())?;
        let layers = self.make_directory(directory, &layout::layers())?;
        let sha256 = self.make_directory(&layers, &layout::algorithm(Algorithm::Sha256))?;
        for byte in 0..=u8::MAX {
            self.make_entry(&sha256, &layout::prefix(byte))?;
        }
        failpoint::reach("store.layout-made");
        self.sync(&sha256)?;
        self.sync(&layers)?;
        self.sync(directory)?;
        self.write_id(directory, id)?;
        Ok(id)
    }

    pub(super) fn write_id(&self, directory: &OwnedFd, id: StoreId) -> Result<(), OpenError> {
        self.write_id_text(directory, format!("layout {}\nstore {id}\n", layout::VERSION))
    }

    /// Says that what is in the directory is no registry yet, until [`write_id`](Self::write_id) says what it is.
    pub(super) fn mark_restoring(&self, directory: &OwnedFd) -> Result<(), OpenError> {
        self.write_id_text(directory, layout::RESTORING.to_owned())
    }

    fn write_id_text(&self, directory: &OwnedFd, text: String) -> Result<(), OpenError> {
        let doing = "writing wharf.id";
        let (temporary, name) = (layout::new_id_file(), layout::id_file());
        match self.files.remove(directory.as_fd(), &temporary) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(self.failed(doing)(errno)),
        }
        let file =
            self.files.open(directory.as_fd(), temporary.as_below(), Access::Create).map_err(self.failed(doing))?;
        write_all(self.files, file.as_fd(), &[Bytes::from(text)], 0).map_err(self.failed(doing))?;
        self.sync(&file)?;
        self.files.rename(directory.as_fd(), &temporary, directory.as_fd(), &name).map_err(self.failed(doing))?;
        failpoint::reach("store.id-placed");
        self.sync(directory)
    }

    pub(super) fn make_directory(&self, parent: &OwnedFd, name: &Name) -> Result<OwnedFd, OpenError> {
        self.make_entry(parent, name)?;
        self.files
            .open(parent.as_fd(), name.as_below(), Access::Directory)
            .map_err(self.failed("opening a new directory"))
    }

    pub(super) fn make_entry(&self, parent: &OwnedFd, name: &Name) -> Result<(), OpenError> {
        match self.files.make_directory(parent.as_fd(), name) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(self.failed("making a directory")(errno)),
        }
    }

    pub(super) fn sync(&self, file: &OwnedFd) -> Result<(), OpenError> {
        io::sync(self.files, file.as_fd(), "store.sync-layout").map_err(self.failed("syncing the new layout"))
    }

    /// A directory of the layout, which must be on the same file system as the data directory.
    fn part(&self, parent: &OwnedFd, name: &Name, whole: &'static str, directory: &Stat) -> Result<OwnedFd, OpenError> {
        let elsewhere = || OpenError::SplitFileSystem { path: self.path.into(), name: whole };
        let part = match self.files.open(parent.as_fd(), name.as_below(), Access::Directory) {
            Err(Errno::XDEV) => return Err(elsewhere()),
            Err(Errno::NOENT) => return Err(OpenError::Incomplete { path: self.path.into(), name: whole }),
            opened => opened.map_err(self.failed("opening a directory of the layout"))?,
        };
        let stat = self.files.stat(part.as_fd()).map_err(self.failed("inspecting a directory of the layout"))?;
        if stat.device != directory.device {
            return Err(elsewhere());
        }
        Ok(part)
    }

    fn bad_id(&self, reason: &'static str) -> OpenError {
        OpenError::BadId { path: self.path.into(), reason }
    }

    pub(super) fn failed(&self, doing: &'static str) -> impl Fn(Errno) -> OpenError {
        move |errno| OpenError::Io { path: self.path.into(), doing, source: errno.into() }
    }
}
