use super::PostgresMetadata;
use crate::database::Database;
use crate::sql::{self, Tx};
use crate::{DatabaseFigures, DiskRefusal, Error, Result, Snapshot, life};

impl Database for PostgresMetadata {
    async fn read<T, F>(&self, doing: &'static str, question: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> sql::Result<T> + Send + 'static,
    {
        self.pool.read(doing, question).await
    }

    async fn write<T, F>(&self, doing: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> sql::Result<T> + Send + 'static,
    {
        self.pool.write(doing, work).await
    }

    /// The server looks after its disk, and a commit that it cannot sync ends it, not us.
    async fn storage_failed(&self) {
        std::future::pending::<()>().await;
    }

    async fn disk_refused(&self) -> DiskRefusal {
        std::future::pending().await
    }

    fn figures(&self) -> DatabaseFigures {
        self.pool.figures()
    }

    async fn close(&self) -> Result<()> {
        self.pool.close(|tx| life::set_clean(tx, true)).await.map(|_| ())
    }

    async fn check(&self, _thorough: bool) -> Result<Vec<String>> {
        todo!()
    }

    async fn take_snapshot(&self) -> Result<Snapshot> {
        Err(Error::unavailable("taking a snapshot", "todo"))
    }
}
