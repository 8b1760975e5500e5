//! The log: one event, one line, on standard error; for people on a terminal, JSON for programs elsewhere.
//!
//! Whoever logs only appends to a bounded buffer in memory; a thread of its own writes it out. A terminal that stands
//! still or a full pipe therefore costs log lines, which are counted and reported, and never a request.
//! `RUST_LOG` is not read: what is logged is said in the configuration alone (S-073).

use std::io::{self, IsTerminal};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::layer::{Layer, SubscriberExt};

mod fields;
mod filter;
mod layer;
mod line;
mod queue;

pub use filter::Filter;
use layer::Lines;
use line::Style;
pub use queue::Guard;
use queue::Queue;

/// `[log]`: what is logged and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// How a line looks: `"human"`, `"json"`, or `"auto"` for human on a terminal and JSON elsewhere.
    pub format: Format,
    /// Which lines are written: a level (`"error"`, `"warn"`, `"info"`, `"debug"`, `"trace"` or `"off"`), and with commas
    /// levels of parts of Wharf, such as `"info,wharf_http=debug"`.
    #[schemars(with = "String")]
    pub level: Filter,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Human on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object.
    Json,
}

/// Starts the log of this process. Dropping the guard writes out what is left.
///
/// # Errors
///
/// When the process has a log already.
pub fn start(config: &Config) -> Result<Guard, SetGlobalDefaultError> {
    let stderr = io::stderr();
    let style = match config.format {
        Format::Human => Style::Human { has_colour: has_colour(&stderr) },
        Format::Auto if stderr.is_terminal() => Style::Human { has_colour: has_colour(&stderr) },
        Format::Auto | Format::Json => Style::Json,
    };
    let (queue, guard) = Queue::start(stderr, move |lost_lines| line::lost(style, lost_lines));
    let lines = Lines::new(style, queue).with_filter(config.level.targets());
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines))?;
    Ok(guard)
}

/// As for everything else the program prints: `NO_COLOR`, `CLICOLOR_FORCE`, `TERM` and whether it is a terminal.
fn has_colour(stderr: &io::Stderr) -> bool {
    anstream::AutoStream::choice(stderr) != anstream::ColorChoice::Never
}

#[cfg(test)]
mod tests;
