//! Prints a manifest as JSON that parses as the same manifest. Shared with the fuzz target.

use serde_json::{Map, Value, json};

use super::oci::{Descriptor, Manifest, Platform};

/// The manifest as a document. What is absent is left out or null, as tools do both.
pub(crate) fn manifest(manifest: &Manifest) -> Value {
    let list = |descriptors: &[Descriptor]| descriptors.iter().map(descriptor).collect::<Value>();
    let mut members = Map::new();
    let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
    add("schemaVersion", json!(2));
    add("mediaType", json!(manifest.kind.as_str()));
    add("artifactType", json!(manifest.artifact_type));
    if manifest.kind.is_index() {
        add("manifests", list(&manifest.children));
    } else {
        add("config", manifest.config.as_ref().map(descriptor).into());
        add("layers", list(&manifest.layers));
    }
    if let Some(subject) = &manifest.subject {
        add("subject", json!({ "mediaType": "a/b", "digest": subject.as_str(), "size": 0 }));
    }
    add("annotations", json!(manifest.annotations));
    Value::Object(members)
}

fn descriptor(descriptor: &Descriptor) -> Value {
    json!({
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest.to_string(),
        "size": descriptor.size,
        "urls": descriptor.urls,
        "artifactType": descriptor.artifact_type,
        "annotations": descriptor.annotations,
        "data": descriptor.data,
        "platform": descriptor.platform.as_ref().map(platform),
    })
}

fn platform(platform: &Platform) -> Value {
    json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "os.version": platform.os_version,
        "os.features": platform.os_features,
        "variant": platform.variant,
    })
}
