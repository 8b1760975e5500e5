use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::print;
use crate::{AnyDigest, Descriptor, Digest, Manifest, ManifestKind, Platform};

fn media_types() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,8}/[a-z0-9][a-z0-9.+-]{0,20}(; charset=utf-8)?"
}

fn platforms() -> impl Strategy<Value = Platform> {
    let optional = || option::of("[a-z0-9.\"\\\\é]{1,8}");
    ("[a-z0-9]{0,8}", "[a-z0-9]{0,8}", optional(), vec("[a-z]{0,5}", 0..3), optional()).prop_map(
        |(architecture, os, os_version, os_features, variant)| Platform {
            architecture,
            os,
            os_version,
            os_features,
            variant,
        },
    )
}

fn descriptors() -> impl Strategy<Value = Descriptor> {
    (
        media_types(),
        any::<[u8; 32]>().prop_map(Digest::Sha256),
        0..=i64::MAX.unsigned_abs(),
        vec("https://[a-z.]{1,10}/[!-~]{0,10}", 0..3),
        option::of(media_types()),
        btree_map("[a-z.\"\\\\é]{0,8}", any::<String>(), 0..4),
        option::of("([A-Za-z0-9+/]{4}){1,6}([A-Za-z0-9+/]{2}==)?"),
        option::of(platforms()),
    )
        .prop_map(|(media_type, digest, size, urls, artifact_type, annotations, data, platform)| Descriptor {
            media_type,
            digest,
            size,
            urls,
            artifact_type,
            annotations,
            data,
            platform,
        })
}

fn subjects() -> impl Strategy<Value = AnyDigest> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(|hash| Digest::Sha256(hash).into()),
        "[a-z0-9]{1,5}([+._-][a-z0-9]{1,5}){0,2}:[a-zA-Z0-9=_-]{1,40}"
            .prop_filter_map("sha256", |text| text.parse().ok()),
    ]
}

fn manifests() -> impl Strategy<Value = Manifest> {
    use ManifestKind::{DockerList, DockerManifest, OciIndex, OciManifest};
    (
        prop::sample::select(vec![OciManifest, OciIndex, DockerManifest, DockerList]),
        option::of(media_types()),
        descriptors(),
        vec(descriptors(), 0..4),
        option::of(subjects()),
        btree_map("[a-z.\"\\\\é]{0,8}", any::<String>(), 0..4),
    )
        .prop_map(|(kind, artifact_type, config, others, subject, annotations)| {
            let (config, layers, children) =
                if kind.is_index() { (None, vec![], others) } else { (Some(config), others, vec![]) };
            Manifest {
                kind,
                artifact_type: artifact_type.or_else(|| config.as_ref().map(|config| config.media_type.clone())),
                config,
                layers,
                children,
                subject: subject.filter(|_| !kind.is_docker()),
                annotations,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_manifest_parses_from_what_is_printed_of_it(manifest in manifests()) {
        let body = print::manifest(&manifest).to_string();
        for content_type in [Some(manifest.kind.as_str()), None] {
            let parsed = Manifest::parse(content_type, body.as_bytes());
            prop_assert_eq!(parsed.as_ref(), Ok(&manifest));
        }
    }

    #[test]
    fn a_manifest_cut_anywhere_is_refused(manifest in manifests(), at in any::<prop::sample::Index>()) {
        let body = print::manifest(&manifest).to_string();
        prop_assert!(Manifest::parse(None, &body.as_bytes()[..at.index(body.len())]).is_err());
    }

    #[test]
    fn a_manifest_with_a_changed_byte_is_answered(manifest in manifests(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = print::manifest(&manifest).to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(changed) = Manifest::parse(None, &body) {
            let printed = print::manifest(&changed).to_string();
            prop_assert_eq!(Manifest::parse(None, printed.as_bytes()), Ok(changed));
        }
    }

    #[test]
    fn any_bytes_are_answered(body in any::<Vec<u8>>(), content_type in option::of(any::<String>())) {
        prop_assert!(Manifest::parse(content_type.as_deref(), &body).is_err());
    }
}
