//! Listing and surveying the data directory. A page is of one directory: its smallest names behind the cursor, kept in a
//! heap of the page's size, so that a directory of any size takes bounded memory. An error ends the page and is the
//! answer; what could not be listed never looks like the end.

use std::collections::BinaryHeap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use wharf_base::UploadId;
use wharf_oci::{Algorithm, Digest};

use super::files::{Access, Stat};
use super::io::failed;
use super::layout::{self, Place};
use super::root::Root;
use crate::Error;
use crate::census::{Entry, Facts, ListCursor, Listing};

/// Others than the owner, in any way.
const OTHERS: u32 = 0o077;
/// Others than the owner, writing. The data directory itself is often made by somebody else and may be looked into.
const OTHERS_WRITE: u32 = 0o022;

impl Root {
    /// The entries behind `after`, at most `limit` of them.
    pub(super) fn list(&self, after: Option<&ListCursor>, limit: usize) -> Result<Listing, Error> {
        let directory = after.map_or(0, |after| after.directory);
        let name = after.map_or(&[][..], |after| &after.name);
        let Some(place) = layout::PLACES.get(directory) else { return Ok(Listing { entries: Vec::new(), next: None }) };
        let next_place = || {
            let is_last = directory + 1 >= layout::PLACES.len();
            if is_last { None } else { Some(ListCursor { directory: directory + 1, name: Vec::new() }) }
        };
        let Some(opened) = self.open_place(place)? else {
            return Ok(Listing { entries: Vec::new(), next: next_place() });
        };
        let mut entries = Vec::new();
        if name.is_empty() && self.is_exposed_directory(place, &opened)? {
            entries.push(Entry::Exposed { place: place.path() });
        }
        let names = self.names(&opened, name, limit)?;
        let next = match names.last() {
            Some(last) if names.len() >= limit => Some(ListCursor { directory, name: last.clone() }),
            _ => next_place(),
        };
        entries.extend(names.iter().filter_map(|name| self.entry(place, name)));
        Ok(Listing { entries, next })
    }

    /// `None` for a directory that is made only when it is needed, or that content of this prefix is missing with.
    fn open_place(&self, place: &Place) -> Result<Option<OwnedFd>, Error> {
        match self.files.open(self.directory.as_fd(), &place.below(), Access::Directory) {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::NOENT) => Ok(None),
            // Named as foreign where it lies; there is nothing of ours behind it.
            Err(Errno::LOOP | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(failed("opening a directory of the store")(errno)),
        }
    }

    fn is_exposed_directory(&self, place: &Place, opened: &OwnedFd) -> Result<bool, Error> {
        let stat = self.files.stat(opened.as_fd()).map_err(failed("inspecting a directory of the store"))?;
        let others = if *place == Place::Root { OTHERS_WRITE } else { OTHERS };
        Ok(stat.mode & others != 0 || !is_ours(&stat))
    }

    /// The smallest `limit` names behind `after` in byte order.
    pub(super) fn names(&self, opened: &OwnedFd, after: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, Error> {
        let mut smallest: BinaryHeap<Vec<u8>> = BinaryHeap::new();
        let listed = self.files.list(opened.as_fd(), &mut |name| {
            let is_wanted =
                name > after && (smallest.len() < limit || smallest.peek().is_some_and(|most| name < most.as_slice()));
            if is_wanted {
                smallest.push(name.to_vec());
                if smallest.len() > limit {
                    smallest.pop();
                }
            }
        });
        listed.map_err(failed("listing a directory of the store"))?;
        Ok(smallest.into_sorted_vec())
    }

    /// What a name is where it was found; `None`: a part of the store itself.
    fn entry(&self, place: &Place, name: &[u8]) -> Option<Entry> {
        let text = std::str::from_utf8(name).ok();
        let foreign = || {
            let name = String::from_utf8_lossy(name);
            Some(Entry::Foreign { place: place.path_of(&name) })
        };
        let Some(text) = text else { return foreign() };
        match place {
            Place::Root => {
                if layout::is_ours_in_root(text) {
                    None
                } else {
                    foreign()
                }
            }
            Place::Layers => {
                if text.parse::<Algorithm>().is_ok() {
                    None
                } else {
                    foreign()
                }
            }
            Place::Algorithm(_) => {
                if layout::is_prefix(text) {
                    None
                } else {
                    foreign()
                }
            }
            Place::Uploads if text == layout::probe().as_str() => None,
            Place::Uploads => match text.parse::<UploadId>() {
                Ok(upload) if upload.to_string() == text => Some(Entry::Staged(upload)),
                _ => foreign(),
            },
            Place::Quarantine => {
                if layout::is_quarantined(text) {
                    Some(Entry::Quarantined { name: text.to_owned() })
                } else {
                    foreign()
                }
            }
            Place::Prefix(algorithm, byte) => match format!("{algorithm}:{text}").parse::<Digest>() {
                Ok(digest) if layout::prefix_byte(&digest) == *byte => Some(Entry::Content(digest)),
                _ => foreign(),
            },
        }
    }

    /// What is stored under `digest`, without reading it.
    pub(super) fn facts(&self, digest: &Digest) -> Result<Option<Facts>, Error> {
        Ok(self.inspect(digest)?.map(|stat| facts(&stat)))
    }

    /// The first `size_bytes` bytes staged for `upload`, opened for reading; `None`: nothing, or fewer.
    pub(super) fn open_staged(&self, upload: UploadId, size_bytes: u64) -> Result<Option<OwnedFd>, Error> {
        let Some(facts) = self.staged_facts(upload)? else { return Ok(None) };
        if facts.size_bytes < size_bytes {
            return Ok(None);
        }
        match self.files.open(self.uploads.as_fd(), layout::staged(upload).as_below(), Access::Read) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("opening staged content")(errno)),
        }
    }

    /// What is staged for `upload`, without reading it.
    pub(super) fn staged_facts(&self, upload: UploadId) -> Result<Option<Facts>, Error> {
        let doing = "inspecting staged content";
        match self.files.open(self.uploads.as_fd(), layout::staged(upload).as_below(), Access::Inspect) {
            Ok(file) => {
                let stat = self.files.stat(file.as_fd()).map_err(failed(doing))?;
                if stat.is_file() { Ok(Some(facts(&stat))) } else { Err(Error::StagedLost) }
            }
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(Error::StagedLost),
            Err(errno) => Err(failed(doing)(errno)),
        }
    }
}

fn facts(stat: &Stat) -> Facts {
    let is_exposed = stat.mode & OTHERS != 0 || !is_ours(stat);
    Facts { size_bytes: stat.size_bytes, modified_at: stat.modified_at, number: stat.inode, is_exposed }
}

fn is_ours(stat: &Stat) -> bool {
    stat.owner == rustix::process::geteuid().as_raw()
}
