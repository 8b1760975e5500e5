//! What this process knows about the uploads that it has touched.
//!
//! Two things depend on it. One writer per upload: two writers of one file, each with its own hash, could
//! make bytes visible that hash to nothing. And trust: bytes that this process wrote or has compared with their
//! checkpoint need no second look, all others do, because after a power cut a file may have the right length and the
//! wrong bytes.
//!
//! A writer that is dropped in the middle may leave a write running on a blocking thread. So besides being alive there
//! is a *turn*, held by the writer and by everything that still runs for it; the next writer waits for the turn, which
//! takes as long as one write.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Mutex as AsyncMutex;
use wharf_base::UploadId;

use crate::Error;

/// One entry per upload that was written to since the start and is not finished: as many as there are open sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<UploadId, State>>);

#[derive(Debug, Default)]
struct State {
    live: bool,
    trusted: bool,
    fate: Fate,
    turn: Arc<AsyncMutex<()>>,
}

/// What became of the staged file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Standing,
    /// Removed; the entry goes with its writer.
    Gone,
    /// Its sync failed and it could not be removed either; nobody may go on with it until it is.
    Unsynced,
}

/// The right to be the one writer of an upload, until dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    sessions: Arc<Sessions>,
    upload: UploadId,
    turn: Arc<AsyncMutex<()>>,
}

impl Sessions {
    /// # Errors
    ///
    /// [`Error::Busy`], [`Error::StagedLost`].
    pub(crate) fn lease(self: &Arc<Self>, upload: UploadId) -> Result<Lease, Error> {
        let mut all = self.all();
        let state = all.entry(upload).or_default();
        if state.live {
            return Err(Error::Busy);
        }
        if state.fate != Fate::Standing {
            return Err(Error::StagedLost);
        }
        state.live = true;
        Ok(Lease { sessions: Arc::clone(self), upload, turn: Arc::clone(&state.turn) })
    }

    /// The staged file is removed or has become content.
    pub(crate) fn gone(&self, upload: UploadId) {
        let mut all = self.all();
        match all.get_mut(&upload) {
            Some(state) if state.live => state.fate = Fate::Gone,
            _ => drop(all.remove(&upload)),
        }
    }

    /// The staged file could not be synced and is still there.
    pub(crate) fn unsynced(&self, upload: UploadId) {
        self.all().entry(upload).or_default().fate = Fate::Unsynced;
    }

    fn all(&self) -> MutexGuard<'_, HashMap<UploadId, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.all().len()
    }
}

impl Lease {
    pub(crate) fn upload(&self) -> UploadId {
        self.upload
    }

    pub(crate) fn turn(&self) -> Arc<AsyncMutex<()>> {
        Arc::clone(&self.turn)
    }

    /// Whether the staged bytes were written, or compared with a checkpoint, by this process.
    pub(crate) fn is_trusted(&self) -> bool {
        self.sessions.all().get(&self.upload).is_some_and(|state| state.trusted)
    }

    pub(crate) fn trust(&self) {
        if let Some(state) = self.sessions.all().get_mut(&self.upload) {
            state.trusted = true;
        }
    }

    /// # Errors
    ///
    /// [`Error::StagedLost`] when the staged file was taken away from under this writer.
    pub(crate) fn check_standing(&self) -> Result<(), Error> {
        match self.sessions.all().get(&self.upload) {
            Some(state) if state.fate == Fate::Standing => Ok(()),
            _ => Err(Error::StagedLost),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut all = self.sessions.all();
        let Some(state) = all.get_mut(&self.upload) else { return };
        state.live = false;
        let nothing_known = state.fate == Fate::Standing && !state.trusted;
        if nothing_known || state.fate == Fate::Gone {
            all.remove(&self.upload);
        }
    }
}
