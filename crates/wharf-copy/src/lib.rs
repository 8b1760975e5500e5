//! Repositories copied from one place to another: registries of any make, OCI image layouts in a directory or a tar
//! archive, and the file-system storage of `distribution`.
//!
//! A place that is read is a [`Source`], one that is written a [`Target`]; [`copy`] knows nothing else of either. It goes
//! from the leaves to the root: blobs, then what an index lists, then the manifest, then what refers to it. So whatever the
//! target has under a digest is complete there, a copy that was killed can simply be begun again, and what is there
//! already costs one question.
//!
//! Nothing is believed: every byte is hashed on its way and its last one is held back until the digest is right. What is
//! damaged is reported by its name and keeps nothing else from being copied. Blobs are streams and never in memory;
//! manifests and lists are, up to the bounds of `wharf_oci::limits` and of this crate.

mod content;
mod copying;
mod distribution;
mod error;
mod layout;
mod patience;
mod place;
mod registry;
mod report;

pub use content::{Blob, Document};
pub use copying::{Filter, JOBS_MAX, Names, Options, Rename, Watch, copy};
pub use distribution::DistributionStore;
pub use error::Error;
pub use layout::{ArchiveWriter, DirectoryWriter, LayoutSource};
pub use place::{Entry, Source, Target};
pub use registry::{Login, Registry};
pub use report::{Problem, Report};
