//! Sessions of the web pages. Only hashes of what browsers hold are here, so nothing in this table lets anybody in (S-038).

use std::fmt::Debug;

use async_trait::async_trait;
use wharf_base::Timestamp;
use wharf_policy::AccountType;

use crate::SignIn;
use crate::sql::{
    Contradiction, Locks, Micros, OptionalExtension as _, Result, Row, Tx, params, parsed, statements, text_list, texts,
};

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The SHA-256 of what the browser holds.
    pub id_sha256: [u8; 32],
    /// The name of the principal that it is of, different for each.
    pub principal: String,
    /// Who vouched for it.
    pub provider: String,
    /// The name that this provider knows it by.
    pub subject: String,
    /// What kind of account it was when it signed in.
    pub account_type: AccountType,
    /// Its roles when it signed in.
    pub roles: Vec<String>,
    /// What the provider's word can be had again with, under a key that only the browser's secret gives.
    pub sealed_token: Option<Vec<u8>>,
    /// From which address it was begun.
    pub source: String,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
    /// When it ends, however much it is used.
    pub ends_at: Timestamp,
}

/// Sessions of the web pages. As with [`Metadata`](crate::Metadata), each method is one transaction.
#[async_trait]
pub trait Sessions: Send + Sync + Debug {
    /// Begins a session. Of its principal at most `max` stay: the longest unused make room.
    async fn create_session(&self, new: &Session, max: u32) -> crate::Result<()>;

    /// The session of that hash, over or not.
    async fn session(&self, id_sha256: &[u8; 32]) -> crate::Result<Option<Session>>;

    /// Notes that a session was used.
    async fn touch_session(&self, id_sha256: &[u8; 32], now: Timestamp) -> crate::Result<()>;

    /// Ends a session; `false` if it is not there.
    async fn end_session(&self, id_sha256: &[u8; 32]) -> crate::Result<bool>;

    /// Ends all sessions of a principal. How many.
    async fn end_sessions_of(&self, principal: &str) -> crate::Result<u64>;

    /// The sessions of a principal, the one used last first, at most `limit`.
    async fn sessions_of(&self, principal: &str, limit: u32) -> crate::Result<Vec<Session>>;

    /// Forgets sessions that were last used before `seen_before` or that end before `now`. How many.
    async fn remove_ended_sessions(&self, seen_before: Timestamp, now: Timestamp) -> crate::Result<u64>;

    /// Begins a sign-in at another provider; `false` if there are `max` others that were begun after `before`.
    async fn begin_sign_in(&self, new: &SignIn, before: Timestamp, max: u32) -> crate::Result<bool>;

    /// The sign-in of that hash, which nobody gets a second time.
    async fn take_sign_in(&self, id_sha256: &[u8; 32]) -> crate::Result<Option<SignIn>>;
}

statements! {
    INSERT =
        "insert into sessions (id_sha256, principal, provider, subject, account_type, roles, sealed_token, source,
                               created_at_us, seen_at_us, ends_at_us)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    FIND =
        "select id_sha256, principal, provider, subject, account_type, roles, sealed_token, source, created_at_us,
                seen_at_us, ends_at_us
           from sessions
          where id_sha256 = $1";
    OF_PRINCIPAL =
        "select id_sha256, principal, provider, subject, account_type, roles, sealed_token, source, created_at_us,
                seen_at_us, ends_at_us
           from sessions
          where principal = $1
          order by seen_at_us desc
          limit $2";
    TOUCH = "update sessions set seen_at_us = $1 where id_sha256 = $2 and seen_at_us < $1";
    END = "delete from sessions where id_sha256 = $1";
    END_ALL = "delete from sessions where principal = $1";
    FORGET_UNUSED = "delete from sessions where seen_at_us < $1";
    FORGET_ENDED = "delete from sessions where ends_at_us < $1";
}

/// How many sessions of one principal are looked at when one more is begun; there are never more than the limit and one.
const LOOKED_AT_MAX: u32 = 1_000;

pub(crate) fn create(tx: &Tx<'_>, new: &Session, max: u32) -> Result<()> {
    tx.lock(Locks::identities)?;
    let known = of_principal(tx, &new.principal, LOOKED_AT_MAX)?;
    for unused in known.iter().skip(max.saturating_sub(1) as usize) {
        end(tx, &unused.id_sha256)?;
    }
    tx.prepare_cached(INSERT)?.execute(params![
        new.id_sha256,
        new.principal,
        new.provider,
        new.subject,
        new.account_type.as_str(),
        texts(&new.roles),
        new.sealed_token,
        new.source,
        Micros(new.created_at),
        Micros(new.seen_at),
        Micros(new.ends_at),
    ])?;
    Ok(())
}

pub(crate) fn find(tx: &Tx<'_>, id_sha256: &[u8; 32]) -> Result<Option<Session>> {
    tx.prepare_cached(FIND)?.query_row([id_sha256], session).optional()
}

pub(crate) fn of_principal(tx: &Tx<'_>, principal: &str, limit: u32) -> Result<Vec<Session>> {
    tx.prepare_cached(OF_PRINCIPAL)?.query_map(params![principal, limit], session)?.collect()
}

pub(crate) fn touch(tx: &Tx<'_>, id_sha256: &[u8; 32], now: Timestamp) -> Result<()> {
    tx.prepare_cached(TOUCH)?.execute(params![Micros(now), id_sha256])?;
    Ok(())
}

pub(crate) fn end(tx: &Tx<'_>, id_sha256: &[u8; 32]) -> Result<bool> {
    Ok(tx.prepare_cached(END)?.execute([id_sha256])? > 0)
}

pub(crate) fn end_all(tx: &Tx<'_>, principal: &str) -> Result<u64> {
    Ok(tx.prepare_cached(END_ALL)?.execute([principal])? as u64)
}

pub(crate) fn remove_ended(tx: &Tx<'_>, seen_before: Timestamp, now: Timestamp) -> Result<u64> {
    let unused = tx.prepare_cached(FORGET_UNUSED)?.execute([Micros(seen_before)])?;
    let ended = tx.prepare_cached(FORGET_ENDED)?.execute([Micros(now)])?;
    Ok((unused + ended) as u64)
}

fn session(row: &Row<'_>) -> Result<Session> {
    let id: Vec<u8> = row.get(0)?;
    let id_sha256 = id.try_into().map_err(|_| Contradiction("a session's id is no SHA-256".to_owned()))?;
    Ok(Session {
        id_sha256,
        principal: row.get(1)?,
        provider: row.get(2)?,
        subject: row.get(3)?,
        account_type: parsed(row, 4)?,
        roles: text_list(row, 5)?,
        sealed_token: row.get(6)?,
        source: row.get(7)?,
        created_at: row.get::<Micros>(8)?.0,
        seen_at: row.get::<Micros>(9)?.0,
        ends_at: row.get::<Micros>(10)?.0,
    })
}
