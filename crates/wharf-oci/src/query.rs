//! Query strings.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::limits::QUERY_PARAMETERS_MAX;
use crate::path::is_escaped_properly;

/// The parameters of a request, decoded exactly once, in their order; at most 256.
///
/// A `+` stays a `+`: it is part of media types and of tokens, and no client of a registry means a space by it (P-275).
/// A value that does not decode to text is kept as it was sent. Nobody else's mistake is answered thereby (P-010), and
/// whoever reads such a value refuses it, because the `%` left in it is in none of the grammars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    parameters: Vec<(String, String)>,
}

/// Why a query string is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// More than 256 parameters.
    #[error("the query has more than {QUERY_PARAMETERS_MAX} parameters")]
    TooMany,
}

impl Query {
    /// Reads what stands after the `?`, if there is one. Empty parameters (`&&`) do not count.
    ///
    /// # Errors
    ///
    /// [`QueryError::TooMany`], before any parameter is decoded.
    ///
    /// # Source
    ///
    /// P-009, P-010; security requirements, §3.1.
    pub fn parse(raw: Option<&str>) -> Result<Self, QueryError> {
        let parameters = || raw.unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty());
        if parameters().nth(QUERY_PARAMETERS_MAX).is_some() {
            return Err(QueryError::TooMany);
        }
        let decoded = parameters().map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (decode(name).into_owned(), decode(value).into_owned())
        });
        Ok(Self { parameters: decoded.collect() })
    }

    /// The value of a parameter that has one; of several the first counts (P-012).
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of a parameter that may be repeated (P-012).
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.parameters.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    if !is_escaped_properly(text) {
        return Cow::Borrowed(text);
    }
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
}
