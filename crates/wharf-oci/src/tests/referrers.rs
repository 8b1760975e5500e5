use std::collections::BTreeMap;

use super::J;
use crate::{ManifestKind, ReferrerDescriptor, referrers_index};

fn text(referrers: &[ReferrerDescriptor]) -> String {
    String::from_utf8(referrers_index(referrers)).unwrap()
}

#[test]
fn p269_without_referrers_the_list_is_empty_and_there() {
    let expected = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    assert_eq!(text(&[]), expected);
}

#[test]
fn p271_five_members_and_no_others() {
    let full = ReferrerDescriptor {
        media_type: ManifestKind::OciManifest.as_str().to_owned(),
        digest: J.parse().unwrap(),
        size: 616,
        artifact_type: Some("application/vnd.example.sbom.v1".into()),
        annotations: BTreeMap::from([("k".into(), "v".into())]),
    };
    let bare = ReferrerDescriptor { artifact_type: None, annotations: BTreeMap::new(), ..full.clone() };
    let expected = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[\
         {{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"{J}\",\"size\":616,\
         \"artifactType\":\"application/vnd.example.sbom.v1\",\"annotations\":{{\"k\":\"v\"}}}},\
         {{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"{J}\",\"size\":616}}]}}"
    );
    assert_eq!(text(&[full, bare]), expected);
}
