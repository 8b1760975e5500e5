//! Names, tags and references print as they were parsed; exactly the texts with a colon are digests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_oci::{Reference, RepositoryName, Tag};

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<RepositoryName>() {
        assert_eq!(name.to_string(), text);
        assert!(text.len() <= 255 && text.split('/').all(|component| component != "." && component != ".."));
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string(), text);
        assert_eq!(matches!(reference, Reference::Digest(_)), text.contains(':'));
    }
    assert_eq!(matches!(text.parse(), Ok(Reference::Tag(_))), text.parse::<Tag>().is_ok());
});
