//! The collector: what is due is reviewed, what is condemned goes, in small steps that may be cut off anywhere
//! (`reliability` §4). What is due stands in the database; nothing here is remembered that a restart would miss.

mod config;
mod manage;
mod progress;
mod steps;
mod sweep;
mod untagged;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use wharf_base::Shutdown;

use crate::{Error, Registry};

pub use config::{GcConfig, Untagged};
pub use manage::{CollectionStatus, Preview, PreviewLine, SweepWish};
pub(crate) use progress::Progress;
use progress::SweepOrder;
pub use steps::Totals;
pub use sweep::Sweep;

/// What the collector is doing, for whoever asks.
#[derive(Debug)]
pub(crate) struct Collector {
    wish: Notify,
    progress: Mutex<Progress>,
    untagged: untagged::Rules,
}

impl Collector {
    pub(crate) fn new(config: &GcConfig) -> Self {
        Self { wish: Notify::new(), progress: Mutex::default(), untagged: untagged::Rules::new(config) }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something became worth doing: a run begins now instead of at its time.
    pub(crate) fn nudge(&self) {
        self.wish.notify_one();
    }
}

impl Registry {
    /// Collects until shutdown: by itself if configured, otherwise when asked to.
    pub async fn keep_collecting(self: Arc<Self>, shutdown: Shutdown) {
        while !shutdown.has_started() {
            let is_wanted = self.is_collection_wanted().await;
            if (self.gc.enabled || is_wanted) && self.may_collect(&shutdown).await {
                let ran =
                    wharf_meta::under_lease(&*self.parts.meta, "collection", self.run_collection(&shutdown)).await;
                if !matches!(ran, Ok(Some(()))) && is_wanted {
                    // Another replica is at it, or nobody knows. Whoever asked here waits for a run that begins now.
                    let _ = tokio::time::timeout(ASK_AGAIN, shutdown.started()).await;
                }
            } else if is_wanted {
                self.note_collection(Progress::give_up).await;
            }
            if self.is_collection_wanted().await {
                continue;
            }
            tokio::select! {
                () = shutdown.started() => {}
                () = self.collector.wish.notified() => {}
                () = tokio::time::sleep(self.gc.interval.get()) => {}
            }
        }
    }

    /// Steps until nothing is due. The rest between two steps is as long as the share of the disk asks for.
    pub(crate) async fn run_collection(&self, shutdown: &Shutdown) {
        let is_wanted = self.note_collection(Progress::begin).await.unwrap_or(false);
        self.collector.untagged.begin_walk(is_wanted);
        let mut run = Totals::default();
        let error = loop {
            if !self.may_collect(shutdown).await {
                break None;
            }
            let begun = Instant::now();
            match self.collect_step().await {
                Ok(done) if done.is_empty() && !self.collector.untagged.is_walking() => break None,
                Ok(done) => {
                    run.add(&done);
                    self.note_collection(|progress| progress.totals.add(&done)).await;
                }
                Err(error) => break Some(error),
            }
            rest(begun.elapsed(), self.gc.share_percent, shutdown).await;
        };
        let error = match error {
            None if self.may_collect(shutdown).await => self.sweep_if_due(&mut run).await.err(),
            error => error,
        };
        if let Some(error) = &error {
            tracing::warn!(error = error as &dyn std::error::Error, "collection is put off");
        }
        if !run.is_empty() {
            tracing::info!(
                gc.released = run.released,
                gc.condemned = run.condemned,
                gc.removed = run.removed,
                gc.removed_bytes = run.removed_bytes,
                gc.orphans = run.orphans,
                "collected: {} links ended, {} blobs condemned, {} removed ({} bytes), {} orphans removed ({} bytes)",
                run.released,
                run.condemned,
                run.removed,
                run.removed_bytes,
                run.orphans,
                run.orphan_bytes
            );
        }
        let now = self.now();
        let error = error.map(|error| crate::error::with_causes(&error));
        self.note_collection(|progress| progress.end(now, error.clone())).await;
    }

    /// Whether the disk is nearly full and collection may hurry because of that.
    pub(crate) fn has_pressure(&self) -> bool {
        self.gc.pressure && self.guard.space.is_low()
    }

    /// The sweep that was asked for, or the weekly one.
    async fn sweep_if_due(&self, run: &mut Totals) -> Result<(), Error> {
        let wanted = self.note_collection(|progress| progress.sweep_wanted.take()).await.flatten();
        let accepted = match wanted {
            Some(SweepOrder { accepted }) => accepted,
            None if self.is_sweep_due().await? => None,
            None => return Ok(()),
        };
        let mut done = Totals::default();
        let swept = self.sweep(accepted, &mut done).await;
        run.add(&done);
        self.note_collection(|progress| progress.totals.add(&done)).await;
        let sweep = swept?;
        self.note_collection(|progress| progress.last_sweep = Some(sweep)).await;
        Ok(())
    }

    /// A hold that is set now counts now (GR-36).
    async fn may_collect(&self, shutdown: &Shutdown) -> bool {
        !shutdown.has_started() && self.guard.writable().is_ok() && !self.is_held().await
    }

    /// Whether a hold stands. When that cannot be found out, it does.
    pub(crate) async fn is_held(&self) -> bool {
        if let Err(error) = self.clock_has_jumped().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the clock has jumped and nothing is collected");
            return true;
        }
        match self.parts.meta.holds(self.now()).await {
            Ok(holds) => !holds.is_empty(),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "holds on collection cannot be looked up");
                true
            }
        }
    }
}

/// How long to wait for another replica's run.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The longest rest: a step that once took long does not stop collection for hours.
const REST_MAX: Duration = Duration::from_secs(10);

async fn rest(worked: Duration, share_percent: u8, shutdown: &Shutdown) {
    let share = u32::from(share_percent.clamp(1, 100));
    let rest = (worked * (100 - share) / share).min(REST_MAX);
    let _ = tokio::time::timeout(rest, shutdown.started()).await;
}
