//! The check that somebody asks a running registry for: one at a time, in a task of its own, told of on request.

use std::sync::{Arc, Mutex, PoisonError};

use wharf_base::{HumanDuration, Shutdown, Timestamp};
use wharf_policy::{Authorized, CheckManage};

use super::{CheckOrder, CheckProgress, CheckReport, Finding, ScrubTotals, Watch};
use crate::{Error, Registry};

/// The check that runs or ran last.
#[derive(Debug, Default)]
pub(crate) struct Checks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Job>,
    /// The registry is being stopped.
    closed: bool,
}

#[derive(Clone, Debug)]
struct Job {
    number: u64,
    order: CheckOrder,
    watch: Arc<Watch>,
    begun_at: Timestamp,
    end: Option<End>,
}

#[derive(Clone, Debug)]
struct End {
    at: Timestamp,
    /// Why it could not be carried out.
    error: Option<String>,
}

/// A check, running or over.
#[derive(Clone, Debug)]
pub struct CheckStatus {
    /// Its number since the start of the registry.
    pub number: u64,
    /// What was to be checked.
    pub order: CheckOrder,
    /// When it began.
    pub begun_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it could not be carried out, or that it was stopped.
    pub error: Option<String>,
    /// How far it is.
    pub progress: CheckProgress,
    /// What it has found so far, without the findings themselves.
    pub report: CheckReport,
}

/// How what is stored is doing.
#[derive(Clone, Debug)]
pub struct StoredHealth {
    /// The check that runs or ran last since the start.
    pub check: Option<CheckStatus>,
    /// How many blobs are damaged or lost and wait for a push; counting stops at 100,000.
    pub set_aside: u64,
    /// What the scrub has done since the start.
    pub scrub: ScrubTotals,
    /// In which time it reads everything; 0: it is turned off.
    pub scrub_period: HumanDuration,
    /// All content has been read and hashed since then; `None`: there is none.
    pub verified_since: Option<Timestamp>,
}

impl Checks {
    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops what runs, and lets nothing begin any more.
    fn close(&self) {
        self.state(|state| {
            state.closed = true;
            if let Some(job) = &state.last {
                job.watch.stop();
            }
        });
    }
}

impl Registry {
    /// Begins a check; its number.
    ///
    /// # Errors
    ///
    /// [`Error::CheckRunning`].
    pub fn start_check(self: &Arc<Self>, _ok: &Authorized<CheckManage>, order: CheckOrder) -> Result<u64, Error> {
        let watch = Arc::new(Watch::default());
        let begun_at = self.now();
        let number = self.checks.state(|state| {
            if state.closed || state.last.as_ref().is_some_and(|job| job.end.is_none()) {
                return Err(Error::CheckRunning);
            }
            let number = state.last.as_ref().map_or(1, |job| job.number + 1);
            let (order, watch) = (order.clone(), Arc::clone(&watch));
            state.last = Some(Job { number, order, watch, begun_at, end: None });
            Ok(number)
        })?;
        let registry = Arc::clone(self);
        self.parts.spawner.spawn("check", async move { registry.run_check(&order, &watch).await });
        Ok(number)
    }

    async fn run_check(self: Arc<Self>, order: &CheckOrder, watch: &Watch) {
        let done = self.check(order, watch).await;
        let error = match &done {
            Ok(()) if watch.is_stopped() => Some("it was stopped before its end".to_owned()),
            Ok(()) => None,
            Err(error) => Some(crate::error::with_causes(error)),
        };
        let found = watch.counts().found();
        match &error {
            None => tracing::info!(check.findings = found, "checked: {found} findings"),
            Some(error) => tracing::warn!(check.findings = found, "the check ended early: {error}"),
        }
        let at = self.now();
        self.checks.state(|state| {
            if let Some(job) = &mut state.last {
                job.end = Some(End { at, error });
            }
        });
    }

    /// How what is stored is doing.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn stored_health(&self, _ok: &Authorized<CheckManage>) -> Result<StoredHealth, Error> {
        let meta = &self.parts.meta;
        let set_aside = meta.count_set_aside().await.map_err(Error::meta("counting what is set aside"))?;
        let verified = meta.verified_longest_ago().await.map_err(Error::meta("looking at the scrub"))?;
        let (scrub, verified_since) = (self.scrub_totals(), verified);
        Ok(StoredHealth {
            check: self.last_check(),
            set_aside,
            scrub,
            scrub_period: self.check.scrub_period,
            verified_since,
        })
    }

    fn last_check(&self) -> Option<CheckStatus> {
        let job = self.checks.state(|state| state.last.clone())?;
        Some(CheckStatus {
            number: job.number,
            order: job.order,
            begun_at: job.begun_at,
            ended_at: job.end.as_ref().map(|end| end.at),
            error: job.end.and_then(|end| end.error),
            progress: job.watch.progress(),
            report: job.watch.counts(),
        })
    }

    /// What that check found, from the `from`-th finding on.
    pub fn check_findings(&self, _ok: &Authorized<CheckManage>, from: usize, limit: usize) -> Vec<Finding> {
        let watch = self.checks.state(|state| state.last.as_ref().map(|job| Arc::clone(&job.watch)));
        watch.map_or_else(Vec::new, |watch| watch.findings(from, limit))
    }

    /// Stops the check that runs; `false` if none does.
    pub fn stop_check(&self, _ok: &Authorized<CheckManage>) -> bool {
        self.checks.state(|state| match &state.last {
            Some(job) if job.end.is_none() => {
                job.watch.stop();
                true
            }
            _ => false,
        })
    }

    /// Waits for the end of the registry, and ends a check that runs then.
    pub async fn end_checks(self: Arc<Self>, shutdown: Shutdown) {
        shutdown.started().await;
        self.checks.close();
    }
}
