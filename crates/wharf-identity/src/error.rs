use std::time::Duration;

use crate::provider::Unavailable;

/// Why nobody is found to have asked. None of these holds anything that was presented.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The bearer token is malformed, forged, expired, for somebody else, or not for this place.
    #[error("the token is not valid here, or not any more; fetch another one")]
    InvalidToken,
    /// Unknown, disabled, or not with that password: one answer for all (S-028).
    #[error("name and password, or token, do not fit")]
    WrongCredentials,
    /// Too many failures, or too many requests for tokens (S-029).
    #[error("too many attempts; wait a moment")]
    TooManyAttempts {
        /// For how long.
        retry_after: Duration,
    },
    /// Too many passwords wait to be checked.
    #[error("too many logins at once; try again")]
    Busy {
        /// When.
        retry_after: Duration,
    },
    /// A provider could not be asked (S-033).
    #[error("who you are cannot be found out right now: {provider} does not answer; try again")]
    Unavailable {
        /// Which provider.
        provider: &'static str,
        /// When asking again may help.
        retry_after: Duration,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The metadata database did not answer.
    #[error("looking up who asks")]
    Meta(#[from] wharf_meta::Error),
}

impl From<Unavailable> for AuthError {
    fn from(Unavailable { provider, retry_after, source }: Unavailable) -> Self {
        Self::Unavailable { provider, retry_after, source }
    }
}

/// Why identities cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The metadata database did not answer.
    #[error("reading accounts and keys")]
    Meta(#[from] wharf_meta::Error),
    /// A stored key is none.
    #[error("signing key {0} in the database cannot be read")]
    Key(String),
    /// The first account's password is not acceptable.
    #[error("the password for admin {0}")]
    Password(#[from] crate::PasswordError),
    /// A file that configuration names cannot be read.
    #[error("reading {path}, which {key} names")]
    File {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A client for a provider cannot be made.
    #[error("setting up the connection to {provider}")]
    Client {
        /// Which provider.
        provider: String,
        /// Why not.
        source: wharf_outgoing::BuildError,
    },
    /// A password could not be hashed.
    #[error("hashing a password")]
    Hash,
}
