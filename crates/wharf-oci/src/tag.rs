//! Tags.

use crate::limits::TAG_MAX_BYTES;
use crate::text::text_value;

text_value! {
    /// A movable name of a manifest in one repository: 1 to 128 bytes, case-sensitive.
    ///
    /// A text such as `sha256-44136f…` is an ordinary tag and never a digest (P-041, P-236).
    ///
    /// # Errors
    ///
    /// `parse` answers with a [`TagError`].
    ///
    /// # Source
    ///
    /// distribution-spec "Pulling manifests"; P-040.
    Tag, TagError, check
}

/// Why a text is not a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// There is no text.
    #[error("the tag is empty")]
    Empty,
    /// More than 128 bytes.
    #[error("the tag has {length_bytes} bytes; at most {TAG_MAX_BYTES} are allowed")]
    TooLong {
        /// What it has.
        length_bytes: usize,
    },
    /// A first character that is neither letter, digit nor `_`.
    #[error("the tag starts with something other than a letter, a digit or '_'")]
    Start,
    /// A later character that no tag has.
    #[error("the tag has a character other than letters, digits, '.', '_' and '-'")]
    Character,
}

fn check(tag: &str) -> Result<(), TagError> {
    let Some(first) = tag.bytes().next() else { return Err(TagError::Empty) };
    if tag.len() > TAG_MAX_BYTES {
        return Err(TagError::TooLong { length_bytes: tag.len() });
    }
    if !is_word(first) {
        return Err(TagError::Start);
    }
    let allowed = |byte| is_word(byte) || matches!(byte, b'.' | b'-');
    if tag.bytes().all(allowed) { Ok(()) } else { Err(TagError::Character) }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
