//! What is kept for somebody under a key that only they can give: made from a secret of theirs, which is nowhere here.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use wharf_base::Secret;

/// 256 bits that only whoever holds the secret can make, others for each purpose.
pub(crate) fn derived(secret: &Secret<String>, purpose: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hmac::sign(&key, purpose).as_ref());
    bytes
}

/// `content` under a key from the secret: the nonce, then ciphertext and tag. `None` when the machine has no randomness.
pub fn seal(secret: &Secret<String>, purpose: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, &derived(secret, purpose)).ok()?;
    let mut bytes = content.to_vec();
    let nonce = key.seal_in_place_append_tag(Aad::empty(), &mut bytes).ok()?;
    Some([nonce.as_ref().as_slice(), &bytes].concat())
}

/// What was sealed with the same secret for the same purpose; `None` if it was not, or is not whole.
pub fn open(secret: &Secret<String>, purpose: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, &derived(secret, purpose)).ok()?;
    let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut bytes = rest.to_vec();
    let opened_len = key.open_in_place(nonce, Aad::empty(), &mut bytes).ok()?.len();
    bytes.truncate(opened_len);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use wharf_base::Secret;

    use super::{open, seal};

    #[test]
    fn s090_what_is_kept_is_under_a_key_that_only_its_owner_has() {
        let (mine, other) = (Secret::from("a".repeat(64)), Secret::from("b".repeat(64)));
        let token = b"a token of the single sign-on";
        let sealed = seal(&mine, b"tokens", token).expect("randomness");
        assert_eq!(open(&mine, b"tokens", &sealed), Some(token.to_vec()));
        assert_eq!(open(&other, b"tokens", &sealed), None);
        assert_eq!(open(&mine, b"answers", &sealed), None);
        assert_ne!(seal(&mine, b"tokens", token).expect("randomness"), sealed, "a nonce is used once");
        for end in [0, 5, sealed.len() - 1] {
            assert_eq!(open(&mine, b"tokens", &sealed[..end]), None, "cut at {end}");
        }
        assert!(!sealed.windows(5).any(|window| window == b"token"));
    }
}
