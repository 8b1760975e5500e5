//! Text from outside on its way to a terminal or a log: it must not move the cursor, begin a line or hide anything.

use std::fmt::{self, Write};

/// `text` with every character escaped that a terminal or a pager would obey instead of show (B-119).
pub(crate) fn visible(text: &str) -> Visible<'_> {
    Visible(text)
}

/// Prints its text with invisible characters escaped as Rust would (`\n`, `\u{1b}`).
pub(crate) struct Visible<'a>(&'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if is_obeyed(c) {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Controls, other line ends, and the marks that turn the direction of writing around.
pub(crate) fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
