//! The four types of manifest.

use std::fmt;

/// A manifest type that is accepted (P-214). The first two are OCI's, the others Docker's names for the same shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManifestKind {
    /// An image manifest: a config and layers.
    OciManifest,
    /// An image index: manifests for several platforms.
    OciIndex,
    /// Docker's image manifest, "schema 2".
    DockerManifest,
    /// Docker's manifest list.
    DockerList,
}

impl ManifestKind {
    const ALL: [Self; 4] = [Self::OciManifest, Self::OciIndex, Self::DockerManifest, Self::DockerList];

    /// The media type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerList => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// The kind with this media type, whatever the case of its letters; parameters are not understood.
    #[must_use]
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(media_type))
    }

    /// Whether it names manifests rather than a config and layers.
    #[must_use]
    pub fn is_index(self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }

    /// Whether it is one of Docker's types, which must state themselves (P-217) and have no subject (P-231).
    #[must_use]
    pub fn is_docker(self) -> bool {
        matches!(self, Self::DockerManifest | Self::DockerList)
    }
}

impl fmt::Display for ManifestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
