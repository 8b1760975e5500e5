//! Platforms.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ManifestError;
use crate::limits::OS_FEATURES_MAX;
use crate::member::{self, Path};

/// What a child of an index runs on. Unknown values are as good as known ones (P-220).
///
/// # Source
///
/// image-spec `image-index.md`, "platform".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// The processor, `arm64`; empty if the index does not say.
    pub architecture: String,
    /// The operating system, `linux`; empty if the index does not say.
    pub os: String,
    /// `os.version`: the version that is needed, on Windows.
    pub os_version: Option<String>,
    /// `os.features`: what the operating system must offer.
    pub os_features: Vec<String>,
    /// The kind of processor, `v8`.
    pub variant: Option<String>,
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    architecture: Option<&'a RawValue>,
    #[serde(borrow)]
    os: Option<&'a RawValue>,
    #[serde(borrow, rename = "os.version")]
    os_version: Option<&'a RawValue>,
    #[serde(borrow, rename = "os.features")]
    os_features: Option<&'a RawValue>,
    #[serde(borrow)]
    variant: Option<&'a RawValue>,
}

impl Platform {
    pub(crate) fn read(raw: &RawValue, at: &Path<'_>) -> Result<Self, ManifestError> {
        let members: Members<'_> = member::object(raw, at)?;
        let text = |raw, name| member::optional_text(raw, &at.member(name));
        Ok(Self {
            architecture: text(members.architecture, "architecture")?.unwrap_or_default(),
            os: text(members.os, "os")?.unwrap_or_default(),
            os_version: text(members.os_version, "os.version")?,
            os_features: features(members.os_features, &at.member("os.features"))?,
            variant: text(members.variant, "variant")?,
        })
    }
}

fn features(raw: Option<&RawValue>, at: &Path<'_>) -> Result<Vec<String>, ManifestError> {
    let items = member::optional_list(raw, at, OS_FEATURES_MAX)?;
    items.into_iter().enumerate().map(|(index, raw)| member::text(raw, &at.item(index))).collect()
}

/// As people write it: `linux/arm64/v8`.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}
