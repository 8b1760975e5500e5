//! Percent-encoding of request paths.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Stands in a decoded path for what must not be in it. It is itself such a byte, and no grammar has it.
pub(crate) const REFUSED: char = '\0';

/// Decodes a request path exactly once, before it is split (P-009).
///
/// Refused, and replaced by [`REFUSED`], are control characters and `\`; an encoded `/`, `.`, `\` or `%`, which a proxy
/// in front may have read otherwise; `%` without two hexadecimal digits; and what is not UTF-8 (S-041). To replace
/// instead of giving up leaves it to the router to say whether the name or the rest of the path is wrong (P-008).
/// Since an encoded `/` is refused, splitting before and after decoding are the same.
pub(crate) fn decode(raw: &str) -> Cow<'_, str> {
    if raw.bytes().all(|byte| byte != b'%' && !is_refused(byte)) {
        return Cow::Borrowed(raw);
    }
    let decoded: Vec<u8> = percent_decode(&mark_refused(raw.as_bytes())).collect();
    let mut text = String::with_capacity(decoded.len());
    for chunk in decoded.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(REFUSED);
        }
    }
    Cow::Owned(text)
}

/// The path with every escape left in that may be decoded, and a NUL for everything that is refused.
fn mark_refused(raw: &[u8]) -> Vec<u8> {
    let mut marked = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((first, after)) = rest.split_first() {
        let (kept, consumed): (&[u8], usize) = match (first, after) {
            (b'%', [high, low, ..]) => match escaped(*high, *low) {
                Some(byte) if !is_refused(byte) && !matches!(byte, b'/' | b'.' | b'%') => (&rest[..3], 3),
                Some(_) => (b"\0", 3),
                None => (b"\0", 1),
            },
            (b'%', _) => (b"\0", 1),
            (byte, _) if is_refused(*byte) => (b"\0", 1),
            _ => (&rest[..1], 1),
        };
        marked.extend_from_slice(kept);
        rest = &rest[consumed..];
    }
    marked
}

/// Whether every `%` is followed by two hexadecimal digits.
pub(crate) fn is_escaped_properly(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let digits = after.as_bytes();
        digits.len() >= 2 && escaped(digits[0], digits[1]).is_some()
    })
}

fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? * 16 + digit(low)?)
}

fn is_refused(byte: u8) -> bool {
    byte.is_ascii_control() || byte == b'\\'
}
