//! Answers to changes that clients may send again: the same change under the same key is carried out once.

use std::fmt::Debug;

use async_trait::async_trait;
use wharf_base::Timestamp;

use crate::sql::{Micros, OptionalExtension as _, Result, Tx, params, statements};

/// A change that is about to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteClaim {
    /// Whose it is: the name of the principal.
    pub principal: String,
    /// The SHA-256 of the key that the client gave it.
    pub key_sha256: [u8; 32],
    /// The SHA-256 of everything that the request says.
    pub request_sha256: [u8; 32],
    /// When.
    pub at: Timestamp,
}

/// What is known of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Nothing: it is to be carried out, by whoever has claimed it now.
    New,
    /// It was claimed before.
    Before {
        /// What that request said.
        request_sha256: [u8; 32],
        /// What it was answered, sealed; `None` while that is not known.
        answer: Option<Vec<u8>>,
    },
}

/// Kept answers. As with [`Metadata`](crate::Metadata), each method is one transaction.
#[async_trait]
pub trait KeptAnswers: Send + Sync + Debug {
    /// Claims a change. Of its principal at most `max` claims stay: the oldest make room.
    async fn claim_write(&self, claim: &WriteClaim, max: u32) -> crate::Result<Claimed>;

    /// Keeps what a claimed change was answered.
    async fn keep_answer(&self, claim: &WriteClaim, answer: Vec<u8>) -> crate::Result<()>;

    /// Forgets a claim: nothing was changed.
    async fn release_write(&self, claim: &WriteClaim) -> crate::Result<()>;

    /// Forgets what was claimed before `before`. How many.
    async fn forget_answers(&self, before: Timestamp) -> crate::Result<u64>;
}

statements! {
    INSERT =
        "insert into kept_answers (principal, key_sha256, request_sha256, created_at_us) values ($1, $2, $3, $4)
             on conflict do nothing";
    FIND = "select request_sha256, answer from kept_answers where principal = $1 and key_sha256 = $2";
    OLDEST_KEPT =
        "select created_at_us from kept_answers where principal = $1 order by created_at_us desc limit 1 offset $2";
    MAKE_ROOM = "delete from kept_answers where principal = $1 and created_at_us <= $2";
    KEEP = "update kept_answers set answer = $1 where principal = $2 and key_sha256 = $3";
    RELEASE = "delete from kept_answers where principal = $1 and key_sha256 = $2";
    FORGET = "delete from kept_answers where created_at_us < $1";
}

pub(crate) fn claim(tx: &Tx<'_>, claim: &WriteClaim, max: u32) -> Result<Claimed> {
    let at = Micros(claim.at);
    let inserted =
        tx.prepare_cached(INSERT)?.execute(params![claim.principal, claim.key_sha256, claim.request_sha256, at])?;
    if inserted == 1 {
        let oldest: Option<Micros> = tx
            .prepare_cached(OLDEST_KEPT)?
            .query_row(params![claim.principal, i64::from(max)], |row| row.get(0))
            .optional()?;
        if let Some(oldest) = oldest {
            tx.prepare_cached(MAKE_ROOM)?.execute(params![claim.principal, oldest])?;
        }
        return Ok(Claimed::New);
    }
    let found = tx
        .prepare_cached(FIND)?
        .query_row(params![claim.principal, claim.key_sha256], |row| {
            Ok((row.get::<Vec<u8>>(0)?, row.get::<Option<Vec<u8>>>(1)?))
        })
        .optional()?;
    Ok(match found {
        // Released between the two statements: whoever asks again finds it free.
        None => Claimed::Before { request_sha256: claim.request_sha256, answer: None },
        Some((request, answer)) => Claimed::Before { request_sha256: request.try_into().unwrap_or_default(), answer },
    })
}

pub(crate) fn keep(tx: &Tx<'_>, claim: &WriteClaim, answer: &[u8]) -> Result<()> {
    tx.prepare_cached(KEEP)?.execute(params![answer, claim.principal, claim.key_sha256])?;
    Ok(())
}

pub(crate) fn release(tx: &Tx<'_>, claim: &WriteClaim) -> Result<()> {
    tx.prepare_cached(RELEASE)?.execute(params![claim.principal, claim.key_sha256])?;
    Ok(())
}

pub(crate) fn forget(tx: &Tx<'_>, before: Timestamp) -> Result<u64> {
    Ok(tx.prepare_cached(FORGET)?.execute([Micros(before)])? as u64)
}
