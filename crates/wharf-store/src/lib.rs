//! Content by digest: in a directory of this machine ([`DirectoryStore`]), or in a bucket that speaks S3 ([`BucketStore`]);
//! and, in [`Archive`] and [`BucketArchive`], where no registry serves it.
//!
//! A store knows digests, upload ids and bytes; it knows no repositories, tags or people, and it never says whether
//! content *may* be served: the metadata database does. Its three promises, which everything else here serves:
//!
//! 1. **Nothing is visible under a digest that does not hash to it.** Bytes are staged under a running hash, and get
//!    their final name, or the key that may be recorded, only after the hash was compared (F-10).
//! 2. **What [`BlobWriter::commit`] returned is on stable storage**, the bytes and what leads to them, so that the
//!    caller may record it. [`Placed`] keeps the digest locked until that record is written, so that a
//!    removal of the same digest cannot come in between; in a bucket it could not anyway, for every upload has its own key.
//! 3. **What cannot be read in full is an error**, never an early end, never padding.
//!
//! An upload may pause: [`BlobWriter::checkpoint`] gives an offset together with the state of the hash at that offset,
//! and [`BlobStore::writer`] goes on from there, in this process or the next one.

mod archive;
mod bucket;
mod census;
mod directory;
mod error;
mod hash;
mod lock;
mod reader;
mod sessions;
mod store;

#[cfg(any(test, feature = "contract"))]
pub mod contract;

pub use archive::{
    Archive, ArchiveError, ArchiveWriter, Bytewise, ContentArchive, ContentWriter, Damage, Staged, Swept, bytes_of,
};
pub use bucket::{BucketArchive, BucketConfig, BucketStore, Encryption};
pub use census::{Entry, Facts, ListCursor, Listing, Survey};
pub use directory::{Claim, DirectoryStore, RestoreTargetError, Restoring};
pub use error::{BucketError, Error, OpenError};
pub use hash::{HashState, Hasher};
pub use lock::{Placed, Removing};
pub use reader::{BlobReader, ContentFile, Rehash};
pub use store::{BlobStore, BlobWriter, Checkpoint, Place, Space, StagedBytes};
