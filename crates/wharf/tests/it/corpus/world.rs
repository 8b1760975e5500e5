//! What the `{…}` and the bodies of the notation stand for.

use std::collections::BTreeMap;

use crate::harness::{Fixture, OCI_INDEX, OCI_MANIFEST, hex_sha256, hex_sha512};

/// The named values of one block.
pub struct World {
    values: BTreeMap<String, String>,
}

impl World {
    /// The values that every block begins with.
    pub fn new() -> Self {
        let mut values: BTreeMap<_, _> = [
            ("Z", hex_sha256(b"nothing")),
            ("H5", hex_sha512(b"hello")),
            ("M5", hex_sha512(&Fixture::M.bytes())),
            ("upper K", hex_sha256(&Fixture::K.bytes()).to_uppercase()),
            ("OM", OCI_MANIFEST.to_owned()),
            ("OI", OCI_INDEX.to_owned()),
            // Two components each, because one may have 128 bytes at most.
            ("name255", format!("{}/{}", "a".repeat(127), "b".repeat(127))),
            ("name256", format!("{}/{}", "a".repeat(127), "b".repeat(128))),
            ("tag128", "t".repeat(128)),
            ("tag129", "t".repeat(129)),
            ("tags101", (0..101).map(|i| format!("tag=tag{i}")).collect::<Vec<_>>().join("&")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for letter in ["E", "J", "H", "K", "M", "I", "A", "G"] {
            let fixture = Fixture::named(letter).expect("a fixture");
            values.insert(letter.to_owned(), hex_sha256(&fixture.bytes()));
        }
        Self { values }
    }

    /// Gives `name` a value.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// `text` with every `{name}` replaced. Braces around anything that is not a name, as in JSON, stay.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, from_brace) = rest.split_at(open);
            filled.push_str(before);
            match name(from_brace) {
                Some(name) => {
                    let value = self.values.get(name).ok_or_else(|| format!("nothing is called {{{name}}} yet"))?;
                    filled.push_str(value);
                    rest = &from_brace[name.len() + 2..];
                }
                None => {
                    filled.push('{');
                    rest = &from_brace[1..];
                }
            }
        }
        Ok(filled + rest)
    }

    /// The bytes that the body notation `term` describes.
    pub fn bytes(&self, term: &str) -> Result<Vec<u8>, String> {
        if let Some(raw) = term.strip_prefix("raw ") {
            return Ok(self.fill(raw)?.into_bytes());
        }
        if let Some(length) = term.strip_prefix("padded ") {
            let length = length.parse().map_err(|_| format!("`{length}` is not a length"))?;
            return Ok(Fixture::padded_manifest(length));
        }
        let parts: Result<Vec<_>, _> = term.split(" + ").map(part).collect();
        Ok(parts?.concat())
    }
}

/// The name in `{name}…`, if that is one.
fn name(from_brace: &str) -> Option<&str> {
    let name = from_brace[1..].split_once('}')?.0;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_');
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

fn part(term: &str) -> Result<Vec<u8>, String> {
    if let Some(text) = term.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        return Ok(text.as_bytes().to_vec());
    }
    let (letter, slice) = match term.split_once('[') {
        Some((letter, slice)) => (letter, Some(slice)),
        None => (term, None),
    };
    let bytes = Fixture::named(letter).ok_or_else(|| format!("`{term}` is not a body"))?.bytes();
    let Some(slice) = slice else { return Ok(bytes) };
    let bounds = slice.strip_suffix(']').and_then(|slice| slice.split_once(".."));
    let bounds = bounds.and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
    let slice = bounds.and_then(|bounds: std::ops::Range<usize>| bytes.get(bounds));
    slice.map(<[u8]>::to_vec).ok_or_else(|| format!("`{term}` is not a slice"))
}
