use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Which events are logged: `info`, or `info,wharf_http=debug`.
///
/// Stricter than the notation of `RUST_LOG`, where a misspelled level is taken for the name of a module and silences
/// everything else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter {
    text: String,
    targets: Targets,
}

impl Filter {
    pub(super) fn targets(&self) -> Targets {
        self.targets.clone()
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self { text: "info".into(), targets: Targets::new().with_default(LevelFilter::INFO) }
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut targets = Targets::new();
        for directive in text.split(',').map(str::trim) {
            targets = match directive.split_once('=') {
                None => targets.with_default(level(directive)?),
                Some((target, name)) => targets.with_target(target.trim(), level(name.trim())?),
            };
        }
        Ok(Self { text: text.into(), targets })
    }
}

fn level(name: &str) -> Result<LevelFilter, String> {
    let is_word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic());
    is_word.then(|| name.parse().ok()).flatten().ok_or_else(|| {
        format!(
            "{name:?} is not one of off, error, warn, info, debug, trace; write for example \"info,wharf_http=debug\""
        )
    })
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Filter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.text
    }
}
