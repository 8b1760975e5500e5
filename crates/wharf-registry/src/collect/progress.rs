//! How far collection is. Between replicas it stands in the database, so that whoever asked one of them may look at any other.

use serde::{Deserialize, Serialize};
use wharf_base::Timestamp;

use super::{Sweep, Totals};
use crate::{Error, Registry};

/// The job that replicas tell each other of.
const JOB: &str = "collection";

/// How far the collector is. A run goes from the first thing that is due until nothing is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Runs that were asked for; one that asks waits until that many have been completed.
    pub(super) wanted: u64,
    pub(crate) completed: u64,
    pub(crate) errors: u64,
    pub(super) running: bool,
    pub(super) last_run_at: Option<Timestamp>,
    pub(crate) totals: Totals,
    pub(super) last_error: Option<String>,
    /// A sweep that was asked for, with how many files may go.
    pub(super) sweep_wanted: Option<SweepOrder>,
    pub(super) last_sweep: Option<Sweep>,
}

/// A sweep that was asked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SweepOrder {
    /// How many files may go; otherwise as many as a crash leaves behind.
    pub(super) accepted: Option<u64>,
}

impl Progress {
    fn is_wanted(&self) -> bool {
        self.wanted > self.completed
    }

    /// Orders a run. The number that `completed` reaches when a run that began after this is over.
    pub(super) fn order(&mut self, sweep: Option<SweepOrder>) -> u64 {
        self.sweep_wanted = sweep.or(self.sweep_wanted);
        // What is running may have passed what the asker has in mind.
        self.wanted = self.completed + 1 + u64::from(self.running);
        self.wanted
    }

    /// A run begins; whether somebody asked for it.
    pub(super) fn begin(&mut self) -> bool {
        self.running = true;
        self.is_wanted()
    }

    /// It is over.
    pub(super) fn end(&mut self, now: Timestamp, error: Option<String>) {
        self.running = false;
        self.completed += 1;
        self.errors += u64::from(error.is_some());
        self.last_run_at = Some(now);
        self.last_error = error;
    }

    /// Nothing can run now, and nobody need wait for it.
    pub(super) fn give_up(&mut self) {
        self.completed = self.wanted;
    }
}

impl Registry {
    /// How far it is, whichever replica does it.
    pub(super) async fn collection_progress(&self) -> Result<Progress, Error> {
        if !self.parts.meta.is_shared() {
            return Ok(self.collector.progress());
        }
        let told = self.parts.meta.job(JOB).await.map_err(Error::meta("looking at collection"))?;
        Ok(told.as_deref().map(read).unwrap_or_default())
    }

    /// Whether somebody waits for a run; not if that cannot be found out.
    pub(super) async fn is_collection_wanted(&self) -> bool {
        self.collection_progress().await.is_ok_and(|progress| progress.is_wanted())
    }

    /// Changes it, for this process and for all.
    pub(super) async fn change_collection<T>(&self, change: impl Fn(&mut Progress) -> T) -> Result<T, Error> {
        let here = self.collector.update(&change);
        if !self.parts.meta.is_shared() {
            return Ok(here);
        }
        let meta = &self.parts.meta;
        // Who fails to tell was overtaken by somebody who succeeded.
        loop {
            let before = meta.job(JOB).await.map_err(Error::meta("looking at collection"))?;
            let mut progress = before.as_deref().map(read).unwrap_or_default();
            let done = change(&mut progress);
            let after = serde_json::to_string(&progress).unwrap_or_default();
            if before.as_ref() == Some(&after) {
                return Ok(done);
            }
            let told = meta.change_job(JOB, before.as_deref(), &after, self.now()).await;
            if told.map_err(Error::meta("noting how collection does"))? {
                return Ok(done);
            }
        }
    }

    /// The same for whoever goes on in any case; `None`: nobody was told.
    pub(super) async fn note_collection<T>(&self, change: impl Fn(&mut Progress) -> T) -> Option<T> {
        let changed = self.change_collection(change).await;
        changed
            .inspect_err(|error| {
                tracing::debug!(error = error as &dyn std::error::Error, "how collection does was not noted");
            })
            .ok()
    }
}

/// What another version has told may not be understood, and counts for nothing.
fn read(text: &str) -> Progress {
    serde_json::from_str(text).unwrap_or_default()
}
