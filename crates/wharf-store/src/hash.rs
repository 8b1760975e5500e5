//! The running hash of an upload, and how it is kept between two requests.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};
use wharf_oci::{Algorithm, Digest};

/// The library whose serialized states these are. It promises to read its own states only within one version, so a
/// state of another version counts as foreign and the staged bytes are hashed again; a test holds this to the locked
/// version.
pub(crate) const LIBRARY: &str = "sha2-0.11.1";

/// A running hash as bytes, to be kept beside the offset that it covers. Opaque to everybody else.
///
/// It begins with the library, the algorithm and the offset that it belongs to: a state that does not belong is
/// recognized and never continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashState(Vec<u8>);

impl HashState {
    /// The bytes to keep.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// From bytes that were kept; whether they are a state is decided when they are used.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// A hash that is being computed. Not boxed: it moves once per batch of a mebibyte.
#[derive(Clone, Debug)]
pub(crate) enum Running {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Running {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::Sha256(hash.finalize().into()),
            Self::Sha512(hash) => Digest::Sha512(hash.finalize().into()),
        }
    }

    /// The state after `offset_bytes`.
    pub(crate) fn save(&self, offset_bytes: u64) -> HashState {
        let mut bytes = header(self.algorithm(), offset_bytes).into_bytes();
        match self {
            Self::Sha256(hash) => bytes.extend_from_slice(&hash.serialize()),
            Self::Sha512(hash) => bytes.extend_from_slice(&hash.serialize()),
        }
        HashState(bytes)
    }

    /// The hash that `state` was saved from, or `None` if it is not a state of this library, this algorithm and this
    /// offset.
    pub(crate) fn load(state: &HashState, algorithm: Algorithm, offset_bytes: u64) -> Option<Self> {
        let saved = state.0.strip_prefix(header(algorithm, offset_bytes).as_bytes())?;
        match algorithm {
            Algorithm::Sha256 => restore::<Sha256>(saved).map(Self::Sha256),
            Algorithm::Sha512 => restore::<Sha512>(saved).map(Self::Sha512),
        }
    }
}

/// The running hash of content that somebody reads elsewhere.
pub struct Hasher(Running);

impl Hasher {
    /// Of nothing yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(Running::new(algorithm))
    }

    /// Of these bytes, too.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all of them.
    #[must_use]
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}

fn header(algorithm: Algorithm, offset_bytes: u64) -> String {
    format!("{LIBRARY}/{algorithm}/{offset_bytes}\n")
}

fn restore<H: SerializableState>(saved: &[u8]) -> Option<H> {
    let saved: &SerializedState<H> = saved.try_into().ok()?;
    H::deserialize(saved).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_saved_hash_goes_on_at_every_offset() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300).collect();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for cut in 0..=bytes.len() {
                let mut first = Running::new(algorithm);
                first.update(&bytes[..cut]);
                let saved = HashState::from_bytes(first.save(cut as u64).as_bytes().to_vec());
                let mut second = Running::load(&saved, algorithm, cut as u64).unwrap();
                second.update(&bytes[cut..]);
                assert_eq!(second.finish(), Digest::of(algorithm, &bytes), "{algorithm} cut at {cut}");
            }
        }
    }

    #[test]
    fn r021_a_state_is_refused_for_another_algorithm_offset_or_library() {
        let mut hash = Running::new(Algorithm::Sha256);
        hash.update(b"seven b");
        let saved = hash.save(7);
        assert!(Running::load(&saved, Algorithm::Sha256, 7).is_some());
        assert!(Running::load(&saved, Algorithm::Sha256, 8).is_none());
        assert!(Running::load(&saved, Algorithm::Sha512, 7).is_none());

        let mut foreign = saved.as_bytes().to_vec();
        foreign[0] = b'S';
        assert!(Running::load(&HashState::from_bytes(foreign), Algorithm::Sha256, 7).is_none());
        for length in 0..saved.as_bytes().len() {
            let cut = HashState::from_bytes(saved.as_bytes()[..length].to_vec());
            assert!(Running::load(&cut, Algorithm::Sha256, 7).is_none(), "cut to {length}");
        }
    }

    #[test]
    fn the_tag_names_the_locked_version_of_the_library() {
        let lock = include_str!("../../../Cargo.lock");
        let (name, version) = LIBRARY.split_once('-').unwrap();
        assert!(
            lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"")),
            "{name} was updated: change LIBRARY, so that states of the old version are not continued"
        );
    }
}
