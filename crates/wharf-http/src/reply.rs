//! Answers before they are sent: status, headers, payload of known length.

use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use wharf_registry::{ContentFile, OpenBlob};

/// Parts of blobs that are shorter are read: that takes fewer calls.
const FILES_FROM_BYTES: u64 = 64 << 10;

/// About as many headers as an answer has.
const HEADERS: usize = 12;

/// An answer. In a box, for it is handed on and added to many times.
pub(crate) struct Reply(Box<Parts>);

/// What an answer is made of.
pub(crate) struct Parts {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// What the log says about a failure and the client must not see.
    pub(crate) cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Deref for Reply {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Reply {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl Reply {
    fn new(status: StatusCode, headers: HeaderMap, payload: Payload) -> Self {
        Self(Box::new(Parts { status, headers, payload, cause: None }))
    }

    pub(crate) fn into_parts(self) -> Parts {
        *self.0
    }

    /// An answer without a body: `Content-Length: 0`, except where the status forbids the header (P-002).
    pub(crate) fn empty(status: StatusCode) -> Self {
        let mut reply = Self::new(status, HeaderMap::new(), Payload::Empty);
        if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
            reply.headers.insert(CONTENT_LENGTH, HeaderValue::from(0_u64));
        }
        reply
    }

    /// An answer of `length_bytes` bytes of type `content_type`.
    pub(crate) fn of(status: StatusCode, content_type: HeaderValue, payload: Payload) -> Self {
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(payload.length_bytes()));
        headers.insert(CONTENT_TYPE, content_type);
        Self::new(status, headers, payload)
    }

    /// A JSON document.
    pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Self {
        Self::of(status, HeaderValue::from_static("application/json"), Payload::Bytes(body.into()))
    }

    /// The answer with one more header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// The answer to the same request with HEAD: the same headers, no bytes (P-003).
    pub(crate) fn without_payload(mut self) -> Self {
        self.payload = Payload::Empty;
        self
    }
}

/// A header value from text made of parsed values. Anything else than visible ASCII cannot come through (S-045).
pub(crate) fn header_value(text: &str) -> HeaderValue {
    let is_visible = |byte: &u8| matches!(byte, b' '..=b'~');
    let made = if text.as_bytes().iter().all(is_visible) {
        HeaderValue::from_str(text)
    } else {
        HeaderValue::from_bytes(&text.bytes().filter(is_visible).collect::<Vec<u8>>())
    };
    made.expect("visible ASCII is a header value")
}

/// The bytes of an answer. Its length is known before the first byte is sent.
pub(crate) enum Payload {
    /// None.
    Empty,
    /// In memory.
    Bytes(Bytes),
    /// From the store.
    Stream {
        /// How many bytes `content` gives, if nothing breaks.
        length_bytes: u64,
        /// The bytes. An error ends the connection: a body is never padded and never ends early as if it were whole
        /// (P-128).
        content: BoxStream<'static, io::Result<Bytes>>,
    },
    /// A part of a blob that the kernel can send, where the connection lets it.
    File(Box<FilePart>),
}

/// A part of a blob that is in a file.
pub(crate) struct FilePart {
    pub(crate) blob: OpenBlob,
    /// The file that the blob is.
    pub(crate) file: ContentFile,
    /// End exclusive.
    pub(crate) range: Range<u64>,
}

impl Payload {
    /// `range` (end exclusive) of `blob`.
    pub(crate) fn of_blob(blob: &OpenBlob, range: Range<u64>) -> Self {
        let length_bytes = range.end - range.start;
        if length_bytes == 0 {
            return Self::Empty;
        }
        if let Some(bytes) = blob.bytes(&range) {
            return Self::Bytes(bytes);
        }
        match (length_bytes >= FILES_FROM_BYTES).then(|| blob.file(&range)).flatten() {
            Some(file) => Self::File(Box::new(FilePart { blob: blob.clone(), file, range })),
            None => Self::Stream { length_bytes, content: blob.stream(range) },
        }
    }

    /// The same bytes, read, for a connection that does not send files.
    pub(crate) fn without_file(self) -> Self {
        match self {
            Self::File(part) => {
                let FilePart { blob, range, .. } = *part;
                Self::Stream { length_bytes: range.end - range.start, content: blob.stream(range) }
            }
            payload => payload,
        }
    }

    pub(crate) fn length_bytes(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stream { length_bytes, .. } => *length_bytes,
            Self::File(part) => part.range.end - part.range.start,
        }
    }

    /// The next bytes; `None` at the end. A file must have been taken away, or turned into a stream.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)))
            }
            Self::Stream { length_bytes, content } => {
                let next = ready!(Pin::new(content).poll_next(context));
                Poll::Ready(check_length(length_bytes, next))
            }
            Self::File(_) => Poll::Ready(Some(Err(io::Error::other("a file is not sent here")))),
        }
    }
}

/// Holds the stream to the length that was announced.
fn check_length(left_bytes: &mut u64, next: Option<io::Result<Bytes>>) -> Option<io::Result<Bytes>> {
    match next {
        None if *left_bytes == 0 => None,
        None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        Some(Ok(bytes)) => match left_bytes.checked_sub(bytes.len() as u64) {
            Some(left) => {
                *left_bytes = left;
                Some(Ok(bytes))
            }
            None => Some(Err(io::Error::other("the store gave more bytes than announced"))),
        },
        error => error,
    }
}
