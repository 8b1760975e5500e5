use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharf_base::ByteSize;

/// `[metadata]`, as far as it is about the embedded database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct SqliteConfig {
    /// How many reads run at the same time, each on a connection of its own that is opened when first needed.
    /// Default 4; 1 to 64.
    #[schemars(range(min = 1, max = 64))]
    pub readers: NonZeroUsize,

    /// At most how much memory the writing connection uses for pages. Default 16 MiB; a registry with millions of tags
    /// pushes faster with 256 MiB.
    pub writer_cache: ByteSize,

    /// At most how much memory each reading connection uses for pages. Default 4 MiB.
    pub reader_cache: ByteSize,

    /// At most how much memory is used for manifests, and for which repository serves which blob, so that they are not read
    /// from the database again. Default 8 MiB; 0 for none.
    pub remembered: ByteSize,

    /// How large the write-ahead log may grow before writes wait for a checkpoint. Default 64 MiB. While there is much to
    /// write its file may be several times as large; ten seconds after that it is
    /// made smaller.
    pub wal_max: ByteSize,
}

/// More connections than this only take memory.
const READERS_MAX: usize = 64;

impl SqliteConfig {
    /// The number of readers within its bounds.
    pub(crate) fn readers(&self) -> usize {
        self.readers.get().min(READERS_MAX)
    }
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self {
            readers: NonZeroUsize::MIN.saturating_add(3),
            writer_cache: ByteSize::mib(16),
            reader_cache: ByteSize::mib(4),
            remembered: ByteSize::mib(8),
            wal_max: ByteSize::mib(64),
        }
    }
}
