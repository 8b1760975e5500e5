//! The scrub: every stored blob is read and hashed once a period, the one that was verified longest ago first, slowly.
//! Its place is in the rows, so a restart costs at most the blob that was being read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wharf_base::{Shutdown, Timestamp};
use wharf_oci::Digest;

use super::content::{Damage, ReadEnd};
use super::{Depth, itself};
use crate::{Error, Registry};

/// How many blobs are asked for at a time; what was verified is noted after as many, or after [`NOTE_EVERY`].
const STEP: u32 = 50;

/// How long what was verified may go without being noted.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// How often content that cannot be read is tried before that counts as damage, and how long after each time.
const TRIES: u32 = 3;
const TRY_AGAIN: Duration = Duration::from_secs(20 * 60);

/// Blobs that could not be read, remembered until they are tried again. More wait for their turn.
const UNREADABLE_MAX: usize = 1_000;

/// The longest rest: one slow read does not stop the scrub for hours.
const REST_MAX: Duration = Duration::from_secs(60);

/// What the scrub has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubTotals {
    /// Blobs that were read and are right.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that were damaged and are set aside.
    pub set_aside: u64,
}

/// What the scrub remembers.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    totals: Mutex<ScrubTotals>,
    unreadable: Mutex<HashMap<Digest, Tries>>,
}

#[derive(Clone, Copy, Debug)]
struct Tries {
    failed: u32,
    again_at: Timestamp,
}

/// What became of one blob.
enum Scrubbed {
    Verified,
    Nothing,
    Stopped,
}

impl Registry {
    /// What the scrub has done since the start.
    pub(super) fn scrub_totals(&self) -> ScrubTotals {
        *self.scrub.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Scrubs until shutdown, if it is turned on.
    pub async fn keep_scrubbing(self: Arc<Self>, shutdown: Shutdown) {
        if self.check.scrub_period.get().is_zero() {
            return;
        }
        while !shutdown.has_started() {
            if self.guard.writable().is_err() {
                // What it found could not be recorded.
                let _ = tokio::time::timeout(self.check.scrub_interval.get(), shutdown.started()).await;
                continue;
            }
            let rest = match self.as_the_one("scrub", self.scrub_step(&shutdown)).await {
                Ok(Some(0) | None) => self.check.scrub_interval.get(),
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the scrub is put off");
                    self.check.scrub_interval.get()
                }
            };
            let _ = tokio::time::timeout(rest, shutdown.started()).await;
        }
    }

    /// Reads some blobs that are due; how many it looked at.
    async fn scrub_step(&self, shutdown: &Shutdown) -> Result<usize, Error> {
        let before = self.now().minus(self.check.scrub_period.get());
        // Those that could not be read stay due and must not hide the others.
        let waiting = u32::try_from(self.unreadable().len()).unwrap_or(u32::MAX);
        let due = self.parts.meta.due_for_scrub(before, STEP.saturating_add(waiting)).await;
        let due = due.map_err(Error::meta("looking for content to scrub"))?;
        let (mut looked_at, mut verified, mut noted_at) = (0, Vec::new(), Instant::now());
        for (digest, size_bytes) in due {
            if self.waits(&digest) {
                continue;
            }
            looked_at += 1;
            match self.scrub_blob(&digest, size_bytes, shutdown).await? {
                Scrubbed::Verified => verified.push(digest),
                Scrubbed::Nothing => {}
                Scrubbed::Stopped => break,
            }
            if noted_at.elapsed() > NOTE_EVERY {
                self.note_verified(&std::mem::take(&mut verified)).await?;
                noted_at = Instant::now();
            }
        }
        self.note_verified(&verified).await?;
        Ok(looked_at)
    }

    async fn note_verified(&self, verified: &[Digest]) -> Result<(), Error> {
        if verified.is_empty() {
            return Ok(());
        }
        let noted = self.parts.meta.note_verified(verified, self.now()).await;
        noted.map_err(Error::meta("noting what was verified"))
    }

    async fn scrub_blob(&self, digest: &Digest, size_bytes: u64, shutdown: &Shutdown) -> Result<Scrubbed, Error> {
        let pace = Pace::new(self.check.scrub_rate.as_u64(), self.check.scrub_share_percent);
        let read = self.read_content(digest, size_bytes, |bytes| pace.keep(bytes, shutdown)).await;
        match read {
            Ok(ReadEnd::Intact) => {
                self.unreadable().remove(digest);
                self.count(|totals| {
                    totals.blobs += 1;
                    totals.bytes += size_bytes;
                });
                Ok(Scrubbed::Verified)
            }
            Ok(ReadEnd::Stopped) => Ok(Scrubbed::Stopped),
            Err(_) => self.scrub_damage(digest).await,
        }
    }

    async fn scrub_damage(&self, digest: &Digest) -> Result<Scrubbed, Error> {
        let Some(confirmed) = self.confirm_damage(digest, Depth::Deep).await? else { return Ok(Scrubbed::Nothing) };
        if let Damage::Unreadable(reason) = &confirmed.damage
            && !self.is_given_up(digest, reason)
        {
            return Ok(Scrubbed::Nothing);
        }
        self.set_aside(digest, confirmed, &itself("scrub")).await?;
        self.unreadable().remove(digest);
        self.count(|totals| totals.set_aside += 1);
        Ok(Scrubbed::Nothing)
    }

    /// Whether it is a while until the blob is tried again.
    fn waits(&self, digest: &Digest) -> bool {
        let now = self.now();
        self.unreadable().get(digest).is_some_and(|tries| tries.again_at > now)
    }

    /// Counts a try; whether it was the last.
    fn is_given_up(&self, digest: &Digest, reason: &str) -> bool {
        let again_at = self.now().plus(TRY_AGAIN);
        let mut unreadable = self.unreadable();
        let failed = unreadable.get(digest).map_or(0, |tries| tries.failed) + 1;
        tracing::warn!(blob.digest = %digest, tries = failed, "blob {digest} cannot be read: {reason}");
        if failed >= TRIES {
            return true;
        }
        if unreadable.len() < UNREADABLE_MAX || unreadable.contains_key(digest) {
            unreadable.insert(*digest, Tries { failed, again_at });
        }
        false
    }

    fn unreadable(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Tries>> {
        self.scrub.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut ScrubTotals)) {
        change(&mut self.scrub.totals.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Lets reading take no more than its rate and its share of time.
struct Pace {
    bytes_per_s: u64,
    share_percent: u8,
    since: Mutex<Instant>,
}

impl Pace {
    fn new(bytes_per_s: u64, share_percent: u8) -> Self {
        Self {
            bytes_per_s: bytes_per_s.max(1),
            share_percent: share_percent.clamp(1, 100),
            since: Mutex::new(Instant::now()),
        }
    }

    /// Rests after `bytes` have been read; `false` when it is time to stop.
    async fn keep(&self, bytes: u64, shutdown: &Shutdown) -> bool {
        let worked = self.since.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let rest = self.rest(bytes, worked).min(REST_MAX);
        let stops = tokio::time::timeout(rest, shutdown.started()).await.is_ok();
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        !stops
    }

    /// The longer of what the rate and what the share ask for.
    fn rest(&self, bytes: u64, worked: Duration) -> Duration {
        let for_rate = Duration::from_micros(bytes.saturating_mul(1_000_000) / self.bytes_per_s).saturating_sub(worked);
        let share = u32::from(self.share_percent);
        for_rate.max(worked.saturating_mul(100 - share) / share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_as_long_as_rate_and_share_ask_for() {
        let pace = Pace::new(1_000_000, 20);
        let ms = Duration::from_millis;
        assert_eq!(pace.rest(1_000_000, ms(1)), ms(999), "the rate");
        assert_eq!(pace.rest(1_000, ms(100)), ms(400), "the share");
        assert_eq!(Pace::new(1_000_000, 100).rest(1_000, ms(100)), ms(0));
    }
}
