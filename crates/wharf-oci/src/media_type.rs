//! Media types.

use crate::limits::MEDIA_TYPE_MAX_BYTES;
use crate::text::text_value;

/// Longest type or subtype (RFC 6838 §4.2).
const RESTRICTED_NAME_MAX_BYTES: usize = 127;

text_value! {
    /// A media type without parameters, `application/vnd.oci.image.manifest.v1+json`; at most 255 bytes.
    ///
    /// # Errors
    ///
    /// `parse` answers with a [`MediaTypeError`]; parameters are refused, see [`MediaType::from_content_type`].
    ///
    /// # Source
    ///
    /// RFC 6838 §4.2; security requirements, §3.2.
    MediaType, MediaTypeError, check
}

/// Why a text is not a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaTypeError {
    /// More than 255 bytes.
    #[error("the media type has more than {MEDIA_TYPE_MAX_BYTES} bytes")]
    TooLong,
    /// Not `type/subtype` as RFC 6838 has it.
    #[error("the media type is not of the form type/subtype")]
    Grammar,
}

impl MediaType {
    /// The media type of a `Content-Type` header: parameters and white space dropped, in lower case.
    ///
    /// # Errors
    ///
    /// [`MediaTypeError`] if what is left is not a media type.
    ///
    /// # Source
    ///
    /// RFC 9110 §8.3; P-214.
    pub fn from_content_type(header: &str) -> Result<Self, MediaTypeError> {
        let media_type = without_parameters(header);
        check(media_type)?;
        Ok(Self(media_type.to_ascii_lowercase().into()))
    }
}

/// Whether a manifest may state `text` as a type of its own or of something it names.
///
/// Registries must not refuse types they do not know (P-220), so this asks only for the general form and allows
/// parameters in visible ASCII, which tools that guess types from content write: `text/plain; charset=utf-8`.
pub(crate) fn is_acceptable(text: &str) -> bool {
    let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    text.len() <= MEDIA_TYPE_MAX_BYTES && is_printable && check(without_parameters(text)).is_ok()
}

fn without_parameters(text: &str) -> &str {
    let end = text.find(';').unwrap_or(text.len());
    text[..end].trim_matches([' ', '\t'])
}

fn check(text: &str) -> Result<(), MediaTypeError> {
    if text.len() > MEDIA_TYPE_MAX_BYTES {
        return Err(MediaTypeError::TooLong);
    }
    match text.split_once('/') {
        Some((kind, subtype)) if is_restricted_name(kind) && is_restricted_name(subtype) => Ok(()),
        _ => Err(MediaTypeError::Grammar),
    }
}

fn is_restricted_name(name: &str) -> bool {
    let is_first = |byte: &u8| byte.is_ascii_alphanumeric();
    let is_any = |byte: &u8| is_first(byte) || b"!#$&-^_.+".contains(byte);
    let name = name.as_bytes();
    name.len() <= RESTRICTED_NAME_MAX_BYTES && name.first().is_some_and(is_first) && name.iter().all(is_any)
}
