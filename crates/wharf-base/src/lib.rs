//! What the standard library lacks and a simulation must be able to replace: time, randomness, ids, background
//! tasks; and the two units that configuration speaks, sizes and durations.
//!
//! Nothing here knows what a registry is. Every other room that wants the time, a random number or a task beside the
//! request gets it from here, so that a test (or a simulated world) can hand in another one.

mod clock;
mod distribution;
mod duration;
pub mod failpoint;
mod id;
mod location;
mod panic;
mod rng;
mod secret;
mod size;
mod spawn;

pub use clock::{Clock, ManualClock, ParseTimeError, SteeredClock, SystemClock, Timestamp};
pub use distribution::{Distribution, DistributionSnapshot};
pub use duration::HumanDuration;
pub use id::{AccountId, BackupId, ParseIdError, RuleId, StoreId, TokenId, UploadId};
pub use location::Location;
pub use panic::panic_text;
pub use rng::{Rng, SeededRng, SystemRng};
pub use secret::Secret;
pub use size::ByteSize;
pub use spawn::{Shutdown, Spawner};

#[cfg(test)]
mod tests;
