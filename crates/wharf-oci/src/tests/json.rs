use proptest::prelude::*;
use serde_json::Value;

use crate::JsonError;
use crate::json::check;

fn refusal(text: &str) -> JsonError {
    check(text.as_bytes()).unwrap_err()
}

#[test]
fn ordinary_json_passes() {
    for text in
        ["{}", " [1, -2.5e3, true, null, \"\\u00e9\"]\n", "{\"a\":{\"a\":[{\"a\":1}]},\"b\":{\"a\":1}}", "0", "\"\""]
    {
        assert_eq!(check(text.as_bytes()), Ok(text));
    }
}

#[test]
fn b059_what_parsers_disagree_about_is_refused() {
    for text in [
        "",
        " ",
        "{}x",
        "{} {}",
        "[1,]",
        "{\"a\":1,}",
        "\u{feff}{}",
        "NaN",
        "[Infinity]",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "{\"\\ud800\":1}",
        "'a'",
        "{a:1}",
        "[01]",
        "[1.]",
        "[+1]",
        "\"\t\"",
        "[1 2]",
        "tru",
        "/**/{}",
        "[1e999]",
    ] {
        assert!(matches!(refusal(text), JsonError::Syntax(_)), "{text:?}");
    }
    assert_eq!(check(b"{\"a\":\"\xff\"}"), Err(JsonError::NotUtf8 { offset_bytes: 6 }));
    let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(check(&utf16).is_err());
}

#[test]
fn b059_names_occur_once_however_they_are_written() {
    for text in [
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"\\u0061\":2}",
        "[{\"b\":[{\"a\":{},\"b\":{},\"a\":{}}]}]",
        "{\"a\":{\"x\":1},\"b\":1,\"a\":2}",
    ] {
        assert_eq!(refusal(text), JsonError::DuplicateName { name: "a".into() }, "{text}");
    }
    let many: Vec<String> = (0..100).map(|index| format!("\"{index}\":0")).collect();
    assert!(check(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
    assert_eq!(refusal(&format!("{{{},\"42\":1}}", many.join(","))), JsonError::DuplicateName { name: "42".into() });
}

#[test]
fn a_name_in_an_error_is_harmless() {
    let name = format!("\\u001b[31m\\n{}", "x".repeat(100));
    let JsonError::DuplicateName { name } = refusal(&format!("{{\"{name}\":1,\"{name}\":1}}")) else {
        panic!("the name occurs twice");
    };
    assert!(name.starts_with("\\u{1b}[31m\\nxxx"), "{name}");
    assert!(name.ends_with('…') && name.len() < 100 && !name.contains(char::is_control), "{name}");
}

#[test]
fn s046_limits() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(check(nested(32).as_bytes()).is_ok());
    assert_eq!(refusal(&nested(33)), JsonError::TooDeep);
    let objects = "{\"a\":".repeat(33) + "1" + &"}".repeat(33);
    assert_eq!(refusal(&objects), JsonError::TooDeep);

    let members = |count: usize| {
        let members: Vec<String> = (0..count).map(|index| format!("\"{index}\":0")).collect();
        format!("[{{}},{{{}}}]", members.join(","))
    };
    assert!(check(members(1024).as_bytes()).is_ok());
    assert_eq!(refusal(&members(1025)), JsonError::TooManyMembers);

    let values = |count: usize| format!("[{}0]", "0,".repeat(count - 2));
    assert!(check(values(262_144).as_bytes()).is_ok());
    assert_eq!(refusal(&values(262_145)), JsonError::TooManyValues);
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 12, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..12)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_printed_passes(value in values()) {
        prop_assert!(check(value.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn what_passes_is_json_to_others_too(text in "[\\[\\]{}\",:0-9a\\\\ .eE+-]{0,30}", bytes in any::<Vec<u8>>()) {
        for bytes in [text.into_bytes(), bytes] {
            if check(&bytes).is_ok() {
                prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
            }
        }
    }
}
