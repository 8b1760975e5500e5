use async_trait::async_trait;
use wharf_base::Location;
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

    async fn content_returned(&self, digest: &Digest, location: &Location, size_bytes: u64) -> Result<bool> {
        let (digest, location) = (*digest, location.clone());
        let doing = "recording that content is there again";
        self.write(doing, move |tx| snapshot::returned(tx, &digest, &location, size_bytes)).await
    }
}
