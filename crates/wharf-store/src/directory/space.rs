//! Room on the disk: how much there is, and some that is set aside for bad days.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::files::Access;
use super::io::{failed, uninterrupted};
use super::layout;
use super::root::Root;
use crate::{Error, Space};

/// How much room there is. Looks at the configured path as well: a directory that was moved or covered by a mount can
/// still be written to, and nobody would find again what is written there.
pub(super) fn look(root: &Root) -> Result<Space, Error> {
    let gone = || Error::Gone { path: root.path.clone() };
    let found = match root.files.open_root(&root.path) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(gone()),
        Err(errno) => return Err(failed("opening the data directory")(errno)),
    };
    let stat = root.files.stat(found.as_fd()).map_err(failed("inspecting the data directory"))?;
    if (stat.device, stat.inode) != root.place {
        return Err(gone());
    }
    root.files.space(root.directory.as_fd()).map_err(failed("asking for the free space"))
}

/// Takes up `len_bytes` bytes, if they are not taken up already; `false` on a file system that cannot do so.
pub(super) fn keep_reserve(root: &Root, len_bytes: u64) -> Result<bool, Error> {
    let doing = "setting space aside";
    let name = layout::reserve_file();
    let file =
        root.files.open(root.directory.as_fd(), name.as_below(), Access::CreateOrModify).map_err(failed(doing))?;
    let stat = root.files.stat(file.as_fd()).map_err(failed(doing))?;
    if stat.size_bytes >= len_bytes {
        return Ok(true);
    }
    // The size says afterwards that the blocks are there.
    let taken = uninterrupted(|| root.files.reserve(file.as_fd(), 0, len_bytes))
        .and_then(|()| root.files.truncate(file.as_fd(), len_bytes));
    match taken {
        Ok(()) => Ok(true),
        Err(errno) => {
            give_back(root)?;
            match errno {
                Errno::OPNOTSUPP | Errno::NOSYS => Ok(false),
                errno => Err(failed(doing)(errno)),
            }
        }
    }
}

/// `false` when nothing was set aside.
pub(super) fn give_back(root: &Root) -> Result<bool, Error> {
    match root.files.remove(root.directory.as_fd(), &layout::reserve_file()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(failed("giving space back")(errno)),
    }
}
