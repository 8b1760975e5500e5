use proptest::prelude::*;

use crate::{PATTERN_MAX_BYTES, Pattern};

fn answer(pattern: &str, name: &str) -> &'static str {
    match pattern.parse::<Pattern>() {
        Err(_) => "bad",
        Ok(pattern) if pattern.matches(name) => "yes",
        Ok(_) => "no",
    }
}

#[track_caller]
fn check(pattern: &str, name: &str, expected: &str) {
    assert_eq!(answer(pattern, name), expected, "{pattern} on {name}");
}

/// Pattern, name, and what Go 1.26's `path.Match` says, by which this table was made. Where a whole segment is `**` the
/// answers differ on purpose and stand in the test below.
const GO: &[(&str, &str, &str)] = &[
    (r#"abc"#, r#"abc"#, "yes"),
    (r#"*"#, r#"abc"#, "yes"),
    (r#"*c"#, r#"abc"#, "yes"),
    (r#"a*"#, r#"a"#, "yes"),
    (r#"a*"#, r#"abc"#, "yes"),
    (r#"a*"#, r#"ab/c"#, "no"),
    (r#"a*/b"#, r#"abc/b"#, "yes"),
    (r#"a*/b"#, r#"a/c/b"#, "no"),
    (r#"a*b*c*d*e*/f"#, r#"axbxcxdxe/f"#, "yes"),
    (r#"a*b*c*d*e*/f"#, r#"axbxcxdxexxx/f"#, "yes"),
    (r#"a*b*c*d*e*/f"#, r#"axbxcxdxe/xxx/f"#, "no"),
    (r#"a*b?c*x"#, r#"abxbbxdbxebxczzx"#, "yes"),
    (r#"a*b?c*x"#, r#"abxbbxdbxebxczzy"#, "no"),
    (r#"ab[c]"#, r#"abc"#, "yes"),
    (r#"ab[b-d]"#, r#"abc"#, "yes"),
    (r#"ab[e-g]"#, r#"abc"#, "no"),
    (r#"ab[^c]"#, r#"abc"#, "no"),
    (r#"ab[^b-d]"#, r#"abc"#, "no"),
    (r#"ab[^e-g]"#, r#"abc"#, "yes"),
    (r#"a\*b"#, r#"a*b"#, "yes"),
    (r#"a\*b"#, r#"ab"#, "no"),
    (r#"a?b"#, r#"a/b"#, "no"),
    (r#"a*b"#, r#"a/b"#, "no"),
    (r#"[a-ζ]*"#, r#"α"#, "yes"),
    (r#"*[a-ζ]"#, r#"A"#, "no"),
    (r#"[\]a]"#, r#"]"#, "yes"),
    (r#"[\-]"#, r#"-"#, "yes"),
    (r#"[x\-]"#, r#"x"#, "yes"),
    (r#"[x\-]"#, r#"-"#, "yes"),
    (r#"[x\-]"#, r#"z"#, "no"),
    (r#"[\-x]"#, r#"x"#, "yes"),
    (r#"[]a]"#, r#"]"#, "bad"),
    (r#"[-]"#, r#"-"#, "bad"),
    (r#"[x-]"#, r#"x"#, "bad"),
    (r#"[x-]"#, r#"z"#, "bad"),
    (r#"[-x]"#, r#"x"#, "bad"),
    (r#"\"#, r#"a"#, "bad"),
    (r#"[a-b-c]"#, r#"a"#, "bad"),
    (r#"["#, r#"a"#, "bad"),
    (r#"[^"#, r#"a"#, "bad"),
    (r#"[^bc"#, r#"a"#, "bad"),
    (r#"a["#, r#"a"#, "bad"),
    (r#"a["#, r#"ab"#, "bad"),
    (r#"*x"#, r#"xxx"#, "yes"),
    (r#"[^a-z]"#, r#"5"#, "yes"),
    (r#"[^a-z]"#, r#"b"#, "no"),
    (r#"[^]"#, r#"a"#, "bad"),
    (r#"[^-]"#, r#"a"#, "bad"),
    (r#"[z-a]"#, r#"m"#, "no"),
    (r#"team/*"#, r#"team/a"#, "yes"),
    (r#"team/*"#, r#"team/a/b"#, "no"),
    (r#"team/*"#, r#"team"#, "no"),
    (r#"team"#, r#"teammate"#, "no"),
    (r#"team"#, r#"team"#, "yes"),
    (r#"*[^x]*b"#, r#"a/b"#, "no"),
    (r#"a[^b]c"#, r#"a/c"#, "yes"),
    (r#"a[/]c"#, r#"a/c"#, "yes"),
    (r#"*a[^b]c"#, r#"xa/c"#, "yes"),
    (r#"a\/b"#, r#"a/b"#, "yes"),
    (r#"a\"#, r#"a"#, "bad"),
    (r#"*/*"#, r#"a/b"#, "yes"),
    (r#"*/*"#, r#"a/b/c"#, "no"),
    (r#"**"#, r#"a"#, "yes"),
    (r#"**"#, r#"a/b"#, "no"),
    (r#"a**b"#, r#"axxb"#, "yes"),
    (r#"a**b"#, r#"ax/b"#, "no"),
    (r#"?"#, r#"é"#, "yes"),
    (r#"???"#, r#"abc"#, "yes"),
];

#[test]
fn f05_patterns_are_gos_path_match() {
    for (pattern, name, expected) in GO.iter().filter(|(pattern, ..)| *pattern != "**") {
        check(pattern, name, expected);
    }
}

#[test]
fn f05_a_segment_of_two_stars_crosses_segments() {
    for (pattern, name, expected) in [
        ("**", "a", "yes"),
        ("**", "a/b/c", "yes"),
        ("team/**", "team/a", "yes"),
        ("team/**", "team/a/b/c", "yes"),
        ("team/**", "team", "no"),
        ("team/**", "teammate/a", "no"),
        ("**/app", "app", "yes"),
        ("**/app", "x/y/app", "yes"),
        ("**/app", "x/yapp", "no"),
        ("a/**/b", "a/b", "yes"),
        ("a/**/b", "a/x/y/b", "yes"),
        ("a/**/b", "a/x/y/bb", "no"),
        ("a/**/b", "b", "no"),
        ("a/**/m/**/z", "a/m/z", "yes"),
        ("a/**/m/**/z", "a/x/m/y/z", "yes"),
        ("a/**/m/**/z", "a/x/y/z", "no"),
        ("a/**/**/b", "a/b", "yes"),
        ("a/**/**/b", "a/x/b", "yes"),
        ("**/**", "a", "yes"),
        ("**/**", "a/b/c", "yes"),
        ("t*/**/a?", "team/x/ab", "yes"),
        ("t*/**/a?", "team/ab", "yes"),
        ("t*/**/a?", "team/x/a", "no"),
        ("a**", "axx", "yes"),
        ("a**", "a/b", "no"),
        ("**a", "xa", "yes"),
        ("**a", "x/a", "no"),
        ("\\**", "*x", "yes"),
        ("\\**", "a/b", "no"),
        ("a/**/x/y", "a/x/y/x/y", "yes"),
        ("a/**/x/y/**", "a/x/y", "no"),
        ("a/**/x/y/**", "a/x/y/z", "yes"),
    ] {
        check(pattern, name, expected);
    }
}

#[test]
fn s005_a_pattern_has_a_length_and_its_matching_an_end() {
    assert!("a".repeat(PATTERN_MAX_BYTES).parse::<Pattern>().is_ok());
    assert!("a".repeat(PATTERN_MAX_BYTES + 1).parse::<Pattern>().is_err());
    assert!("".parse::<Pattern>().is_err());
    let stars = format!("{}b", "a*".repeat(255));
    check(&stars, &"a".repeat(255), "no");
    let segments = format!("{}b", "**/a*/".repeat(85));
    check(&segments, "a/".repeat(127).trim_end_matches('/'), "no");
}

#[test]
fn the_first_segment_is_known_where_it_is_plain() {
    for (pattern, expected) in [
        ("team/*", Some("team")),
        ("team", Some("team")),
        ("team/**", Some("team")),
        ("te\\am/a", Some("team")),
        ("t*/a", None),
        ("**/a", None),
        ("**", None),
        ("[t]eam/a", None),
    ] {
        let pattern: Pattern = pattern.parse().expect("a pattern");
        assert_eq!(pattern.first_segment().as_deref(), expected, "{pattern}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_a_pattern_prints_as_it_was_written(text in "[a-c/*?\\[\\]^\\\\-]{0,24}", name in "[a-c/]{0,12}") {
        if let Ok(pattern) = text.parse::<Pattern>() {
            prop_assert_eq!(pattern.as_str(), &text);
            let _ = pattern.matches(&name);
        }
    }

    #[test]
    fn what_matches_by_a_plain_first_segment_begins_with_it(text in "[a-c/*?]{1,12}", name in "[a-c]{1,3}(/[a-c]{1,3}){0,3}") {
        let pattern: Pattern = text.parse().expect("there is nothing in it that could be malformed");
        if let Some(segment) = pattern.first_segment() && pattern.matches(&name) {
            prop_assert_eq!(name.split('/').next(), Some(segment.as_str()));
        }
    }
}
