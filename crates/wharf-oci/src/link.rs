//! The `Link` header between the pages of a list.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What must not stand in a link: it would end the header, the reference or, for skopeo, the URL (`;`, P-262).
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b';')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Where a list goes on. Printed as `<target>; rel="next"`.
///
/// # Source
///
/// RFC 8288; P-262, P-277.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextLink {
    /// A URL reference. Whatever could end the header or the reference is percent-encoded when it is printed (S-045).
    pub target: String,
}

/// Why the value of a `Link` header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// A link that does not begin with `<`.
    #[error("a link does not begin with '<'")]
    NoTarget,
    /// A `<` without its `>`.
    #[error("the target of a link is not closed by '>'")]
    OpenTarget,
    /// A quoted parameter without its second quote.
    #[error("a quoted parameter of a link is not closed")]
    OpenQuote,
    /// Something between two parameters or two links that does not belong there.
    #[error("a link is followed by something else than ';' or ','")]
    Separator,
}

impl NextLink {
    /// The first link with the relation `next` among those of a `Link` header; `None` if there is none, which ends a
    /// list. Other links and parameters are passed over.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the header is not a list of links. To go on as if the list had ended would lose its rest.
    pub fn parse(header: &str) -> Result<Option<Self>, LinkError> {
        let mut rest = Rest(header);
        let mut next = None;
        loop {
            while rest.skip(',') {}
            if rest.is_empty() {
                return Ok(next);
            }
            let target = rest.target()?;
            let mut is_next = None;
            while rest.skip(';') {
                let (name, value) = rest.parameter()?;
                if name.eq_ignore_ascii_case("rel") && is_next.is_none() {
                    is_next = Some(value.split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("next")));
                }
            }
            if is_next == Some(true) && next.is_none() {
                next = Some(Self { target: target.to_owned() });
            }
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err(LinkError::Separator);
            }
        }
    }
}

impl fmt::Display for NextLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>; rel=\"next\"", utf8_percent_encode(&self.target, UNSAFE))
    }
}

/// What is still to be read of a header; begins without white space after every step.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn starts_with(&self, wanted: char) -> bool {
        self.0.starts_with(wanted)
    }

    fn advance_to(&mut self, rest: &'a str) {
        self.0 = rest.trim_start_matches([' ', '\t']);
    }

    /// Passes over `wanted` if it stands here, with or without white space before it.
    fn skip(&mut self, wanted: char) -> bool {
        self.advance_to(self.0);
        let Some(rest) = self.0.strip_prefix(wanted) else { return false };
        self.advance_to(rest);
        true
    }

    fn target(&mut self) -> Result<&'a str, LinkError> {
        let inside = self.0.strip_prefix('<').ok_or(LinkError::NoTarget)?;
        let (target, rest) = inside.split_once('>').ok_or(LinkError::OpenTarget)?;
        self.advance_to(rest);
        Ok(target.trim_matches([' ', '\t']))
    }

    /// A name and its value, which is empty if there is none: `crossorigin`, `rel=next`, `rel="prev next"`.
    fn parameter(&mut self) -> Result<(&'a str, &'a str), LinkError> {
        let name = self.token();
        if !self.skip('=') {
            return Ok((name, ""));
        }
        match self.0.strip_prefix('"') {
            None => Ok((name, self.token())),
            Some(quoted) => {
                let end = closing_quote(quoted).ok_or(LinkError::OpenQuote)?;
                self.advance_to(&quoted[end + 1..]);
                Ok((name, &quoted[..end]))
            }
        }
    }

    fn token(&mut self) -> &'a str {
        let end = self.0.find([';', ',', '=', ' ', '\t', '"', '<']).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.advance_to(rest);
        token
    }
}

/// Where a quoted string ends; a backslash takes the meaning from the character after it.
fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}
