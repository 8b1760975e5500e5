//! Digests of the algorithms that Wharf can compute.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

use crate::limits::DIGEST_MAX_BYTES;

const SHA512_HEX_BYTES: usize = 128;

/// Of an algorithm's name: `sha256`, `sha512`.
const NAME_BYTES_MAX: usize = 6;

/// A hash algorithm that content can be addressed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, the one that everybody uses.
    Sha256,
    /// SHA-512 (P-045).
    Sha512,
}

impl Algorithm {
    /// The name in front of the colon.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits stand after the colon.
    #[must_use]
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => SHA512_HEX_BYTES,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Tells an algorithm that is only unknown here from a text that names none.
impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ if text.len() > DIGEST_MAX_BYTES => Err(DigestError::too_long()),
            _ if is_algorithm(text) => Err(DigestError::Unsupported(text.to_owned())),
            _ => Err(DigestError::malformed("its algorithm is not made of a-z, 0-9 and single separators")),
        }
    }
}

/// A content address: an algorithm and the hash of the content, as bytes.
///
/// The same content under two algorithms has two digests that are not equal (P-049). Paths and rows are made from the
/// decoded bytes only (S-043).
///
/// # Errors
///
/// `parse` answers [`DigestError::Malformed`] for what breaks the grammar, has the wrong length or an upper-case digit,
/// and [`DigestError::Unsupported`] for a well-formed digest of another algorithm.
///
/// # Source
///
/// image-spec `descriptor.md`, "Digests"; P-043 … P-046, S-043.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// `sha256:` and 64 digits.
    Sha256([u8; 32]),
    /// `sha512:` and 128 digits.
    Sha512([u8; 64]),
}

impl Digest {
    /// The digest of `content`.
    #[must_use]
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::digest(content).into()),
            Algorithm::Sha512 => Self::Sha512(Sha512::digest(content).into()),
        }
    }

    /// The digest with this hash; `None` if `hash` has not the algorithm's length.
    #[must_use]
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Sha256 => hash.try_into().ok().map(Self::Sha256),
            Algorithm::Sha512 => hash.try_into().ok().map(Self::Sha512),
        }
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The hash: 32 or 64 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(hash) => hash,
            Self::Sha512(hash) => hash,
        }
    }

    /// The hash in lower-case hexadecimal, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.as_bytes())
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        // The usual one is read once; whatever is wrong with it is found below.
        if let Some(hash) = text.strip_prefix("sha256:").and_then(lower_hex) {
            return Ok(Self::Sha256(hash));
        }
        let (algorithm, encoded) = split(text)?;
        match algorithm.parse()? {
            Algorithm::Sha256 => decode_hex(encoded).map(Self::Sha256),
            Algorithm::Sha512 => decode_hex(encoded).map(Self::Sha512),
        }
    }
}

/// In one piece, so that a text of it is allocated once.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = self.algorithm();
        let name = algorithm.as_str().as_bytes();
        let mut buffer = [b':'; NAME_BYTES_MAX + 1 + SHA512_HEX_BYTES];
        buffer[..name.len()].copy_from_slice(name);
        let text = &mut buffer[..name.len() + 1 + algorithm.hex_len()];
        hex::encode_to_slice(self.as_bytes(), &mut text[name.len() + 1..]).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a text is not a digest that we can work with. Reads and writes answer the two differently (P-047, P-048).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not a digest; says what is wrong.
    #[error("the digest is malformed: {0}")]
    Malformed(String),
    /// A digest, but of an algorithm that is not supported; holds the algorithm's name.
    #[error("the digest algorithm {0} is not supported; use sha256 or sha512")]
    Unsupported(String),
}

impl DigestError {
    pub(crate) fn malformed(reason: &str) -> Self {
        Self::Malformed(reason.to_owned())
    }

    fn too_long() -> Self {
        Self::Malformed(format!("it has more than {DIGEST_MAX_BYTES} bytes"))
    }
}

/// Splits a digest of any algorithm at its colon after checking the grammar of P-043.
pub(crate) fn split(text: &str) -> Result<(&str, &str), DigestError> {
    if text.len() > DIGEST_MAX_BYTES {
        return Err(DigestError::too_long());
    }
    let Some((algorithm, encoded)) = text.split_once(':') else {
        return Err(DigestError::malformed("it has no ':' between algorithm and hash"));
    };
    if !is_algorithm(algorithm) {
        return Err(DigestError::malformed("its algorithm is not made of a-z, 0-9 and single separators"));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'_' | b'-');
    if encoded.is_empty() || !encoded.bytes().all(allowed) {
        return Err(DigestError::malformed("its hash is not made of letters, digits, '=', '_' and '-'"));
    }
    Ok((algorithm, encoded))
}

/// `[a-z0-9]+([+._-][a-z0-9]+)*`
fn is_algorithm(text: &str) -> bool {
    let is_component = |component: &str| {
        !component.is_empty() && component.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.split(['+', '.', '_', '-']).all(is_component)
}

/// Upper-case digits are refused, so that one content has one address (P-044).
fn decode_hex<const N: usize>(encoded: &str) -> Result<[u8; N], DigestError> {
    if encoded.len() != 2 * N {
        return Err(DigestError::Malformed(format!("its hash has {} digits instead of {}", encoded.len(), 2 * N)));
    }
    lower_hex(encoded).ok_or_else(|| DigestError::malformed("its hash is not lower-case hexadecimal"))
}

/// The bytes that `encoded` is in lower-case hexadecimal, if it is `N` of them. Without a branch for each digit, which no processor
/// could foresee.
fn lower_hex<const N: usize>(encoded: &str) -> Option<[u8; N]> {
    let (pairs, rest) = encoded.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut seen = 0;
    let mut hash = [0; N];
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        let (high, low) = (DIGITS[usize::from(*high)], DIGITS[usize::from(*low)]);
        seen |= high | low;
        *byte = (high << 4) | (low & 0xf);
    }
    (seen < NO_DIGIT).then_some(hash)
}

/// What each byte is worth as a digit.
static DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

const NO_DIGIT: u8 = 0x80;
