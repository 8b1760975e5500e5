//! Why a manifest is refused.

use crate::limits::{DATA_TOTAL_MAX_BYTES, MANIFEST_MAX_BYTES};
use crate::{DigestError, JsonError, ManifestKind};

/// Why a manifest is refused. All of it is the pusher's to mend, and all of it is `MANIFEST_INVALID` (P-056); the
/// message names the member and, where it is not plain, the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More than 4 MiB (P-213).
    #[error("the manifest has more than {MANIFEST_MAX_BYTES} bytes")]
    TooLarge,
    /// Not JSON, or JSON that parsers would disagree about (S-046).
    #[error("the manifest is not valid JSON: {0}")]
    Json(JsonError),
    /// Signed schema 1, which no client needs any more (P-216).
    #[error("manifests of schema 1 are not accepted; push an OCI image manifest or Docker schema 2")]
    Schema1,
    /// The artifact manifest that image-spec withdrew (P-216).
    #[error("artifact manifests were withdrawn from the specification; push an image manifest with artifactType")]
    ArtifactManifest,
    /// `schemaVersion` is absent or something else than 2.
    #[error("schemaVersion must be the number 2")]
    SchemaVersion,
    /// Neither a `Content-Type` nor the body says what it is (P-215).
    #[error("nothing says what kind of manifest this is; send a Content-Type")]
    TypeUnknown,
    /// A `Content-Type` that is not a media type.
    #[error("the Content-Type is not a media type")]
    ContentTypeMalformed,
    /// A type that is not accepted; holds it (P-216).
    #[error("the manifest type {0} is not accepted; push an OCI or Docker image manifest or index")]
    TypeUnsupported(String),
    /// `Content-Type` and `mediaType` contradict each other (P-217).
    #[error("the manifest was sent as {content_type}, but its mediaType is another; both must be the same")]
    TypeMismatch {
        /// What the `Content-Type` says.
        content_type: ManifestKind,
    },
    /// One of Docker's types without `mediaType` (P-217).
    #[error("a manifest of type {0} must state it in its member mediaType")]
    TypeMissing(ManifestKind),
    /// A member of the other shape: an image manifest with `manifests`, an index with `config` or `layers` (S-047).
    #[error("a manifest of type {kind} must not have the member {member}")]
    ForeignMember {
        /// What the manifest is.
        kind: ManifestKind,
        /// What it should not have.
        member: &'static str,
    },
    /// An image manifest without `config` (P-218).
    #[error("an image manifest must have the member config")]
    ConfigMissing,
    /// A member of the wrong type, or absent though it is needed.
    #[error("{member} must be {expected}")]
    Shape {
        /// Which one, as a path: `layers[3].size`.
        member: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A digest that is malformed or, except in a subject, of an unsupported algorithm.
    #[error("{member}: {reason}")]
    Digest {
        /// Which one, as a path.
        member: String,
        /// What is wrong with it.
        reason: DigestError,
    },
    /// Too many items or members.
    #[error("{member} has more than {max} entries")]
    TooMany {
        /// Which one, as a path.
        member: String,
        /// How many are allowed.
        max: usize,
    },
    /// Too many bytes.
    #[error("{member} has more than {max_bytes} bytes")]
    TooLong {
        /// Which one, as a path.
        member: String,
        /// How many are allowed.
        max_bytes: usize,
    },
    /// The descriptors carry too much content inline, all together.
    #[error("the manifest carries more than {DATA_TOTAL_MAX_BYTES} bytes inline; push content as blobs")]
    TooMuchData,
}
