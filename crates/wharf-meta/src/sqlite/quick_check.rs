//! SQLite's own look for damage, on a connection and a thread of its own.

use std::path::Path;

use rusqlite::{Connection, InterruptHandle, Result};

use super::SqliteConfig;
use super::connection::{self, Role};
use crate::Error;

/// More findings say no more than these.
const FINDINGS_MAX: u32 = 10;

/// Ends the look when whoever asked stops waiting.
struct Interrupt(InterruptHandle);

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.interrupt();
    }
}

pub(super) async fn run(path: &Path, config: &SqliteConfig) -> crate::Result<Vec<String>> {
    let doing = "looking for damage";
    let connection = connection::open(path, Role::Reader, config)?;
    let _interrupt = Interrupt(connection.get_interrupt_handle());
    let found = tokio::task::spawn_blocking(move || look(&connection)).await;
    found.map_err(|lost| Error::unavailable(doing, lost))?.map_err(|error| Error::sqlite(doing, error))
}

fn look(connection: &Connection) -> Result<Vec<String>> {
    let mut found = Vec::new();
    connection.pragma(None, "quick_check", FINDINGS_MAX, |row| {
        let line: String = row.get(0)?;
        if line != "ok" {
            found.push(line);
        }
        Ok(())
    })?;
    Ok(found)
}
