use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{PostgresMetadata, Session, Sharing, check, copy};
use crate::database::Database;
use crate::snapshot::Copied;
use crate::sql::{self, Tx};
use crate::sqlite::{Abandoned, Given};
use crate::{DatabaseFigures, DiskRefusal, Error, Result, Snapshot, Tally, leases, life};

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
        self.check_owner()?;
        let Some(lease) = leases::current() else { return self.pool.write(doing, work).await };
        let fenced = move |tx: &Tx<'_>| {
            leases::hold(tx, &lease)?;
            work(tx)
        };
        self.pool.write(doing, fenced).await
    }

    async fn write_last<T, F>(&self, doing: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> sql::Result<T> + Send + 'static,
    {
        self.check_owner()?;
        self.pool.write(doing, work).await
    }

    async fn write_alone<T, F>(&self, doing: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> sql::Result<T> + Send + 'static,
    {
        self.check_owner()?;
        self.pool.write_alone(doing, work).await
    }

    fn is_shared(&self) -> bool {
        self.sharing == Sharing::Replicas
    }

    async fn changed(&self) {
        self.owner.heard().await;
    }

    /// A commit that the server cannot sync ends the server, not us. What ends us is another process in our place.
    async fn storage_failed(&self) {
        self.owner.displaced().await;
    }

    async fn disk_refused(&self) -> DiskRefusal {
        std::future::pending().await
    }

    fn figures(&self) -> DatabaseFigures {
        self.pool.figures()
    }

    async fn close(&self) -> Result<()> {
        let is_alone = !self.is_shared();
        self.pool.close(move |tx| if is_alone { life::set_clean(tx, true) } else { Ok(()) }).await?;
        let owner = Arc::clone(&self.owner);
        let given_up = tokio::task::spawn_blocking(move || owner.give_up());
        given_up.await.map_err(|lost| Error::unavailable("closing", lost))
    }

    async fn check(&self, thorough: bool) -> Result<Vec<String>> {
        self.pool
            .with_session_for_long("checking the database", move |session| check::complaints(session, thorough))
            .await
    }

    async fn tally(&self) -> Result<Tally> {
        let doing = "counting rows";
        let counted = move |session: &Session| copy::tally(session).map_err(|error| Error::sql(doing, error));
        self.pool.with_session_for_long(doing, counted).await
    }

    async fn copy(&self, what: Copied) -> Result<Snapshot> {
        let doing = "taking a snapshot";
        let draft = self.snapshots.begin()?;
        let abandoned = Abandoned::default();
        let flag = abandoned.flag();
        self.pool
            .with_session_for_long(doing, move |session| {
                let go_on = || match flag.load(Ordering::Acquire) {
                    false => Ok(()),
                    true => Err(rusqlite::Error::ToSqlConversionFailure(Box::new(Given)).into()),
                };
                let copied = go_on().and_then(|()| draft.make()).and_then(|target| {
                    target.execute_batch("begin")?;
                    copy::export(session, &target, what, go_on)?;
                    target.execute_batch("commit")?;
                    target.flush_prepared_statement_cache();
                    target.close().map_err(|(_, error)| error.into())
                });
                copied.map_err(|error| Error::sql(doing, error))?;
                draft.finish()
            })
            .await
    }
}

impl PostgresMetadata {
    /// Refuses changes once another process has the database.
    fn check_owner(&self) -> Result<()> {
        if !self.owner.is_displaced() {
            return Ok(());
        }
        let source = "another process has taken it, or a newer version has changed it".to_owned();
        Err(Error::StorageFailed { source: Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(source)) })
    }
}
