//! Digests print as they were parsed, and what we can compute is among what is well-formed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf_oci::{AnyDigest, Digest, DigestError};

fuzz_target!(|text: &str| {
    let any = text.parse::<AnyDigest>();
    if let Ok(any) = &any {
        assert_eq!(any.to_string(), text);
    }
    match text.parse::<Digest>() {
        Ok(digest) => {
            assert_eq!(digest.to_string(), text);
            assert_eq!(Digest::from_hash(digest.algorithm(), digest.as_bytes()), Some(digest));
            assert_eq!(any, Ok(digest.into()));
        }
        Err(DigestError::Unsupported(algorithm)) => {
            assert!(any.is_ok());
            assert!(text.starts_with(&format!("{algorithm}:")));
        }
        Err(malformed) => assert_eq!(any, Err(malformed)),
    }
});
