//! The use cases of a registry: push, pull, delete, list. They know nothing of HTTP.
//!
//! Every use case takes an [`Authorized`](wharf_policy::Authorized) value, so it cannot be reached without policy
//! having been asked. Its shape is always the same: *bytes first, facts second, answer last*. Content is on stable
//! storage before the metadata database names it, everything that belongs to one answer is one transaction, and the
//! answer is given after the commit. A change that has begun to commit runs in a task of its own, so a client that
//! hangs up cannot stop it half-way.

mod audit;
mod backup;
mod blobs;
mod body;
mod browse;
mod check;
mod collect;
mod config;
mod delete;
mod error;
mod expiry;
mod figures;
mod guard;
mod lists;
mod manifests;
mod memory;
mod mount;
mod plan;
#[cfg(test)]
mod races;
mod retries;
mod rules;
mod sessions;
mod small;
mod undo;
mod uploads;
mod usage;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wharf_base::{ByteSize, Clock, Rng, Spawner, Timestamp};
use wharf_meta::Metadata;
use wharf_policy::Engine;
use wharf_store::BlobStore;

pub use backup::{Backup, BackupSnapshot, SnapshotFile};
pub use blobs::{BlobHead, OpenBlob};
pub use body::{Body, BodyError, Chunk};
pub use browse::{ContentSum, Listing};
pub use check::{
    CheckConfig, CheckOrder, CheckProgress, CheckReport, CheckStatus, Class, Depth, Finding, NotRepairable, REPAIRABLE,
    ScrubTotals, Severity, Stage, StoredHealth, UnknownClass, VerifyReads, Watch,
};
pub use collect::{CollectionStatus, GcConfig, Preview, PreviewLine, Sweep, SweepWish, Totals, Untagged};
pub use config::Config;
pub use delete::DeletedManifest;
pub use error::Error;
pub use expiry::Expiry;
pub use figures::Figures;
pub use guard::{Health, Protection, Room, RoomStatus, Trouble};
pub use lists::{Page, ReferrerCursor, ReferrersPage};
pub use manifests::{ManifestHead, ManifestTarget, PulledManifest, PushManifest, PushedManifest};
pub use memory::Share;
pub use mount::Mounted;
pub use plan::Condition;
pub use retries::Retried;
pub use rules::{Proposal, RuleDraft, RulesError, Simulation};
pub use undo::{Deleted, RestoreFrom, Restored, TagChange};
pub use uploads::{FinishedBlob, UploadStatus};
pub use wharf_meta::{
    AuditEntry, AuditFilter, Backlog, HOLDERS_COUNTED_MAX, HeldBlob, Hold, LargeRepository, ManifestDetails,
    PolicyRule, RemovedBlob, RemovedCursor, RepositorySummary, StorageSample, TAGS_COUNTED_MAX, TagSummary, WriteClaim,
};
/// What of the metadata crosses this room's interface.
pub use wharf_store::ContentFile;

/// How much memory all manifests that are being received may take together, at most.
const MANIFEST_MEMORY_MAX: ByteSize = ByteSize::mib(64);

/// How long a finished upload session is remembered, so that a repeated PUT is answered 201 again.
const REMEMBER_FINISHED: Duration = Duration::from_secs(3600);

/// How long readiness waits for the database.
const READY_WITHIN: Duration = Duration::from_millis(100);

/// A database that was slow for so long, whenever it was asked, is none.
const SLOW_MAX: Duration = Duration::from_secs(30);

/// What a registry is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Names, references, sessions.
    pub meta: Arc<dyn Metadata>,
    /// Content by digest.
    pub store: Arc<dyn BlobStore>,
    /// Who may do what; asked again where a use case touches a second repository.
    pub policy: Arc<Engine>,
    /// Wall and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for ids.
    pub rng: Arc<dyn Rng>,
    /// Where work runs that a client's disconnect must not stop.
    pub spawner: Spawner,
}

/// How the use cases are set.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `[registry]`.
    pub registry: Config,
    /// `[gc]`.
    pub gc: GcConfig,
    /// `[check]`.
    pub check: CheckConfig,
    /// `storage.verify_reads`.
    pub verify_reads: VerifyReads,
    /// `storage.remembered`.
    pub remembered: ByteSize,
    /// How much of the disk is kept free.
    pub room: Room,
}

/// The use cases. Cheap to share; one a process.
#[derive(Debug)]
pub struct Registry {
    parts: Parts,
    config: Config,
    gc: GcConfig,
    check: CheckConfig,
    verify_reads: VerifyReads,
    verified: blobs::Verified,
    small: small::SmallBlobs,
    scrub: check::Scrub,
    collector: collect::Collector,
    guard: Arc<guard::Guard>,
    checks: check::Checks,
    backups: backup::Backups,
    sessions: sessions::Claims,
    /// For uploads.
    memory: memory::Memory,
    /// For manifests, which are in memory as a whole.
    manifest_memory: memory::Memory,
    sums: browse::Sums,
    pulls: usage::Pulls,
    /// Since when the database has been slow whenever it was asked, in monotonic time.
    slow_since: Mutex<Option<Duration>>,
    /// Rules are loaded by one at a time.
    reloading: tokio::sync::Mutex<()>,
}

impl Registry {
    /// A registry over `parts`; the settings have passed their checks.
    pub fn new(parts: Parts, settings: Settings) -> Arc<Self> {
        let guard = guard::Guard::new(Arc::clone(&parts.clock), settings.room);
        let store = Arc::new(guard::Watched { inner: parts.store, guard: Arc::clone(&guard) });
        let memory = settings.registry.memory.unwrap_or_else(memory::default_size);
        Arc::new(Self {
            parts: Parts { store, ..parts },
            memory: memory::Memory::new(memory),
            manifest_memory: memory::Memory::new(memory.min(MANIFEST_MEMORY_MAX)),
            config: settings.registry,
            collector: collect::Collector::new(&settings.gc),
            gc: settings.gc,
            check: settings.check,
            verify_reads: settings.verify_reads,
            verified: blobs::Verified::default(),
            small: small::SmallBlobs::new(match settings.verify_reads {
                // Each read then looks at what lies in the store.
                VerifyReads::Always => ByteSize::bytes(0),
                VerifyReads::Scrub | VerifyReads::First => settings.remembered,
            }),
            scrub: check::Scrub::default(),
            guard,
            checks: check::Checks::default(),
            backups: backup::Backups::default(),
            sessions: sessions::Claims::default(),
            sums: browse::Sums::default(),
            pulls: usage::Pulls::default(),
            slow_since: Mutex::default(),
            reloading: tokio::sync::Mutex::default(),
        })
    }

    /// Whether the metadata database answers. One that is slow counts as there for a while, so that this is answered at once
    /// on a bad day: a registry that is busy should not be taken out of service for it (FT-26).
    ///
    /// # Errors
    ///
    /// [`Error::Meta`]: it does not answer, or was slow whenever it was asked for half a minute.
    pub async fn ready(&self) -> Result<(), Error> {
        let doing = "asking the metadata database whether it is there";
        let now = self.parts.clock.monotonic();
        let Ok(answer) = tokio::time::timeout(READY_WITHIN, self.parts.meta.ping()).await else {
            let mut slow_since = self.slow_since.lock().unwrap_or_else(PoisonError::into_inner);
            let since = *slow_since.get_or_insert(now);
            return if now.saturating_sub(since) < SLOW_MAX { Ok(()) } else { Err(Error::DatabaseSlow) };
        };
        *self.slow_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
        answer.map_err(Error::meta(doing))
    }

    /// Whether the catalog is served.
    pub fn has_catalog(&self) -> bool {
        self.config.catalog
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// When the collector may look at what loses a reference now.
    fn review_at(&self, now: Timestamp) -> Timestamp {
        now.plus(self.gc.review_after())
    }

    /// Runs `work` while no other replica does the same; `None` if one does, or took it over.
    async fn as_the_one<T>(
        &self,
        task: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        let done = wharf_meta::under_lease(&*self.parts.meta, task, work).await;
        match done.map_err(Error::meta("finding out which replica does something"))? {
            None | Some(Err(Error::Meta { source: wharf_meta::Error::LeaseLost { .. }, .. })) => Ok(None),
            Some(done) => done.map(Some),
        }
    }

    fn writable(&self) -> Result<(), Error> {
        if self.config.read_only {
            return Err(Error::ReadOnly);
        }
        self.guard.writable()
    }
}
