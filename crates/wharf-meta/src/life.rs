//! The database's own row: which store it belongs to, and whether it was closed in order.

use wharf_base::{StoreId, Timestamp};

use crate::sql::{Locks, Micros, Parsed, Result, Tx, statements};

statements! {
    STORE = "select store_id from meta where id = 1";
    SET_STORE = "update meta set store_id = $1 where id = 1";
    WAS_CLEAN = "select clean_shutdown from meta where id = 1";
    CLOCK_MARK = "select clock_high_us from meta where id = 1";
    SET_CLOCK_MARK = "update meta set clock_high_us = $1 where id = 1";
    SET_CLEAN = "update meta set clean_shutdown = $1 where id = 1";
}

pub(crate) fn store(tx: &Tx<'_>) -> Result<Option<StoreId>> {
    tx.prepare_cached(STORE)?.query_row((), |row| Ok(row.get::<Option<Parsed<StoreId>>>(0)?.map(|id| id.0)))
}

/// Binds the database to a store once and for all; answers the store that it belongs to now.
pub(crate) fn set_store(tx: &Tx<'_>, id: StoreId) -> Result<StoreId> {
    tx.lock(Locks::settings)?;
    if let Some(recorded) = store(tx)? {
        return Ok(recorded);
    }
    tx.prepare_cached(SET_STORE)?.execute([id.to_string()])?;
    Ok(id)
}

/// The database belongs to another store than it did: a registry has moved away from it.
pub(crate) fn give_up(tx: &Tx<'_>, id: StoreId) -> Result<()> {
    tx.lock(Locks::settings)?;
    tx.prepare_cached(SET_STORE)?.execute([id.to_string()])?;
    Ok(())
}

/// The latest time that was noted; 0 in a new database.
pub(crate) fn clock_mark(tx: &Tx<'_>) -> Result<Option<Timestamp>> {
    let mark: Micros = tx.prepare_cached(CLOCK_MARK)?.query_row((), |row| row.get(0))?;
    Ok((mark.0.as_micros() != 0).then_some(mark.0))
}

pub(crate) fn set_clock_mark(tx: &Tx<'_>, now: Timestamp) -> Result<()> {
    tx.prepare_cached(SET_CLOCK_MARK)?.execute([Micros(now)])?;
    Ok(())
}

pub(crate) fn was_clean(tx: &Tx<'_>) -> Result<bool> {
    tx.prepare_cached(WAS_CLEAN)?.query_row((), |row| row.get(0))
}

pub(crate) fn set_clean(tx: &Tx<'_>, clean: bool) -> Result<()> {
    tx.prepare_cached(SET_CLEAN)?.execute([clean])?;
    Ok(())
}
