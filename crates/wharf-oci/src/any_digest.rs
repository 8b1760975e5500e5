//! Digests of any algorithm.

use crate::digest::{self, Digest, DigestError};
use crate::text::text_value;

text_value! {
    /// A well-formed digest, also of an algorithm that Wharf cannot compute; at most 255 bytes.
    ///
    /// Subjects are such digests: what a manifest refers to need not exist, in any algorithm (P-230), and referrers
    /// are found by comparing the text (P-273). For sha256 and sha512 the rules of [`Digest`] hold, so the text is the
    /// only spelling of its content address.
    ///
    /// # Errors
    ///
    /// `parse` answers [`DigestError::Malformed`], never [`DigestError::Unsupported`].
    ///
    /// # Source
    ///
    /// image-spec `descriptor.md`, "Digests"; P-043, P-044, P-270.
    AnyDigest, DigestError, check
}

impl From<Digest> for AnyDigest {
    fn from(digest: Digest) -> Self {
        Self(digest.to_string().into())
    }
}

fn check(text: &str) -> Result<(), DigestError> {
    digest::split(text)?;
    match text.parse::<Digest>() {
        Ok(_) | Err(DigestError::Unsupported(_)) => Ok(()),
        Err(malformed) => Err(malformed),
    }
}
