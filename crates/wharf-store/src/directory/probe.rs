use std::os::fd::AsFd;
use std::sync::PoisonError;

use bytes::Bytes;
use rustix::io::Errno;
use wharf_base::failpoint;

use super::files::Access;
use super::io::{failed, fill, not_synced, write_all};
use super::layout;
use super::root::Root;
use crate::Error;

/// Larger than what a file system keeps inside an inode, so that a block has to be written.
const PROBE_BYTES: usize = 4096;

/// Writes, syncs, reads back and removes an object; one after the other, for it has one name.
pub(super) fn probe(root: &Root) -> Result<(), Error> {
    let _turn = root.probing.lock().unwrap_or_else(PoisonError::into_inner);
    remove(root)?;
    let written = write_and_read_back(root);
    failpoint::reach("store.probed");
    let removed = remove(root);
    written.and(removed)
}

fn write_and_read_back(root: &Root) -> Result<(), Error> {
    let files = &*root.files;
    let file = files
        .open(root.uploads.as_fd(), layout::probe().as_below(), Access::Create)
        .map_err(failed("creating the probe object"))?;
    let content = Bytes::from(root.store_id.to_string().into_bytes().repeat(PROBE_BYTES / 36 + 1));
    write_all(files, file.as_fd(), std::slice::from_ref(&content), 0).map_err(failed("writing the probe object"))?;
    files.sync(file.as_fd()).map_err(not_synced("writing the probe object"))?;
    files.sync(root.uploads.as_fd()).map_err(not_synced("writing the probe object"))?;
    let mut found = Vec::with_capacity(content.len());
    fill(files, file.as_fd(), &mut found, 0).map_err(failed("reading the probe object"))?;
    if found != content {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "other bytes were read than written");
        return Err(Error::Io { doing: "reading the probe object", source });
    }
    Ok(())
}

fn remove(root: &Root) -> Result<(), Error> {
    match root.files.remove(root.uploads.as_fd(), &layout::probe()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed("removing the probe object")(errno)),
    }
}
