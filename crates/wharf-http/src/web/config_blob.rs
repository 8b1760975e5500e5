//! The config of an image: what it runs, and how it was built.
//!
//! It is a stranger's document. What is not as it should be is left out, and nothing of it is believed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use wharf_oci::Descriptor;
use wharf_policy::{Authorized, Pull};
use wharf_registry::Registry;

use super::artifact;

/// Configs up to this are looked into.
const CONFIG_MAX_BYTES: u64 = 1 << 20;

/// How many lines of history, variables, labels and so on are shown.
const SHOWN_MAX: usize = 500;

/// A config as far as pages show it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct ImageConfig {
    pub(super) created: Option<String>,
    pub(super) author: Option<String>,
    pub(super) architecture: String,
    pub(super) os: String,
    pub(super) variant: Option<String>,
    pub(super) config: Option<Run>,
    pub(super) history: Option<Vec<Step>>,
}

/// How a container of the image is run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Run {
    pub(super) user: Option<String>,
    pub(super) working_dir: Option<String>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) cmd: Option<Vec<String>>,
    pub(super) env: Option<Vec<String>>,
    pub(super) exposed_ports: Option<BTreeMap<String, IgnoredAnyEq>>,
    pub(super) volumes: Option<BTreeMap<String, IgnoredAnyEq>>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) stop_signal: Option<String>,
}

/// A value that nobody looks at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IgnoredAnyEq;

impl PartialEq for IgnoredAnyEq {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for IgnoredAnyEq {}

impl<'de> Deserialize<'de> for IgnoredAnyEq {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A step of the build.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Step {
    pub(super) created_by: Option<String>,
    pub(super) comment: Option<String>,
    pub(super) empty_layer: bool,
}

impl ImageConfig {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut config: Self = serde_json::from_slice(bytes).ok()?;
        if let Some(history) = &mut config.history {
            history.truncate(SHOWN_MAX);
        }
        Some(config)
    }

    /// `linux/arm64/v8`.
    pub(super) fn platform(&self) -> String {
        artifact::joined(&self.os, &self.architecture, self.variant.as_deref())
    }
}

impl Step {
    /// The step as somebody would have written it into a Dockerfile: the builders' wrapping is taken off.
    pub(super) fn instruction(&self) -> String {
        let text = self.created_by.as_deref().or(self.comment.as_deref()).unwrap_or("(no record)").trim();
        let text = text.strip_suffix("# buildkit").unwrap_or(text).trim();
        let shell = "/bin/sh -c ";
        if let Some(rest) = text.strip_prefix(shell) {
            return match rest.strip_prefix("#(nop)") {
                Some(instruction) => instruction.trim().to_owned(),
                None => format!("RUN {rest}"),
            };
        }
        match text.strip_prefix("RUN ").and_then(|rest| rest.strip_prefix(shell)) {
            Some(rest) => format!("RUN {rest}"),
            None => text.to_owned(),
        }
    }
}

/// The config that a manifest names; `None` if it is none of an image, too large, unreadable or not here.
pub(super) async fn read(registry: &Arc<Registry>, ok: &Authorized<Pull>, config: &Descriptor) -> Option<ImageConfig> {
    if !artifact::is_image_config(config) || config.size > CONFIG_MAX_BYTES {
        return None;
    }
    let bytes = registry.read_blob(ok, &config.digest, CONFIG_MAX_BYTES).await.ok()??;
    ImageConfig::parse(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(created_by: &str, expected: &str) {
        let step = Step { created_by: Some(created_by.to_owned()), ..Step::default() };
        assert_eq!(step.instruction(), expected);
    }

    #[test]
    fn steps_read_as_they_were_written() {
        check("/bin/sh -c #(nop)  CMD [\"bash\"]", "CMD [\"bash\"]");
        check("/bin/sh -c apt-get update", "RUN apt-get update");
        check("RUN /bin/sh -c make # buildkit", "RUN make");
        check("COPY app /app # buildkit", "COPY app /app");
        check("bazel build ...", "bazel build ...");
        assert_eq!(Step::default().instruction(), "(no record)");
    }

    #[test]
    fn what_is_missing_or_null_is_left_out() {
        let config = ImageConfig::parse(br#"{"os":"linux","config":{"Env":null,"ExposedPorts":{"80/tcp":{}}}}"#);
        let config = config.expect("a config");
        assert_eq!(config.platform(), "linux");
        assert_eq!(config.config.expect("how it is run").exposed_ports.expect("ports").len(), 1);
        assert_eq!(ImageConfig::parse(b"1"), None);
        assert_eq!(ImageConfig::parse(b"{\"os\":1}"), None);
    }
}
