//! What an SBOM lists, in the two formats that scanners attach: SPDX and CycloneDX, in JSON.
//!
//! It is a stranger's document: what cannot be read is left out, and nothing is fetched.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use wharf_oci::{AnyDigest, Digest, Manifest, Reference};
use wharf_policy::{Authorized, Pull};
use wharf_registry::Registry;

use super::artifact::Kind;
use super::text;

/// Documents up to this are looked into.
const DOCUMENT_MAX_BYTES: u64 = 4 << 20;

/// How many packages are kept of one.
const PACKAGES_MAX: usize = 5_000;

/// Packages by name, each with its versions.
pub(super) type Packages = BTreeMap<String, String>;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    /// SPDX.
    packages: Vec<Package>,
    /// CycloneDX.
    components: Vec<Package>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Package {
    name: String,
    #[serde(alias = "versionInfo")]
    version: String,
}

/// What the document lists; `None` if it is none.
fn parse(bytes: &[u8]) -> Option<Packages> {
    let document: Document = serde_json::from_slice(bytes).ok()?;
    let mut packages = Packages::new();
    for package in document.packages.into_iter().chain(document.components).take(PACKAGES_MAX) {
        if package.name.is_empty() {
            continue;
        }
        let versions = packages.entry(text::shown(&package.name)).or_default();
        let version = text::shown(&package.version);
        if versions.is_empty() {
            *versions = version;
        } else if *versions != version {
            versions.push_str(", ");
            versions.push_str(&version);
        }
    }
    Some(packages)
}

/// What the artifact lists, if it is an SBOM that can be read.
pub(super) async fn of_artifact(
    registry: &Arc<Registry>,
    ok: &Authorized<Pull>,
    manifest: &Manifest,
) -> Option<Packages> {
    if !matches!(Kind::of(manifest), Kind::Sbom(_)) {
        return None;
    }
    let layer = manifest.layers.first().filter(|layer| layer.size <= DOCUMENT_MAX_BYTES)?;
    let bytes = registry.read_blob(ok, &layer.digest, DOCUMENT_MAX_BYTES).await.ok()??;
    parse(&bytes)
}

/// What the first readable SBOM lists that refers to an image.
pub(super) async fn of_image(registry: &Arc<Registry>, ok: &Authorized<Pull>, image: Digest) -> Option<Packages> {
    /// An image has a few attachments; how many of them are looked into.
    const LOOKED_AT: usize = 8;
    let referrers = registry.referrers(ok, &AnyDigest::from(image), &[], None).await.ok()?;
    let is_sbom = |artifact_type: Option<&str>| matches!(artifact_type.and_then(Kind::of_type), Some(Kind::Sbom(_)));
    let sboms = referrers.referrers.iter().filter(|referrer| is_sbom(referrer.artifact_type.as_deref()));
    for referrer in sboms.take(LOOKED_AT) {
        let Ok(pulled) = registry.pull_manifest(ok, &Reference::Digest(referrer.digest)).await else { continue };
        let Ok(manifest) = super::image::read(&pulled) else { continue };
        if let Some(packages) = of_artifact(registry, ok, &manifest).await {
            return Some(packages);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[track_caller]
    fn check(document: &str, expected: &[(&str, &str)]) {
        let packages = parse(document.as_bytes()).expect("a document");
        let found: Vec<(&str, &str)> = packages.iter().map(|(name, version)| (&**name, &**version)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn both_formats_are_read() {
        let spdx = r#"{"spdxVersion":"SPDX-2.3","packages":[{"name":"zlib","versionInfo":"1.3"},{"name":"bash","versionInfo":"5.2"}]}"#;
        check(spdx, &[("bash", "5.2"), ("zlib", "1.3")]);
        let cyclonedx = r#"{"bomFormat":"CycloneDX","components":[{"type":"library","name":"zlib","version":"1.3"},{"name":"zlib","version":"1.2"},{"type":"file"}]}"#;
        check(cyclonedx, &[("zlib", "1.3, 1.2")]);
        check("{}", &[]);
        assert!(parse(b"not JSON").is_none());
    }
}
