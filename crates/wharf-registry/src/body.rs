use bytes::Bytes;
use futures_util::stream::BoxStream;
use wharf_oci::ContentRange;

/// Bytes as they arrive from the client.
pub type Body = BoxStream<'static, Result<Bytes, BodyError>>;

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It stood still, or crept, for too long.
    #[error("the body arrived too slowly")]
    Stalled,
    /// The connection broke, or the framing was wrong.
    #[error("the connection broke before the end of the body")]
    Broken,
}

/// One request's part of an upload.
pub struct Chunk {
    /// Where the client says it belongs; without it, it is appended.
    pub range: Option<ContentRange>,
    /// How long the client says it is; without it, it ends where it ends.
    pub length_bytes: Option<u64>,
    /// The bytes.
    pub body: Body,
}

impl Chunk {
    /// How long it will be, if the client says so in either way.
    pub fn announced_bytes(&self) -> Option<u64> {
        self.length_bytes.or(self.range.map(|range| range.len_bytes()))
    }
}
