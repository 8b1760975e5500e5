//! One strict look at a JSON text before anything is made of it (S-046).
//!
//! Walks the text without building a tree: memory grows with the nesting and with the names of the objects that are
//! open, not with the text. What passes means the same to every parser: one value, UTF-8, no name twice.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::limits::{JSON_DEPTH_MAX, JSON_MEMBERS_MAX, JSON_VALUES_MAX};

/// How much of a name is shown in a message, in characters.
const SHOWN_CHARS: usize = 64;

/// Why a text is not JSON, or not JSON that everybody reads alike.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// A byte that is not UTF-8.
    #[error("it is not UTF-8 at byte {offset_bytes}")]
    NotUtf8 {
        /// Where, counted from 0.
        offset_bytes: usize,
    },
    /// Not one JSON value; says what and where.
    #[error("{0}")]
    Syntax(String),
    /// A name that stands twice in one object.
    #[error("the name \"{name}\" stands twice in one object")]
    DuplicateName {
        /// Which, escaped and shortened.
        name: String,
    },
    /// More nesting than allowed.
    #[error("it is more than {JSON_DEPTH_MAX} levels deep")]
    TooDeep,
    /// An object with more members than allowed.
    #[error("an object has more than {JSON_MEMBERS_MAX} members")]
    TooManyMembers,
    /// More values in all than allowed.
    #[error("it has more than {JSON_VALUES_MAX} values")]
    TooManyValues,
}

/// Checks that `text` is one JSON value within the limits, and gives it back as text.
///
/// # Errors
///
/// [`JsonError`]: the first thing found wrong.
pub(crate) fn check(text: &[u8]) -> Result<&str, JsonError> {
    let text = str::from_utf8(text).map_err(|error| JsonError::NotUtf8 { offset_bytes: error.valid_up_to() })?;
    let walk = RefCell::new(Walk { values: 0, refusal: None });
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let walked = Any { walk: &walk, depth: 0 }.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (walked, walk.into_inner().refusal) {
        (Ok(()), _) => Ok(text),
        (Err(_), Some(refusal)) => Err(refusal),
        (Err(error), None) => Err(JsonError::Syntax(error.to_string())),
    }
}

/// `text` as it can be shown in a message: nothing in it commands a terminal, and it is not long.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// What is known of the text so far.
struct Walk {
    values: usize,
    /// Why the walk ended, where that is ours to say: the parser's own error can only carry text.
    refusal: Option<JsonError>,
}

/// Any value, this deep.
#[derive(Clone, Copy)]
struct Any<'w> {
    walk: &'w RefCell<Walk>,
    depth: usize,
}

impl Any<'_> {
    fn refuse<E: serde::de::Error>(self, refusal: JsonError) -> E {
        self.walk.borrow_mut().refusal = Some(refusal);
        E::custom("refused")
    }

    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(self.refuse(JsonError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let values = {
            let mut walk = self.walk.borrow_mut();
            walk.values += 1;
            walk.values
        };
        if values > JSON_VALUES_MAX {
            return Err(self.refuse(JsonError::TooManyValues));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while items.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if names.len() == JSON_MEMBERS_MAX {
                return Err(self.refuse(JsonError::TooManyMembers));
            }
            if names.contains(&name) {
                return Err(self.refuse(JsonError::DuplicateName { name: shown(&name) }));
            }
            names.insert(name);
            members.next_value_seed(inside)?;
        }
        Ok(())
    }
}
