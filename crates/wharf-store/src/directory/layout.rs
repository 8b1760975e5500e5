//! The only place that knows a path.
//!
//! ```text
//! wharf.lock                  held with flock while a process owns the directory; its process id inside
//! wharf.id                    layout version and store id; a single word while a backup is being restored
//! wharf.reserve               space that is given back when the disk is full, so that deletions can be recorded
//! uploads/<upload id>         staged content
//! uploads/probe               exists for a moment while the store is probed
//! layers/<alg>/<aa>/<hex>     content; <aa> are the first two digits of <hex>
//! quarantine/<hex>.<time>     damaged content, set aside; <time> in microseconds since 1970
//! ```
//!
//! A path is made from a parsed digest, a parsed upload id or a fixed word, and from nothing else: [`Name`] and
//! [`Below`] have no other constructors, and the file calls accept nothing but these (S-043, S-068).

use std::sync::LazyLock;

use wharf_base::{Timestamp, UploadId};
use wharf_oci::{Algorithm, Digest};

/// The version of the layout above, as written to `wharf.id`.
pub(super) const VERSION: u32 = 1;

/// The whole of `wharf.id` while the directory is being restored: nobody takes it for a registry then.
pub(super) const RESTORING: &str = "restoring\n";

/// A path below an opened directory: one component or several, none of them a dot segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Below(String);

impl Below {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// One entry of an opened directory: a path of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(Below);

impl Name {
    fn new(text: impl Into<String>) -> Self {
        Self(Below(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(super) fn as_below(&self) -> &Below {
        &self.0
    }
}

pub(super) fn lock_file() -> Name {
    Name::new("wharf.lock")
}

pub(super) fn id_file() -> Name {
    Name::new("wharf.id")
}

/// Where `wharf.id` is written before it gets its name.
pub(super) fn new_id_file() -> Name {
    Name::new("wharf.id.new")
}

/// Nothing is in it: it only takes up room.
pub(super) fn reserve_file() -> Name {
    Name::new("wharf.reserve")
}

pub(super) fn uploads() -> Name {
    Name::new("uploads")
}

/// In `uploads`.
pub(super) fn staged(upload: UploadId) -> Name {
    Name::new(upload.to_string())
}

/// In `uploads`; not the text of any upload id.
pub(super) fn probe() -> Name {
    Name::new("probe")
}

pub(super) fn layers() -> Name {
    Name::new("layers")
}

/// In `layers`.
pub(super) fn algorithm(algorithm: Algorithm) -> Name {
    Name::new(algorithm.as_str())
}

/// The first byte of a digest: which of an algorithm's 256 directories its content is in.
pub(super) fn prefix_byte(digest: &Digest) -> u8 {
    digest.as_bytes().first().copied().unwrap_or_default()
}

/// In the algorithm's directory.
pub(super) fn prefix(byte: u8) -> Name {
    Name::new(format!("{byte:02x}"))
}

/// The directory of a digest's content, below `layers`.
pub(super) fn content_directory(digest: &Digest) -> Below {
    Below(format!("{}/{:02x}", digest.algorithm(), prefix_byte(digest)))
}

/// In the content's directory.
pub(super) fn content_name(digest: &Digest) -> Name {
    Name::new(digest.hex())
}

/// A digest's content, below `layers`.
pub(super) fn content(digest: &Digest) -> Below {
    Below(format!("{}/{}", content_directory(digest).as_str(), digest.hex()))
}

/// In the data directory.
pub(super) fn quarantine() -> Name {
    Name::new("quarantine")
}

/// In `quarantine`.
pub(super) fn quarantined(digest: &Digest, at: Timestamp) -> Name {
    Name::new(format!("{}.{}", digest.hex(), at.as_micros()))
}

/// An entry of `quarantine`, if it is the digest's.
pub(super) fn quarantined_of(digest: &Digest, name: &[u8]) -> Option<Name> {
    let text = std::str::from_utf8(name).ok()?;
    let (hex, time) = text.split_once('.')?;
    let at = time.parse().ok().map(Timestamp::from_micros)?;
    (hex == digest.hex()).then(|| quarantined(digest, at)).filter(|name| name.as_str() == text)
}

/// Whether this is a name that [`quarantined`] makes.
pub(super) fn is_quarantined(name: &str) -> bool {
    let is_hex = |text: &str| [64, 128].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.split_once('.').is_some_and(|(hex, time)| is_hex(hex) && time.parse::<i64>().is_ok())
}

/// Whether an entry of the data directory belongs to it: the names above, and those of our neighbours, which all begin
/// alike. A file system may have a directory of its own in its root.
pub(super) fn is_ours_in_root(name: &str) -> bool {
    let directories = [uploads(), layers(), quarantine()];
    name.starts_with("wharf.") || name == "lost+found" || directories.iter().any(|ours| ours.as_str() == name)
}

/// Whether this is the name of one of an algorithm's directories.
pub(super) fn is_prefix(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A directory of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Root,
    Uploads,
    Quarantine,
    Layers,
    Algorithm(Algorithm),
    Prefix(Algorithm, u8),
}

/// All of them, in the order in which they are listed.
pub(super) static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| {
    let mut places = vec![Place::Root, Place::Uploads, Place::Quarantine, Place::Layers];
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        places.push(Place::Algorithm(algorithm));
        places.extend((0..=u8::MAX).map(|byte| Place::Prefix(algorithm, byte)));
    }
    places
});

impl Place {
    /// Below the data directory.
    pub(super) fn below(self) -> Below {
        Below(self.path())
    }

    /// As [`below`](Self::below), for people.
    pub(super) fn path(self) -> String {
        match self {
            Self::Root => ".".to_owned(),
            Self::Uploads => uploads().as_str().to_owned(),
            Self::Quarantine => quarantine().as_str().to_owned(),
            Self::Layers => layers().as_str().to_owned(),
            Self::Algorithm(algorithm) => format!("{}/{algorithm}", layers().as_str()),
            Self::Prefix(algorithm, byte) => format!("{}/{algorithm}/{byte:02x}", layers().as_str()),
        }
    }

    /// An entry of it, for people.
    pub(super) fn path_of(self, name: &str) -> String {
        if self == Self::Root { name.to_owned() } else { format!("{}/{name}", self.path()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f10_content_is_at_layers_algorithm_two_digits_hex() {
        let digest = Digest::of(Algorithm::Sha256, b"abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(content(&digest).as_str(), format!("sha256/ba/{hex}"));
        assert_eq!(content_directory(&digest).as_str(), "sha256/ba");
        assert_eq!(prefix(prefix_byte(&digest)).as_str(), "ba");
        assert_eq!(content_name(&digest).as_str(), hex);
    }
}
