use std::fmt;

use crate::config::Origin;
use crate::error::{CommandError, Exit};

/// One thing that is wrong with the configuration, in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    origin: Option<Origin>,
    text: String,
}

impl Complaint {
    /// About what was said in one place.
    pub(super) fn of(origin: Origin, text: impl Into<String>) -> Self {
        Self { origin: Some(origin), text: text.into() }
    }

    /// About the configuration that all sources make together.
    pub(super) fn of_all(text: impl Into<String>) -> Self {
        Self { origin: None, text: text.into() }
    }

    /// For the order in which people look: the file line by line, then the environment, then the command line.
    pub(super) fn place(&self) -> (u8, usize) {
        match &self.origin {
            Some(Origin::File { line, .. }) => (0, line.unwrap_or(0)),
            Some(Origin::Variable(_)) => (1, 0),
            Some(Origin::Flag(_)) => (2, 0),
            None => (3, 0),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Everything that is wrong with the configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub Vec<Complaint>);

impl From<Invalid> for CommandError {
    fn from(Invalid(complaints): Invalid) -> Self {
        Self::new(Exit::Usage, "the configuration is not valid")
            .with_lines(complaints.iter().map(ToString::to_string))
            .with_hint("correct these; `wharf config schema` says what each key may be")
    }
}
