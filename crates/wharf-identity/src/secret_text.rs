//! The form of API and refresh tokens: a prefix that leak scanners know, 256 random bits, and a checksum that tells a
//! token from something that only looks like one, before anything is looked up (S-036).
//!
//! An API token matches `wharf_[0-9A-Za-z]{49}`, a refresh token `wharf_r_[0-9A-Za-z]{49}`: 43 digits in base 62, and six
//! of the CRC-32 of everything before them.

use sha2::{Digest as _, Sha256};
use wharf_base::{Rng, Secret};
use wharf_meta::TokenKind;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 62^43 is more than 2^256, 62^6 more than 2^32.
const RANDOM_DIGITS: usize = 43;
const CHECKSUM_DIGITS: usize = 6;

/// Whether the text claims to be one of our tokens, whatever becomes of it.
pub(crate) fn is_ours(text: &str) -> bool {
    text.starts_with("wharf_")
}

fn prefix(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Api => "wharf_",
        TokenKind::Refresh => "wharf_r_",
    }
}

/// A new token.
pub(crate) fn generate(kind: TokenKind, rng: &dyn Rng) -> Secret<String> {
    let mut random = [0; 32];
    rng.fill(&mut random);
    let mut text = prefix(kind).to_owned();
    text.extend(base62(&mut random, RANDOM_DIGITS));
    let mut checksum = crc32(text.as_bytes()).to_be_bytes();
    text.extend(base62(&mut checksum, CHECKSUM_DIGITS));
    text.into()
}

/// The kind of token that `text` is, and the hash it is looked up by; `None` if it is none.
pub(crate) fn parse(text: &Secret<String>) -> Option<(TokenKind, [u8; 32])> {
    let text = text.expose();
    let kind = if text.starts_with(prefix(TokenKind::Refresh)) { TokenKind::Refresh } else { TokenKind::Api };
    let digits = text.strip_prefix(prefix(kind))?;
    let is_whole =
        digits.len() == RANDOM_DIGITS + CHECKSUM_DIGITS && digits.bytes().all(|digit| DIGITS.contains(&digit));
    if !is_whole {
        return None;
    }
    let (covered, checksum) = text.split_at(text.len() - CHECKSUM_DIGITS);
    let expected: String = base62(&mut crc32(covered.as_bytes()).to_be_bytes(), CHECKSUM_DIGITS).collect();
    (checksum == expected).then(|| (kind, sha256(text)))
}

/// What is kept of a token.
pub(crate) fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The number in `bytes`, big end first, in `digits` digits of base 62. `bytes` is used up.
fn base62(bytes: &mut [u8], digits: usize) -> impl Iterator<Item = char> {
    let mut text = vec!['0'; digits];
    for place in text.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in bytes.iter_mut() {
            let value = remainder << 8 | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        *place = char::from(DIGITS[remainder as usize]);
    }
    text.into_iter()
}

/// CRC-32 as in gzip (reflected, polynomial 0xEDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use wharf_base::{Secret, SystemRng};
    use wharf_meta::TokenKind;

    use super::{crc32, generate, parse};

    #[test]
    fn the_checksum_is_that_of_gzip() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn s036_a_token_is_read_as_what_it_was_made() {
        for kind in [TokenKind::Api, TokenKind::Refresh] {
            let token = generate(kind, &SystemRng);
            let (read, hash) = parse(&token).expect("a token");
            assert_eq!(read, kind);
            assert_eq!(hash, super::sha256(token.expose()));
            assert_ne!(generate(kind, &SystemRng), token);
        }
    }

    #[test]
    fn b100_what_is_not_quite_a_token_is_none() {
        let token = generate(TokenKind::Api, &SystemRng);
        let text = token.expose();
        for index in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[index] = if changed[index] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(parse(&Secret::from(changed)).is_none(), "byte {index} changed");
        }
        for changed in [
            format!("{text}\n"),
            format!(" {text}"),
            text[..text.len() - 1].to_owned(),
            text.replace("wharf_", "wharf_r_"),
        ] {
            assert!(parse(&Secret::from(changed)).is_none());
        }
    }
}
