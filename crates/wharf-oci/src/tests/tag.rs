use proptest::prelude::*;

use crate::{Reference, ReferenceError, Tag, TagError};

#[test]
fn p040_tags_that_are_valid() {
    let longest = "a".repeat(128);
    for tag in ["latest", "1.4", "A", "_", "_x", "a-1", "a.", "a-", &longest, "sha256-aaaa.sig"] {
        assert_eq!(tag.parse::<Tag>().unwrap().as_str(), tag);
    }
}

#[test]
fn b027_tags_that_are_not() {
    for (tag, expected) in [
        ("", TagError::Empty),
        (".hidden", TagError::Start),
        ("..", TagError::Start),
        ("-x", TagError::Start),
        ("ünï", TagError::Start),
        ("a:b", TagError::Character),
        ("latest ", TagError::Character),
        ("a/b", TagError::Character),
        ("a\n", TagError::Character),
        ("a+b", TagError::Character),
    ] {
        assert_eq!(tag.parse::<Tag>(), Err(expected), "{tag:?}");
    }
    assert_eq!("a".repeat(129).parse::<Tag>(), Err(TagError::TooLong { length_bytes: 129 }));
}

#[test]
fn tags_sort_by_bytes() {
    let mut tags: Vec<Tag> = ["a_1", "a", "A", "9", "a.1", "10", "a-1"].map(|tag| tag.parse().unwrap()).into();
    tags.sort();
    let sorted: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    assert_eq!(sorted, ["10", "9", "A", "a", "a-1", "a.1", "a_1"]);
}

#[test]
fn p041_only_a_colon_makes_a_digest() {
    let dashed = format!("sha256-{}", "a".repeat(64));
    assert_eq!(dashed.parse::<Reference>().unwrap(), Reference::Tag(dashed.parse().unwrap()));
    assert!(matches!(super::J.parse(), Ok(Reference::Digest(_))));
    assert!(matches!("a:b".parse::<Reference>(), Err(ReferenceError::Digest(_))));
    assert!(matches!(".a".parse::<Reference>(), Err(ReferenceError::Tag(_))));
}

proptest! {
    #[test]
    fn a_reference_prints_as_it_was_parsed(text in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}") {
        prop_assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
    }

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        if let Ok(tag) = text.parse::<Tag>() {
            prop_assert_eq!(tag.to_string(), text.clone());
        }
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string(), text);
        }
    }
}
