//! The `Content-Range` of an upload's chunk.

use std::fmt;
use std::str::FromStr;

use crate::limits::SIZE_MAX_BYTES;

/// Which bytes of a blob a chunk holds: first and last, counted from 0. Printed as the specification writes it: `0-1023`.
///
/// # Errors
///
/// `parse` accepts `0-1023` and, leniently, `bytes 0-1023`, `bytes 0-1023/4096`, `bytes 0-1023/*` and `bytes=0-1023`;
/// it answers with a [`ContentRangeError`] for everything else.
///
/// # Source
///
/// distribution-spec "Pushing a blob in chunks"; P-163, P-166.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte.
    pub start: u64,
    /// The last byte; never before the first, at most 2⁶³−2.
    pub end: u64,
}

/// Why a text is not the range of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentRangeError {
    /// None of the accepted forms.
    #[error("Content-Range is not of the form <start>-<end>")]
    Malformed,
    /// A number that no blob reaches.
    #[error("Content-Range has a number above {SIZE_MAX_BYTES}")]
    TooLarge,
    /// It ends before it starts, or reaches beyond the total that it states itself.
    #[error("Content-Range ends before it starts or after its own total")]
    Inverted,
}

impl ContentRange {
    /// How many bytes the chunk has; at least one.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        (self.end - self.start).saturating_add(1)
    }
}

impl FromStr for ContentRange {
    type Err = ContentRangeError;

    fn from_str(text: &str) -> Result<Self, ContentRangeError> {
        let (range, total) = split(text);
        let (start, end) = range.split_once('-').ok_or(ContentRangeError::Malformed)?;
        let (start, end) = (number(start)?, number(end)?);
        let total = match total {
            None | Some("*") => SIZE_MAX_BYTES,
            Some(total) => number(total)?,
        };
        if start <= end && end < total { Ok(Self { start, end }) } else { Err(ContentRangeError::Inverted) }
    }
}

/// The range without its unit, and the total, which only stands behind `bytes` and a space.
fn split(text: &str) -> (&str, Option<&str>) {
    if let Some(range) = text.strip_prefix("bytes=") {
        return (range, None);
    }
    match text.strip_prefix("bytes ") {
        None => (text, None),
        Some(range) => match range.split_once('/') {
            None => (range, None),
            Some((range, total)) => (range, Some(total)),
        },
    }
}

fn number(text: &str) -> Result<u64, ContentRangeError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ContentRangeError::Malformed);
    }
    text.parse().ok().filter(|number| *number <= SIZE_MAX_BYTES).ok_or(ContentRangeError::TooLarge)
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}
