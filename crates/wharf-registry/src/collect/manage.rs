use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use wharf_base::Timestamp;
use wharf_meta::{Backlog, Hold, RemovedBlob, RemovedCursor};
use wharf_oci::{Digest, RepositoryName};
use wharf_policy::{Authorized, GcManage};

use super::progress::SweepOrder;
use super::{Sweep, Totals};
use crate::{Error, Registry};

/// The hold that an operator sets.
const BY_HAND: &str = "operator";

/// The hold after a stop that was not in order.
const AFTER_CRASH: &str = "unclean-stop";

/// How many entries a page of a preview has.
const PREVIEW_PAGE: u32 = 1_000;

/// How many pages a preview looks at; a larger backlog is previewed in part.
const PREVIEW_PAGES: usize = 1_000;

/// What the collector is doing and what waits for it.
#[derive(Clone, Debug)]
pub struct CollectionStatus {
    /// Whether it runs by itself.
    pub enabled: bool,
    /// Whether it is running now.
    pub running: bool,
    /// How many runs have ended since the start.
    pub completed_runs: u64,
    /// When the last one ended.
    pub last_run_at: Option<Timestamp>,
    /// What the last one failed with.
    pub last_error: Option<String>,
    /// What was done since the start.
    pub totals: Totals,
    /// What the last sweep since the start came to.
    pub last_sweep: Option<Sweep>,
    /// What waits.
    pub backlog: Backlog,
    /// Why nothing is collected.
    pub holds: Vec<Hold>,
}

/// A sweep that somebody asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepWish {
    /// How many files may go; otherwise as many as a crash leaves behind.
    pub accepted: Option<u64>,
}

/// What collection would do if everything whose time has come were looked at now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// By repository, in the order of their names.
    pub repositories: Vec<PreviewLine>,
    /// Blobs whose bytes would be freed, after the trash period.
    pub blobs: u64,
    /// How many bytes that are.
    pub bytes: u64,
    /// Whether all that is due was looked at.
    pub complete: bool,
}

/// What collection would do in one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewLine {
    /// Its name.
    pub repository: RepositoryName,
    /// Associations that would end.
    pub associations: u64,
    /// Bytes that would be freed; content of several repositories counts in the first.
    pub bytes: u64,
    /// Since when the first of them is due.
    pub oldest_due: Timestamp,
}

impl Registry {
    /// What the collector is doing and what waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn collection_status(&self, _ok: &Authorized<GcManage>) -> Result<CollectionStatus, Error> {
        let failed = || Error::meta("looking at collection");
        let now = self.now();
        let backlog = self.parts.meta.backlog(now).await.map_err(failed())?;
        let holds = self.parts.meta.holds(now).await.map_err(failed())?;
        let progress = self.collection_progress().await?;
        Ok(CollectionStatus {
            enabled: self.gc.enabled,
            running: progress.running,
            completed_runs: progress.completed,
            last_run_at: progress.last_run_at,
            last_error: progress.last_error,
            totals: progress.totals,
            last_sweep: progress.last_sweep,
            backlog,
            holds,
        })
    }

    /// Asks for a run, and for a sweep behind it; the number that [`CollectionStatus::completed_runs`] has reached when it is over.
    ///
    /// # Errors
    ///
    /// [`Error::CollectionHeld`] while a hold stands; [`Error::WriteProtected`]; [`Error::Meta`].
    pub async fn ask_for_collection(&self, _ok: &Authorized<GcManage>, sweep: Option<SweepWish>) -> Result<u64, Error> {
        self.guard.writable()?;
        let holds = self.parts.meta.holds(self.now()).await.map_err(Error::meta("looking up holds"))?;
        match holds.into_iter().next() {
            Some(hold) => Err(Error::CollectionHeld { id: hold.id, reason: hold.reason }),
            None => {
                let sweep = sweep.map(|SweepWish { accepted }| SweepOrder { accepted });
                let number = self.change_collection(|progress| progress.order(sweep)).await?;
                self.collector.nudge();
                Ok(number)
            }
        }
    }

    /// What would go, without anything going.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn preview_collection(&self, _ok: &Authorized<GcManage>) -> Result<Preview, Error> {
        let now = self.now();
        let mut lines: BTreeMap<RepositoryName, PreviewLine> = BTreeMap::new();
        let (mut freed, mut bytes, mut after) = (HashSet::new(), 0, None);
        for _ in 0..PREVIEW_PAGES {
            let page = self.parts.meta.preview_collection(now, after.as_ref(), PREVIEW_PAGE).await;
            let (found, next) = page.map_err(Error::meta("previewing a collection"))?;
            for entry in found {
                let line = lines.entry(entry.repository.clone()).or_insert_with(|| PreviewLine {
                    repository: entry.repository,
                    associations: 0,
                    bytes: 0,
                    oldest_due: entry.due_at,
                });
                line.associations += 1;
                line.oldest_due = line.oldest_due.min(entry.due_at);
                if entry.frees && freed.insert(entry.digest) {
                    line.bytes += entry.size_bytes;
                    bytes += entry.size_bytes;
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        let repositories = lines.into_values().collect();
        Ok(Preview { repositories, blobs: freed.len() as u64, bytes, complete: after.is_none() })
    }

    /// What was removed in the last 30 days, the latest first; only what had `digest` if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn removed_blobs(
        &self,
        _ok: &Authorized<GcManage>,
        digest: Option<&Digest>,
        after: Option<RemovedCursor>,
        limit: u32,
    ) -> Result<Vec<RemovedBlob>, Error> {
        self.parts.meta.removed_blobs(digest, after, limit).await.map_err(Error::meta("listing removed blobs"))
    }

    /// Lets nothing be collected for `how_long`; again changes how long.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn hold_collection(
        &self,
        ok: &Authorized<GcManage>,
        reason: &str,
        how_long: Duration,
    ) -> Result<Hold, Error> {
        let now = self.now();
        let hold = Hold { id: BY_HAND.to_owned(), reason: reason.to_owned(), until: now.plus(how_long) };
        let held = self.parts.meta.hold(&hold, Some(&ok.attribution()), now).await;
        held.map_err(Error::meta("holding collection"))?;
        Ok(hold)
    }

    /// Ends a hold, by hand or not; `false` if there is none of that id.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn release_collection(&self, ok: &Authorized<GcManage>, id: &str) -> Result<bool, Error> {
        let released = self.parts.meta.release_hold(id, Some(&ok.attribution()), self.now()).await;
        released.map_err(Error::meta("releasing a hold"))
    }

    /// After a stop that was not in order nothing is collected for a while, so that somebody can look first.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn hold_after_crash(&self) -> Result<(), Error> {
        if self.gc.hold_after_crash.get().is_zero() {
            return Ok(());
        }
        let now = self.now();
        let until = now.plus(self.gc.hold_after_crash.get());
        let reason = "the registry had not been stopped in order".to_owned();
        let held = self.parts.meta.hold(&Hold { id: AFTER_CRASH.to_owned(), reason, until }, None, now).await;
        held.map_err(Error::meta("holding collection after an unclean stop"))
    }
}
