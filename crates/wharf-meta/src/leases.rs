//! Leases: what only one of several replicas does at a time, and who does it.
//!
//! Whoever has a lease renews it while it works, and loses it when it does not: it died, it was stopped, or the database was out of
//! its reach. Another replica takes it then. The first may not know yet; it may have been asleep for an hour in the middle of its
//! work. So a lease alone protects nothing, and each change that is made under one (in [`under_lease`], however deep below it) looks
//! in its own transaction whether the lease is still the same, and keeps it from being taken until that transaction has ended. A
//! change of somebody whose lease was taken fails as a whole. How long a lease lasts is the database's time, nobody else's.
//!
//! Without other replicas there is nothing to be told apart: nothing is taken and nothing is looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wharf_base::{Rng as _, SystemRng, Timestamp, UploadId};

use crate::Metadata;
use crate::sql::{Error, Micros, OptionalExtension as _, Result, Tx, params, statements};

/// How long a lease lasts that nobody renews.
const LIFE: Duration = Duration::from_secs(30);

/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// A lease that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Of what.
    pub(crate) name: String,
    /// Another one with each taking.
    pub(crate) holder: String,
    /// A change that ends it is being made, or was: that it is gone then says nothing of other replicas.
    is_ending: Flag,
}

/// Shared by all copies of one lease, and no part of what it is.
#[derive(Clone, Debug, Default)]
struct Flag(Arc<AtomicBool>);

impl PartialEq for Flag {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Flag {}

/// The answer to taking a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakeLease {
    /// It is ours until it is released or not renewed.
    Taken(Lease),
    /// Another replica has it.
    Elsewhere,
    /// There are no other replicas.
    Needless,
}

/// What changes are made under.
#[derive(Debug)]
struct Fence {
    lease: Lease,
    /// The lease ended in the last change that was made under it.
    has_ended: AtomicBool,
}

tokio::task_local! {
    static FENCE: Arc<Fence>;
}

/// Runs `work` while this replica has the lease of that name; `None` if another one has it, or took it while `work` ran, which is
/// dropped then, wherever it stands.
///
/// # Errors
///
/// As [`Metadata`]'s: the lease could not be asked for, and `work` has not begun.
pub async fn under_lease<T>(
    meta: &dyn Metadata,
    name: &str,
    work: impl Future<Output = T>,
) -> crate::Result<Option<T>> {
    let lease = match meta.take_lease(name).await? {
        TakeLease::Taken(lease) => lease,
        TakeLease::Elsewhere => return Ok(None),
        TakeLease::Needless => return Ok(Some(work.await)),
    };
    let fence = Arc::new(Fence { lease, has_ended: AtomicBool::new(false) });
    let done = tokio::select! {
        done = FENCE.scope(Arc::clone(&fence), work) => Some(done),
        () = keep(meta, &fence.lease) => {
            tracing::warn!("another replica took over what was being done here: {name}");
            None
        }
    };
    if done.is_some()
        && !fence.has_ended.load(Ordering::Acquire)
        && let Err(error) = meta.release_lease(&fence.lease).await
    {
        tracing::debug!(error = &error as &dyn std::error::Error, "the lease of {name} runs out by itself");
    }
    Ok(done)
}

/// Renews the lease until it is lost. When the database does not answer, only the next change tells whether it is.
async fn keep(leasing: &dyn Metadata, lease: &Lease) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        match leasing.renew_lease(lease).await {
            Ok(true) => {}
            // Its last change may have been committed before anybody here was told. Were it lost after all, that change would fail.
            Ok(false) if lease.is_ending.0.load(Ordering::Acquire) => std::future::pending().await,
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the lease of {} was not renewed",
                    lease.name
                );
            }
        }
    }
}

/// The lease that the running task makes its changes under.
pub(crate) fn current() -> Option<Lease> {
    FENCE.try_with(|fence| fence.lease.clone()).ok()
}

/// The change that is being made under `lease` is the last one.
pub(crate) fn end(tx: &Tx<'_>, lease: Option<&Lease>) -> Result<()> {
    lease.map_or(Ok(()), |lease| {
        lease.is_ending.0.store(true, Ordering::Release);
        release(tx, lease)
    })
}

/// The change that was just made has ended the lease that it was made under.
pub(crate) fn note_end() {
    let _ = FENCE.try_with(|fence| fence.has_ended.store(true, Ordering::Release));
}

/// The lease of whoever writes to an upload session.
pub fn name_of_upload(upload: UploadId) -> String {
    format!("upload {upload}")
}

impl Lease {
    pub(crate) fn new(name: &str) -> Self {
        let mut random = [0; 16];
        SystemRng.fill(&mut random);
        Self { name: name.to_owned(), holder: hex::encode(random), is_ending: Flag::default() }
    }
}

fn life_us() -> i64 {
    i64::try_from(LIFE.as_micros()).unwrap_or(i64::MAX)
}

statements! {
    /// Whoever did not hear the answer may ask again.
    TAKE =
        "insert into leases (name, holder, until_us)
         values ($1, $2, cast(unixepoch('subsec') * 1000000 as integer) + $3)
             on conflict (name) do update
            set holder = excluded.holder, until_us = excluded.until_us
          where leases.until_us <= cast(unixepoch('subsec') * 1000000 as integer) or leases.holder = excluded.holder",
    postgres:
        "insert into leases (name, holder, until_us)
         values ($1, $2, (extract(epoch from clock_timestamp()) * 1000000)::bigint + $3)
             on conflict (name) do update
            set holder = excluded.holder, until_us = excluded.until_us
          where leases.until_us <= (extract(epoch from clock_timestamp()) * 1000000)::bigint
             or leases.holder = excluded.holder";
    NOW = "select cast(unixepoch('subsec') * 1000000 as integer)",
    postgres: "select (extract(epoch from clock_timestamp()) * 1000000)::bigint";
    /// Also one whose time is over, as long as nobody has taken it.
    RENEW =
        "update leases set until_us = cast(unixepoch('subsec') * 1000000 as integer) + $1 where name = $2 and holder = $3",
    postgres:
        "update leases set until_us = (extract(epoch from clock_timestamp()) * 1000000)::bigint + $1
          where name = $2 and holder = $3";
    /// Nobody takes it before the end of the transaction that has looked.
    IS_OURS = "select 1 from leases where name = $1 and holder = $2",
    postgres: "select 1 from leases where name = $1 and holder = $2 for share";
    RELEASE = "delete from leases where name = $1 and holder = $2";
}

/// The database's time, by which leases go.
pub(crate) fn now(tx: &Tx<'_>) -> Result<Timestamp> {
    tx.prepare_cached(NOW)?.query_row((), |row| row.get::<Micros>(0).map(|now| now.0))
}

/// Whether it is ours now.
pub(crate) fn take(tx: &Tx<'_>, lease: &Lease) -> Result<bool> {
    let taken = tx.prepare_cached(TAKE)?.execute(params![lease.name, lease.holder, life_us()])?;
    Ok(taken == 1)
}

/// Whether it is still ours.
pub(crate) fn renew(tx: &Tx<'_>, lease: &Lease) -> Result<bool> {
    let renewed = tx.prepare_cached(RENEW)?.execute(params![life_us(), lease.name, lease.holder])?;
    Ok(renewed == 1)
}

pub(crate) fn release(tx: &Tx<'_>, lease: &Lease) -> Result<()> {
    tx.prepare_cached(RELEASE)?.execute([&lease.name, &lease.holder])?;
    Ok(())
}

/// Keeps the lease from being taken until the end of the transaction.
///
/// # Errors
///
/// [`Error::LeaseLost`]: it was taken before.
pub(crate) fn hold(tx: &Tx<'_>, lease: &Lease) -> Result<()> {
    let is_ours: Option<()> =
        tx.prepare_cached(IS_OURS)?.query_row([&lease.name, &lease.holder], |_| Ok(())).optional()?;
    is_ours.ok_or(Error::LeaseLost)
}
