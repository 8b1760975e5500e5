use wharf_base::{DistributionSnapshot, Timestamp};
use wharf_meta::{Backlog, DatabaseFigures};

use crate::{Health, Registry, Totals};

/// Counting stops here, so that whoever watches costs little.
const COUNT_MAX: u32 = 100_000;

/// How a registry does, in numbers. What the database did not answer is `None`.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The moment they are of.
    pub now: Timestamp,
    /// Trouble and room.
    pub health: Health,
    /// Open upload sessions, counted up to 100,000.
    pub uploads_open: Option<u32>,
    /// What waits for the collector.
    pub backlog: Option<Backlog>,
    /// Holds on collection that stand.
    pub holds: Option<usize>,
    /// What was collected since the start.
    pub collected: Totals,
    /// Runs of the collector since the start.
    pub collection_runs: u64,
    /// Those of them that ended with an error.
    pub collection_errors: u64,
    /// Whether the trash period is shortened because the disk is nearly full.
    pub has_pressure: bool,
    /// The database.
    pub database: DatabaseFigures,
    /// How long syncs of content took, in seconds.
    pub sync_seconds: DistributionSnapshot,
}

impl Registry {
    /// How the registry does, in numbers, and never in names (S-018).
    pub async fn figures(&self) -> Figures {
        let now = self.now();
        let meta = &self.parts.meta;
        let progress = self.collector.progress();
        Figures {
            now,
            health: self.health(),
            uploads_open: meta.open_uploads(now, COUNT_MAX).await.ok(),
            backlog: meta.backlog(now).await.ok(),
            holds: meta.holds(now).await.ok().map(|holds| holds.len()),
            collected: progress.totals,
            collection_runs: progress.completed,
            collection_errors: progress.errors,
            has_pressure: self.has_pressure(),
            database: meta.figures(),
            sync_seconds: self.parts.store.sync_seconds(),
        }
    }
}
