//! The answer to "what refers to this".

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Digest, ManifestKind};

/// One manifest that refers to a subject, as the list of referrers shows it: these five members and no others (P-271).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReferrerDescriptor {
    /// The type of the manifest that refers.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its kind of artifact, by the rule of P-272.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// All of its own annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: &'a [ReferrerDescriptor],
}

/// The image index that lists `referrers`, as JSON. The caller bounds the list so that this stays under 4 MiB (P-277).
///
/// # Source
///
/// distribution-spec "Listing Referrers"; P-268, P-269.
#[must_use]
pub fn referrers_index(referrers: &[ReferrerDescriptor]) -> Vec<u8> {
    let index = Index { schema_version: 2, media_type: ManifestKind::OciIndex.as_str(), manifests: referrers };
    serde_json::to_vec(&index).expect("numbers, strings and maps with string keys are always JSON")
}
