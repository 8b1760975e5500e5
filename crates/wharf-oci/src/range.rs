//! Byte ranges of a download.

use std::fmt;

use crate::limits::RANGES_MAX;

/// A part of a blob, first and last byte included, counted from 0. Printed as `Content-Range` has it: `500-1499`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// The last byte; never before the first.
    pub end: u64,
}

impl ByteRange {
    /// How many bytes it has; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    #[must_use]
    pub fn len(&self) -> u64 {
        (self.end - self.start).saturating_add(1)
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// One range as a client writes it, before the size of the blob is known. Printed as it is written in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `500-1499`; the end may lie before the start, which no blob satisfies (P-118).
    Between {
        /// The first byte.
        start: u64,
        /// The last byte.
        end: u64,
    },
    /// `500-`: from this byte on.
    From(u64),
    /// `-500`: this many bytes from the end.
    Last(u64),
}

impl RangeSpec {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once('-')? {
            ("", length) => number(length).map(Self::Last),
            (start, "") => number(start).map(Self::From),
            (start, end) => Some(Self::Between { start: number(start)?, end: number(end)? }),
        }
    }

    /// The bytes it means of a blob of `size_bytes`, which is not 0; `None` if there are none (P-115 … P-118).
    fn resolve(self, size_bytes: u64) -> Option<ByteRange> {
        let last = size_bytes.checked_sub(1)?;
        let (start, end) = match self {
            Self::Between { start, end } => (start, end.min(last)),
            Self::From(start) => (start, last),
            Self::Last(0) => return None,
            Self::Last(length) => (size_bytes.saturating_sub(length), last),
        };
        (start <= end).then_some(ByteRange { start, end })
    }
}

impl fmt::Display for RangeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Between { start, end } => write!(f, "{start}-{end}"),
            Self::From(start) => write!(f, "{start}-"),
            Self::Last(length) => write!(f, "-{length}"),
        }
    }
}

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeRequest {
    /// Everything: a unit or a set that is not understood is ignored (P-119).
    Whole,
    /// These, in this order; at least one and at most 1 024.
    Ranges(Vec<RangeSpec>),
    /// More than 1 024 ranges (P-123).
    TooMany,
}

/// What to send of a blob of a known size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it, as if nothing had been asked: 200.
    Whole,
    /// One part: 206.
    One(ByteRange),
    /// At least two parts, in the order asked for, which may overlap: 206 as `multipart/byteranges`.
    Many(Vec<ByteRange>),
    /// None of the ranges has a byte: 416.
    Unsatisfiable,
    /// Too many ranges: 400.
    TooMany,
}

impl RangeRequest {
    /// Reads the value of a `Range` header. Numbers too large for 64 bits count as the largest.
    ///
    /// # Source
    ///
    /// RFC 9110 §14.1.2 and §14.2; P-114 … P-119, P-123.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        let Some((unit, set)) = header.split_once('=') else { return Self::Whole };
        if !unit.eq_ignore_ascii_case("bytes") {
            return Self::Whole;
        }
        let mut ranges = Vec::new();
        let mut is_too_many = false;
        for item in set.split(',').map(|item| item.trim_matches([' ', '\t'])).filter(|item| !item.is_empty()) {
            let Some(range) = RangeSpec::parse(item) else { return Self::Whole };
            if ranges.len() < RANGES_MAX {
                ranges.push(range);
            } else {
                is_too_many = true;
            }
        }
        if is_too_many {
            Self::TooMany
        } else if ranges.is_empty() {
            Self::Whole
        } else {
            Self::Ranges(ranges)
        }
    }

    /// What it means for a blob of `size_bytes`.
    ///
    /// An empty blob is sent whole whatever was asked (P-121), and so is a blob of which more bytes were asked for than
    /// it has: nobody gets to multiply our work by naming the same range a thousand times (P-123).
    ///
    /// # Source
    ///
    /// P-114 … P-123.
    #[must_use]
    pub fn resolve(&self, size_bytes: u64) -> Selection {
        let ranges = match self {
            _ if size_bytes == 0 => return Selection::Whole,
            Self::Whole => return Selection::Whole,
            Self::TooMany => return Selection::TooMany,
            Self::Ranges(ranges) => ranges,
        };
        let parts: Vec<ByteRange> = ranges.iter().filter_map(|range| range.resolve(size_bytes)).collect();
        match parts.as_slice() {
            [] => Selection::Unsatisfiable,
            [part] => Selection::One(*part),
            _ if exceed(&parts, size_bytes) => Selection::Whole,
            _ => Selection::Many(parts),
        }
    }
}

fn exceed(parts: &[ByteRange], size_bytes: u64) -> bool {
    let total = parts.iter().try_fold(0_u64, |total, part| total.checked_add(part.len()));
    total.is_none_or(|total| total > size_bytes)
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}
