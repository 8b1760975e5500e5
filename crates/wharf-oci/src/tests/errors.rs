use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Code, ErrorEntry, error_body};

const CODES: [(Code, &str, u16); 16] = [
    (Code::BlobUnknown, "BLOB_UNKNOWN", 404),
    (Code::BlobUploadInvalid, "BLOB_UPLOAD_INVALID", 416),
    (Code::BlobUploadUnknown, "BLOB_UPLOAD_UNKNOWN", 404),
    (Code::DigestInvalid, "DIGEST_INVALID", 400),
    (Code::ManifestBlobUnknown, "MANIFEST_BLOB_UNKNOWN", 400),
    (Code::ManifestInvalid, "MANIFEST_INVALID", 400),
    (Code::ManifestUnknown, "MANIFEST_UNKNOWN", 404),
    (Code::NameInvalid, "NAME_INVALID", 400),
    (Code::NameUnknown, "NAME_UNKNOWN", 404),
    (Code::SizeInvalid, "SIZE_INVALID", 400),
    (Code::Unauthorized, "UNAUTHORIZED", 401),
    (Code::Denied, "DENIED", 403),
    (Code::Unsupported, "UNSUPPORTED", 405),
    (Code::TooManyRequests, "TOOMANYREQUESTS", 429),
    (Code::Unknown, "UNKNOWN", 500),
    (Code::Unavailable, "UNAVAILABLE", 503),
];

fn entry(code: Code, message: &str, detail: Option<&str>) -> ErrorEntry {
    ErrorEntry { code, message: message.into(), detail: detail.map(str::to_owned) }
}

fn parsed(entries: &[ErrorEntry]) -> Value {
    serde_json::from_slice(&error_body(entries)).unwrap()
}

#[test]
fn codes_are_spelled_as_table_a1_has_them() {
    for (code, text, status) in CODES {
        assert_eq!((code.as_str(), code.default_status()), (text, status));
    }
}

#[test]
fn p051_p053_the_form_of_a_body() {
    let body = error_body(&[
        entry(Code::ManifestBlobUnknown, "not here", Some("sha256:ab")),
        entry(Code::ManifestInvalid, "a \"quoted\" text", None),
    ]);
    let expected = "{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\",\"message\":\"not here\",\"detail\":\"sha256:ab\"},\
                    {\"code\":\"MANIFEST_INVALID\",\"message\":\"a \\\"quoted\\\" text\"}]}";
    assert_eq!(String::from_utf8(body).unwrap(), expected);
}

#[test]
fn p051_a_body_has_at_least_one_error() {
    assert_eq!(parsed(&[]), json!({"errors": [{"code": "UNKNOWN", "message": "the request failed"}]}));
}

#[test]
fn p057_a_body_stays_below_64_kib() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let body =
        parsed(&vec![entry(Code::ManifestBlobUnknown, "the blob is not in this repository", Some(&digest)); 4000]);
    assert!(body.to_string().len() < 65_536);
    assert!(body["errors"].as_array().unwrap().len() > 300);
}

#[test]
fn long_texts_are_cut_between_characters() {
    let body = parsed(&[entry(Code::Unknown, &"é".repeat(2000), Some(&format!("a{}", "é".repeat(2000))))]);
    assert_eq!(body["errors"][0]["message"], "é".repeat(1024));
    assert_eq!(body["errors"][0]["detail"], format!("a{}", "é".repeat(1023)));
}

proptest! {
    #[test]
    fn any_errors_make_a_body_of_the_right_form(
        texts in prop::collection::vec((any::<String>(), prop::option::of("[\\x00-\\x1f\"]{0,4000}")), 0..12),
    ) {
        let entries: Vec<ErrorEntry> =
            texts.iter().map(|(message, detail)| entry(Code::Unknown, message, detail.as_deref())).collect();
        let body = error_body(&entries);
        prop_assert!(body.len() < 65_536);
        let body: Value = serde_json::from_slice(&body).unwrap();
        let errors = body["errors"].as_array().unwrap();
        prop_assert!(!errors.is_empty());
        prop_assert!(errors.iter().all(|error| error["code"] == "UNKNOWN" && error["message"].is_string()));
    }
}
