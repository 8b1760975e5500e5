use std::fmt;
use std::path::PathBuf;

use toml::Value;

use crate::text::visible;

/// One key's value from one source.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// A known key with its sections: `server.listen`.
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the configuration file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, counted from 1; `None` for the file as a whole.
        line: Option<usize>,
    },
    /// In an environment variable of this name.
    Variable(String),
    /// On the command line: the flag, with the key if it is `--set`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: None } => visible(&path.display().to_string()).fmt(f),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", visible(&path.display().to_string())),
            Self::Variable(name) | Self::Flag(name) => visible(name).fmt(f),
        }
    }
}
