//! Lines on their way out: whoever logs never waits for whoever reads.
//!
//! Lines are appended to one buffer; the writer's thread takes the whole buffer and writes it with one call. Lines that can wait
//! gather for [`GATHER_MAX`] first: a call and a change of threads for each of them would cost more than the answers they tell of.
//! While that call hangs, at most [`QUEUE_MAX_BYTES`] gather; further lines are counted instead, and the count is written in their
//! place.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How much may wait to be written.
pub(super) const QUEUE_MAX_BYTES: usize = 1 << 20;

/// How long a line that can wait is kept for more of its kind.
const GATHER_MAX: Duration = Duration::from_millis(5);

/// When so much has gathered it does not wait any longer.
const GATHER_BYTES: usize = 64 << 10;

/// How long the end of the process waits for the last lines.
const FLUSH_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    lost_lines: u64,
    /// What waits is written without waiting for more.
    is_urgent: bool,
    is_closed: bool,
    is_done: bool,
}

impl State {
    /// Whether the writer has nothing to do.
    fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.lost_lines == 0
    }
}

/// How soon a line is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Now: it may be the last one.
    AtOnce,
    /// In a moment.
    CanWait,
}

/// Where lines wait for the writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

/// Writes out what is left of the log when it is dropped; waits at most a second for it.
#[derive(Debug)]
#[must_use = "the log is closed when the guard is dropped"]
pub struct Guard(Arc<Queue>);

impl Queue {
    /// Starts a thread that writes to `out`; `lost` makes the line that says how many are missing.
    pub(super) fn start<W>(out: W, lost: impl Fn(u64) -> String + Send + 'static) -> (Arc<Self>, Guard)
    where
        W: Write + Send + 'static,
    {
        let queue = Arc::new(Self::default());
        let writer = Arc::clone(&queue);
        thread::spawn(move || writer.write_to(out, lost));
        (Arc::clone(&queue), Guard(queue))
    }

    /// Takes one line, which ends with a line end, or counts it as lost. Never waits for the writer.
    pub(super) fn push(&self, line: &str, urgency: Urgency) {
        let mut state = self.lock();
        let was_quiet = state.is_quiet();
        let was_urgent = state.is_urgent;
        if state.is_closed || state.lost_lines > 0 || state.waiting.len() + line.len() > QUEUE_MAX_BYTES {
            state.lost_lines += 1;
        } else {
            state.waiting.extend_from_slice(line.as_bytes());
        }
        state.is_urgent |= urgency == Urgency::AtOnce || state.lost_lines > 0 || state.waiting.len() >= GATHER_BYTES;
        let is_awaited = was_quiet || state.is_urgent != was_urgent;
        drop(state);
        if is_awaited {
            self.changed.notify_all();
        }
    }

    fn write_to(&self, mut out: impl Write, lost: impl Fn(u64) -> String) {
        let mut taken = Vec::new();
        while let Some(lost_lines) = self.take(&mut taken) {
            if lost_lines > 0 {
                taken.extend_from_slice(lost(lost_lines).as_bytes());
            }
            // A log that cannot be written is nothing that could be logged; the lines are gone.
            let _ = out.write_all(&taken).and_then(|()| out.flush());
        }
        self.lock().is_done = true;
        self.changed.notify_all();
    }

    /// Waits for lines and puts them in `taken`, with the number of those that were lost after them; `None` at the end.
    fn take(&self, taken: &mut Vec<u8>) -> Option<u64> {
        let mut state = self.lock();
        while state.is_quiet() {
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let gathering =
            self.changed.wait_timeout_while(state, GATHER_MAX, |state| !state.is_urgent && !state.is_closed);
        let (mut state, _) = gathering.unwrap_or_else(PoisonError::into_inner);
        taken.clear();
        std::mem::swap(taken, &mut state.waiting);
        state.is_urgent = false;
        Some(std::mem::take(&mut state.lost_lines))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        self.0.changed.notify_all();
        let ended = self.0.changed.wait_timeout_while(state, FLUSH_MAX, |state| !state.is_done);
        drop(ended);
    }
}
