//! How often something is tried, and how long is waited in between.

use std::time::Duration;

use crate::Error;

/// How often something is tried in all.
pub(crate) const ATTEMPTS_MAX: u32 = 5;

/// The first pause; each one after it is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// No pause is longer, whatever the other side asks for.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Waits longer each time.
pub(crate) struct Patience {
    pause: Duration,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { pause: PAUSE }
    }

    /// After that error: as long as it asks for, or as it is the time for.
    pub(crate) async fn wait(&mut self, after: &Error) {
        let asked = match after {
            Error::Busy { retry_after, .. } => *retry_after,
            _ => None,
        };
        tokio::time::sleep(asked.unwrap_or(self.pause).min(PAUSE_MAX)).await;
        self.pause *= 2;
    }
}
