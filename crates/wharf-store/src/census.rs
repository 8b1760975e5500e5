//! What a store holds, as a check wants to know it: listed in bounded pages, looked at without being opened.

use wharf_base::{Location, Timestamp, UploadId};
use wharf_oci::Digest;

use crate::Error;

/// One entry of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Something under the name of this digest, whatever it is.
    Content(Digest),
    /// Something in a place that content of any digest may have been recorded in.
    Located(Location),
    /// Something under the name of this upload.
    Staged(UploadId),
    /// Content that was set aside because it was damaged.
    Quarantined {
        /// Its name there.
        name: String,
    },
    /// Something that the store did not put there.
    Foreign {
        /// Where, below the data directory or the prefix in the bucket.
        place: String,
    },
    /// A directory of the store that others than its owner could get into, or that belongs to somebody else (S-083).
    Exposed {
        /// Where, below the data directory.
        place: String,
    },
}

/// Where a listing goes on. Good for as long as the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListCursor {
    /// Which of the store's directories.
    pub(crate) directory: usize,
    /// Behind this name in it, in byte order.
    pub(crate) name: Vec<u8>,
}

/// Some entries, and where the next ones begin. A page may be empty before the end; only `next` says that it is the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The entries.
    pub entries: Vec<Entry>,
    /// `None`: that was all there is.
    pub next: Option<ListCursor>,
}

/// What can be said of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was last written to.
    pub modified_at: Timestamp,
    /// Which file it is: another one that takes its name has another number. Always 0 in a bucket, where a key is used once.
    pub number: u64,
    /// Whether others than its owner could open it, or it belongs to somebody else (S-083).
    pub is_exposed: bool,
}

/// What was found under each name that was asked about, in that order; `None`: nothing.
pub type Survey = Vec<Result<Option<Facts>, Error>>;
