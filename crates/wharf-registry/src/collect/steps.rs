use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};
use wharf_base::{Timestamp, failpoint};
use wharf_meta::Removal;
use wharf_oci::Digest;

use crate::{Error, Registry};

/// How many entries one transaction looks at: a few milliseconds of the one writer's time.
pub(super) const REVIEWS: u32 = 50;

/// How many blobs one step removes.
const REMOVALS: u32 = 20;

/// How many of them at the same time: their transactions share commits. Each holds the lock of one digest and waits for no
/// other.
const REMOVALS_AT_ONCE: usize = 10;

/// How long condemned content stays at least while the disk is nearly full: as long as a mistake may take to be noticed.
const TRASH_UNDER_PRESSURE: Duration = Duration::from_secs(2 * 3600);

/// How long it can be asked what was removed.
const KEEP_LOG: Duration = Duration::from_secs(30 * 86_400);

/// What collection came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Entries looked at.
    pub reviewed: u64,
    /// Associations of a repository with a blob that ended.
    pub released: u64,
    /// Blobs that nothing needs any more.
    pub condemned: u64,
    /// Their bytes.
    pub condemned_bytes: u64,
    /// Blobs whose bytes are gone.
    pub removed: u64,
    /// How many bytes that were; what was not there any more does not count.
    pub removed_bytes: u64,
    /// Manifests without a tag that a rule let go.
    pub retired: u64,
    /// Deletions that cannot be undone any more.
    pub forgotten: u64,
    /// Lines of the log of removals that were old enough.
    pub forgotten_removals: u64,
    /// Associations that nobody would have looked at, and that wait for it now.
    pub reconciled: u64,
    /// Files that belonged to nothing and are gone.
    pub orphans: u64,
    /// How many bytes that were.
    pub orphan_bytes: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.reviewed += other.reviewed;
        self.released += other.released;
        self.condemned += other.condemned;
        self.condemned_bytes += other.condemned_bytes;
        self.removed += other.removed;
        self.removed_bytes += other.removed_bytes;
        self.retired += other.retired;
        self.forgotten += other.forgotten;
        self.forgotten_removals += other.forgotten_removals;
        self.reconciled += other.reconciled;
        self.orphans += other.orphans;
        self.orphan_bytes += other.orphan_bytes;
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Registry {
    /// A bounded piece of collection; nothing is due any more when it did nothing.
    ///
    /// Idempotent, and may be killed anywhere.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`], [`Error::Store`]; what was not done is due again.
    pub(crate) async fn collect_step(&self) -> Result<Totals, Error> {
        let mut done = Totals::default();
        self.finish_removals(&mut done).await?;
        self.review(&mut done).await?;
        self.review_manifests(&mut done).await?;
        self.walk_untagged().await?;
        self.remove_condemned(&mut done).await?;
        let forgotten = self.parts.meta.forget_deleted_manifests(self.now(), REVIEWS).await;
        done.forgotten = u64::from(forgotten.map_err(Error::meta("forgetting deleted manifests"))?);
        failpoint::arrive("registry.deletions-forgotten").await;
        let forgotten = self.parts.meta.forget_removed_blobs(self.now().minus(KEEP_LOG), REVIEWS).await;
        done.forgotten_removals = u64::from(forgotten.map_err(Error::meta("forgetting removed blobs"))?);
        Ok(done)
    }

    async fn review(&self, done: &mut Totals) -> Result<(), Error> {
        let now = self.now();
        let remove_at = now.plus(self.gc.trash.get());
        let review = || self.parts.meta.review_blobs(now, remove_at, REVIEWS);
        let reviewed = match self.with_reserve(review).await {
            Ok(reviewed) => reviewed,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "reviews failed together; now one by one");
                self.review_one().await?
            }
        };
        failpoint::arrive("registry.reviewed").await;
        done.reviewed += u64::from(reviewed.looked_at);
        done.released += u64::from(reviewed.released);
        done.condemned += u64::from(reviewed.condemned);
        done.condemned_bytes += reviewed.condemned_bytes;
        Ok(())
    }

    /// One entry that cannot be reviewed does not keep the others waiting: it is put off.
    async fn review_one(&self) -> Result<wharf_meta::Reviewed, Error> {
        let now = self.now();
        match self.parts.meta.review_blobs(now, now.plus(self.gc.trash.get()), 1).await {
            Ok(reviewed) => Ok(reviewed),
            Err(error) => {
                self.parts.meta.put_off_review(now).await.map_err(Error::meta("putting off a review"))?;
                Err(Error::Meta { doing: "reviewing a blob", source: error })
            }
        }
    }

    /// What some process had begun to remove when it ended.
    async fn finish_removals(&self, done: &mut Totals) -> Result<(), Error> {
        let pending = self.parts.meta.removals(self.now(), REMOVALS).await;
        for removal in pending.map_err(Error::meta("looking for removals"))? {
            failpoint::arrive("registry.removal-found").await;
            let removing = self.parts.store.begin_removal(&removal.digest).await;
            let may_go = self.parts.meta.confirm_removal(&removal).await;
            failpoint::arrive("registry.removal-confirmed").await;
            if may_go.map_err(Error::meta("confirming a removal"))? {
                done.add(&self.remove_bytes(removing, &removal).await?);
            }
        }
        Ok(())
    }

    async fn remove_condemned(&self, done: &mut Totals) -> Result<(), Error> {
        let due_by = self.removal_due_by();
        let condemned = self.parts.meta.condemned(due_by, REMOVALS).await;
        let condemned = condemned.map_err(Error::meta("looking for condemned blobs"))?;
        let removing = condemned.into_iter().map(|digest| async move { self.remove_blob(&digest, due_by).await });
        let mut removing = stream::iter(removing).buffer_unordered(REMOVALS_AT_ONCE);
        let mut failed = None;
        while let Some(removed) = removing.next().await {
            match removed {
                Ok(removed) => done.add(&removed),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Condemned content goes if its date is not later than this. A disk that is nearly full shortens the trash period,
    /// oldest first, but never what people may rely on: the grace period (`reliability` §4.1, `gc.pressure`).
    fn removal_due_by(&self) -> Timestamp {
        let trash = self.gc.trash.get();
        if self.has_pressure() { self.now().plus(trash.saturating_sub(TRASH_UNDER_PRESSURE)) } else { self.now() }
    }

    /// Names before bytes: the row goes, then the file, then the note that it is to go. All under the digest's lock, so
    /// that nobody places the same content in between (L3).
    async fn remove_blob(&self, digest: &Digest, due_by: Timestamp) -> Result<Totals, Error> {
        failpoint::arrive("registry.condemned-found").await;
        let removing = self.parts.store.begin_removal(digest).await;
        failpoint::arrive("registry.removal-locked").await;
        let forgotten = self.with_reserve(|| self.parts.meta.forget_blob(digest, due_by, self.now())).await;
        failpoint::arrive("registry.blob-forgotten").await;
        match forgotten.map_err(Error::meta("forgetting a blob"))? {
            Some(removal) => self.remove_bytes(removing, &removal).await,
            // Somebody needs it again.
            None => Ok(Totals::default()),
        }
    }

    async fn remove_bytes(&self, removing: wharf_store::Removing, removal: &Removal) -> Result<Totals, Error> {
        // The lock is kept until the note is struck: a note that is struck late must not be of newer content.
        let was_there = self.parts.store.remove(&removing, &removal.location).await;
        let was_there = was_there.map_err(Error::store("removing a blob"))?;
        failpoint::arrive("registry.bytes-removed").await;
        let struck = self.parts.meta.strike_removal(removal).await;
        failpoint::arrive("registry.removal-struck").await;
        drop(removing);
        struck.map_err(Error::meta("striking a removal"))?;
        let removed_bytes = if was_there { removal.size_bytes } else { 0 };
        Ok(Totals { removed: was_there.into(), removed_bytes, ..Totals::default() })
    }
}
