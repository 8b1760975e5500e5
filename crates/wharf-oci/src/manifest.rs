//! Manifests: what a push says about the content it refers to.
//!
//! A body is read three times, each pass believing more than the one before: `json::check` makes sure that every parser
//! sees the same value and that nothing in it grows without bound; the kind is decided from what header and body say;
//! then the members of that kind are read one by one. The bytes themselves are stored as they came (P-212): nothing is
//! ever written back from the values here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::limits::{CHILDREN_MAX, DATA_TOTAL_MAX_BYTES, LAYERS_MAX, MANIFEST_MAX_BYTES};
use crate::member::{self, Path};
use crate::{AnyDigest, Descriptor, ManifestError, ManifestKind, MediaType, annotations, descriptor, json};

const ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";
const SCHEMA_1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// An image manifest or an image index, in OCI's or Docker's type.
///
/// # Source
///
/// image-spec `manifest.md` and `image-index.md`; P-214 … P-231, S-046, S-047.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What it is; also the media type that it is served with.
    pub kind: ManifestKind,
    /// Its kind of artifact by the rule of P-272: its own, else an image manifest's config type, else none.
    pub artifact_type: Option<String>,
    /// The config; every image manifest has one, no index does.
    pub config: Option<Descriptor>,
    /// The layers of an image manifest, at most 1 000.
    pub layers: Vec<Descriptor>,
    /// The children of an index, at most 4 000. They may be manifests or blobs (P-225), and the same one twice (P-227).
    pub children: Vec<Descriptor>,
    /// What it refers to. Docker's types have none (P-231).
    pub subject: Option<AnyDigest>,
    /// Its own annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a manifest that was sent with this `Content-Type`, if it was sent with one.
    ///
    /// At most 4 MiB; memory and time are proportional to them.
    ///
    /// # Errors
    ///
    /// [`ManifestError`]: the first thing found wrong.
    ///
    /// # Source
    ///
    /// P-214 … P-222, P-231, S-046, S-047.
    pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Self, ManifestError> {
        if body.len() as u64 > MANIFEST_MAX_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let text = json::check(body).map_err(ManifestError::Json)?;
        let root = serde_json::from_str(text).map_err(|_| Path::Root.must_be("an object"))?;
        let members: Members<'_> = member::object(root, &Path::Root)?;
        let kind = members.kind(content_type)?;
        members.check_schema_version()?;
        members.check_shape(kind)?;
        let manifest = members.read(kind)?;
        if manifest.data_len() > DATA_TOTAL_MAX_BYTES { Err(ManifestError::TooMuchData) } else { Ok(manifest) }
    }

    /// The blobs that must be in the repository: the config, then the layers that are not foreign (P-223, P-224).
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(self.layers.iter().filter(|layer| !layer.is_foreign()))
    }

    fn data_len(&self) -> usize {
        self.config.iter().chain(&self.layers).chain(&self.children).map(Descriptor::data_len).sum()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    #[serde(borrow)]
    schema_version: Option<&'a RawValue>,
    #[serde(borrow)]
    media_type: Option<&'a RawValue>,
    #[serde(borrow)]
    artifact_type: Option<&'a RawValue>,
    #[serde(borrow)]
    config: Option<&'a RawValue>,
    #[serde(borrow)]
    layers: Option<&'a RawValue>,
    #[serde(borrow)]
    manifests: Option<&'a RawValue>,
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

impl Members<'_> {
    /// `"2"` and `2.0` are not the number 2 (B-056).
    fn check_schema_version(&self) -> Result<(), ManifestError> {
        match self.schema_version.map(RawValue::get) {
            Some("2") => Ok(()),
            Some("1") => Err(ManifestError::Schema1),
            _ => Err(ManifestError::SchemaVersion),
        }
    }

    /// What the manifest is. Header and body must agree, so that no two readers take it for different things (S-047).
    fn kind(&self, content_type: Option<&str>) -> Result<ManifestKind, ManifestError> {
        let stated = member::optional_text(self.media_type, &Path::Root.member("mediaType"))?;
        let stated = stated.as_deref();
        let sent_as = content_type.map(from_content_type).transpose()?;
        match (sent_as, stated) {
            (Some(kind), Some(stated)) if stated == kind.as_str() => Ok(kind),
            (Some(content_type), Some(_)) => Err(ManifestError::TypeMismatch { content_type }),
            (Some(kind), None) if kind.is_docker() => Err(ManifestError::TypeMissing(kind)),
            (Some(kind), None) => Ok(kind),
            (None, Some(stated)) => from_body(stated),
            (None, None) if self.manifests.is_some() => Ok(ManifestKind::OciIndex),
            (None, None) if self.config.is_some() => Ok(ManifestKind::OciManifest),
            (None, None) => self.check_schema_version().and(Err(ManifestError::TypeUnknown)),
        }
    }

    /// Only members of its own kind: what is both an image and an index is a trap (CVE-2021-41190).
    fn check_shape(&self, kind: ManifestKind) -> Result<(), ManifestError> {
        let foreign = if kind.is_index() {
            self.config.map(|_| "config").or(self.layers.map(|_| "layers"))
        } else {
            self.manifests.map(|_| "manifests")
        };
        match foreign {
            Some(member) => Err(ManifestError::ForeignMember { kind, member }),
            None if !kind.is_index() && self.config.is_none() => Err(ManifestError::ConfigMissing),
            None => Ok(()),
        }
    }

    fn read(&self, kind: ManifestKind) -> Result<Manifest, ManifestError> {
        let root = Path::Root;
        let config = self.config.map(|raw| Descriptor::read(raw, &root.member("config"))).transpose()?;
        let own_type = descriptor::media_type(self.artifact_type, &root.member("artifactType"))?;
        let subject = self.subject.filter(|_| !kind.is_docker());
        let subject = subject.map(|raw| descriptor::read_subject(raw, &root.member("subject"))).transpose()?;
        let limits = if subject.is_some() { annotations::NARROW } else { annotations::WIDE };
        Ok(Manifest {
            kind,
            artifact_type: own_type.or_else(|| config.as_ref().map(|config| config.media_type.clone())),
            config,
            layers: descriptors(self.layers, &root.member("layers"), LAYERS_MAX)?,
            children: descriptors(self.manifests, &root.member("manifests"), CHILDREN_MAX)?,
            subject,
            annotations: annotations::read(self.annotations, &root.member("annotations"), limits)?,
        })
    }
}

fn descriptors(raw: Option<&RawValue>, at: &Path<'_>, max: usize) -> Result<Vec<Descriptor>, ManifestError> {
    let items = member::optional_list(raw, at, max)?;
    items.into_iter().enumerate().map(|(index, raw)| Descriptor::read(raw, &at.item(index))).collect()
}

fn from_content_type(header: &str) -> Result<ManifestKind, ManifestError> {
    accepted(&MediaType::from_content_type(header).map_err(|_| ManifestError::ContentTypeMalformed)?)
}

/// A body has one spelling of its type, so that what is stored and what is served as `Content-Type` are the same.
fn from_body(stated: &str) -> Result<ManifestKind, ManifestError> {
    let malformed = || Path::Root.member("mediaType").must_be("a manifest type, spelled as in its specification");
    let kind = accepted(&stated.parse().map_err(|_| malformed())?)?;
    if kind.as_str() == stated { Ok(kind) } else { Err(malformed()) }
}

fn accepted(media_type: &MediaType) -> Result<ManifestKind, ManifestError> {
    let is = |known: &str| known.eq_ignore_ascii_case(media_type.as_str());
    match ManifestKind::from_media_type(media_type.as_str()) {
        Some(kind) => Ok(kind),
        None if SCHEMA_1.into_iter().any(is) => Err(ManifestError::Schema1),
        None if is(ARTIFACT_MANIFEST) => Err(ManifestError::ArtifactManifest),
        None => Err(ManifestError::TypeUnsupported(media_type.as_str().to_owned())),
    }
}
