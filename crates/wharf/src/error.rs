//! How a command fails: an exit code for programs; for people what went wrong, why, and what to do next.

use std::error::Error;
use std::fmt;
use std::io::Write;

use clap::builder::styling::{AnsiColor, Style};

use crate::text::visible;

const RED: Style = AnsiColor::Red.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default().bold();

/// The exit code of a command that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: something that should not happen.
    Unexpected,
    /// 2: the configuration or the command line is not right.
    Usage,
    /// 3: the data directory is in use by another process.
    InUse,
    /// 4: the database is not one this version can use, or belongs to other content.
    WrongStore,
    /// 5: the storage could not be made to keep what was written.
    NotSynced,
    /// 6: the server does not know who asks.
    NotLoggedIn,
    /// 7: the policy denies it.
    Denied,
    /// 8: something that was looked at is not as it should be.
    Broken,
    /// 9: the server refuses: there is no such thing, or it is not in a state for that.
    Refused,
    /// 10: the server cannot be reached, or asks to come back later.
    Unreachable,
}

impl Exit {
    /// The number that the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::InUse => 3,
            Self::WrongStore => 4,
            Self::NotSynced => 5,
            Self::NotLoggedIn => 6,
            Self::Denied => 7,
            Self::Broken => 8,
            Self::Refused => 9,
            Self::Unreachable => 10,
        }
    }
}

/// Why a command failed. Displays as `error: …`, a line for each cause beneath, and `hint: …`.
#[derive(Debug)]
pub struct CommandError {
    exit: Exit,
    lines: Vec<String>,
    causes: Vec<String>,
    hint: Option<String>,
}

impl CommandError {
    /// An error with nothing beneath it. `message` is a clause in lower case without a full stop.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, lines: vec![message.into()], causes: Vec::new(), hint: None }
    }

    /// `error` and its causes.
    pub fn from_source(exit: Exit, error: impl Error) -> Self {
        Self { causes: chain(error.source()), ..Self::new(exit, error.to_string()) }
    }

    /// Something that should not happen: what was being done, and the error that ended it.
    pub fn unexpected(doing: impl Into<String>, error: impl Error) -> Self {
        Self { causes: chain(Some(&error)), ..Self::new(Exit::Unexpected, doing) }
    }

    /// `doing` did not succeed because of `error` and what lies beneath it.
    pub fn because(exit: Exit, doing: impl Into<String>, error: &dyn Error) -> Self {
        Self { causes: chain(Some(error)), ..Self::new(exit, doing) }
    }

    /// With more lines under the message, one for each of several things that are wrong.
    #[must_use]
    pub fn with_lines(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.lines.extend(lines);
        self
    }

    /// With what to do next, in the imperative.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Tells the person at the terminal, in colour if it is one. If standard error is closed there is nobody to tell.
    pub fn print(&self) {
        let _ = self.write(&mut anstream::stderr().lock(), RED, GREEN);
    }

    fn write(&self, out: &mut impl Write, error: Style, hint: Style) -> std::io::Result<()> {
        write!(out, "{error}error:{error:#} ")?;
        for (index, line) in self.lines.iter().enumerate() {
            writeln!(out, "{}{}", if index == 0 { "" } else { "  " }, visible(line))?;
        }
        for cause in &self.causes {
            writeln!(out, "  because: {}", visible(cause))?;
        }
        if let Some(text) = &self.hint {
            writeln!(out, "{hint}hint:{hint:#} {}", visible(text))?;
        }
        out.flush()
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text, Style::new(), Style::new()).map_err(|_| fmt::Error)?;
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// The messages of `error` and everything beneath it, outermost first.
fn chain(error: Option<&dyn Error>) -> Vec<String> {
    std::iter::successors(error, |&error| error.source()).map(ToString::to_string).collect()
}
