//! Annotations of manifests and descriptors.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::ManifestError;
use crate::json::shown;
use crate::limits::{
    ANNOTATION_KEY_MAX_BYTES, ANNOTATION_VALUE_MAX_BYTES, ANNOTATIONS_MAX, ANNOTATIONS_TOTAL_MAX_BYTES,
    JSON_MEMBERS_MAX,
};
use crate::member::{self, Path};

/// How much one object may annotate.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    count: usize,
    value_bytes: usize,
    total_bytes: usize,
}

/// Annotations of a descriptor, or of a manifest that refers to another: lists of referrers repeat those (P-271), and
/// must stay below 4 MiB (P-277).
pub(crate) const NARROW: Limits = Limits {
    count: ANNOTATIONS_MAX,
    value_bytes: ANNOTATION_VALUE_MAX_BYTES,
    total_bytes: ANNOTATIONS_TOTAL_MAX_BYTES,
};

/// Annotations of any other manifest, which may fill the whole of it (P-213, C-087).
pub(crate) const WIDE: Limits = Limits { count: JSON_MEMBERS_MAX, value_bytes: usize::MAX, total_bytes: usize::MAX };

/// Reads annotations that may be absent or null.
///
/// Keys have no control characters, since they are shown to people (B-065). Values may have any: they are data.
pub(crate) fn read(
    raw: Option<&RawValue>,
    at: &Path<'_>,
    limits: Limits,
) -> Result<BTreeMap<String, String>, ManifestError> {
    let Some(raw) = raw else { return Ok(BTreeMap::new()) };
    let members: BTreeMap<String, &RawValue> = member::object(raw, at)?;
    if members.len() > limits.count {
        return Err(at.too_many(limits.count));
    }
    let mut total_bytes = 0;
    let mut annotations = BTreeMap::new();
    for (key, raw) in members {
        check_key(&key, at)?;
        let value = member::text(raw, at).map_err(|_| not_text(&key, at))?;
        if value.len() > limits.value_bytes {
            return Err(ManifestError::TooLong { member: named(&key, at), max_bytes: limits.value_bytes });
        }
        total_bytes += key.len() + value.len();
        annotations.insert(key, value);
    }
    if total_bytes > limits.total_bytes { Err(at.too_long(limits.total_bytes)) } else { Ok(annotations) }
}

fn check_key(key: &str, at: &Path<'_>) -> Result<(), ManifestError> {
    if key.len() > ANNOTATION_KEY_MAX_BYTES {
        return Err(ManifestError::TooLong { member: format!("a key of {at}"), max_bytes: ANNOTATION_KEY_MAX_BYTES });
    }
    if key.chars().any(char::is_control) {
        let member = format!("the key \"{}\" of {at}", shown(key));
        return Err(ManifestError::Shape { member, expected: "free of control characters" });
    }
    Ok(())
}

fn not_text(key: &str, at: &Path<'_>) -> ManifestError {
    ManifestError::Shape { member: named(key, at), expected: "a string" }
}

fn named(key: &str, at: &Path<'_>) -> String {
    format!("{at}[\"{}\"]", shown(key))
}
