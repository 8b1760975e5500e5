//! Bytes that a seed can repeat, and their digests.

use sha2::{Digest, Sha256, Sha512};
use wharf_base::{Rng, SeededRng};

/// `length` bytes that are the same for the same seed and different for different ones.
pub fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SeededRng::new(seed).fill(&mut bytes);
    bytes
}

/// The SHA-256 of `bytes` in lower-case hexadecimal.
pub fn hex_sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The SHA-512 of `bytes` in lower-case hexadecimal.
pub fn hex_sha512(bytes: &[u8]) -> String {
    hex::encode(Sha512::digest(bytes))
}

/// The digest of `bytes` as the protocol writes it.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex_sha256(bytes))
}

/// Content too large to hold: one random stripe over and over, each numbered, so that no two MiB are alike and any
/// range can be made again from its offset.
pub struct Stripes {
    stripe: Vec<u8>,
    size_bytes: u64,
}

impl Stripes {
    /// Bytes in one stripe.
    pub const STRIPE_BYTES: usize = 1 << 20;

    /// `size_bytes` bytes of content, a whole number of stripes.
    pub fn new(seed: u64, size_bytes: u64) -> Self {
        assert_eq!(size_bytes % Self::STRIPE_BYTES as u64, 0, "whole stripes");
        Self { stripe: content(seed, Self::STRIPE_BYTES), size_bytes }
    }

    /// The size of all of it.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// How many stripes there are.
    pub fn count(&self) -> u64 {
        self.size_bytes / Self::STRIPE_BYTES as u64
    }

    /// The bytes of stripe `number`, counted from 0.
    pub fn stripe(&self, number: u64) -> Vec<u8> {
        let mut bytes = self.stripe.clone();
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    /// The digest of all of it.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for number in 0..self.count() {
            hash.update(self.stripe(number));
        }
        format!("sha256:{}", hex::encode(hash.finalize()))
    }
}
