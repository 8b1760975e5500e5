//! What a client is told that has to prove who it is.

use std::fmt;

use crate::Scope;

/// Why credentials that were presented are no use (RFC 6750 §3.1, P-070).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeError {
    /// They are malformed, expired, forged or for somebody else.
    InvalidToken,
    /// They are good, and not enough.
    InsufficientScope,
}

impl ChallengeError {
    fn as_str(self) -> &'static str {
        match self {
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

/// The header `WWW-Authenticate`: one challenge a header, all values quoted, none of them empty (P-065, P-067).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Fetch a token.
    Bearer {
        /// Where, an absolute URL (P-068).
        realm: String,
        /// For whom.
        service: String,
        /// For what; one value holds them all (P-069).
        scopes: Vec<Scope>,
        /// What was wrong with what was presented, if anything was.
        error: Option<ChallengeError>,
    },
    /// Send name and password: where tokens come from, and where programs administer.
    Basic {
        /// For whom.
        realm: String,
    },
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { realm } => write!(f, "Basic realm={},charset=\"UTF-8\"", Quoted(realm)),
            Self::Bearer { realm, service, scopes, error } => {
                write!(f, "Bearer realm={},service={}", Quoted(realm), Quoted(service))?;
                if !scopes.is_empty() {
                    let scopes: Vec<String> = scopes.iter().map(Scope::to_string).collect();
                    write!(f, ",scope={}", Quoted(&scopes.join(" ")))?;
                }
                match error {
                    Some(error) => write!(f, ",error={}", Quoted(error.as_str())),
                    None => Ok(()),
                }
            }
        }
    }
}

/// A quoted string of RFC 9110 §5.6.4, of visible ASCII only (S-045).
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars().filter(|c| matches!(c, ' '..='~')) {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}
