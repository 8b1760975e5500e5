//! Sign-ins that were sent to another provider: each comes back once, within its time, or never (S-065).

use wharf_base::Timestamp;

use crate::sql::{Locks, Micros, OptionalExtension as _, Result, Tx, params, statements};

/// A sign-in that has been sent to another provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// The SHA-256 of what the browser holds.
    pub id_sha256: [u8; 32],
    /// The provider that it was sent to.
    pub provider: String,
    /// Where the provider was told to send the browser.
    pub redirect_uri: String,
    /// Where on this site it goes on afterwards.
    pub next: String,
    /// When it was begun.
    pub created_at: Timestamp,
}

statements! {
    INSERT =
        "insert into sign_ins (id_sha256, provider, redirect_uri, next, created_at_us) values ($1, $2, $3, $4, $5)";
    COUNT =
        "select count(*)
           from (select 1 from sign_ins where created_at_us > -1 order by created_at_us limit $1) as counted";
    FIND = "select provider, redirect_uri, next, created_at_us from sign_ins where id_sha256 = $1";
    REMOVE = "delete from sign_ins where id_sha256 = $1";
    FORGET = "delete from sign_ins where created_at_us < $1";
}

/// `false` if there are `max` others; those from before `before` do not count.
pub(crate) fn begin(tx: &Tx<'_>, new: &SignIn, before: Timestamp, max: u32) -> Result<bool> {
    tx.lock(Locks::identities)?;
    tx.prepare_cached(FORGET)?.execute([Micros(before)])?;
    let count: i64 = tx.prepare_cached(COUNT)?.query_row([max], |row| row.get(0))?;
    if count >= i64::from(max) {
        return Ok(false);
    }
    let created_at = Micros(new.created_at);
    tx.prepare_cached(INSERT)?.execute(params![new.id_sha256, new.provider, new.redirect_uri, new.next, created_at])?;
    Ok(true)
}

/// Of two who take it, one gets it.
pub(crate) fn take(tx: &Tx<'_>, id_sha256: &[u8; 32]) -> Result<Option<SignIn>> {
    let found = tx
        .prepare_cached(FIND)?
        .query_row([id_sha256], |row| {
            Ok(SignIn {
                id_sha256: *id_sha256,
                provider: row.get(0)?,
                redirect_uri: row.get(1)?,
                next: row.get(2)?,
                created_at: row.get::<Micros>(3)?.0,
            })
        })
        .optional()?;
    let removed = tx.prepare_cached(REMOVE)?.execute([id_sha256])?;
    Ok(found.filter(|_| removed == 1))
}
