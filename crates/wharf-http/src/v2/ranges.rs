//! Answers with a part of a blob, or several (RFC 9110 §14; P-114 … P-123).

use std::io;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::StatusCode;
use http::header::{CONTENT_RANGE, HeaderValue};
use wharf_oci::{ByteRange, Selection};
use wharf_registry::OpenBlob;

use super::{Answer, Failure};
use crate::reply::{Payload, Reply, header_value};

/// Separates the parts of a multipart answer. It need not be absent from the content: a part's length is in its
/// `Content-Range`, and every reader of blobs by range goes by that.
const BOUNDARY: &str = "wharf-0f6b2b9d1c8e4a53";

/// The answer for `selection` of `blob`.
pub(super) fn reply(blob: &OpenBlob, selection: Selection, content_type: HeaderValue) -> Answer {
    let size_bytes = blob.size_bytes;
    match selection {
        Selection::Whole => Ok(Reply::of(StatusCode::OK, content_type, Payload::of_blob(blob, 0..size_bytes))),
        Selection::One(range) => {
            let payload = Payload::of_blob(blob, range.start..range.start + range.len());
            let reply = Reply::of(StatusCode::PARTIAL_CONTENT, content_type, payload);
            Ok(reply.with(CONTENT_RANGE, content_range(&range, size_bytes)))
        }
        Selection::Many(ranges) => Ok(multipart(blob, &ranges, &content_type)),
        Selection::Unsatisfiable => {
            let reply = Reply::empty(StatusCode::RANGE_NOT_SATISFIABLE);
            Ok(reply.with(CONTENT_RANGE, header_value(&format!("bytes */{size_bytes}"))))
        }
        Selection::TooMany => Err(Failure::parameter("too many ranges; ask for fewer at a time")),
    }
}

fn content_range(range: &ByteRange, size_bytes: u64) -> HeaderValue {
    header_value(&format!("bytes {}-{}/{size_bytes}", range.start, range.end))
}

/// Each range as a part of its own, in the order of the request (P-122).
fn multipart(blob: &OpenBlob, ranges: &[ByteRange], content_type: &HeaderValue) -> Reply {
    let part_type = content_type.to_str().unwrap_or_default();
    let closing = format!("\r\n--{BOUNDARY}--\r\n");
    let mut length_bytes = closing.len() as u64;
    let mut pieces: Vec<BoxStream<'static, io::Result<Bytes>>> = Vec::with_capacity(2 * ranges.len() + 1);
    for range in ranges {
        let head = format!(
            "\r\n--{BOUNDARY}\r\nContent-Type: {part_type}\r\nContent-Range: bytes {}-{}/{}\r\n\r\n",
            range.start, range.end, blob.size_bytes
        );
        length_bytes += head.len() as u64 + range.len();
        pieces.push(text(head));
        let (blob, from, to) = (blob.clone(), range.start, range.end + 1);
        // Opened when its turn comes, so that a thousand ranges do not read ahead a thousand times.
        pieces.push(stream::once(async move { blob.stream(from..to) }).flatten().boxed());
    }
    pieces.push(text(closing));
    let content = stream::iter(pieces).flatten().boxed();
    let content_type = header_value(&format!("multipart/byteranges; boundary={BOUNDARY}"));
    Reply::of(StatusCode::PARTIAL_CONTENT, content_type, Payload::Stream { length_bytes, content })
}

fn text(text: String) -> BoxStream<'static, io::Result<Bytes>> {
    stream::once(async move { Ok(Bytes::from(text)) }).boxed()
}
