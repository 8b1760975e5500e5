//! What both databases have in common about the history of their schemas.

use sha2::{Digest as _, Sha256};

use crate::sql::Contradiction;

/// One step of the schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Migration {
    /// Its place in the order, from 1 without gaps; the schema's number once it has run.
    pub(crate) number: u32,
    /// What it does, in a word or two.
    pub(crate) name: &'static str,
    /// The oldest schema that a binary must know to use the database afterwards.
    pub(crate) readable_by: u32,
    /// Its statements.
    pub(crate) sql: &'static str,
}

/// The newest schema that a binary with these knows.
pub(crate) fn known(migrations: &[Migration]) -> u32 {
    migrations.last().map_or(0, |migration| migration.number)
}

/// A database made by other statements under the same numbers is not the one this binary was tested with.
pub(crate) fn compare(migrations: &[Migration], number: i64, sha256: &str) -> Result<(), Contradiction> {
    // One that this binary does not know yet made a schema that it may use nevertheless.
    let Some(known) = migrations.iter().find(|migration| i64::from(migration.number) == number) else { return Ok(()) };
    if sha256 == checksum(known) {
        return Ok(());
    }
    Err(Contradiction(format!("migration {number} was made by another text than this binary's")))
}

pub(crate) fn checksum(migration: &Migration) -> String {
    hex::encode(Sha256::digest(migration.sql))
}
