//! The error codes of the specification.

use std::fmt;

/// What an error is called in an answer. The first fourteen are the specification's and the only ones for 4xx; the
/// last two are for 5xx (P-052).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The repository has no such blob.
    BlobUnknown,
    /// A chunk cannot be taken where the session stands, or a blob is too large.
    BlobUploadInvalid,
    /// There is no such upload session for this caller.
    BlobUploadUnknown,
    /// A digest is malformed, unsupported, missing or not that of the content.
    DigestInvalid,
    /// A manifest names content that the repository does not have.
    ManifestBlobUnknown,
    /// A manifest or a tag is not acceptable.
    ManifestInvalid,
    /// The repository has no such manifest.
    ManifestUnknown,
    /// A repository name breaks the grammar.
    NameInvalid,
    /// There is no such repository.
    NameUnknown,
    /// Lengths that should agree do not.
    SizeInvalid,
    /// Credentials are missing or do not suffice.
    Unauthorized,
    /// Policy forbids it.
    Denied,
    /// The operation, the path or a parameter is not supported.
    Unsupported,
    /// The caller should slow down.
    TooManyRequests,
    /// An internal fault.
    Unknown,
    /// The service cannot answer for now.
    Unavailable,
}

impl Code {
    /// As the answer spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unknown => "UNKNOWN",
            Self::Unavailable => "UNAVAILABLE",
        }
    }

    /// The HTTP status that goes with it unless the occasion asks for another (checklist, table A1).
    #[must_use]
    pub fn default_status(self) -> u16 {
        match self {
            Self::DigestInvalid
            | Self::ManifestBlobUnknown
            | Self::ManifestInvalid
            | Self::NameInvalid
            | Self::SizeInvalid => 400,
            Self::Unauthorized => 401,
            Self::Denied => 403,
            Self::BlobUnknown | Self::BlobUploadUnknown | Self::ManifestUnknown | Self::NameUnknown => 404,
            Self::Unsupported => 405,
            Self::BlobUploadInvalid => 416,
            Self::TooManyRequests => 429,
            Self::Unknown => 500,
            Self::Unavailable => 503,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
