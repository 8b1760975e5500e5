//! Whoever has failed several times in a row is left alone for a moment: requests then fail at once instead of waiting
//! for what will not come.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many faults in a row are enough, and how long the moment is.
const FAULTS: u32 = 5;
const MOMENT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    faults: u32,
    /// Until when nobody asks; then one does, and moves it on.
    closed_until: Duration,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Whether to ask now; if not, how long to wait.
    pub(super) fn enter(&self, now: Duration) -> Result<(), Duration> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.faults < FAULTS {
            return Ok(());
        }
        if now < state.closed_until {
            return Err(state.closed_until - now);
        }
        // This one tries; the others wait for what becomes of it.
        state.closed_until = now + MOMENT;
        Ok(())
    }

    pub(super) fn succeeded(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    pub(super) fn failed(&self, now: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.faults = state.faults.saturating_add(1);
        if state.faults >= FAULTS {
            state.closed_until = now + MOMENT;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Breaker;

    #[test]
    fn after_five_faults_one_tries_every_five_seconds() {
        let breaker = Breaker::new();
        let at = Duration::from_secs;
        for _ in 0..5 {
            assert_eq!(breaker.enter(at(10)), Ok(()));
            breaker.failed(at(10));
        }
        assert_eq!(breaker.enter(at(10)), Err(at(5)));
        assert_eq!(breaker.enter(at(14)), Err(at(1)));
        assert_eq!(breaker.enter(at(15)), Ok(()), "one tries");
        assert_eq!(breaker.enter(at(15)), Err(at(5)), "the others wait");
        breaker.succeeded();
        assert_eq!(breaker.enter(at(15)), Ok(()));
        assert_eq!(breaker.enter(at(15)), Ok(()));
    }
}
