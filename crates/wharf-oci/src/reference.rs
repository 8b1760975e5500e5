//! References: a tag or a digest.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, DigestError, Tag, TagError};

/// What a manifest is asked for by.
///
/// A text with `:` in it is a digest, any other a tag, so the two never overlap (P-041).
///
/// # Errors
///
/// `parse` answers with a [`ReferenceError`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A movable name.
    Tag(Tag),
    /// A content address.
    Digest(Digest),
}

/// Why a text is neither tag nor digest; which of the two it was meant to be decides the answer (P-042, P-048).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Without `:`, and not a tag.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// With `:`, and not a digest that we can work with.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}
