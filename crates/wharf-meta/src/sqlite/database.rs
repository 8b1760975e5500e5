use rusqlite::Connection;

use super::SqliteMetadata;
use crate::database::Database;
use crate::memory::Memory;
use crate::snapshot::Copied;
use crate::sql::{self, Tx};
use crate::{DatabaseFigures, DiskRefusal, Error, Result, Snapshot, Tally};

/// Questions go to a reader, changes to the writer.
impl Database for SqliteMetadata {
    async fn read<T, F>(&self, doing: &'static str, question: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> sql::Result<T> + Send + 'static,
    {
        self.readers.read(doing, move |connection| question(&Tx::from(connection))).await
    }

    async fn write<T, F>(&self, doing: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> sql::Result<T> + Send + 'static,
    {
        self.writer.write(doing, move |connection| work(&Tx::from(connection))).await
    }

    fn memory(&self) -> Option<&Memory> {
        Some(&self.memory)
    }

    async fn storage_failed(&self) {
        self.writer.storage_failed().await;
    }

    async fn disk_refused(&self) -> DiskRefusal {
        self.writer.disk_refused().await
    }

    fn figures(&self) -> DatabaseFigures {
        let mut log = self.readers.path().as_os_str().to_owned();
        log.push("-wal");
        let log_bytes = std::fs::metadata(log).ok().map(|found| found.len());
        self.writer.figures(log_bytes)
    }

    async fn close(&self) -> Result<()> {
        self.readers.close().await;
        match self.writer.close().await {
            Err(Error::Closed) => Ok(()),
            done => done,
        }
    }

    async fn check(&self, thorough: bool) -> Result<Vec<String>> {
        self.readers.read_long("checking the database", move |connection| complaints(connection, thorough)).await
    }

    async fn copy(&self, what: Copied) -> Result<Snapshot> {
        self.snapshots.take(what).await
    }

    async fn tally(&self) -> Result<Tally> {
        self.readers.read_long("counting rows", Tally::of).await
    }
}

/// The most lines that the database's check of itself may fill.
const COMPLAINTS_MAX: usize = 100;

/// What SQLite finds wrong with its own file, and rows that name others which are not there.
fn complaints(connection: &Connection, thorough: bool) -> rusqlite::Result<Vec<String>> {
    let pragma = if thorough { "pragma integrity_check(100)" } else { "pragma quick_check(100)" };
    let mut complaints: Vec<String> = connection
        .prepare(pragma)?
        .query_map([], |row| row.get(0))?
        .filter(|line| line.as_deref() != Ok("ok"))
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare("pragma foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let (Some(row), true) = (rows.next()?, complaints.len() < COMPLAINTS_MAX) {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        complaints.push(format!("a row of {table} names one of {parent} that does not exist"));
    }
    Ok(complaints)
}
