//! What replicas tell each other of work that one of them does for all: a text for each kind of work, which only whoever does or
//! orders it understands.

use wharf_base::Timestamp;

use crate::sql::{Micros, OptionalExtension as _, Result, Tx, params, statements};

statements! {
    FIND = "select payload from jobs where id = $1";
    BEGIN =
        "insert into jobs (id, kind, state, payload, due_at_us, created_at_us, updated_at_us)
         values ($1, $1, 'running', $2, $3, $3, $3)
             on conflict do nothing";
    CHANGE = "update jobs set payload = $1, updated_at_us = $2 where id = $3 and payload = $4";
}

pub(crate) fn find(tx: &Tx<'_>, id: &str) -> Result<Option<String>> {
    tx.prepare_cached(FIND)?.query_row([id], |row| row.get(0)).optional()
}

/// Compare-and-set on the text; `false`: it is another one by now.
pub(crate) fn change(tx: &Tx<'_>, id: &str, before: Option<&str>, after: &str, now: Timestamp) -> Result<bool> {
    let changed = match before {
        None => tx.prepare_cached(BEGIN)?.execute(params![id, after, Micros(now)])?,
        Some(before) => tx.prepare_cached(CHANGE)?.execute(params![after, Micros(now), id, before])?,
    };
    Ok(changed == 1)
}
