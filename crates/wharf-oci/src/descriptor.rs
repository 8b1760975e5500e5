//! Descriptors: media type, digest and size of something.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::annotations;
use crate::limits::{DATA_MAX_BYTES, URL_MAX_BYTES, URLS_MAX};
use crate::media_type;
use crate::member::{self, Path};
use crate::{AnyDigest, Digest, DigestError, ManifestError, Platform};

/// Layer types that are fetched from elsewhere and never pushed here (P-224).
const FOREIGN_TYPES: [&str; 4] = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

/// What a manifest says about a config, a layer or a child.
///
/// # Source
///
/// image-spec `descriptor.md`; P-218 … P-224; limits of the security requirements, §3.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The media type, as written; at most 255 bytes, parameters possible.
    pub media_type: String,
    /// The content address.
    pub digest: Digest,
    /// The size in bytes, at most 2⁶³−1.
    pub size: u64,
    /// Where else the content can be had: at most 16, `https` only, 2 KiB each. Wharf never fetches them (S-049).
    pub urls: Vec<String>,
    /// The kind of artifact, if it says one.
    pub artifact_type: Option<String>,
    /// Annotations, of the descriptor and not of what it describes.
    pub annotations: BTreeMap<String, String>,
    /// The content itself in base64, at most 64 KiB of it. Never trusted and never used instead of the blob (P-222).
    pub data: Option<String>,
    /// What it runs on, for children of an index.
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// Whether the content is expected elsewhere, so that it need not be in the repository (P-224).
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        !self.urls.is_empty() || FOREIGN_TYPES.iter().any(|foreign| foreign.eq_ignore_ascii_case(&self.media_type))
    }

    /// Size of the inline content.
    pub(crate) fn data_len(&self) -> usize {
        self.data.as_deref().map_or(0, decoded_len)
    }

    pub(crate) fn read(raw: &RawValue, at: &Path<'_>) -> Result<Self, ManifestError> {
        let members: Members<'_> = member::object(raw, at)?;
        let platform = members.platform.map(|raw| Platform::read(raw, &at.member("platform")));
        let annotations_at = at.member("annotations");
        Ok(Self {
            media_type: members.media_type(at)?,
            digest: members.digest(at)?,
            size: members.size(at)?,
            urls: urls(members.urls, &at.member("urls"))?,
            artifact_type: media_type(members.artifact_type, &at.member("artifactType"))?,
            annotations: annotations::read(members.annotations, &annotations_at, annotations::NARROW)?,
            data: data(members.data, &at.member("data"))?,
            platform: platform.transpose()?,
        })
    }
}

/// The digest of a subject, whose algorithm need not be one of ours (P-230). It must be a descriptor (P-231), but
/// nothing else of it is kept.
pub(crate) fn read_subject(raw: &RawValue, at: &Path<'_>) -> Result<AnyDigest, ManifestError> {
    let members: Members<'_> = member::object(raw, at)?;
    members.media_type(at)?;
    members.size(at)?;
    members.digest(at)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    #[serde(borrow)]
    media_type: Option<&'a RawValue>,
    #[serde(borrow)]
    digest: Option<&'a RawValue>,
    #[serde(borrow)]
    size: Option<&'a RawValue>,
    #[serde(borrow)]
    urls: Option<&'a RawValue>,
    #[serde(borrow)]
    artifact_type: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    platform: Option<&'a RawValue>,
}

impl Members<'_> {
    fn media_type(&self, at: &Path<'_>) -> Result<String, ManifestError> {
        let at = at.member("mediaType");
        media_type(self.media_type, &at)?.ok_or_else(|| at.must_be(A_MEDIA_TYPE))
    }

    fn digest<D: FromStr<Err = DigestError>>(&self, at: &Path<'_>) -> Result<D, ManifestError> {
        let at = at.member("digest");
        let raw = self.digest.ok_or_else(|| at.must_be("a digest"))?;
        let text = member::text(raw, &at)?;
        text.parse().map_err(|reason| ManifestError::Digest { member: at.to_string(), reason })
    }

    fn size(&self, at: &Path<'_>) -> Result<u64, ManifestError> {
        let at = at.member("size");
        member::size(self.size.ok_or_else(|| at.must_be(member::A_SIZE))?, &at)
    }
}

const A_MEDIA_TYPE: &str = "a media type, type/subtype, of at most 255 bytes";

/// A media type that may be absent, null or empty.
pub(crate) fn media_type(raw: Option<&RawValue>, at: &Path<'_>) -> Result<Option<String>, ManifestError> {
    match member::optional_text(raw, at)? {
        Some(text) if !media_type::is_acceptable(&text) => Err(at.must_be(A_MEDIA_TYPE)),
        media_type => Ok(media_type),
    }
}

fn urls(raw: Option<&RawValue>, at: &Path<'_>) -> Result<Vec<String>, ManifestError> {
    let items = member::optional_list(raw, at, URLS_MAX)?;
    items.into_iter().enumerate().map(|(index, raw)| url(raw, &at.item(index))).collect()
}

/// Clients follow these, so nothing but `https` gets in (S-049, B-066).
fn url(raw: &RawValue, at: &Path<'_>) -> Result<String, ManifestError> {
    let url = member::text(raw, at)?;
    if url.len() > URL_MAX_BYTES {
        return Err(at.too_long(URL_MAX_BYTES));
    }
    let is_https = url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    let is_visible = url.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
    if is_https && is_visible { Ok(url) } else { Err(at.must_be("an https URL in visible ASCII")) }
}

fn data(raw: Option<&RawValue>, at: &Path<'_>) -> Result<Option<String>, ManifestError> {
    match member::optional_text(raw, at)? {
        Some(data) if !is_base64(&data) => Err(at.must_be("base64 with padding")),
        Some(data) if decoded_len(&data) > DATA_MAX_BYTES => Err(at.too_long(DATA_MAX_BYTES)),
        data => Ok(data),
    }
}

/// The form of RFC 4648 §4: groups of four, the last one padded.
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    text.len().is_multiple_of(4) && text.len() - digits.len() <= 2 && digits.bytes().all(is_digit)
}

fn decoded_len(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}
