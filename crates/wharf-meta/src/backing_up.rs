use std::fmt::Debug;

use async_trait::async_trait;
use wharf_base::{Location, StoreId};
use wharf_oci::Digest;

use crate::{Result, Snapshot, Tally};

/// What a backup and the return of damaged content need.
#[async_trait]
pub trait BackingUp: Send + Sync + Debug {
    /// A copy of the database as it is at one moment of this call. Reads and writes go on meanwhile; a caller that stops
    /// waiting ends the copying. There is at most one at a time, until it is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`](crate::Error::Unavailable) while there is another one, among others.
    async fn take_snapshot(&self) -> Result<Snapshot>;

    /// The same with all that a backup leaves out, for a registry that moves.
    ///
    /// # Errors
    ///
    /// As [`take_snapshot`](Self::take_snapshot).
    async fn take_everything(&self) -> Result<Snapshot>;

    /// What its tables have, at one moment.
    async fn tally(&self) -> Result<Tally>;

    /// From now on the database belongs to the store `id`, which is nobody's: no registry uses it any more together with the
    /// content that it names. For a registry that has moved away and took its content along.
    async fn give_up(&self, id: StoreId) -> Result<()>;

    /// The size of content that some row names, whatever its state; `None` if there is no such row.
    async fn content_size(&self, digest: &Digest) -> Result<Option<u64>>;

    /// Content that was lost or damaged is there again, `size_bytes` long, and may be served; `false` if no row names it.
    async fn content_returned(&self, digest: &Digest, location: &Location, size_bytes: u64) -> Result<bool>;
}
