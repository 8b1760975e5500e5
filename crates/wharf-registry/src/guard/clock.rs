//! A clock that can be wrong.
//!
//! Everything that goes after a time is due by wall time, and one wrong date would make all of it due at once. So wall time
//! is measured against monotonic time before every step of collection and expiry, and against a mark in the database at the
//! start. A jump puts them on hold for an hour, in which somebody can look; so does a machine that slept as long, because
//! monotonic time stands still then.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wharf_base::{HumanDuration, Timestamp};
use wharf_meta::Hold;

use crate::{Error, Registry};

/// The hold after a jump.
const HOLD: &str = "clock-jump";

/// How long it stands.
const HOLD_FOR: Duration = Duration::from_secs(3600);

/// A larger difference between wall and monotonic time is a jump. What is smaller is less than any period here.
const JUMP_MIN: Duration = Duration::from_secs(3600);

/// How often the mark is moved.
pub(super) const MARK_EVERY: Duration = Duration::from_secs(60);

/// A start so long after the mark may be by a wrong clock, or by an operator who was away; both want an hour.
const ABSENT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// A start this much before the mark is the daily correction of a clock.
const BEFORE_MAX: Duration = Duration::from_secs(5 * 60);

/// Both times, when they were last compared.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch(Mutex<Option<(Timestamp, Duration)>>);

impl ClockWatch {
    /// By how much wall time has gone ahead of monotonic time since the last [`accept`](Self::accept), or fallen back
    /// behind it, in microseconds, if that is a jump.
    fn jump_us(&self, wall: Timestamp, monotonic: Duration) -> Option<i64> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last_wall, last_monotonic) = last?;
        let expected = last_wall.plus(monotonic.saturating_sub(last_monotonic));
        let ahead_us = wall.as_micros().saturating_sub(expected.as_micros());
        (Duration::from_micros(ahead_us.unsigned_abs()) > JUMP_MIN).then_some(ahead_us)
    }

    fn accept(&self, wall: Timestamp, monotonic: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((wall, monotonic));
    }
}

/// What is wrong with a start at `now` when the registry last ran at `mark`.
fn doubt_about_start(mark: Timestamp, now: Timestamp) -> Option<String> {
    if now > mark.plus(ABSENT_MAX) {
        Some(format!("it is {now}, and the registry last ran at {mark}, more than 7 days before"))
    } else if now < mark.minus(BEFORE_MAX) {
        Some(format!("it is {now}, and the registry has run at {mark}, which is later"))
    } else {
        None
    }
}

impl Registry {
    /// Compares the clock with the mark of the last run, and begins to watch it.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`]: then nothing may be collected or expire.
    pub async fn check_clock_at_start(&self) -> Result<(), Error> {
        let now = self.now();
        let mark = self.parts.meta.clock_mark().await.map_err(Error::meta("reading the clock's mark"))?;
        if let Some(doubt) = mark.and_then(|mark| doubt_about_start(mark, now)) {
            self.hold_for_clock(doubt, now).await?;
        }
        self.guard.clock_watch.accept(now, self.parts.clock.monotonic());
        self.move_clock_mark().await
    }

    /// Whether the clock has jumped since somebody last asked; collection and expiry are on hold then.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`]: it has, and the hold could not be recorded; nothing may be collected or expire.
    pub(crate) async fn clock_has_jumped(&self) -> Result<bool, Error> {
        let (now, monotonic) = (self.now(), self.parts.clock.monotonic());
        let Some(jump_us) = self.guard.clock_watch.jump_us(now, monotonic) else { return Ok(false) };
        let direction = if jump_us > 0 { "forward" } else { "back" };
        let how_far = HumanDuration::secs(Duration::from_micros(jump_us.unsigned_abs()).as_secs());
        self.hold_for_clock(format!("the clock has jumped {direction} by {how_far}"), now).await?;
        self.guard.clock_watch.accept(now, monotonic);
        Ok(true)
    }

    /// Whether expiry of sessions has to wait because of a jump. When that cannot be found out, it has.
    pub(crate) async fn is_held_for_clock(&self) -> Result<bool, Error> {
        if self.clock_has_jumped().await? {
            return Ok(true);
        }
        let holds = self.parts.meta.holds(self.now()).await.map_err(Error::meta("looking up holds"))?;
        Ok(holds.iter().any(|hold| hold.id == HOLD))
    }

    /// The minute's round: a jump is noticed although nothing is collected, slow drift is accepted, the mark follows.
    pub(super) async fn keep_clock(&self) -> Result<(), Error> {
        self.clock_has_jumped().await?;
        self.guard.clock_watch.accept(self.now(), self.parts.clock.monotonic());
        self.move_clock_mark().await
    }

    /// Also backwards: whoever was warned of a jump need not be warned of it at every start.
    async fn move_clock_mark(&self) -> Result<(), Error> {
        self.parts.meta.set_clock_mark(self.now()).await.map_err(Error::meta("noting the time"))
    }

    async fn hold_for_clock(&self, reason: String, now: Timestamp) -> Result<(), Error> {
        tracing::warn!(
            "{reason}; collection and expiry of uploads and deletions wait for an hour: look at the clock (`timedatectl`), \
             and end the wait with `wharf gc release {HOLD}` if it is right"
        );
        let hold = Hold { id: HOLD.to_owned(), reason, until: now.plus(HOLD_FOR) };
        let held = self.parts.meta.hold(&hold, None, now).await;
        held.map_err(Error::meta("holding collection because of the clock"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r050_wall_time_is_measured_against_monotonic_time() {
        const HOUR_US: i64 = 3_600_000_000;
        let watch = ClockWatch::default();
        let at = |us| Timestamp::from_micros(us);
        assert_eq!(watch.jump_us(at(0), Duration::ZERO), None, "nothing to compare with");
        watch.accept(at(HOUR_US), Duration::ZERO);
        let later = Duration::from_secs(60);
        for (wall_us, expected) in [
            (HOUR_US + 60_000_000, None),
            (2 * HOUR_US + 60_000_000, None),
            (2 * HOUR_US + 60_000_001, Some(HOUR_US + 1)),
            (60_000_000, None),
            (59_999_999, Some(-HOUR_US - 1)),
            (0, Some(-HOUR_US - 60_000_000)),
            (i64::MAX, Some(i64::MAX - HOUR_US - 60_000_000)),
        ] {
            assert_eq!(watch.jump_us(at(wall_us), later), expected, "{wall_us}");
        }
    }

    #[test]
    fn r050_a_start_is_measured_against_the_last_run() {
        let mark = Timestamp::from_micros(1_700_000_000_000_000);
        let day = Duration::from_secs(86_400);
        for (now, is_doubtful) in [
            (mark, false),
            (mark.plus(7 * day), false),
            (mark.plus(7 * day + Duration::from_secs(1)), true),
            (mark.minus(Duration::from_secs(300)), false),
            (mark.minus(Duration::from_secs(301)), true),
            (Timestamp::from_micros(0), true),
        ] {
            assert_eq!(doubt_about_start(mark, now).is_some(), is_doubtful, "{now}");
        }
    }
}
