//! Content that nobody has seen before, and whose digest costs next to nothing.

use std::sync::{Arc, LazyLock};

use sha2::{Digest as _, Sha256};

const BLOCK_BYTES: usize = 1 << 20;

/// What makes content different from all other, at its end.
const MARK_BYTES: usize = 32;

/// Bytes that look random, so that nothing along the way can make them fewer.
static BLOCK: LazyLock<Box<[u8]>> = LazyLock::new(|| {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(BLOCK_BYTES / 8).flatten().collect()
});

/// Content of one size, hashed but for its end.
#[derive(Clone)]
pub(crate) struct Recipe {
    len_bytes: usize,
    hashed: Arc<Sha256>,
}

impl Recipe {
    /// For content of `len_bytes` bytes, which are at least 32.
    pub(crate) fn new(len_bytes: usize) -> Self {
        let mut hashed = Sha256::new();
        for part in filling(len_bytes) {
            hashed.update(part);
        }
        Self { len_bytes, hashed: Arc::new(hashed) }
    }

    /// The content that has this mark.
    pub(crate) fn make(&self, mark: &str) -> Content {
        let mark: [u8; MARK_BYTES] = Sha256::digest(mark).into();
        let mut hash = (*self.hashed).clone();
        hash.update(mark);
        Content { len_bytes: self.len_bytes, mark, digest: digest_text(&hash.finalize()) }
    }
}

fn filling<'a>(len_bytes: usize) -> impl Iterator<Item = &'a [u8]> {
    let filling = len_bytes - MARK_BYTES;
    let whole = std::iter::repeat_n(&BLOCK[..], filling / BLOCK_BYTES);
    whole.chain(std::iter::once(&BLOCK[..filling % BLOCK_BYTES]))
}

/// Something that can be pushed. It takes no memory of its own.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) len_bytes: usize,
    mark: [u8; MARK_BYTES],
    pub(crate) digest: String,
}

impl Content {
    /// Its bytes, in pieces.
    pub(crate) fn parts(&self) -> Vec<&[u8]> {
        filling(self.len_bytes).chain(std::iter::once(&self.mark[..])).collect()
    }
}

/// The digest of bytes, as it is written in a registry.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    digest_text(&Sha256::digest(bytes))
}

/// A hash as it is written in a registry.
pub(crate) fn digest_text(hash: &[u8]) -> String {
    format!("sha256:{}", hex::encode(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_parts_and_the_mark_makes_it_another() {
        for len in [32, 33, 4096, BLOCK_BYTES, BLOCK_BYTES + 32, 3 * BLOCK_BYTES + 77] {
            let recipe = Recipe::new(len);
            let content = recipe.make("a");
            let bytes = content.parts().concat();
            assert_eq!((bytes.len(), digest_of(&bytes)), (len, content.digest));
            assert_ne!(recipe.make("b").digest, recipe.make("a").digest);
        }
    }
}
