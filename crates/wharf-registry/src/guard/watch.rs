//! The guard's rounds: the disk is looked at every second, and probed while there is a doubt.

use std::sync::Arc;
use std::time::Duration;

use wharf_base::Shutdown;
use wharf_meta::DiskRefusal;

use super::clock::MARK_EVERY;
use super::space::Reserve;
use super::{Health, Trouble, trouble_of};
use crate::Registry;

/// How old what is known of the free space may be.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a disk that is in trouble is probed: often enough that nobody restarts for it, seldom enough that a disk that
/// dies is not worn out by it.
const PROBE_EVERY: Duration = Duration::from_secs(3);

/// Why the round begins.
enum Cause {
    Time,
    Doubt,
    DatabaseIsFull,
}

impl Registry {
    /// How the machine does.
    pub fn health(&self) -> Health {
        Health { protection: self.guard.protection(), room: self.guard.space.status() }
    }

    /// Looks after the disk until shutdown.
    pub async fn keep_guard(self: Arc<Self>, shutdown: Shutdown) {
        let mut last_probe: Option<Duration> = None;
        let mut has_doubt = false;
        let mut last_mark = self.parts.clock.monotonic();
        loop {
            let cause = tokio::select! {
                () = shutdown.started() => return,
                () = tokio::time::sleep(LOOK_EVERY) => Cause::Time,
                () = self.guard.doubt.notified() => Cause::Doubt,
                refusal = self.parts.meta.disk_refused() => match refusal {
                    DiskRefusal::Full => Cause::DatabaseIsFull,
                    DiskRefusal::Failed => Cause::Doubt,
                },
            };
            if let Cause::DatabaseIsFull = cause {
                self.give_back_reserve().await;
            }
            self.look_at_disk().await;
            let now = self.parts.clock.monotonic();
            if now.saturating_sub(last_mark) >= MARK_EVERY {
                last_mark = now;
                if let Err(error) = self.keep_clock().await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the time could not be noted");
                }
            }
            has_doubt |= matches!(cause, Cause::Doubt);
            let every = match self.guard.protection() {
                Some(protection) if protection.trouble.is_of_the_disk() => PROBE_EVERY,
                _ if has_doubt => LOOK_EVERY,
                _ => continue,
            };
            if last_probe.is_none_or(|last| now.saturating_sub(last) >= every) {
                (last_probe, has_doubt) = (Some(now), false);
                self.probe().await;
            }
        }
    }

    /// After a stop that was not in order: looks for damage in the database, beside everything else. Nothing more is written
    /// to a database that has some.
    pub async fn look_through_database(self: Arc<Self>, shutdown: Shutdown) {
        let checked = tokio::select! {
            () = shutdown.started() => return,
            checked = self.parts.meta.check_database(false) => checked,
        };
        match checked {
            Ok(found) if found.is_empty() => {
                tracing::info!("the metadata database has no damage that a quick check sees")
            }
            Ok(found) => self.guard.protect(Trouble::DatabaseDamaged, found.join("; ")),
            Err(error @ wharf_meta::Error::Corrupt { .. }) => {
                self.guard.protect(Trouble::DatabaseDamaged, crate::error::with_causes(&error));
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the metadata database could not be checked");
            }
        }
    }

    /// Finds out how much room there is, whether the data directory is in its place, and sets the reserve aside if there
    /// is none and room for it. Also done once at the start, before anything is served.
    pub async fn look_at_disk(&self) {
        let found = match self.parts.store.space().await {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the disk could not be looked at");
                return;
            }
        };
        if self.guard.space.note(found) && self.gc.pressure {
            self.collector.nudge();
        }
        let Some(reserve_bytes) = self.guard.space.may_set_aside() else { return };
        if self.guard.writable().is_err() {
            return;
        }
        match self.parts.store.keep_reserve(reserve_bytes).await {
            Ok(_) => self.guard.space.set_reserve(Reserve::Settled),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no space could be set aside for bad days");
            }
        }
    }

    /// The database has no room: what was set aside is for deletions now. Says whether there was anything.
    pub(crate) async fn give_back_reserve(&self) -> bool {
        let _giving = self.guard.giving_back.lock().await;
        match self.parts.store.give_back().await {
            Ok(true) => {
                self.guard.space.set_reserve(Reserve::Spent);
                tracing::error!(
                    "the metadata database has no room to grow; what was set aside for it is given back, and nothing but \
                     deletions is taken until there is room: delete images, or add space"
                );
                true
            }
            Ok(false) => false,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the reserve could not be given back");
                false
            }
        }
    }

    /// Runs a change that makes room, again if the database had no room for it and the reserve gave it some.
    pub(crate) async fn with_reserve<T, F>(&self, change: impl Fn() -> F) -> wharf_meta::Result<T>
    where
        F: Future<Output = wharf_meta::Result<T>>,
    {
        match change().await {
            Err(wharf_meta::Error::Full { .. }) if self.give_back_reserve().await => change().await,
            // Another change may have had it given back since.
            Err(wharf_meta::Error::Full { .. }) if self.guard.space.is_reserve_spent() => change().await,
            done => done,
        }
    }

    async fn probe(&self) {
        let probed = match self.parts.store.space().await {
            Ok(_) => self.parts.store.probe().await,
            // It could be written to all the same; see `wharf_store::Error::Gone`.
            Err(error) => Err(error),
        };
        match probed {
            Ok(()) => self.guard.unprotect(),
            Err(error) => {
                if let Some(trouble) = trouble_of(&error) {
                    self.guard.protect(trouble, crate::error::with_causes(&error));
                }
            }
        }
    }
}
