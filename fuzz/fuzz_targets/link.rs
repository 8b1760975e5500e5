//! Any header is read or refused; what is read prints as a header that is read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_oci::NextLink;

fuzz_target!(|text: &str| {
    if let Ok(Some(link)) = NextLink::parse(text) {
        check(link);
    }
    check(NextLink { target: text.to_owned() });
});

/// Printing makes a target safe; from then on it stays as it is.
fn check(link: NextLink) {
    let header = link.to_string();
    assert!(header.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{header:?}");
    let parsed = NextLink::parse(&header).expect("a printed link is a link").expect("it is the next one");
    assert_eq!(parsed.to_string(), header);
    assert_eq!(NextLink::parse(&parsed.to_string()), Ok(Some(parsed)));
}
