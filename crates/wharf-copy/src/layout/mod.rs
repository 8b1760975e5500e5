//! OCI image layouts: `index.json`, `oci-layout` and `blobs/<algorithm>/<hex>`, in a directory or a tar archive.
//!
//! A layout is about no repository, but what is exported may be about several. So every entry of the index says in
//! `io.containerd.image.name` where it comes from, as containerd writes it, and a tagged one in
//! `org.opencontainers.image.ref.name` what other tools find it by: its tag, or where several repositories are in the
//! layout, `REPOSITORY:TAG`. What refers to an image is entered without that.

mod archive;
mod directory;
mod files;
mod index;
mod reading;

pub use archive::ArchiveWriter;
pub use directory::DirectoryWriter;
pub(crate) use files::open as open_file;
pub use reading::LayoutSource;

use wharf_oci::Digest;

/// Where the entries are.
const INDEX: &str = "index.json";

/// What marks a layout.
const MARK: &str = "oci-layout";

/// What stands in there.
const MARK_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}
