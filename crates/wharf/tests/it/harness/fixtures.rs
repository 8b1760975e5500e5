//! The exact bytes that the raw corpus names with single letters.

use super::{OCI_INDEX, OCI_MANIFEST, hex_sha256, hex_sha512};

/// The manifest `M`: config `J`, one layer `H`.
const M: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.example.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[{"mediaType":"application/vnd.example.data","digest":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824","size":5}]}"#;

/// The index `I`: one child, `M`.
const I: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:c652897590a9b8a4862a83d0e9ecd03df19a9fc7e42c5a98ec9e6c855854c509","size":380}]}"#;

/// The artifact `A`: refers to `M`, has a type and an annotation of its own.
const A: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.example.sbom.v1","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}],"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:c652897590a9b8a4862a83d0e9ecd03df19a9fc7e42c5a98ec9e6c855854c509","size":380},"annotations":{"k":"v"}}"#;

/// The artifact `G`: refers to `M`; its type is that of its config.
const G: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.example.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[],"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:c652897590a9b8a4862a83d0e9ecd03df19a9fc7e42c5a98ec9e6c855854c509","size":380}}"#;

/// The bytes behind one letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixture {
    E,
    J,
    H,
    K,
    M,
    I,
    A,
    G,
}

impl Fixture {
    /// The fixture called `letter`.
    pub fn named(letter: &str) -> Option<Self> {
        Some(match letter {
            "E" => Self::E,
            "J" => Self::J,
            "H" => Self::H,
            "K" => Self::K,
            "M" => Self::M,
            "I" => Self::I,
            "A" => Self::A,
            "G" => Self::G,
            _ => return None,
        })
    }

    /// Its exact bytes.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::E => Vec::new(),
            Self::J => b"{}".to_vec(),
            Self::H => b"hello".to_vec(),
            Self::K => (0..2048_usize).map(|i| (i % 256) as u8).collect(),
            Self::M => M.as_bytes().to_vec(),
            Self::I => I.as_bytes().to_vec(),
            Self::A => A.as_bytes().to_vec(),
            Self::G => G.as_bytes().to_vec(),
        }
    }

    /// Its digest as the protocol writes it.
    pub fn digest(self) -> String {
        super::sha256(&self.bytes())
    }

    /// A manifest of exactly `length` bytes: `M` padded by an annotation.
    pub fn padded_manifest(length: usize) -> Vec<u8> {
        let open = format!(r#"{},"annotations":{{"pad":""#, M.strip_suffix('}').expect("a JSON object"));
        let close = r#""}}"#;
        let padding = "x".repeat(length - open.len() - close.len());
        format!("{open}{padding}{close}").into_bytes()
    }
}

#[test]
fn the_fixtures_are_those_of_the_protocol_checklist() {
    #[track_caller]
    fn check(fixture: Fixture, size: usize, sha256: &str) {
        assert_eq!((fixture.bytes().len(), hex_sha256(&fixture.bytes())), (size, sha256.to_owned()), "{fixture:?}");
    }
    check(Fixture::E, 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check(Fixture::J, 2, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    check(Fixture::H, 5, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    check(Fixture::K, 2048, "10fc3c51a152e90e5b90319b601d92ccf37290ef53c35ff92507687d8a911a08");
    check(Fixture::M, 380, "c652897590a9b8a4862a83d0e9ecd03df19a9fc7e42c5a98ec9e6c855854c509");
    check(Fixture::I, 240, "65252d6089168abe2081c357240b35efb6601c749bdf818dab66b01d60890b49");
    check(Fixture::A, 616, "61c8cc47223c3d9bbfe88235aab9814c7066cb545f21d02d56ada7dad69ecddc");
    check(Fixture::G, 407, "828b505c4f8588f56d931146c01aa4601cecd5bd2de1a07d2046092e9755878f");
    assert_eq!(
        hex_sha512(&Fixture::H.bytes()),
        "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3\
         adef46f73bcdec043"
    );
    assert_eq!(
        hex_sha512(&Fixture::M.bytes()),
        "dde1e4a7a018240b517eb4e1764cc228b66e4ec8763c014733c2f62eae3398e74312b6320aeaa9b30dee293e721b593140da20b5cd2bfe9f\
         a54353bbb9a58460"
    );
    assert!(M.contains(OCI_MANIFEST) && I.contains(OCI_INDEX));
}
