//! How often things have changed that replicas keep in memory.

use crate::sql::{Result, Tx, statements};

/// How often each kind of thing has changed; a replica that has read at these numbers is up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Policy rules.
    pub rules: i64,
    /// Accounts and tokens.
    pub identities: i64,
    /// Signing keys.
    pub keys: i64,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rules,
    Identities,
    Keys,
}

statements! {
    /// Other replicas hear of it with the commit.
    NOTE = "update changes set version = version + 1 where kind = $1",
    postgres:
        "with counted as (update changes set version = version + 1 where kind = $1 returning kind)
         select pg_notify('wharf_changes', kind)::text from counted";
    READ =
        "select (select version from changes where kind = 'rules'),
                (select version from changes where kind = 'identities'),
                (select version from changes where kind = 'keys')";
}

/// Counts one more change, in the transaction that makes it.
pub(crate) fn note(tx: &Tx<'_>, kind: Kind) -> Result<()> {
    let kind = match kind {
        Kind::Rules => "rules",
        Kind::Identities => "identities",
        Kind::Keys => "keys",
    };
    tx.prepare_cached(NOTE)?.execute([kind])?;
    Ok(())
}

pub(crate) fn read(tx: &Tx<'_>) -> Result<Versions> {
    tx.prepare_cached(READ)?
        .query_row((), |row| Ok(Versions { rules: row.get(0)?, identities: row.get(1)?, keys: row.get(2)? }))
}
