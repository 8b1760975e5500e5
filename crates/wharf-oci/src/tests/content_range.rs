use proptest::prelude::*;

use crate::{ContentRange, ContentRangeError};

fn parse(text: &str) -> Result<ContentRange, ContentRangeError> {
    text.parse()
}

#[test]
fn p163_the_accepted_forms() {
    for text in ["0-9", "bytes 0-9", "bytes 0-9/20", "bytes 0-9/10", "bytes 0-9/*", "bytes=0-9"] {
        assert_eq!(parse(text), Ok(ContentRange { start: 0, end: 9 }), "{text}");
    }
    assert_eq!(parse("1024-2047").unwrap().len_bytes(), 1024);
    assert_eq!(parse("0-0").unwrap().len_bytes(), 1);
}

#[test]
fn p166_what_is_malformed() {
    for text in [
        "",
        "-",
        "0-",
        "-9",
        "0",
        "x-y",
        "0-9/20",
        "0-9/*",
        "bytes=0-9/20",
        "bytes0-9",
        "bytes  0-9",
        "bytes */20",
        "bytes *",
        "items 0-9",
        "+0-9",
        "0--9",
        "0-9-10",
        "0-9 ",
        " 0-9",
        "0 - 9",
        "0-0x9",
        "bytes 0-9/",
        "bytes 0-9/20/30",
        "bytes 0-9/-1",
    ] {
        assert_eq!(parse(text), Err(ContentRangeError::Malformed), "{text:?}");
    }
}

#[test]
fn p166_what_is_inverted() {
    for text in ["4-0", "5-4", "bytes 0-9/9", "bytes 0-9/0"] {
        assert_eq!(parse(text), Err(ContentRangeError::Inverted), "{text}");
    }
}

#[test]
fn b042_numbers_that_no_blob_reaches() {
    for text in [
        "0-18446744073709551615",
        "0-9223372036854775808",
        "0-99999999999999999999999",
        "bytes 0-9/9223372036854775808",
    ] {
        assert_eq!(parse(text), Err(ContentRangeError::TooLarge), "{text}");
    }
    assert_eq!(parse("0-9223372036854775807"), Err(ContentRangeError::Inverted));
    assert_eq!(parse("0-9223372036854775806").unwrap().len_bytes(), 9_223_372_036_854_775_807);
}

proptest! {
    #[test]
    fn a_range_parses_from_what_it_prints(start in 0..i64::MAX.unsigned_abs(), length in 1..u64::from(u32::MAX)) {
        let end = (start + length - 1).min(i64::MAX.unsigned_abs() - 1);
        let range = ContentRange { start, end };
        prop_assert_eq!(parse(&range.to_string()), Ok(range));
        prop_assert_eq!(parse(&format!("bytes {range}/{}", end + 1)), Ok(range));
        prop_assert_eq!(range.len_bytes(), end - start + 1);
    }

    #[test]
    fn any_text_is_answered(text in any::<String>(), odd in "(bytes[ =])?[0-9]{0,22}-?[0-9]{0,22}(/[0-9*]{0,3})?") {
        for text in [text, odd] {
            if let Ok(range) = parse(&text) {
                prop_assert!(range.start <= range.end);
                prop_assert_eq!(parse(&range.to_string()), Ok(range));
            }
        }
    }
}
