//! Small blobs in memory: the config of an image is asked for by everybody who pulls it.
//!
//! What is kept was hashed when it was read, and a digest names the same bytes for ever: nothing makes it untrue. Which
//! repository serves it is not kept here, so what has been deleted or set aside is not found, and only waits to be
//! pushed out by others.

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use wharf_base::ByteSize;
use wharf_oci::Digest;
use wharf_store::BlobReader;

/// Larger ones are read each time: the way to the disk weighs less there, and each would push out many others.
const KEPT_MAX_BYTES: u64 = 64 << 10;

/// What an entry takes besides its bytes, about.
const ENTRY_BYTES: u64 = 256;

/// How large a config usually is: for the number of entries that the memory is prepared for.
const USUAL_BYTES: u64 = 2 << 10;

/// What was read of late.
#[derive(Debug)]
pub(crate) struct SmallBlobs(Cache<Digest, BlobReader, Weight>);

/// An entry weighs what it takes, in bytes.
#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Digest, BlobReader> for Weight {
    fn weight(&self, _: &Digest, content: &BlobReader) -> u64 {
        ENTRY_BYTES + content.size_bytes()
    }
}

impl SmallBlobs {
    /// That take about `size` at most.
    pub(crate) fn new(size: ByteSize) -> Self {
        let entries = usize::try_from(size.as_u64() / USUAL_BYTES).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(entries, size.as_u64(), Weight))
    }

    /// The content, if it is here and has the length that is recorded.
    pub(crate) fn get(&self, digest: &Digest, size_bytes: u64) -> Option<BlobReader> {
        self.0.get(digest).filter(|content| content.size_bytes() == size_bytes)
    }

    /// Keeps `content`, which is in memory and hashes to `digest`, if it is small.
    pub(crate) fn keep(&self, digest: Digest, content: &BlobReader) {
        if content.size_bytes() <= KEPT_MAX_BYTES {
            self.0.insert(digest, content.clone());
        }
    }
}
