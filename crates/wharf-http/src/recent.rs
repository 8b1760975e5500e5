//! What the last hour has come to, minute by minute, for people who look. It is of this process and is gone with it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many minutes are kept.
pub(crate) const MINUTES: usize = 60;

/// A minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Minute {
    /// Which, counted from the start of monotonic time.
    number: u64,
    /// Requests whose answers ended in it.
    pub(crate) requests: u64,
    /// Those of them that were answered with 500 or more.
    pub(crate) errors: u64,
    /// Bytes of bodies, in both directions.
    pub(crate) bytes: u64,
}

/// The last hour, as a ring.
#[derive(Debug)]
pub(crate) struct Recent(Mutex<[Minute; MINUTES]>);

impl Recent {
    pub(crate) fn new() -> Self {
        Self(Mutex::new([Minute::default(); MINUTES]))
    }

    /// One more request, which ended at `now` in monotonic time.
    pub(crate) fn count(&self, now: Duration, is_error: bool, bytes: u64) {
        let number = now.as_secs() / 60;
        let mut minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = &mut minutes[place(number)];
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        minute.requests += 1;
        minute.errors += u64::from(is_error);
        minute.bytes = minute.bytes.saturating_add(bytes);
    }

    /// The minutes up to the one of `now`, the oldest first; those before the start are empty.
    pub(crate) fn until(&self, now: Duration) -> [Minute; MINUTES] {
        let last = now.as_secs() / 60;
        let minutes = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::array::from_fn(|index| {
            let number = (last + 1 + index as u64).checked_sub(MINUTES as u64);
            number
                .map(|number| minutes[place(number)])
                .filter(|minute| Some(minute.number) == number)
                .unwrap_or_default()
        })
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number % MINUTES as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MINUTES, Recent};

    fn requests(recent: &Recent, at_s: u64) -> Vec<(usize, u64)> {
        let minutes = recent.until(Duration::from_secs(at_s));
        let told = minutes.iter().enumerate().filter(|(_, minute)| minute.requests > 0);
        told.map(|(index, minute)| (index, minute.requests)).collect()
    }

    #[test]
    fn a_minute_is_where_it_belongs_and_goes_after_an_hour() {
        let recent = Recent::new();
        for (at_s, is_error) in [(0, false), (59, true), (60, false), (3_599, false)] {
            recent.count(Duration::from_secs(at_s), is_error, 10);
        }
        let last = MINUTES - 1;
        assert_eq!(requests(&recent, 30), [(last, 2)]);
        assert_eq!(requests(&recent, 3_599), [(0, 2), (1, 1), (last, 1)]);
        let first = recent.until(Duration::from_secs(3_599))[0];
        assert_eq!((first.errors, first.bytes), (1, 20));
        assert_eq!(requests(&recent, 3_600), [(0, 1), (last - 1, 1)], "the first minute is over an hour ago");
        assert_eq!(requests(&recent, 100_000), []);
        recent.count(Duration::from_secs(3_600), false, 0);
        assert_eq!(requests(&recent, 3_600), [(0, 1), (last - 1, 1), (last, 1)], "its place is taken by another");
    }
}
