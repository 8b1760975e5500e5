//! Every system call that the store makes, behind a trait, so that a test can make each of them fail.
//!
//! Nothing here retries, loops or interprets: that is done above, where the tests can reach it. All paths are
//! relative to an opened directory, must stay beneath it on the same mount, and no symbolic link is ever followed
//! (S-068); only the data directory itself is opened by its configured path.

use std::fmt::Debug;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, ReadWriteFlags, Result};
use wharf_base::failpoint;

use wharf_base::Timestamp;

use super::layout::{Below, Name};
use crate::Space;

/// How an entry is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// A directory, to reach what is below and to sync it.
    Directory,
    /// A file, to read it.
    Read,
    /// The same, if it can be opened without waiting for a disk; otherwise `AGAIN`.
    ReadNow,
    /// Whatever it is, only to ask what it is.
    Inspect,
    /// A file that exists, to read and write it.
    Modify,
    /// A file that must not exist yet, to read and write it.
    Create,
    /// A file that may exist, to read and write it.
    CreateOrModify,
}

/// What an entry is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub(super) kind: FileType,
    pub(super) size_bytes: u64,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) owner: u32,
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) modified_at: Timestamp,
}

impl Stat {
    pub(super) fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }
}

/// The system calls, named for what the store wants of them.
pub(super) trait Files: Debug + Send + Sync + 'static {
    /// Makes the data directory, for its owner alone.
    fn make_root(&self, path: &Path) -> Result<()>;
    /// Opens the data directory or its parent; a symbolic link at the end of `path` is not followed.
    fn open_root(&self, path: &Path) -> Result<OwnedFd>;
    /// The number that tells the kinds of file systems apart (`f_type`); 0 when it does not fit.
    fn file_system(&self, file: BorrowedFd<'_>) -> Result<u32>;
    /// How much room the file system has.
    fn space(&self, file: BorrowedFd<'_>) -> Result<Space>;
    fn open(&self, directory: BorrowedFd<'_>, path: &Below, access: Access) -> Result<OwnedFd>;
    fn make_directory(&self, directory: BorrowedFd<'_>, name: &Name) -> Result<()>;
    fn remove_directory(&self, directory: BorrowedFd<'_>, name: &Name) -> Result<()>;
    fn stat(&self, file: BorrowedFd<'_>) -> Result<Stat>;
    /// Calls `each` with every name in `directory` but the dot entries, in no order.
    fn list(&self, directory: BorrowedFd<'_>, each: &mut dyn FnMut(&[u8])) -> Result<()>;
    /// May write less than all.
    fn write(&self, file: BorrowedFd<'_>, parts: &[IoSlice<'_>], offset_bytes: u64) -> Result<usize>;
    /// Appends to `buffer` at most its spare capacity; 0 is the end of the file.
    fn read(&self, file: BorrowedFd<'_>, buffer: &mut Vec<u8>, offset_bytes: u64) -> Result<usize>;
    /// As `read`, but `AGAIN` instead of waiting for the disk, and `OPNOTSUPP` where that cannot be told.
    fn read_now(&self, file: BorrowedFd<'_>, buffer: &mut [u8], offset_bytes: u64) -> Result<usize>;
    fn truncate(&self, file: BorrowedFd<'_>, size_bytes: u64) -> Result<()>;
    /// Reserves blocks without changing the size.
    fn reserve(&self, file: BorrowedFd<'_>, offset_bytes: u64, len_bytes: u64) -> Result<()>;
    fn sync(&self, file: BorrowedFd<'_>) -> Result<()>;
    /// Starts and awaits the write-back of what is dirty; not the last word on a file, see `sync`.
    fn sync_data(&self, file: BorrowedFd<'_>) -> Result<()>;
    fn rename(&self, from: BorrowedFd<'_>, old: &Name, to: BorrowedFd<'_>, new: &Name) -> Result<()>;
    fn remove(&self, directory: BorrowedFd<'_>, name: &Name) -> Result<()>;
    /// Takes the exclusive lock of `file` or fails at once; it is released when `file` is closed.
    fn lock(&self, file: BorrowedFd<'_>) -> Result<()>;
}

/// The operating system.
#[derive(Debug)]
pub(super) struct SystemFiles;

const FILE_MODE: Mode = Mode::from_raw_mode(0o600);
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o700);
const ONLY_BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

impl Access {
    fn flags(self) -> OFlags {
        // Without NONBLOCK, opening a planted FIFO would wait for a writer for ever.
        let file = OFlags::NONBLOCK | OFlags::NOCTTY;
        let access = match self {
            Self::Directory => OFlags::RDONLY | OFlags::DIRECTORY,
            Self::Read | Self::ReadNow => OFlags::RDONLY | file,
            Self::Inspect => OFlags::PATH,
            Self::Modify => OFlags::RDWR | file,
            Self::Create => OFlags::RDWR | file | OFlags::CREATE | OFlags::EXCL,
            Self::CreateOrModify => OFlags::RDWR | file | OFlags::CREATE,
        };
        access | OFlags::NOFOLLOW | OFlags::CLOEXEC
    }

    fn mode(self) -> Mode {
        match self {
            Self::Create | Self::CreateOrModify => FILE_MODE,
            Self::Directory | Self::Read | Self::ReadNow | Self::Inspect | Self::Modify => Mode::empty(),
        }
    }
}

impl Files for SystemFiles {
    fn make_root(&self, path: &Path) -> Result<()> {
        rustix::fs::mkdirat(CWD, path, DIRECTORY_MODE)
    }

    fn open_root(&self, path: &Path) -> Result<OwnedFd> {
        rustix::fs::open(path, Access::Directory.flags(), Mode::empty())
    }

    fn file_system(&self, file: BorrowedFd<'_>) -> Result<u32> {
        Ok(u32::try_from(rustix::fs::fstatfs(file)?.f_type).unwrap_or(0))
    }

    fn space(&self, file: BorrowedFd<'_>) -> Result<Space> {
        let found = rustix::fs::fstatvfs(file)?;
        Ok(Space { free_bytes: found.f_bavail * found.f_frsize, total_bytes: found.f_blocks * found.f_frsize })
    }

    fn open(&self, directory: BorrowedFd<'_>, path: &Below, access: Access) -> Result<OwnedFd> {
        let resolve = if access == Access::ReadNow { ONLY_BENEATH | ResolveFlags::CACHED } else { ONLY_BENEATH };
        rustix::fs::openat2(directory, path.as_str(), access.flags(), access.mode(), resolve)
    }

    fn make_directory(&self, directory: BorrowedFd<'_>, name: &Name) -> Result<()> {
        rustix::fs::mkdirat(directory, name.as_str(), DIRECTORY_MODE)
    }

    fn remove_directory(&self, directory: BorrowedFd<'_>, name: &Name) -> Result<()> {
        rustix::fs::unlinkat(directory, name.as_str(), AtFlags::REMOVEDIR)
    }

    fn stat(&self, file: BorrowedFd<'_>) -> Result<Stat> {
        let stat = rustix::fs::fstat(file)?;
        Ok(Stat {
            kind: FileType::from_raw_mode(stat.st_mode),
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            device: stat.st_dev,
            inode: stat.st_ino,
            owner: stat.st_uid,
            mode: Mode::from_raw_mode(stat.st_mode).bits(),
            modified_at: modified_at(stat.st_mtime, stat.st_mtime_nsec),
        })
    }

    fn list(&self, directory: BorrowedFd<'_>, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        for entry in rustix::fs::Dir::read_from(directory)? {
            let entry = entry?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => each(name),
            }
        }
        Ok(())
    }

    fn write(&self, file: BorrowedFd<'_>, parts: &[IoSlice<'_>], offset_bytes: u64) -> Result<usize> {
        rustix::io::pwritev(file, parts, offset_bytes)
    }

    fn read(&self, file: BorrowedFd<'_>, buffer: &mut Vec<u8>, offset_bytes: u64) -> Result<usize> {
        rustix::io::pread(file, spare_capacity(buffer), offset_bytes)
    }

    fn read_now(&self, file: BorrowedFd<'_>, buffer: &mut [u8], offset_bytes: u64) -> Result<usize> {
        rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], offset_bytes, ReadWriteFlags::NOWAIT)
    }

    fn truncate(&self, file: BorrowedFd<'_>, size_bytes: u64) -> Result<()> {
        rustix::fs::ftruncate(file, size_bytes)
    }

    fn reserve(&self, file: BorrowedFd<'_>, offset_bytes: u64, len_bytes: u64) -> Result<()> {
        rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, offset_bytes, len_bytes)
    }

    fn sync(&self, file: BorrowedFd<'_>) -> Result<()> {
        if failpoint::fails("store.sync") {
            return Err(Errno::IO);
        }
        rustix::fs::fsync(file)
    }

    fn sync_data(&self, file: BorrowedFd<'_>) -> Result<()> {
        if failpoint::fails("store.sync") {
            return Err(Errno::IO);
        }
        rustix::fs::fdatasync(file)
    }

    fn rename(&self, from: BorrowedFd<'_>, old: &Name, to: BorrowedFd<'_>, new: &Name) -> Result<()> {
        rustix::fs::renameat(from, old.as_str(), to, new.as_str())
    }

    fn remove(&self, directory: BorrowedFd<'_>, name: &Name) -> Result<()> {
        rustix::fs::unlinkat(directory, name.as_str(), AtFlags::empty())
    }

    fn lock(&self, file: BorrowedFd<'_>) -> Result<()> {
        rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
    }
}

/// A time that no timestamp can express is the end of time, so that nothing looks old that may not be.
fn modified_at(seconds: i64, nanoseconds: u64) -> Timestamp {
    let micros = i64::try_from(nanoseconds / 1000).unwrap_or(0);
    Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}
