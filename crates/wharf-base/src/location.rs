use std::fmt;
use std::sync::Arc;

/// Where a store has put content, in that store's own words; whoever records content records it, too. Empty where the
/// digest already says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location(Option<Arc<str>>);

impl Location {
    /// Where the digest says.
    pub const BY_DIGEST: Self = Self(None);

    /// From the text that was recorded.
    pub fn recorded(text: &str) -> Self {
        Self((!text.is_empty()).then(|| Arc::from(text)))
    }

    /// The text to record; empty where the digest says it all.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether the digest says it all.
    pub fn is_by_digest(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
