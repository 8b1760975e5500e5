use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Class, Finding, Severity};

/// How many findings are kept. More are counted: whoever has so many needs another backup, not a longer list.
const FINDINGS_MAX: usize = 10_000;

/// What a check is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing yet.
    #[default]
    Beginning,
    /// The database's check of itself.
    Database,
    /// Blobs, their rows and their files.
    Content,
    /// Which repository may serve what.
    Links,
    /// Manifests.
    Manifests,
    /// Tags and their history.
    Tags,
    /// Deleted manifests.
    Deleted,
    /// Upload sessions and removals.
    Uploads,
    /// What lies in the data directory.
    Places,
    /// The audit log, the rules.
    Records,
}

impl Stage {
    /// In a word or two.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Beginning => "beginning",
            Self::Database => "database",
            Self::Content => "blobs",
            Self::Links => "links",
            Self::Manifests => "manifests",
            Self::Tags => "tags",
            Self::Deleted => "deleted manifests",
            Self::Uploads => "uploads",
            Self::Places => "data directory",
            Self::Records => "audit log",
        }
    }
}

/// How far a check is, or how far it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckProgress {
    /// What it is doing.
    pub stage: Stage,
    /// Blobs whose files were looked at.
    pub blobs: u64,
    /// Bytes that were read and hashed.
    pub bytes: u64,
    /// Manifests that were read and hashed.
    pub manifests: u64,
    /// Other rows that were looked at.
    pub rows: u64,
    /// Files in the data directory that were looked at.
    pub files: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Findings that are worth repairing and have not been, by class; none of them is a note.
    pub counts: BTreeMap<Class, u64>,
    /// How many notes there are.
    pub notes: u64,
    /// How many findings have been repaired; they are in none of the other numbers.
    pub repaired: u64,
    /// The first of them, in the order in which they were found.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// Whether there is nothing but notes.
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many findings there are that are worth repairing.
    pub fn found(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// Where a check tells what it does, and hears that it shall stop.
#[derive(Debug, Default)]
pub struct Watch {
    progress: Mutex<CheckProgress>,
    report: Mutex<CheckReport>,
    stopped: AtomicBool,
}

impl Watch {
    /// How far it is.
    pub fn progress(&self) -> CheckProgress {
        *lock(&self.progress)
    }

    /// What it has found so far.
    pub fn report(&self) -> CheckReport {
        lock(&self.report).clone()
    }

    /// Some of what it has found, from the `from`-th on.
    pub fn findings(&self, from: usize, limit: usize) -> Vec<Finding> {
        lock(&self.report).findings.iter().skip(from).take(limit).cloned().collect()
    }

    /// What it has found so far, but for the findings themselves.
    pub fn counts(&self) -> CheckReport {
        let report = lock(&self.report);
        CheckReport {
            findings: Vec::new(),
            counts: report.counts.clone(),
            notes: report.notes,
            repaired: report.repaired,
        }
    }

    /// Lets it end soon.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(super) fn enter(&self, stage: Stage) {
        lock(&self.progress).stage = stage;
    }

    pub(super) fn advance(&self, change: impl FnOnce(&mut CheckProgress)) {
        change(&mut lock(&self.progress));
    }

    pub(super) fn found(&self, finding: Finding) {
        let mut report = lock(&self.report);
        match finding.severity {
            _ if finding.repaired => report.repaired += 1,
            Severity::Note => report.notes += 1,
            Severity::Warning | Severity::Error => *report.counts.entry(finding.class).or_default() += 1,
        }
        if report.findings.len() < FINDINGS_MAX {
            report.findings.push(finding);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
