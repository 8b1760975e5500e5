use proptest::prelude::*;

use super::J;
use crate::{Algorithm, AnyDigest, Digest, DigestError};

fn is_malformed(text: &str) -> bool {
    let any = text.parse::<AnyDigest>();
    matches!(text.parse::<Digest>(), Err(DigestError::Malformed(_))) && matches!(any, Err(DigestError::Malformed(_)))
}

#[test]
fn a_digest_is_that_of_its_content() {
    assert_eq!(Digest::of(Algorithm::Sha256, b"{}").to_string(), J);
    let hello = "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca7\
                 2323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043";
    assert_eq!(Digest::of(Algorithm::Sha512, b"hello").hex(), hello);
}

#[test]
fn p044_b032_digests_that_are_malformed() {
    let hex = &J[7..];
    for text in [
        "",
        ":",
        "sha256:",
        "sha256",
        hex,
        &J[..70],
        &format!("{J}0"),
        &format!("{J}\n"),
        &format!("{J} "),
        &format!(" {J}"),
        &format!("sha256 :{hex}"),
        &format!("SHA256:{hex}"),
        &format!("sha256:{}", hex.to_uppercase()),
        &format!("sha256::{hex}"),
        &format!("sha256:{}", ".".repeat(64)),
        &format!("sha256:{}", "g".repeat(64)),
        &format!("sha512:{hex}"),
        &format!("sha256:{hex}{hex}"),
        "sha256:../../../../etc/passwd",
        "sha256:baddigeststring",
        "sha256+:aa",
        "+sha256:aa",
        "sha--256:aa",
        "md5:",
        "md5:a/b",
        &format!("md5:{}", "a".repeat(252)),
    ] {
        assert!(is_malformed(text), "{text:?}");
    }
}

#[test]
fn b034_digests_of_other_algorithms_are_well_formed() {
    for (text, algorithm) in [
        ("md5:5d41402abc4b2a76b9719d911017c592", "md5"),
        ("multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8", "multihash+base58"),
        ("sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564=", "sha256+b64u"),
        (&format!("blake3:{}", "a".repeat(64)), "blake3"),
        (&format!("md5:{}", "a".repeat(251)), "md5"),
    ] {
        assert_eq!(text.parse::<Digest>(), Err(DigestError::Unsupported(algorithm.to_owned())), "{text}");
        assert_eq!(text.parse::<AnyDigest>().unwrap().as_str(), text);
    }
}

#[test]
fn the_name_of_an_algorithm_tells_unknown_from_malformed() {
    assert_eq!("sha512".parse(), Ok(Algorithm::Sha512));
    assert_eq!("crc32".parse::<Algorithm>(), Err(DigestError::Unsupported("crc32".into())));
    for text in ["", "SHA256", "sha256:", "sha 256", &"a".repeat(256)] {
        assert!(matches!(text.parse::<Algorithm>(), Err(DigestError::Malformed(_))), "{text:?}");
    }
}

#[test]
fn a_hash_has_the_length_of_its_algorithm() {
    assert!(Digest::from_hash(Algorithm::Sha256, &[0; 32]).is_some());
    assert!(Digest::from_hash(Algorithm::Sha256, &[0; 64]).is_none());
    assert!(Digest::from_hash(Algorithm::Sha512, &[0; 64]).is_some());
    assert!(Digest::from_hash(Algorithm::Sha512, &[0; 32]).is_none());
}

#[test]
fn p049_the_same_content_has_one_digest_per_algorithm() {
    let [a, b] = [Algorithm::Sha256, Algorithm::Sha512].map(|algorithm| AnyDigest::from(Digest::of(algorithm, b"{}")));
    assert_ne!(a, b);
}

fn digests() -> impl Strategy<Value = Digest> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(Digest::Sha256),
        any::<([u8; 32], [u8; 32])>()
            .prop_map(|(a, b)| Digest::from_hash(Algorithm::Sha512, &[a, b].concat()).unwrap()),
    ]
}

proptest! {
    #[test]
    fn a_digest_parses_from_what_it_prints(digest in digests()) {
        let text = digest.to_string();
        prop_assert_eq!(text.parse(), Ok(digest));
        prop_assert_eq!(text.parse(), Ok(AnyDigest::from(digest)));
        prop_assert_eq!(&text, &format!("{}:{}", digest.algorithm(), digest.hex()));
        prop_assert_eq!(digest.hex().len(), digest.algorithm().hex_len());
        prop_assert_eq!(Digest::from_hash(digest.algorithm(), digest.as_bytes()), Some(digest));
    }

    #[test]
    fn digests_and_their_texts_have_the_same_order(a in digests(), b in digests()) {
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,80}|[a-z0-9+._:=-]{0,300}|sha256:[0-9a-fA-F]{62,66}") {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), text.clone());
        }
        if let Ok(digest) = text.parse::<AnyDigest>() {
            prop_assert_eq!(digest.to_string(), text);
        }
    }
}
