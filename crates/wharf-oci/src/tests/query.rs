use proptest::prelude::*;

use crate::{PageSize, PageSizeError, Query, QueryError};

fn first(raw: &str, name: &str) -> Option<String> {
    Query::parse(Some(raw)).unwrap().first(name).map(str::to_owned)
}

#[test]
fn values_are_decoded_exactly_once() {
    for (raw, expected) in [
        ("digest=sha256%3Aab", Some("sha256:ab")),
        ("digest=sha256:ab", Some("sha256:ab")),
        ("foo=1&digest=a%2bb&bar=%20", Some("a+b")),
        ("digest=a+b", Some("a+b")),
        ("digest=%2525", Some("%25")),
        ("d%69gest=x", Some("x")),
        ("digest=a=b", Some("a=b")),
        ("digest=", Some("")),
        ("digest", Some("")),
        ("&&digest=x&", Some("x")),
        ("digest=%C3%A9", Some("é")),
        ("Digest=x", None),
        ("", None),
    ] {
        assert_eq!(first(raw, "digest").as_deref(), expected, "{raw}");
    }
    assert_eq!(Query::parse(None).unwrap().first("n"), None);
}

#[test]
fn p012_the_first_value_counts_and_all_can_be_had() {
    let query = Query::parse(Some("tag=a&x=1&tag=b&tag=a")).unwrap();
    assert_eq!(query.first("tag"), Some("a"));
    assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b", "a"]);
    assert_eq!(query.all("none").count(), 0);
}

#[test]
fn b031_what_does_not_decode_is_left_as_it_is() {
    for value in ["%zz", "%", "%4", "%ff%fe", "%c0%ae", "a%"] {
        assert_eq!(first(&format!("x={value}&y=1"), "x").as_deref(), Some(value));
        assert_eq!(first(&format!("x={value}&y=1"), "y").as_deref(), Some("1"));
    }
}

#[test]
fn b031_256_parameters_are_the_limit() {
    let parameters = |count: usize| vec!["a=%zz"; count].join("&&");
    assert_eq!(Query::parse(Some(&parameters(256))).unwrap().all("a").count(), 256);
    assert_eq!(Query::parse(Some(&parameters(257))), Err(QueryError::TooMany));
}

#[test]
fn p050_p264_page_sizes() {
    for (text, expected) in
        [("0", 0), ("7", 7), ("007", 7), ("4294967295", u32::MAX), ("18446744073709551615", u32::MAX)]
    {
        assert_eq!(PageSize::parse(Some(text)).unwrap().map(PageSize::get), Some(expected), "{text}");
    }
    for text in
        ["", "-1", "+1", " 1", "1 ", "x", "1e3", "0x1", "1.0", "٣", "99999999999999999999", "18446744073709551616"]
    {
        assert_eq!(PageSize::parse(Some(text)), Err(PageSizeError::NotANumber), "{text:?}");
    }
    assert_eq!(PageSize::parse(None), Ok(None));
}

proptest! {
    #[test]
    fn an_encoded_value_is_read_as_it_was(name in "[a-z]{1,8}", value in any::<String>()) {
        let encoded = percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
        prop_assert_eq!(first(&format!("other=1&{name}={encoded}"), &name), Some(value));
    }

    #[test]
    fn any_text_is_answered(raw in "\\PC{0,60}|[a%&=0-9é]{0,60}") {
        let query = Query::parse(Some(&raw)).unwrap();
        let _ = query.first("a");
    }
}
