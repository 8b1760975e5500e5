//! Text from outside on its way to a terminal or a log: it must not move the cursor, begin a line or hide anything.

use std::fmt;

/// `text` with every character escaped that a terminal or a pager would obey instead of show (B-119).
pub(crate) fn visible(text: &str) -> Visible<'_> {
    Visible(text)
}

/// Prints its text with invisible characters escaped as Rust would (`\n`, `\u{1b}`).
pub(crate) struct Visible<'a>(&'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(is_obeyed) {
            f.write_str(&rest[..at])?;
            let mut from_here = rest[at..].chars();
            if let Some(c) = from_here.next() {
                write!(f, "{}", c.escape_default())?;
            }
            rest = from_here.as_str();
        }
        f.write_str(rest)
    }
}

/// Controls, other line ends, and the marks that turn the direction of writing around.
pub(crate) fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
