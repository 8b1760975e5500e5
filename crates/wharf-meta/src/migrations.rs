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
    /// The oldest schema that a binary must know to use the database afterwards; never less than that of the step before.
    /// A step that only adds (a table, a column with a default or without a value) names the schema of the release before
    /// this one; a step that takes away or means something else names its own number (docs/scaling.md).
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What a binary may not use before a step it may not use after it, and both databases have the same history.
    #[test]
    fn r072_the_steps_are_counted_and_never_readable_by_less() {
        for migrations in [crate::sqlite::MIGRATIONS, crate::postgres::MIGRATIONS] {
            for (index, migration) in migrations.iter().enumerate() {
                assert_eq!(migration.number as usize, index + 1, "{}", migration.name);
                assert!((1..=migration.number).contains(&migration.readable_by), "{}", migration.name);
            }
            assert!(migrations.is_sorted_by_key(|migration| migration.readable_by));
        }
        let history = |migrations: &[Migration]| -> Vec<_> {
            migrations.iter().map(|migration| (migration.number, migration.name, migration.readable_by)).collect()
        };
        assert_eq!(history(crate::sqlite::MIGRATIONS), history(crate::postgres::MIGRATIONS));
    }
}
