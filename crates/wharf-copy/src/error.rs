//! Why something could not be copied.

use std::time::Duration;

/// One variant for each thing that a caller does differently about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place has no such thing.
    #[error("{0} is not there")]
    Absent(String),
    /// What is there is not what its name says.
    #[error("{what}: {how}")]
    Damaged {
        /// Its name.
        what: String,
        /// What is wrong with it.
        how: String,
    },
    /// No answer, or one that broke off. May succeed the next time.
    #[error("{server} cannot be reached: {why}")]
    Unreachable {
        /// Scheme, host and port.
        server: String,
        /// What the network says.
        why: String,
    },
    /// A transfer ended in the middle. May succeed the next time.
    #[error("the transfer from or to {server} broke off: {why}")]
    BrokeOff {
        /// Scheme, host and port.
        server: String,
        /// What the network says.
        why: String,
    },
    /// 429, 502, 503 or 504. May succeed the next time.
    #[error("{server} asks to come back later: {message}")]
    Busy {
        /// Scheme, host and port.
        server: String,
        /// In the server's words.
        message: String,
        /// When, if it says so.
        retry_after: Option<Duration>,
    },
    /// 401, or a token that is not given out.
    #[error("{server}: {message}")]
    NotLoggedIn {
        /// Scheme, host and port.
        server: String,
        /// In the server's words.
        message: String,
    },
    /// 403.
    #[error("{server}: {message}")]
    Denied {
        /// Scheme, host and port.
        server: String,
        /// In the server's words.
        message: String,
    },
    /// Any other answer that is not the hoped-for one.
    #[error("{server} does not {doing}: {message}")]
    Refused {
        /// Scheme, host and port.
        server: String,
        /// What it was asked to do.
        doing: String,
        /// The status of its answer.
        status: u16,
        /// In the server's words.
        message: String,
    },
    /// A file that is written, or a whole place that is read, is in trouble.
    #[error("{doing}")]
    Io {
        /// What was being done, to which file.
        doing: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// An entry of a layout belongs to no repository that is known.
    #[error("the layout does not say which repository {0} belongs to")]
    Unnamed(wharf_oci::Digest),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// `what` is damaged.
    pub(crate) fn damaged(what: impl Into<String>, how: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), how: how.into() }
    }

    /// `doing` failed.
    pub(crate) fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }

    /// Whether the same may succeed a little later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::BrokeOff { .. } | Self::Busy { .. })
    }

    /// Whether everything else would fail as well.
    pub(crate) fn ends_the_copy(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. } | Self::Io { .. })
    }
}
