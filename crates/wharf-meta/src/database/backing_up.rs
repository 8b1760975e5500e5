use async_trait::async_trait;
use wharf_oci::Digest;

use super::Database;
use crate::{BackingUp, Result, Snapshot, snapshot};

#[async_trait]
impl<D: Database> BackingUp for D {
    async fn take_snapshot(&self) -> Result<Snapshot> {
        Database::take_snapshot(self).await
    }

    async fn content_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let digest = *digest;
        self.read("looking up content", move |tx| snapshot::size_in_any_state(tx, &digest)).await
    }

    async fn content_returned(&self, digest: &Digest, size_bytes: u64) -> Result<bool> {
        let digest = *digest;
        self.write("recording that content is there again", move |tx| snapshot::returned(tx, &digest, size_bytes)).await
    }
}
