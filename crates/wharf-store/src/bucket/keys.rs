//! The names of objects, below the prefix. The only place that makes one, and only from parsed values.
//!
//! ```text
//! wharf.id                               which store this is
//! blobs/<uuid>                           complete content, each key used once
//! uploads/<upload id>/<offset>-<mark>    where an open upload stood, and its bytes that are in no part yet
//! uploads/<upload id>/parts-<uuid>       which multipart upload its parts belong to
//! quarantine/<digest>.<uuid>             content that was set aside: the object of that key is not to be served
//! probe/<uuid>                           what a probe has written and not removed
//! ```

use object_store::path::Path;
use wharf_base::{Location, UploadId};
use wharf_oci::{Algorithm, Digest};

use crate::HashState;

/// What every name begins with.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: Path,
}

/// The key of one object with content; new for each upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ContentKey(UploadId);

impl ContentKey {
    pub(super) fn new(id: UploadId) -> Self {
        Self(id)
    }

    pub(super) fn location(self) -> Location {
        Location::recorded(&self.0.to_string())
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl std::fmt::Display for ContentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The parts of the layout.
pub(super) const BLOBS: &str = "blobs";
pub(super) const UPLOADS: &str = "uploads";
pub(super) const QUARANTINE: &str = "quarantine";
pub(super) const PROBE: &str = "probe";
pub(super) const ID: &str = "wharf.id";

/// How the name of an object begins that says which multipart upload an upload's parts belong to.
const PARTS: &str = "parts-";

/// How much of a hash tells two checkpoints at one offset apart.
const MARK_LEN: usize = 32;

impl Keys {
    pub(super) fn new(prefix: Path) -> Self {
        Self { prefix }
    }

    fn child(&self, parts: &[&str]) -> Path {
        parts.iter().fold(self.prefix.clone(), |path, part| path.join(*part))
    }

    pub(super) fn root(&self) -> &Path {
        &self.prefix
    }

    pub(super) fn part(&self, part: &str) -> Path {
        self.child(&[part])
    }

    /// A key in one of the parts, for listing behind it.
    pub(super) fn below(&self, part: &str, name: &str) -> Path {
        name.split('/').fold(self.child(&[part]), |path, name| path.join(name))
    }

    /// What follows the name of the part; `None`: it is not in it.
    pub(super) fn name_below(&self, part: &str, key: &Path) -> Option<String> {
        let names: Vec<_> = key.prefix_match(&self.part(part))?.map(|name| name.as_ref().to_owned()).collect();
        Some(names.join("/"))
    }

    pub(super) fn id(&self) -> Path {
        self.child(&[ID])
    }

    pub(super) fn content(&self, key: ContentKey) -> Path {
        self.child(&[BLOBS, &key.to_string()])
    }

    pub(super) fn probe(&self, id: UploadId) -> Path {
        self.child(&[PROBE, &id.to_string()])
    }

    pub(super) fn upload(&self, upload: UploadId) -> Path {
        self.child(&[UPLOADS, &upload.to_string()])
    }

    /// What is kept at a checkpoint. The mark is of the hash over all bytes up to the offset, so two requests that went on
    /// from one checkpoint with different bytes write different objects.
    pub(super) fn checkpoint(&self, upload: UploadId, offset_bytes: u64, state: &HashState) -> Path {
        let mark = Digest::of(Algorithm::Sha256, state.as_bytes()).hex();
        self.child(&[UPLOADS, &upload.to_string(), &format!("{offset_bytes}-{}", &mark[..MARK_LEN])])
    }

    pub(super) fn parts(&self, upload: UploadId, key: ContentKey) -> Path {
        self.child(&[UPLOADS, &upload.to_string(), &format!("{PARTS}{key}")])
    }

    pub(super) fn quarantined(&self, digest: &Digest, key: ContentKey) -> Path {
        self.child(&[QUARANTINE, &quarantined_name(digest, key)])
    }
}

/// What an object below `uploads/` is, by its last name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StagedName {
    /// A checkpoint at this offset.
    Checkpoint { offset_bytes: u64 },
    /// Which multipart upload the parts belong to.
    Parts,
}

/// `None`: the store did not put it there.
pub(super) fn staged_name(name: &str) -> Option<StagedName> {
    if let Some(key) = name.strip_prefix(PARTS) {
        return ContentKey::parse(key).map(|_| StagedName::Parts);
    }
    let (offset, _) = name.split_once('-')?;
    offset.parse().ok().map(|offset_bytes| StagedName::Checkpoint { offset_bytes })
}

fn quarantined_name(digest: &Digest, key: ContentKey) -> String {
    format!("{}.{key}", digest.hex())
}

/// The key of the content that was set aside under this name.
pub(super) fn quarantined_key(name: &str) -> Option<ContentKey> {
    name.split_once('.').and_then(|(_, key)| ContentKey::parse(key))
}
