use proptest::prelude::*;

use crate::{LinkError, NextLink};

fn target(header: &str) -> Option<String> {
    NextLink::parse(header).unwrap().map(|link| link.target)
}

#[test]
fn p262_a_link_is_printed_for_every_client() {
    let link = NextLink { target: "/v2/t/l/tags/list?n=2&last=9".into() };
    assert_eq!(link.to_string(), "</v2/t/l/tags/list?n=2&last=9>; rel=\"next\"");
}

#[test]
fn s045_nothing_ends_the_header_or_the_reference() {
    let link = NextLink { target: "/a;b>c\r\nX: y\0 \"é\\".into() };
    assert_eq!(link.to_string(), "</a%3Bb%3Ec%0D%0AX:%20y%00%20%22%C3%A9%5C>; rel=\"next\"");
}

#[test]
fn the_next_link_is_found_among_others() {
    for (header, expected) in [
        ("", None),
        ("</b>", None),
        ("</b>; rel=prev", None),
        ("</b>; rel=\"nextish\"", None),
        ("</b>; title=\"rel=next\"", None),
        ("</b>; rel=prev; rel=next", None),
        ("</b>;rel=next", Some("/b")),
        ("</b>; rel=\"next\"", Some("/b")),
        ("</b>; REL = \"Next\"", Some("/b")),
        ("</b>; rel=\"prev next\"", Some("/b")),
        ("</b>; crossorigin; rel=next; a=b", Some("/b")),
        ("</b>; ; rel=next;", Some("/b")),
        ("</b>; title=\"a, \\\"<c>; rel=next\"; rel=next", Some("/b")),
        ("</a,;>; rel=prev, , </b?x=1,2;3>; rel=next,", Some("/b?x=1,2;3")),
        ("</a>; rel=next, </b>; rel=next", Some("/a")),
        ("<https://r.example/v2/_catalog?last=a>; rel=next", Some("https://r.example/v2/_catalog?last=a")),
    ] {
        assert_eq!(target(header).as_deref(), expected, "{header}");
    }
}

#[test]
fn what_is_not_a_list_of_links_is_an_error() {
    for (header, expected) in [
        ("/b; rel=next", LinkError::NoTarget),
        ("</b; rel=next", LinkError::OpenTarget),
        ("</b>; rel=\"next", LinkError::OpenQuote),
        ("</b>; rel=\"next\\\"", LinkError::OpenQuote),
        ("</b> rel=next", LinkError::Separator),
        ("</b>; rel=next x", LinkError::Separator),
        ("</b>; rel=next </c>; rel=prev", LinkError::Separator),
        ("</a>; rel=prev, x", LinkError::NoTarget),
    ] {
        assert_eq!(NextLink::parse(header), Err(expected), "{header}");
    }
}

proptest! {
    #[test]
    fn a_link_parses_from_what_it_prints(target in "/[a-zA-Z0-9/?&=%._~:@!$'()*+,-]{0,60}") {
        let link = NextLink { target };
        prop_assert_eq!(NextLink::parse(&link.to_string()), Ok(Some(link)));
    }

    #[test]
    fn any_target_makes_a_harmless_header(target in any::<String>()) {
        let header = NextLink { target }.to_string();
        prop_assert!(header.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        let link = NextLink::parse(&header).unwrap().unwrap();
        prop_assert_eq!(link.to_string(), header);
    }

    #[test]
    fn any_text_is_answered(header in "\\PC{0,60}|[<>;,=\"\\\\ a]{0,40}") {
        let _ = NextLink::parse(&header);
    }
}
