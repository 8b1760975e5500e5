//! What no row leads to: content that no row names, staged bytes that no upload session has, and associations that the
//! collector was never told of (`reliability` §4.3 E and F). Once a week, and when somebody asks.
//!
//! The worst mistake of a collector is to be right about the wrong directory. So this one lists everything first, and
//! stops when more would go than a crash or two can have left behind: then a person looks, and says how many may go.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wharf_base::{Location, Timestamp, UploadId, failpoint};
use wharf_oci::Digest;
use wharf_store::Entry;

use super::Totals;
use crate::check::{itself, unreviewed};
use crate::{Error, Registry};

/// How many files are listed, and how many associations read, at a time.
const FILES: usize = 1_000;
const LINKS: u32 = 500;

/// More than this goes only if somebody says so,
const ORPHANS_MAX: u64 = 1_000;
/// or more than this share of all content, in percent,
const ORPHANS_MAX_PERCENT: u64 = 1;
/// unless it is so little that a small registry's single crash may have left it.
const ORPHANS_ALWAYS: u64 = 10;

/// How many are remembered between the listing and the removal; the rest go the next time.
const REMEMBERED_MAX: usize = 100_000;

/// What the last sweep came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// When it ended.
    pub at: Timestamp,
    /// Files with content.
    pub files: u64,
    /// Those, and staged ones, that nothing leads to.
    pub orphans: u64,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Whether they are so many that nothing was removed.
    pub stopped: bool,
}

/// One file that nothing leads to.
enum Orphan {
    Content(Digest),
    Located(Location),
    Staged(UploadId),
}

impl Registry {
    /// Whether a sweep is due; when there has been none, it is due a period from now.
    pub(super) async fn is_sweep_due(&self) -> Result<bool, Error> {
        let period = self.gc.sweep_period.get();
        if period.is_zero() {
            return Ok(false);
        }
        let due = self.parts.meta.sweep_due().await.map_err(Error::meta("looking up the next sweep"))?;
        match due {
            Some(due) => Ok(due <= self.now()),
            None => self.plan_sweep(period).await.map(|()| false),
        }
    }

    async fn plan_sweep(&self, period: Duration) -> Result<(), Error> {
        let now = self.now();
        let planned = self.parts.meta.plan_sweep(now.plus(period), now).await;
        planned.map_err(Error::meta("planning the next sweep"))
    }

    /// Lists everything, enters associations for review that nobody would look at, and removes what nothing leads to.
    /// With `accepted`, so many files may go.
    pub(crate) async fn sweep(&self, accepted: Option<u64>, done: &mut Totals) -> Result<Sweep, Error> {
        self.reconcile(done).await?;
        let (mut sweep, orphans) = self.find_orphans().await?;
        let limit =
            accepted.unwrap_or_else(|| ORPHANS_MAX.min(sweep.files * ORPHANS_MAX_PERCENT / 100).max(ORPHANS_ALWAYS));
        if sweep.orphans > limit {
            sweep.stopped = true;
            tracing::error!(
                gc.orphans = sweep.orphans,
                gc.orphan_bytes = sweep.orphan_bytes,
                "{} of {} files belong to nothing ({} bytes): more than a crash leaves behind, so nothing is removed; see \
                 that this is the right data directory, then run `wharf gc run --orphans --accept-orphans {}`",
                sweep.orphans,
                sweep.files,
                sweep.orphan_bytes,
                sweep.orphans
            );
        } else {
            failpoint::arrive("registry.orphans-found").await;
            for orphan in orphans {
                self.remove_orphan(&orphan, done).await?;
            }
        }
        sweep.at = self.now();
        let period = self.gc.sweep_period.get();
        if !period.is_zero() {
            self.plan_sweep(period).await?;
        }
        Ok(sweep)
    }

    /// Bugs in what enters reviews then cost space for a week, and never data.
    async fn reconcile(&self, done: &mut Totals) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.parts.meta.check_links(after.as_ref(), LINKS).await;
            let page = page.map_err(Error::meta("reconciling associations"))?;
            let links: Vec<_> = page.rows.iter().filter_map(unreviewed).collect();
            failpoint::arrive("registry.links-looked").await;
            if !links.is_empty() {
                done.reconciled += u64::from(self.review_links(&links, &itself("gc")).await?);
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn find_orphans(&self) -> Result<(Sweep, Vec<Orphan>), Error> {
        let mut sweep = Sweep { at: self.now(), files: 0, orphans: 0, orphan_bytes: 0, stopped: false };
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.parts.store.list(after.as_ref(), FILES).await;
            let page = page.map_err(Error::store("listing the data directory"))?;
            let (mut content, mut located, mut staged) = (Vec::new(), Vec::new(), Vec::new());
            for entry in page.entries {
                match entry {
                    Entry::Content(digest) => content.push(digest),
                    Entry::Located(location) => located.push(location),
                    Entry::Staged(upload) => staged.push(upload),
                    Entry::Quarantined { .. } | Entry::Foreign { .. } | Entry::Exposed { .. } => {}
                }
            }
            sweep.files += (content.len() + located.len()) as u64;
            for (location, facts) in self.confirm_unlocated(&located).await? {
                sweep.add(facts.size_bytes);
                found.push(Orphan::Located(location));
            }
            let unnamed =
                self.parts.meta.unnamed(&content).await.map_err(Error::meta("looking for rows of content"))?;
            for digest in unnamed {
                if let Some((facts, _locked)) = self.confirm_orphan(&digest).await? {
                    sweep.add(facts.size_bytes);
                    found.push(Orphan::Content(digest));
                }
            }
            let sessionless = self.parts.meta.sessionless(&staged).await;
            for upload in sessionless.map_err(Error::meta("looking for upload sessions"))? {
                if let Some((facts, _claim)) = self.confirm_staged_orphan(upload).await? {
                    sweep.add(facts.size_bytes);
                    found.push(Orphan::Staged(upload));
                }
            }
            found.truncate(REMEMBERED_MAX);
            after = page.next;
            if after.is_none() {
                return Ok((sweep, found));
            }
        }
    }

    /// Looks again with the digest locked, or the session claimed, and removes it as long as that lasts.
    async fn remove_orphan(&self, orphan: &Orphan, done: &mut Totals) -> Result<(), Error> {
        let size_bytes = match orphan {
            Orphan::Content(digest) => {
                let Some((facts, locked)) = self.confirm_orphan(digest).await? else { return Ok(()) };
                match self.parts.store.remove(&locked, &Location::BY_DIGEST).await {
                    Ok(_) => {
                        let noted = self.parts.meta.note_removed_orphan(digest, facts.size_bytes, self.now()).await;
                        noted.map_err(Error::meta("noting the removal of content that nothing names"))?;
                        facts.size_bytes
                    }
                    // It is no file; `wharf check` names it.
                    Err(wharf_store::Error::Damaged { .. }) => return Ok(()),
                    Err(error) => return Err(Error::store("removing content that nothing names")(error)),
                }
            }
            Orphan::Located(location) => {
                let confirmed = self.confirm_unlocated(std::slice::from_ref(location)).await?.pop();
                let Some((_, facts)) = confirmed else { return Ok(()) };
                let removed = self.parts.store.remove_unnamed(location).await;
                removed.map_err(Error::store("removing content that nothing names"))?;
                tracing::info!(blob.location = %location, "removed {} bytes that no row named", facts.size_bytes);
                facts.size_bytes
            }
            Orphan::Staged(upload) => {
                let Some((facts, _claim)) = self.confirm_staged_orphan(*upload).await? else { return Ok(()) };
                self.parts.store.discard(*upload).await.map_err(Error::store("removing staged bytes"))?;
                facts.size_bytes
            }
        };
        failpoint::reach("collect.orphan_removed");
        done.orphans += 1;
        done.orphan_bytes += size_bytes;
        Ok(())
    }
}

impl Sweep {
    fn add(&mut self, size_bytes: u64) {
        self.orphans += 1;
        self.orphan_bytes += size_bytes;
    }
}
