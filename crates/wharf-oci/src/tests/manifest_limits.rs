use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::manifest::{blob, image, index, parse, refused, with};
use crate::limits::{DATA_MAX_BYTES, MANIFEST_MAX_BYTES};
use crate::{Manifest, ManifestError};

const OM: &str = "application/vnd.oci.image.manifest.v1+json";
const OI: &str = "application/vnd.oci.image.index.v1+json";

fn layer(member: &str, value: Value) -> Value {
    with(image(), "layers", Some(json!([with(blob("a/b"), member, Some(value))])))
}

fn annotations(count: usize, value_bytes: usize) -> Value {
    (0..count).map(|index| (format!("k{index}"), json!("v".repeat(value_bytes)))).collect::<Map<_, _>>().into()
}

/// An image manifest of exactly `size` bytes, padded by one annotation.
fn padded(size: usize) -> String {
    let empty = with(image(), "annotations", Some(json!({"k": ""}))).to_string().len();
    with(image(), "annotations", Some(json!({"k": "v".repeat(size - empty)}))).to_string()
}

#[test]
fn b065_lists() {
    let many = |count: usize| Some(Value::from(vec![blob("a/b"); count]));
    assert_eq!(parse(OM, &with(image(), "layers", many(1000))).unwrap().layers.len(), 1000);
    refused(OM, &with(image(), "layers", many(1001)), "layers has more than 1000 entries");
    assert_eq!(parse(OI, &with(index(), "manifests", many(4000))).unwrap().children.len(), 4000);
    refused(OI, &with(index(), "manifests", many(4001)), "manifests has more than 4000 entries");
}

/// An artifact: an image manifest that refers to another.
fn artifact(annotations: Value) -> Value {
    with(with(image(), "subject", Some(blob(OM))), "annotations", Some(annotations))
}

#[test]
fn b065_annotations_of_descriptors_and_of_what_is_listed() {
    let accepted = |annotations: Value| {
        assert!(parse(OM, &layer("annotations", annotations.clone())).is_ok());
        assert!(parse(OM, &artifact(annotations)).is_ok());
    };
    let refused = |annotations: Value, message: &str| {
        refused(OM, &layer("annotations", annotations.clone()), &format!("layers[0].{message}"));
        refused(OM, &artifact(annotations), message);
    };
    accepted(annotations(256, 1));
    refused(annotations(257, 1), "annotations has more than 256 entries");
    accepted(annotations(1, 65_536));
    refused(annotations(1, 65_537), "annotations[\"k0\"] has more than 65536 bytes");
    accepted(annotations(7, 65_536));
    refused(annotations(8, 65_536), "annotations has more than 524288 bytes");
}

#[test]
fn annotations_of_any_object() {
    let check = |annotations: Value, message: &str| {
        refused(OM, &layer("annotations", annotations.clone()), &format!("{}{message}", "layers[0]."));
        refused(OM, &with(image(), "annotations", Some(annotations)), message);
    };
    check(json!([]), "annotations must be an object");
    check(json!({"k": 1}), "annotations[\"k\"] must be a string");
    check(json!({"k": null}), "annotations[\"k\"] must be a string");
    let document = with(image(), "annotations", Some(json!({"a\u{1b}[31m": "v"})));
    refused(OM, &document, "the key \"a\\u{1b}[31m\" of annotations must be free of control characters");
    let document = with(image(), "annotations", Some(json!({"a".repeat(257): "v"})));
    refused(OM, &document, "a key of annotations has more than 256 bytes");
    assert!(parse(OM, &with(image(), "annotations", Some(json!({"a".repeat(256): "\u{1b}\u{202e}<script>"})))).is_ok());
    assert!(parse(OM, &with(image(), "annotations", Some(json!(null)))).unwrap().annotations.is_empty());
}

#[test]
fn p213_annotations_may_fill_a_manifest() {
    let conformance = with(image(), "annotations", Some(annotations(390, 10_000)));
    assert_eq!(parse(OM, &conformance).unwrap().annotations.len(), 390);
    let largest = padded(usize::try_from(MANIFEST_MAX_BYTES).unwrap());
    assert!(Manifest::parse(Some(OM), largest.as_bytes()).is_ok());
    assert_eq!(Manifest::parse(Some(OM), format!("{largest} ").as_bytes()), Err(ManifestError::TooLarge));
    assert!(matches!(
        parse(OM, &with(image(), "annotations", Some(annotations(1025, 1)))),
        Err(ManifestError::Json(_))
    ));
}

#[test]
fn b061_inline_data() {
    let base64 = |bytes: usize| Value::from("A".repeat(bytes / 3 * 4) + ["", "AA==", "AAA="][bytes % 3]);
    for data in [json!(""), json!(null), json!("e30="), json!("AAAA"), json!("+/8="), base64(DATA_MAX_BYTES)] {
        assert!(parse(OM, &layer("data", data.clone())).is_ok(), "{data}");
    }
    for data in ["e30", "e30=\n", "=", "====", "A===", "e=30", "e3_0", "é===", "garbage!"] {
        refused(OM, &layer("data", json!(data)), "layers[0].data must be base64 with padding");
    }
    refused(OM, &layer("data", base64(DATA_MAX_BYTES + 1)), "layers[0].data has more than 65536 bytes");
    let layers = |count: usize| Some(Value::from(vec![with(blob("a/b"), "data", Some(base64(DATA_MAX_BYTES))); count]));
    assert!(parse(OM, &with(image(), "layers", layers(16))).is_ok());
    assert_eq!(parse(OM, &with(image(), "layers", layers(17))), Err(ManifestError::TooMuchData));
}

#[test]
fn urls() {
    let urls = |count: usize, length: usize| json!(vec![format!("https://{}", "a".repeat(length - 8)); count]);
    assert!(parse(OM, &layer("urls", urls(16, 2048))).is_ok());
    refused(OM, &layer("urls", urls(17, 9)), "layers[0].urls has more than 16 entries");
    refused(OM, &layer("urls", urls(1, 2049)), "layers[0].urls[0] has more than 2048 bytes");
}

/// Bodies of 4 MiB that try to cost more than they should (B-058).
fn hostile() -> Vec<(&'static str, String)> {
    let size = usize::try_from(MANIFEST_MAX_BYTES).unwrap();
    let repeated = |unit: &str, room: usize| unit.repeat((size - room) / unit.len());
    let tail = |text: String| format!("{{\"schemaVersion\":2,\"x\":[{}0]}}", text);
    let escaped: String = (0..size / 16).map(|index| format!("{{\"\\u00{:02x}\":0}},", index % 256)).collect();
    let wide: String = (0..size / 12_400)
        .map(|_| format!("{{{}\"z\":0}},", (0..1023).map(|index| format!("\"{index:04}\":0,")).collect::<String>()))
        .collect();
    let long_names: String = (0..1020).map(|index| format!("\"{}{index:04}\":0,", "n".repeat(4090))).collect();
    vec![
        ("arrays in arrays", repeated("[", 0)),
        ("objects in objects", repeated("{\"a\":", 0)),
        ("empty objects", tail(repeated("{},", 32))),
        ("small objects", tail(repeated("{\"a\":1},", 32))),
        ("objects with two names", tail(repeated("{\"a\":1,\"b\":1},", 32))),
        ("escaped names", tail(escaped)),
        ("wide objects", tail(wide)),
        ("long names", format!("{{{long_names}\"schemaVersion\":2}}")),
        ("numbers", tail(repeated("1,", 32))),
        ("long numbers", tail(repeated("1.2345678901234567e-300,", 32))),
        ("one number", tail(repeated("1", 32) + ",")),
        ("escapes", tail(format!("\"{}\",", repeated("\\u00e9", 48)))),
        ("layers", format!("{{\"schemaVersion\":2,\"config\":0,\"layers\":[{}0]}}", repeated("0,", 64))),
        ("urls", layer("urls", json!(vec!["https://a"; size / 13])).to_string()),
        ("annotation", padded(size)),
    ]
}

#[test]
fn b058_hostile_bodies_are_answered() {
    let size = usize::try_from(MANIFEST_MAX_BYTES).unwrap();
    for (name, body) in hostile() {
        assert!(body.len() <= size, "{name} has {} bytes", body.len());
        assert_eq!(Manifest::parse(Some(OM), body.as_bytes()).is_ok(), name == "annotation", "{name}");
    }
}

#[test]
#[ignore = "a measurement: cargo test --release -p wharf-oci -- --ignored --nocapture"]
fn b058_hostile_bodies_take_less_than_50_ms() {
    for (name, body) in hostile() {
        let best = (0..5).map(|_| {
            let start = Instant::now();
            let _ = Manifest::parse(Some(OM), body.as_bytes());
            start.elapsed()
        });
        let best = best.min().unwrap();
        println!("{name}: {best:?}");
        assert!(best < Duration::from_millis(50), "{name} took {best:?}");
    }
}
