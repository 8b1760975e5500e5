use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in wall time: microseconds since 1970-01-01T00:00:00 UTC.
///
/// Wall time is for people and for rows; time-outs use [`Clock::monotonic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch; 0 for times before it.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0 / 1_000).unwrap_or(0)
    }

    /// This time and `span` later, at most the end of representable time.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    /// This time and `span` earlier, at least the beginning of representable time.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with microseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp_micros(self.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)),
            None => write!(f, "{} µs since 1970", self.0),
        }
    }
}

/// The text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time such as 2027-01-31T12:00:00Z")]
pub struct ParseTimeError;

/// RFC 3339, in any offset.
impl FromStr for Timestamp {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| ParseTimeError)?;
        Ok(Self(time.timestamp_micros()))
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall time; may jump both ways.
    fn now(&self) -> Timestamp;

    /// Time since some fixed instant of this process; never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(micros(since))
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// The machine's clock, until it is told what time it is elsewhere: from then on it is that time, which goes on by the machine's
/// monotonic clock. So a machine whose clock is wrong, or is set meanwhile, dates nothing wrongly.
#[derive(Debug)]
pub struct SteeredClock {
    system: SystemClock,
    /// The other wall time at which monotonic time was zero, in microseconds; [`UNSTEERED`] while there is none.
    origin_us: AtomicI64,
    heard: Mutex<Option<Heard>>,
}

/// How well the other time is known.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Duration,
    /// By how much it may have been wrong then.
    error: Duration,
}

const UNSTEERED: i64 = i64::MIN;

/// In so much time a machine's monotonic clock goes wrong by one part of it at most.
const DRIFTS_ONE_IN: u32 = 2_000;

impl SteeredClock {
    /// The machine's clock.
    pub fn new() -> Self {
        Self { system: SystemClock::new(), origin_us: AtomicI64::new(UNSTEERED), heard: Mutex::default() }
    }

    /// It was `theirs` elsewhere at some moment from `asked` to `answered`, in monotonic time; which one, nobody knows. So an answer
    /// that took long is not believed while what was heard before must be nearer.
    ///
    /// By how many microseconds this machine's own clock is ahead.
    pub fn steer(&self, theirs: Timestamp, asked: Duration, answered: Duration) -> i64 {
        let error = answered.saturating_sub(asked) / 2;
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_better =
            heard.is_none_or(|heard| error <= heard.error + answered.saturating_sub(heard.at) / DRIFTS_ONE_IN);
        if is_better {
            *heard = Some(Heard { at: answered, error });
            self.origin_us.store(theirs.minus(asked + error).as_micros(), Ordering::Relaxed);
        }
        self.system.now().as_micros().saturating_sub(self.now().as_micros())
    }
}

impl Default for SteeredClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SteeredClock {
    fn now(&self) -> Timestamp {
        match self.origin_us.load(Ordering::Relaxed) {
            UNSTEERED => self.system.now(),
            origin_us => Timestamp::from_micros(origin_us).plus(self.monotonic()),
        }
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<(Timestamp, Duration)>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { state: Mutex::new((now, Duration::ZERO)) }
    }

    /// Moves wall and monotonic time forward by `span`.
    pub fn advance(&self, span: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = (state.0.plus(span), state.1.saturating_add(span));
    }

    /// Sets wall time alone, as somebody does who corrects a clock.
    pub fn set(&self, now: Timestamp) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
