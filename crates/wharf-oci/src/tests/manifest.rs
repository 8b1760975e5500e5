use serde_json::{Value, json};

use super::J;
use crate::{Descriptor, Manifest, ManifestError, ManifestKind, Platform};

const OM: &str = "application/vnd.oci.image.manifest.v1+json";
const OI: &str = "application/vnd.oci.image.index.v1+json";
const DM: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DL: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

pub(super) fn blob(media_type: &str) -> Value {
    json!({ "mediaType": media_type, "digest": J, "size": 2 })
}

/// Fixture M in short: an image manifest with one layer.
pub(super) fn image() -> Value {
    json!({ "schemaVersion": 2, "mediaType": OM, "config": blob("application/vnd.example.config.v1+json"), "layers": [blob("application/vnd.example.data")] })
}

pub(super) fn index() -> Value {
    json!({ "schemaVersion": 2, "mediaType": OI, "manifests": [blob(OM)] })
}

/// The document with one member set, or removed by `None`.
pub(super) fn with(mut document: Value, member: &str, value: Option<Value>) -> Value {
    let members = document.as_object_mut().unwrap();
    match value {
        Some(value) => members.insert(member.to_owned(), value),
        None => members.remove(member),
    };
    document
}

pub(super) fn parse(
    content_type: impl Into<Option<&'static str>>,
    document: &Value,
) -> Result<Manifest, ManifestError> {
    Manifest::parse(content_type.into(), document.to_string().as_bytes())
}

#[track_caller]
pub(super) fn refused(content_type: impl Into<Option<&'static str>>, document: &Value, message: &str) {
    assert_eq!(parse(content_type, document).unwrap_err().to_string(), message, "{document}");
}

#[test]
fn an_image_manifest() {
    let manifest = parse(OM, &image()).unwrap();
    assert_eq!(manifest.kind, ManifestKind::OciManifest);
    assert_eq!(manifest.config.as_ref().unwrap().digest, J.parse().unwrap());
    assert_eq!(manifest.layers.len(), 1);
    assert_eq!(manifest.blobs().count(), 2);
    assert_eq!(manifest.subject, None);
    assert!(manifest.children.is_empty());
}

#[test]
fn an_index_and_its_platforms() {
    let platform = json!({ "architecture": "arm64", "os": "linux", "variant": "v8", "os.version": "1", "os.features": ["x"], "cpu": 1 });
    let children =
        json!([with(blob(OM), "platform", Some(platform)), blob(OM), with(blob(OM), "platform", Some(json!({})))]);
    let manifest = parse(OI, &with(index(), "manifests", Some(children))).unwrap();
    let [full, none, empty] = manifest.children.as_slice() else { panic!("three children") };
    let expected = Platform {
        architecture: "arm64".into(),
        os: "linux".into(),
        os_version: Some("1".into()),
        os_features: vec!["x".into()],
        variant: Some("v8".into()),
    };
    assert_eq!(full.platform.as_ref(), Some(&expected));
    assert_eq!(expected.to_string(), "linux/arm64/v8");
    assert_eq!(none.platform, None);
    assert_eq!(empty.platform, Some(Platform::default()));
    assert_eq!(manifest.blobs().count(), 0);
}

#[test]
fn p214_b057_the_content_type_decides_without_parameters_and_case() {
    for header in
        [OM, "application/vnd.oci.image.manifest.v1+json; charset=utf-8", "Application/vnd.OCI.image.manifest.v1+JSON"]
    {
        assert_eq!(parse(header, &image()).unwrap().kind, ManifestKind::OciManifest, "{header}");
        assert!(parse(header, &with(image(), "mediaType", None)).is_ok(), "{header}");
    }
}

#[test]
fn p215_without_a_content_type_the_body_decides() {
    let without_type = |document| with(document, "mediaType", None);
    assert_eq!(parse(None, &image()).unwrap().kind, ManifestKind::OciManifest);
    assert_eq!(parse(None, &with(index(), "mediaType", Some(json!(DL)))).unwrap().kind, ManifestKind::DockerList);
    assert_eq!(parse(None, &without_type(index())).unwrap().kind, ManifestKind::OciIndex);
    assert_eq!(parse(None, &without_type(image())).unwrap().kind, ManifestKind::OciManifest);
    assert_eq!(parse(None, &json!({"schemaVersion": 2})), Err(ManifestError::TypeUnknown));
    assert_eq!(parse(None, &json!({"schemaVersion": 1})), Err(ManifestError::Schema1));
    let shouted = with(image(), "mediaType", Some(json!(OM.to_uppercase())));
    assert!(parse(None, &shouted).is_err());
}

#[test]
fn p216_b055_b056_other_types_are_refused() {
    for header in [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
    ] {
        assert_eq!(parse(header, &json!({"schemaVersion": 1})), Err(ManifestError::Schema1));
    }
    assert_eq!(parse(OM, &json!({"schemaVersion": 1})), Err(ManifestError::Schema1));
    assert_eq!(
        parse("application/vnd.oci.artifact.manifest.v1+json", &json!({"blobs": []})),
        Err(ManifestError::ArtifactManifest)
    );
    for header in ["text/html", "application/json"] {
        assert_eq!(parse(header, &image()), Err(ManifestError::TypeUnsupported(header.into())));
    }
    for header in ["", "json", "application/json, text/html"] {
        assert_eq!(parse(header, &image()), Err(ManifestError::ContentTypeMalformed));
    }
}

#[test]
fn b056_schema_version_is_the_number_2() {
    for version in [json!("2"), json!(2.0), json!(3), json!(null), json!(-2), json!([2])] {
        refused(OM, &with(image(), "schemaVersion", Some(version)), "schemaVersion must be the number 2");
    }
    refused(OM, &with(image(), "schemaVersion", None), "schemaVersion must be the number 2");
}

#[test]
fn p217_b053_header_and_body_agree() {
    for (header, document) in [(OI, image()), (OM, index()), (DM, image())] {
        assert!(matches!(parse(header, &document), Err(ManifestError::TypeMismatch { .. })), "{header}");
    }
    for (header, document) in [(DM, image()), (DL, index())] {
        assert!(parse(header, &with(document.clone(), "mediaType", Some(json!(header)))).is_ok());
        for absent in [None, Some(json!(null)), Some(json!(""))] {
            let document = with(document.clone(), "mediaType", absent);
            assert!(matches!(parse(header, &document), Err(ManifestError::TypeMissing(_))), "{header}");
        }
    }
}

#[test]
fn p218_b052_a_manifest_is_one_thing() {
    for (header, document, member) in [
        (OM, with(image(), "manifests", Some(json!([]))), "manifests"),
        (OI, with(index(), "layers", Some(json!([]))), "layers"),
        (OI, with(index(), "config", Some(blob("a/b"))), "config"),
    ] {
        assert!(
            matches!(parse(header, &document), Err(ManifestError::ForeignMember { member: found, .. }) if found == member)
        );
        assert!(parse(header, &with(document, member, Some(json!(null)))).is_ok(), "null is absent");
    }
    for absent in [None, Some(json!(null))] {
        assert_eq!(parse(OM, &with(image(), "config", absent)), Err(ManifestError::ConfigMissing));
    }
}

#[test]
fn p218_what_is_not_an_object_is_refused() {
    refused(OM, &json!([]), "the manifest must be an object");
    refused(OM, &json!([2, OM, null, blob("a/b")]), "the manifest must be an object");
    refused(OM, &with(image(), "config", Some(json!(["a/b", J, 2]))), "config must be an object");
    refused(OM, &with(image(), "layers", Some(json!([["a/b", J, 2]]))), "layers[0] must be an object");
    refused(OM, &with(image(), "layers", Some(json!({}))), "layers must be an array");
    refused(OI, &with(index(), "manifests", Some(json!("x"))), "manifests must be an array");
    assert!(matches!(Manifest::parse(Some(OM), b"not json"), Err(ManifestError::Json(_))));
    assert!(Manifest::parse(Some(OM), format!("\n {} \n", image()).as_bytes()).is_ok());
}

#[test]
fn p219_lists_may_be_null_absent_or_empty() {
    for absent in [None, Some(json!(null)), Some(json!([]))] {
        assert!(parse(OM, &with(image(), "layers", absent.clone())).unwrap().layers.is_empty());
        assert!(parse(OI, &with(index(), "manifests", absent)).unwrap().children.is_empty());
    }
}

#[test]
fn p220_nothing_unknown_is_a_reason_to_refuse() {
    let document = with(image(), "artifactType", Some(json!("none/such")));
    let document = with(document, "extra", Some(json!({"a": [1, {"b": null}]})));
    let layer = with(blob("text/plain; charset=utf-8"), "extra", Some(json!([1.5])));
    assert!(parse(OM, &with(document, "layers", Some(json!([layer])))).is_ok());
}

#[test]
fn b060_descriptors_that_are_wrong() {
    let layer = |member, value| with(image(), "layers", Some(json!([blob("a/b"), with(blob("a/b"), member, value)])));
    for size in [json!(-1), json!(1.5), json!(1e30), json!("10"), json!(9_223_372_036_854_775_808_u64), json!(null)] {
        refused(OM, &layer("size", Some(size)), "layers[1].size must be an integer from 0 to 9223372036854775807");
    }
    refused(OM, &layer("size", None), "layers[1].size must be an integer from 0 to 9223372036854775807");
    assert!(parse(OM, &layer("size", Some(json!(i64::MAX)))).is_ok());
    refused(OM, &layer("digest", None), "layers[1].digest must be a digest");
    refused(OM, &layer("digest", Some(json!(5))), "layers[1].digest must be a string");
    refused(
        OM,
        &layer("digest", Some(json!("sha256:zz"))),
        "layers[1].digest: the digest is malformed: its hash has 2 digits instead of 64",
    );
    refused(
        OM,
        &layer("digest", Some(json!("md5:5d41402abc4b2a76b9719d911017c592"))),
        "layers[1].digest: the digest algorithm md5 is not supported; use sha256 or sha512",
    );
    let no_type = "layers[1].mediaType must be a media type, type/subtype, of at most 255 bytes";
    for media_type in
        [None, Some(json!("")), Some(json!("x")), Some(json!("a/b\n")), Some(json!(format!("a/{}", "b".repeat(254))))]
    {
        refused(OM, &layer("mediaType", media_type), no_type);
    }
    refused(OM, &layer("platform", Some(json!("linux"))), "layers[1].platform must be an object");
    refused(OM, &layer("platform", Some(json!({"os": 1}))), "layers[1].platform.os must be a string");
}

#[test]
fn p224_foreign_layers_need_not_be_here() {
    let is_foreign = |layer: Value| {
        let manifest = parse(OM, &with(image(), "layers", Some(json!([layer])))).unwrap();
        let [layer] = manifest.layers.as_slice() else { panic!("one layer") };
        assert_eq!(manifest.blobs().count(), if layer.is_foreign() { 1 } else { 2 });
        Descriptor::is_foreign(layer)
    };
    for suffix in ["", "+gzip", "+zstd"] {
        assert!(is_foreign(blob(&format!("application/vnd.oci.image.layer.nondistributable.v1.tar{suffix}"))));
    }
    assert!(is_foreign(blob("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")));
    assert!(is_foreign(with(blob("a/b"), "urls", Some(json!(["https://example.org/x"])))));
    for urls in [json!([]), json!(null)] {
        assert!(!is_foreign(with(blob("application/vnd.oci.image.layer.v1.tar+gzip"), "urls", Some(urls))));
    }
}

#[test]
fn s049_b066_only_https_urls_get_in() {
    let urls = |urls: Value| with(image(), "layers", Some(json!([with(blob("a/b"), "urls", Some(urls))])));
    assert!(parse(OM, &urls(json!(["https://a/b", "HTTPS://a"]))).is_ok());
    for url in [
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "javascript:x",
        "//a",
        "",
        "https:/a",
        "https://a b",
        "https://é",
    ] {
        refused(OM, &urls(json!(["https://a", url])), "layers[0].urls[1] must be an https URL in visible ASCII");
    }
    refused(OM, &urls(json!("https://a")), "layers[0].urls must be an array");
}

#[test]
fn p230_p231_subjects() {
    let subject = |value: Value| with(image(), "subject", Some(value));
    let read = |document: &Value| parse(OM, document).unwrap().subject.map(|digest| digest.to_string());
    assert_eq!(read(&subject(blob(OM))).as_deref(), Some(J));
    assert_eq!(read(&subject(json!(null))), None);
    let md5 = "md5:5d41402abc4b2a76b9719d911017c592";
    assert_eq!(read(&subject(with(blob(OM), "digest", Some(json!(md5))))).as_deref(), Some(md5));
    assert!(parse(OI, &with(index(), "subject", Some(blob(OM)))).unwrap().subject.is_some());
    for wrong in [
        json!("sha256:ab"),
        json!([]),
        json!({}),
        with(blob(OM), "digest", Some(json!("sha256:ab"))),
        with(blob(OM), "digest", Some(json!("x"))),
        with(blob(OM), "size", Some(json!(-1))),
        with(blob(OM), "mediaType", None),
    ] {
        assert!(parse(OM, &subject(wrong.clone())).is_err(), "{wrong}");
        let docker = with(subject(wrong), "mediaType", Some(json!(DM)));
        assert_eq!(parse(DM, &docker).unwrap().subject, None, "Docker's types have no subject");
    }
}

#[test]
fn p272_the_artifact_type() {
    let artifact_type = |content_type, document: &Value| parse(content_type, document).unwrap().artifact_type;
    let own = json!("application/vnd.example.sbom.v1");
    let config_type = Some("application/vnd.example.config.v1+json".to_owned());
    assert_eq!(artifact_type(OM, &with(image(), "artifactType", Some(own.clone()))).as_deref(), own.as_str());
    for absent in [None, Some(json!("")), Some(json!(null))] {
        assert_eq!(artifact_type(OM, &with(image(), "artifactType", absent.clone())), config_type);
        assert_eq!(artifact_type(OI, &with(index(), "artifactType", absent)), None);
    }
    assert_eq!(artifact_type(OI, &with(index(), "artifactType", Some(own.clone()))).as_deref(), own.as_str());
    assert!(parse(OM, &with(image(), "artifactType", Some(json!("no type")))).is_err());
}

#[test]
fn b059_two_readers_see_the_same_manifest() {
    let body = image().to_string();
    let twice = body.replacen("\"schemaVersion\"", "\"layers\":[],\"schemaVersion\"", 1);
    let deeper = body.replacen("\"size\":2", "\"size\":2,\"size\":3", 1);
    let trailing = format!("{body}{{}}");
    let bom = format!("\u{feff}{body}");
    for body in [twice, deeper, trailing, bom] {
        assert!(matches!(Manifest::parse(Some(OM), body.as_bytes()), Err(ManifestError::Json(_))), "{body}");
    }
    assert!(Manifest::parse(Some(OM), format!("{body}  ").as_bytes()).is_ok(), "white space is not content");
}
