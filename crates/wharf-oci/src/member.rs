//! Reading members of a checked manifest one by one, so that every complaint can name the member it is about.
//!
//! What arrives here has passed `json::check`: it is JSON without surprises. Only types and limits are left to look at.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::ManifestError;
use crate::limits::SIZE_MAX_BYTES;

pub(crate) const A_SIZE: &str = "an integer from 0 to 9223372036854775807";

/// Where in the manifest a value stands; printed as `layers[3].digest`. A chain of borrowed links, so that a manifest
/// without mistakes costs no text.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'static str),
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    pub(crate) fn member(&self, name: &'static str) -> Path<'_> {
        Path::Member(self, name)
    }

    pub(crate) fn item(&self, index: usize) -> Path<'_> {
        Path::Item(self, index)
    }

    pub(crate) fn must_be(&self, expected: &'static str) -> ManifestError {
        ManifestError::Shape { member: self.to_string(), expected }
    }

    pub(crate) fn too_many(&self, max: usize) -> ManifestError {
        ManifestError::TooMany { member: self.to_string(), max }
    }

    pub(crate) fn too_long(&self, max_bytes: usize) -> ManifestError {
        ManifestError::TooLong { member: self.to_string(), max_bytes }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the manifest"),
            Self::Member(Path::Root, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// An object. The brace is looked at first, because serde would also fill a struct from an array, by position.
pub(crate) fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue, at: &Path<'_>) -> Result<T, ManifestError> {
    parse(raw, '{').ok_or_else(|| at.must_be("an object"))
}

pub(crate) fn text(raw: &RawValue, at: &Path<'_>) -> Result<String, ManifestError> {
    parse(raw, '"').ok_or_else(|| at.must_be("a string"))
}

/// A string that may be absent, null or empty, which are the same to Go tools.
pub(crate) fn optional_text(raw: Option<&RawValue>, at: &Path<'_>) -> Result<Option<String>, ManifestError> {
    let text = raw.map(|raw| text(raw, at)).transpose()?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// A size in bytes: an integer from 0 to 2⁶³−1, written without fraction and exponent (S-046).
pub(crate) fn size(raw: &RawValue, at: &Path<'_>) -> Result<u64, ManifestError> {
    let size = serde_json::from_str(raw.get()).ok().filter(|size| *size <= SIZE_MAX_BYTES);
    size.ok_or_else(|| at.must_be(A_SIZE))
}

/// The items of an array that may be absent or null; reading stops at item `max` + 1 (S-040).
pub(crate) fn optional_list<'a>(
    raw: Option<&'a RawValue>,
    at: &Path<'_>,
    max: usize,
) -> Result<Vec<&'a RawValue>, ManifestError> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    if !raw.get().starts_with('[') {
        return Err(at.must_be("an array"));
    }
    let mut parser = serde_json::Deserializer::from_str(raw.get());
    Items { max }.deserialize(&mut parser).map_err(|_| at.too_many(max))
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a RawValue, first: char) -> Option<T> {
    if raw.get().starts_with(first) { serde_json::from_str(raw.get()).ok() } else { None }
}

struct Items {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {} items", self.max)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            if items.len() == self.max {
                return Err(A::Error::invalid_length(self.max + 1, &self));
            }
            items.push(item);
        }
        Ok(items)
    }
}
