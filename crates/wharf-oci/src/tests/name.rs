use proptest::prelude::*;

use crate::{NameError, RepositoryName};

fn parse(name: &str) -> Result<RepositoryName, NameError> {
    name.parse()
}

/// The grammar of P-036 as an automaton, one transition a byte; written down without looking at the parser.
fn is_in_the_grammar(name: &str) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum At {
        Start,
        Run,
        Dot,
        Underscore,
        TwoUnderscores,
        Dashes,
    }
    let mut at = At::Start;
    for byte in name.bytes() {
        at = match (at, byte) {
            (_, b'a'..=b'z' | b'0'..=b'9') => At::Run,
            (At::Run, b'/') => At::Start,
            (At::Run, b'.') => At::Dot,
            (At::Run, b'_') => At::Underscore,
            (At::Underscore, b'_') => At::TwoUnderscores,
            (At::Run | At::Dashes, b'-') => At::Dashes,
            _ => return false,
        };
    }
    at == At::Run
}

#[test]
fn p036_names_that_are_valid() {
    for name in ["a", "0", "a--b", "a---b", "a__b", "a.b", "a_b", "a-b", "team/app", "a/b/c", "con", "nul", "1.2-3__4"]
    {
        assert_eq!(parse(name).unwrap().as_str(), name);
    }
}

#[test]
fn p036_names_that_are_not() {
    for name in [
        "", "/", "a/", "/a", "a//b", "a___b", "a..b", "a.-b", "a_-b", "a-_b", "-a", "a-", "a.", ".a", "a/_b", "_a",
        "A", "a/B", "ä", "a b", "a:b", "a\\b", "a\0", "a\n", "a%2fb", "..", "a/../b", "_catalog", "_trash", ".tmp",
    ] {
        assert!(parse(name).is_err(), "{name:?} must be refused");
    }
}

#[test]
fn b023_files_of_other_systems_are_ordinary_names() {
    for name in ["wharf.id", "blobs/uploads", "a/manifests/b", "tags/list", "v2/v2", "referrers"] {
        assert!(parse(name).is_ok(), "{name}");
    }
}

#[test]
fn every_short_text_agrees_with_the_grammar() {
    const ALPHABET: [&str; 7] = ["a", "0", ".", "_", "-", "/", "A"];
    let mut texts = vec![String::new()];
    for _ in 0..6 {
        texts = texts.iter().flat_map(|text| ALPHABET.map(|letter| format!("{text}{letter}"))).collect();
        for text in &texts {
            assert_eq!(parse(text).is_ok(), is_in_the_grammar(text), "{text:?}");
        }
    }
}

#[test]
fn p038_255_bytes_are_the_limit() {
    let name = ["a"; 127].join("-") + "/aa";
    assert_eq!(name.len(), 256);
    assert_eq!(parse(&name), Err(NameError::TooLong { length_bytes: 256 }));
    let longest = ["a".repeat(127), "b".repeat(127)].join("/");
    assert_eq!(longest.len(), 255);
    assert!(parse(&longest).is_ok());
}

#[test]
fn b021_limits_of_components() {
    assert!(parse(&["a"; 32].join("/")).is_ok());
    assert_eq!(parse(&["a"; 33].join("/")), Err(NameError::TooManyComponents));
    assert!(parse(&"a".repeat(128)).is_ok());
    assert_eq!(parse(&"a".repeat(129)), Err(NameError::ComponentTooLong));
}

#[test]
fn the_error_says_what_is_wrong_and_where() {
    for (name, expected) in [
        ("", "the repository name is empty"),
        ("a/B", "component 2 of the repository name has a character other than a-z, 0-9, '.', '_' and '-'"),
        ("a-/b", "component 1 of the repository name ends with a separator"),
        ("_a", "component 1 of the repository name starts with a separator"),
        ("a//b", "component 2 of the repository name is empty; slashes only stand between components"),
    ] {
        assert_eq!(parse(name).unwrap_err().to_string(), expected, "{name:?}");
    }
}

proptest! {
    #[test]
    fn a_name_prints_as_it_was_parsed(name in "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}(/[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}){0,4}") {
        prop_assert_eq!(parse(&name).unwrap().to_string(), name);
    }

    #[test]
    fn long_texts_agree_with_the_grammar(name in "[a-c0._/A-]{0,40}") {
        let is_too_large = name.split('/').count() > 32;
        prop_assert_eq!(parse(&name).is_ok(), is_in_the_grammar(&name) && !is_too_large);
    }

    #[test]
    fn any_text_is_answered(name in any::<String>()) {
        prop_assert_eq!(parse(&name).is_ok(), is_in_the_grammar(&name));
    }
}
