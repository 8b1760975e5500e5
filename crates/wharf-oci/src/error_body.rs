//! The body of an answer that is an error.

use serde::{Serialize, Serializer};

use crate::Code;
use crate::limits::{ERROR_BODY_MAX_BYTES, ERROR_TEXT_MAX_BYTES};

const HEAD: &[u8] = b"{\"errors\":[";
const TAIL: &[u8] = b"]}";

/// One error of an answer. Texts beyond 2 KiB are cut when they are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorEntry {
    /// What it is called.
    #[serde(serialize_with = "code")]
    pub code: Code,
    /// What a person should know about it.
    #[serde(serialize_with = "text")]
    pub message: String,
    /// What it is about, for programs. A text, because clients written in Go decode it into one (P-053).
    #[serde(serialize_with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The JSON of an answer with these errors, most specific first.
///
/// It stays below 64 KiB (P-057) by leaving out entries from the end. Without entries it says `UNKNOWN`, since clients
/// fail on an empty list (P-051).
///
/// # Source
///
/// distribution-spec "Error Codes"; P-051 … P-057.
#[must_use]
pub fn error_body(entries: &[ErrorEntry]) -> Vec<u8> {
    let mut body = HEAD.to_vec();
    for entry in entries {
        let entry = to_json(entry);
        if body.len() + entry.len() + 1 + TAIL.len() >= ERROR_BODY_MAX_BYTES {
            break;
        }
        append(&mut body, &entry);
    }
    if body.len() == HEAD.len() {
        let message = "the request failed".to_owned();
        append(&mut body, &to_json(&ErrorEntry { code: Code::Unknown, message, detail: None }));
    }
    body.extend_from_slice(TAIL);
    body
}

fn append(body: &mut Vec<u8>, entry: &[u8]) {
    if body.len() > HEAD.len() {
        body.push(b',');
    }
    body.extend_from_slice(entry);
}

fn to_json(entry: &ErrorEntry) -> Vec<u8> {
    serde_json::to_vec(entry).expect("a struct of strings is always JSON")
}

fn code<S: Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.as_str())
}

fn text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(cut(text))
}

fn optional_text<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().map(cut).serialize(serializer)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(ERROR_TEXT_MAX_BYTES)]
}
