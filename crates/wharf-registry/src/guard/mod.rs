//! The guard: whether the machine under the registry does its part, and what is refused while it does not.
//!
//! Use cases that change something ask it first ([`Guard::writable`], [`Guard::room_for`]); it sees every error of the
//! store ([`store`]) and every refusal of the database, and looks at the disk once a second ([`watch`]). It knows two
//! troubles:
//!
//! - *Write protection* (R-002): the disk does not keep what is written to it, may not be written to, or is not there. Every
//!   change is refused, reading goes on, background work rests. A probe that succeeds ends it, without a restart; only a
//!   damaged database needs one.
//! - *Low space* (R-006): uploads are refused before their body is read; what makes room, and what hardly takes any, goes on.
//!
//! Both are refused as 503 and 507, which say "later". 405 is for a registry that was configured to be read-only: clients
//! take it for a property of the registry and give up.

mod clock;
mod space;
mod store;
mod watch;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wharf_base::{Clock, Timestamp};

use crate::Error;

use clock::ClockWatch;
pub(crate) use space::SpaceWatch;
pub use space::{Room, RoomStatus};
pub(crate) use store::Watched;

/// So many failed syncs …
const FAILED_SYNCS_MAX: usize = 3;

/// … within this time are no accident.
const FAILED_SYNCS_WITHIN: Duration = Duration::from_secs(60);

/// What is wrong, for whoever pushes and whoever looks after the registry. Clauses without a full stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Syncs fail: what was accepted may not be on the disk.
    #[error("its disk does not keep what is written to it")]
    NotSynced,
    /// The file system takes no writes.
    #[error("its file system has become read-only")]
    ReadOnly,
    /// The data directory is not where it was.
    #[error("its data directory is not there any more")]
    Gone,
    /// The process may not write there.
    #[error("it may not write to its data directory or bucket any more")]
    NoAccess,
    /// The probe fails for another reason.
    #[error("its disk does not take what is written to it")]
    Broken,
    /// The database's own check found damage.
    #[error("its metadata database is damaged")]
    DatabaseDamaged,
}

impl Trouble {
    /// What to do, in the imperative.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotSynced | Self::Broken => {
                "look at the disk (`dmesg`, `smartctl -a`); writing begins again by itself when a probe succeeds"
            }
            Self::ReadOnly => {
                "see in `dmesg` why the kernel made it read-only, mend it and mount it writable; then start Wharf again if \
                 writing has not begun by itself"
            }
            Self::Gone => {
                "bring the directory back to its place, or see what is mounted there; writing begins again by itself, or \
                 start Wharf again if the directory is another one"
            }
            Self::NoAccess => {
                "give the directory and everything in it back to the account that Wharf runs as, or let its key write to its \
                 bucket; writing begins again by itself"
            }
            Self::DatabaseDamaged => {
                "keep a copy of the data directory as it is, stop Wharf, and restore the database from a backup"
            }
        }
    }

    /// Whether a probe of the disk may end it.
    fn is_of_the_disk(&self) -> bool {
        *self != Self::DatabaseDamaged
    }
}

/// Why the registry takes no writes, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// What is wrong.
    pub trouble: Trouble,
    /// Since when.
    pub since: Timestamp,
    /// What was found, for whoever looks after the registry.
    pub details: String,
}

/// How the machine does, for whoever asks.
#[derive(Clone, Debug)]
pub struct Health {
    /// Why no writes are taken, if so.
    pub protection: Option<Protection>,
    /// Room on the disk; `None` where there is always some, or nobody has looked yet.
    pub room: Option<RoomStatus>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Guard {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    pub(crate) space: SpaceWatch,
    clock_watch: ClockWatch,
    /// Held while the reserve is given back, until that is noted: whoever finds nothing to give back knows by then why.
    giving_back: tokio::sync::Mutex<()>,
    /// Somebody met an error after which the disk should be probed.
    doubt: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// When the latest syncs failed, in monotonic time.
    failed_syncs: VecDeque<Duration>,
    protection: Option<Protection>,
}

impl Guard {
    pub(crate) fn new(clock: Arc<dyn Clock>, room: Room) -> Arc<Self> {
        Arc::new(Self {
            clock,
            state: Mutex::default(),
            space: SpaceWatch::new(room),
            clock_watch: ClockWatch::default(),
            giving_back: tokio::sync::Mutex::default(),
            doubt: Notify::new(),
        })
    }

    /// Whether changes may be tried.
    ///
    /// # Errors
    ///
    /// [`Error::WriteProtected`].
    pub(crate) fn writable(&self) -> Result<(), Error> {
        match &self.state().protection {
            Some(protection) => Err(Error::WriteProtected(protection.trouble.clone())),
            None => Ok(()),
        }
    }

    /// Whether so many more bytes may be taken; `None`: nobody knows how many.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`].
    pub(crate) fn room_for(&self, bytes: Option<u64>) -> Result<(), Error> {
        if self.space.admits(bytes) { Ok(()) } else { Err(Error::StorageFull) }
    }

    /// Whether what is little but lasts may be recorded: everything until the reserve had to be given back.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`].
    pub(crate) fn room_for_facts(&self) -> Result<(), Error> {
        if self.space.is_reserve_spent() { Err(Error::StorageFull) } else { Ok(()) }
    }

    /// What is wrong now.
    pub(crate) fn protection(&self) -> Option<Protection> {
        self.state().protection.clone()
    }

    /// Takes note of an error that the store has met.
    pub(crate) fn saw(&self, error: &wharf_store::Error) {
        use wharf_store::Error;
        match error {
            Error::Sync { .. } => {
                if self.count_failed_sync() {
                    let details = format!("{FAILED_SYNCS_MAX} syncs failed within a minute, the last while {error}");
                    self.protect(Trouble::NotSynced, details);
                }
            }
            Error::Gone { .. } => self.protect(Trouble::Gone, error.to_string()),
            Error::Io { source, .. } => match trouble_of_errno(source) {
                // No doubt about these two; the others may be about one file.
                Some(Trouble::ReadOnly) => self.protect(Trouble::ReadOnly, crate::error::with_causes(error)),
                _ => self.doubt.notify_one(),
            },
            // A bucket that does not answer says nothing of what it keeps; it is asked again with the next request.
            Error::Unavailable { .. }
            | Error::NoSpace
            | Error::DigestMismatch { .. }
            | Error::StagedLost
            | Error::Busy
            | Error::Broken
            | Error::Damaged { .. } => {}
        }
    }

    /// Takes no writes from now on.
    pub(crate) fn protect(&self, trouble: Trouble, details: String) {
        let mut state = self.state();
        // Damage stays what it is called: nothing that the disk does makes it better.
        if state.protection.as_ref().is_some_and(|known| known.trouble == trouble || !known.trouble.is_of_the_disk()) {
            return;
        }
        tracing::error!(
            trouble = %trouble,
            details,
            remedy = trouble.remedy(),
            "the registry takes no writes from now on: {trouble} ({details}); {}",
            trouble.remedy()
        );
        state.protection = Some(Protection { trouble, since: self.clock.now(), details });
    }

    /// A probe has succeeded.
    fn unprotect(&self) {
        let mut state = self.state();
        if state.protection.as_ref().is_some_and(|protection| protection.trouble.is_of_the_disk()) {
            tracing::warn!("a probe of the disk has succeeded; the registry takes writes again");
            *state = State::default();
        }
    }

    /// Whether that was one too many.
    fn count_failed_sync(&self) -> bool {
        let now = self.clock.monotonic();
        let mut state = self.state();
        state.failed_syncs.retain(|at| now.saturating_sub(*at) <= FAILED_SYNCS_WITHIN);
        state.failed_syncs.push_back(now);
        if state.failed_syncs.len() > FAILED_SYNCS_MAX {
            state.failed_syncs.pop_front();
        }
        state.failed_syncs.len() >= FAILED_SYNCS_MAX
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a failed probe says about the disk; `None`: only that there is no room, or that a bucket does not answer.
fn trouble_of(error: &wharf_store::Error) -> Option<Trouble> {
    use wharf_store::Error;
    match error {
        Error::NoSpace | Error::Unavailable { .. } => None,
        Error::Sync { .. } => Some(Trouble::NotSynced),
        Error::Gone { .. } => Some(Trouble::Gone),
        Error::Io { source, .. } => Some(trouble_of_errno(source).unwrap_or(Trouble::Broken)),
        Error::DigestMismatch { .. } | Error::StagedLost | Error::Busy | Error::Broken | Error::Damaged { .. } => {
            Some(Trouble::Broken)
        }
    }
}

fn trouble_of_errno(error: &std::io::Error) -> Option<Trouble> {
    match error.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem => Some(Trouble::ReadOnly),
        std::io::ErrorKind::NotFound => Some(Trouble::Gone),
        std::io::ErrorKind::PermissionDenied => Some(Trouble::NoAccess),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
