//! What an artifact is, by the types that its manifest names, and how it is fetched.

use wharf_oci::{Descriptor, Manifest, Platform};

const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// What a manifest is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A container image of one platform.
    Image,
    /// One image for several platforms.
    MultiPlatform,
    /// A Helm chart.
    Chart,
    /// A signature, by this maker's format.
    Signature(&'static str),
    /// A list of what is in something, in this format.
    Sbom(&'static str),
    /// A statement about something.
    Attestation,
    /// Something else, of this type.
    Other(String),
}

impl Kind {
    pub(super) fn of(manifest: &Manifest) -> Self {
        let artifact_type = manifest.artifact_type.as_deref().unwrap_or_default();
        if let Some(kind) = Self::of_type(artifact_type) {
            return kind;
        }
        if manifest.kind.is_index() {
            return Self::MultiPlatform;
        }
        // An attachment of cosign has an image's config, and says in its layers what it is.
        let of_layer = manifest.layers.first().and_then(|layer| Self::of_type(&layer.media_type));
        match of_layer {
            Some(kind) => kind,
            None if artifact_type.is_empty() || IMAGE_CONFIGS.contains(&artifact_type) => Self::Image,
            None => Self::Other(artifact_type.to_owned()),
        }
    }

    /// What an artifact of this type is; `None` if the type alone does not tell.
    pub(super) fn of_type(artifact_type: &str) -> Option<Self> {
        let is = |start: &str| artifact_type.starts_with(start);
        if is("application/vnd.cncf.helm.") {
            Some(Self::Chart)
        } else if is("application/vnd.cncf.notary.signature") {
            Some(Self::Signature("Notary"))
        } else if is("application/vnd.dev.cosign.simplesigning.") || is("application/vnd.dev.cosign.artifact.sig.") {
            Some(Self::Signature("cosign"))
        } else if is("application/vnd.dev.sigstore.bundle") {
            Some(Self::Signature("Sigstore"))
        } else if is("application/spdx+json") || is("text/spdx") {
            Some(Self::Sbom("SPDX"))
        } else if is("application/vnd.cyclonedx") {
            Some(Self::Sbom("CycloneDX"))
        } else if is("application/vnd.syft+json") || is("application/vnd.dev.cosign.artifact.sbom.") {
            Some(Self::Sbom("SBOM"))
        } else if is("application/vnd.in-toto") || is("application/vnd.dsse.envelope") {
            Some(Self::Attestation)
        } else {
            None
        }
    }

    /// In words.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Image => "Image".to_owned(),
            Self::MultiPlatform => "Multi-platform image".to_owned(),
            Self::Chart => "Helm chart".to_owned(),
            Self::Signature(maker) => format!("Signature ({maker})"),
            Self::Sbom("SBOM") => "SBOM".to_owned(),
            Self::Sbom(format) => format!("SBOM ({format})"),
            Self::Attestation => "Attestation (in-toto)".to_owned(),
            Self::Other(artifact_type) => super::text::shown(artifact_type),
        }
    }

    /// How it is fetched from `host`, the usual way first.
    pub(super) fn commands(&self, host: &str, repository: &str, reference: &str) -> Vec<Command> {
        let separator = if reference.contains(':') { '@' } else { ':' };
        let whole = format!("{host}/{repository}{separator}{reference}");
        let command = |label, text: String| Command { label, text };
        match self {
            Self::Image | Self::MultiPlatform => vec![
                command("Docker", format!("docker pull {whole}")),
                command("Podman", format!("podman pull {whole}")),
                command("crane", format!("crane pull {whole} image.tar")),
            ],
            Self::Chart if separator == ':' => vec![
                command(
                    "Helm",
                    format!("helm pull oci://{host}/{repository} --version {}", reference.replace('_', "+")),
                ),
                command("ORAS", format!("oras pull {whole}")),
            ],
            _ => {
                vec![command("ORAS", format!("oras pull {whole}")), command("crane", format!("crane manifest {whole}"))]
            }
        }
    }
}

/// A command to copy.
pub(super) struct Command {
    pub(super) label: &'static str,
    pub(super) text: String,
}

/// Whether a config is that of an image, so that it can be looked into.
pub(super) fn is_image_config(config: &Descriptor) -> bool {
    IMAGE_CONFIGS.contains(&config.media_type.as_str())
}

/// `linux/arm64/v8`; `None` for what runs nowhere, such as an attestation in an index.
pub(super) fn platform(platform: &Platform) -> Option<String> {
    if platform.os.is_empty() || platform.os == "unknown" {
        return None;
    }
    Some(joined(&platform.os, &platform.architecture, platform.variant.as_deref()))
}

pub(super) fn joined(os: &str, architecture: &str, variant: Option<&str>) -> String {
    let parts = [Some(os), Some(architecture), variant];
    let parts: Vec<&str> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    super::text::shown(&parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_fit_what_is_fetched() {
        let first = |kind: &Kind, reference: &str| kind.commands("r.example", "a/b", reference).remove(0).text;
        assert_eq!(first(&Kind::Image, "v1"), "docker pull r.example/a/b:v1");
        assert_eq!(first(&Kind::MultiPlatform, "sha256:00"), "docker pull r.example/a/b@sha256:00");
        assert_eq!(first(&Kind::Chart, "1.0_2"), "helm pull oci://r.example/a/b --version 1.0+2");
        assert_eq!(first(&Kind::Sbom("SPDX"), "sha256:00"), "oras pull r.example/a/b@sha256:00");
    }
}
