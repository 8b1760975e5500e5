//! A file system that writes down every call and fails one of them.

use std::io::IoSlice;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;

use rustix::io::{Errno, Result};

use super::super::files::{Access, Files, Stat, SystemFiles};
use super::super::layout::{Below, Name};
use crate::Space;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not carried out and reports this.
    Errno(Errno),
    /// It is carried out and reports this all the same.
    After(Errno),
    /// A read or write does less than it was asked for; other calls are not affected.
    Short,
}

/// Which calls are faulty.
#[derive(Debug)]
pub(super) enum When {
    Never,
    /// The n-th from now on, counted from 0.
    Nth(usize, Fault),
    /// All from the n-th on.
    From(usize, Fault),
    /// All of this name.
    Every(&'static str, Fault),
    /// All of this name about this entry, as one text.
    About(String, Fault),
}

/// Places that the machine of the test does not have.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pretence {
    /// Everything belongs to this user.
    pub(super) owner: Option<u32>,
    /// Everything is on a file system of this number.
    pub(super) file_system: Option<u32>,
    /// This entry is on another device.
    pub(super) other_device: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Faulty {
    state: Mutex<(Vec<String>, When)>,
    pretence: Pretence,
    last_opened: Mutex<String>,
}

impl Faulty {
    pub(super) fn new() -> Self {
        Self::pretending(Pretence::default())
    }

    pub(super) fn pretending(pretence: Pretence) -> Self {
        Self { state: Mutex::new((Vec::new(), When::Never)), pretence, last_opened: Mutex::default() }
    }

    /// From now on; forgets the calls so far.
    pub(super) fn set(&self, when: When) {
        *self.state.lock().unwrap() = (Vec::new(), when);
    }

    /// The calls since `set`, each with what it was about.
    pub(super) fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().0.clone()
    }

    fn call<T>(&self, name: &'static str, about: &str, real: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.fault(name, about) {
            Some(Fault::Errno(errno)) => Err(errno),
            Some(Fault::After(errno)) => {
                let _ = real();
                Err(errno)
            }
            Some(Fault::Short) | None => real(),
        }
    }

    fn fault(&self, name: &'static str, about: &str) -> Option<Fault> {
        let (calls, when) = &mut *self.state.lock().unwrap();
        let call = format!("{name} {about}").trim_end().to_owned();
        let is_meant = matches!(when, When::About(meant, _) if *meant == call);
        calls.push(call);
        match when {
            When::Nth(n, fault) if *n + 1 == calls.len() => Some(*fault),
            When::From(n, fault) if *n < calls.len() => Some(*fault),
            When::Every(faulty, fault) if *faulty == name => Some(*fault),
            When::About(_, fault) if is_meant => Some(*fault),
            _ => None,
        }
    }
}

impl Files for Faulty {
    fn make_root(&self, path: &Path) -> Result<()> {
        self.call("make_root", "", || SystemFiles.make_root(path))
    }

    fn open_root(&self, path: &Path) -> Result<OwnedFd> {
        self.call("open_root", "", || SystemFiles.open_root(path))
    }

    fn file_system(&self, file: BorrowedFd<'_>) -> Result<u32> {
        self.call("file_system", "", || self.pretence.file_system.map_or_else(|| SystemFiles.file_system(file), Ok))
    }

    fn space(&self, file: BorrowedFd<'_>) -> Result<Space> {
        self.call("space", "", || SystemFiles.space(file))
    }

    fn open(&self, directory: BorrowedFd<'_>, path: &Below, access: Access) -> Result<OwnedFd> {
        // As with `read_now`.
        if access == Access::ReadNow {
            return Err(Errno::AGAIN);
        }
        *self.last_opened.lock().unwrap() = path.as_str().to_owned();
        self.call("open", path.as_str(), || SystemFiles.open(directory, path, access))
    }

    fn make_directory(&self, directory: BorrowedFd<'_>, name: &Name) -> Result<()> {
        self.call("make_directory", name.as_str(), || SystemFiles.make_directory(directory, name))
    }

    fn remove_directory(&self, directory: BorrowedFd<'_>, name: &Name) -> Result<()> {
        self.call("remove_directory", name.as_str(), || SystemFiles.remove_directory(directory, name))
    }

    fn stat(&self, file: BorrowedFd<'_>) -> Result<Stat> {
        let mut stat = self.call("stat", "", || SystemFiles.stat(file))?;
        stat.owner = self.pretence.owner.unwrap_or(stat.owner);
        if self.pretence.other_device == Some(self.last_opened.lock().unwrap().as_str()) {
            stat.device += 1;
        }
        Ok(stat)
    }

    fn list(&self, directory: BorrowedFd<'_>, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.call("list", "", || SystemFiles.list(directory, each))
    }

    fn write(&self, file: BorrowedFd<'_>, parts: &[IoSlice<'_>], offset_bytes: u64) -> Result<usize> {
        match self.fault("write", "") {
            Some(Fault::Errno(errno) | Fault::After(errno)) => Err(errno),
            Some(Fault::Short) => {
                let first = &parts[0][..parts[0].len().div_ceil(3)];
                SystemFiles.write(file, &[IoSlice::new(first)], offset_bytes)
            }
            None => SystemFiles.write(file, parts, offset_bytes),
        }
    }

    fn read(&self, file: BorrowedFd<'_>, buffer: &mut Vec<u8>, offset_bytes: u64) -> Result<usize> {
        match self.fault("read", "") {
            Some(Fault::Errno(errno) | Fault::After(errno)) => Err(errno),
            Some(Fault::Short) => {
                let mut less = Vec::with_capacity((buffer.capacity() - buffer.len()).div_ceil(3));
                let read = SystemFiles.read(file, &mut less, offset_bytes)?;
                buffer.extend_from_slice(&less);
                Ok(read)
            }
            None => SystemFiles.read(file, buffer, offset_bytes),
        }
    }

    /// Nothing is ever in memory, so that all reading goes where faults are.
    fn read_now(&self, _: BorrowedFd<'_>, _: &mut [u8], _: u64) -> Result<usize> {
        Err(Errno::AGAIN)
    }

    fn truncate(&self, file: BorrowedFd<'_>, size_bytes: u64) -> Result<()> {
        self.call("truncate", "", || SystemFiles.truncate(file, size_bytes))
    }

    fn reserve(&self, file: BorrowedFd<'_>, offset_bytes: u64, len_bytes: u64) -> Result<()> {
        self.call("reserve", "", || SystemFiles.reserve(file, offset_bytes, len_bytes))
    }

    fn sync(&self, file: BorrowedFd<'_>) -> Result<()> {
        let kind = if SystemFiles.stat(file)?.is_file() { "file" } else { "directory" };
        self.call("sync", kind, || SystemFiles.sync(file))
    }

    fn sync_data(&self, file: BorrowedFd<'_>) -> Result<()> {
        self.call("sync_data", "", || SystemFiles.sync_data(file))
    }

    fn rename(&self, from: BorrowedFd<'_>, old: &Name, to: BorrowedFd<'_>, new: &Name) -> Result<()> {
        self.call("rename", new.as_str(), || SystemFiles.rename(from, old, to, new))
    }

    fn remove(&self, directory: BorrowedFd<'_>, name: &Name) -> Result<()> {
        self.call("remove", name.as_str(), || SystemFiles.remove(directory, name))
    }

    fn lock(&self, file: BorrowedFd<'_>) -> Result<()> {
        self.call("lock", "", || SystemFiles.lock(file))
    }
}
