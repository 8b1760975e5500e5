use async_trait::async_trait;
use wharf_base::{Location, StoreId};
use wharf_oci::Digest;

use super::Database;
use crate::snapshot::Copied;
use crate::{BackingUp, Result, Snapshot, Tally, life, snapshot};

#[async_trait]
impl<D: Database> BackingUp for D {
    async fn take_snapshot(&self) -> Result<Snapshot> {
        Database::copy(self, Copied::ForBackup).await
    }

    async fn take_everything(&self) -> Result<Snapshot> {
        Database::copy(self, Copied::Everything).await
    }

    async fn tally(&self) -> Result<Tally> {
        Database::tally(self).await
    }

    async fn give_up(&self, id: StoreId) -> Result<()> {
        self.write("giving the database up", move |tx| life::give_up(tx, id)).await
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
