//! Rows as a check sees them: the texts that they have, and what other rows say about them.

use bytes::Bytes;
use wharf_base::Timestamp;

/// A content row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBlob {
    /// The digest's text.
    pub digest: String,
    /// `live`, `deleting`, `quarantined` or `missing`.
    pub state: String,
    /// Its size, if it is known and a size.
    pub size_bytes: Option<u64>,
    /// Whether a manifest names it.
    pub is_referenced: bool,
    /// Whether a repository may serve it.
    pub is_associated: bool,
}

/// An association.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedLink {
    /// Of this repository.
    pub repository: String,
    /// With this blob.
    pub digest: String,
    /// The state of the blob's row.
    pub state: String,
    /// Its size.
    pub size_bytes: Option<u64>,
    /// Whether a manifest of this repository names the blob.
    pub is_referenced: bool,
    /// Whether the collector will look at it.
    pub has_review: bool,
}

/// A manifest, its bytes, and what its rows say about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedManifest {
    /// Of this repository.
    pub repository: String,
    /// The digest's text.
    pub digest: String,
    /// The media type that it is served with.
    pub media_type: String,
    /// The artifact type by which referrers are chosen.
    pub artifact_type: Option<String>,
    /// What it refers to.
    pub subject: Option<String>,
    /// Its config.
    pub config: Option<String>,
    /// Its annotations as JSON.
    pub annotations: Option<String>,
    /// Its bytes.
    pub body: Bytes,
    /// The blobs that it holds.
    pub holds: Vec<String>,
    /// What it lists.
    pub children: Vec<CheckedChild>,
    /// Whether all of its references say that it is of this repository.
    pub is_of_one_repository: bool,
    /// Some of the tags that point at it.
    pub tags: Vec<String>,
}

/// What an index lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedChild {
    /// The digest's text.
    pub digest: String,
    /// Whether the repository has it, as manifest or blob.
    pub exists: bool,
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedTag {
    /// Of this repository.
    pub repository: String,
    /// The tag's text.
    pub name: String,
    /// What it points at, if that is a manifest of the same repository.
    pub digest: Option<String>,
    /// How often it has changed.
    pub version: i64,
    /// The version of the last change in its history.
    pub last_version: Option<i64>,
    /// What it has pointed at since then.
    pub last_digest: Option<String>,
}

/// A change of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedChange {
    /// Of this repository.
    pub repository: String,
    /// The tag's text.
    pub name: String,
    /// Its number.
    pub version: i64,
    /// What it pointed at before.
    pub from: Option<String>,
    /// What it has pointed at since.
    pub to: Option<String>,
    /// Where the change before it left the tag, if there is one.
    pub before: Option<Option<String>>,
    /// Whether it is the last change although there is no such tag.
    pub is_last_of_none: bool,
}

/// A deleted manifest that can be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedDeleted {
    /// Of this repository.
    pub repository: String,
    /// The digest's text.
    pub digest: String,
    /// The media type that it was served with.
    pub media_type: String,
    /// Its bytes.
    pub body: Bytes,
}

/// An upload session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedUpload {
    /// The id's text.
    pub id: String,
    /// Where it pushes to.
    pub repository: String,
    /// The name of the hash that runs along.
    pub algorithm: String,
    /// Whether bytes may be added.
    pub is_open: bool,
    /// How many bytes it has.
    pub offset_bytes: u64,
    /// The hash over them.
    pub hash_state: Option<Vec<u8>>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A manifest that needs a blob, and a tag that leads to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Affected {
    /// Of this repository.
    pub repository: String,
    /// The manifest that names the blob.
    pub manifest: String,
    /// A tag of it, or of an index that lists it.
    pub tag: Option<String>,
}
