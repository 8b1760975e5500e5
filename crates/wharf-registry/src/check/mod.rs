//! The checker: everything that is stored is looked at, and compared with everything that is said about it.
//!
//! It runs while requests go on and stops nothing. Two rules keep concurrent changes from looking like damage. What one
//! statement, or one read transaction, says is true of one moment, and every invariant below holds at every commit; so a
//! contradiction within one page of rows is one. What is said by a row *and* by a file is looked at again with the
//! digest locked, or the upload session claimed, before it is reported: then nothing is being placed, removed or set
//! aside, and the row and the file must agree.
//!
//! Where it stands is kept in memory: a check that a restart cuts off begins anew. The background scrub, which takes weeks,
//! keeps its place in the rows instead (`scrub`).
//!
//! # What is checked
//!
//! The invariants of `reliability` §12, by their numbers ([`Class`]). Not checked, because there is nothing yet that they
//! speak of: I-14 (counters and quotas), I-17 (outbox), I-22 (backups), parts of uploads in a bucket (of I-11), and of I-20
//! the settings of another database. I-16 follows the audit log's chain and does not look for the record of every change;
//! I-20 is for the most part what opening the database insists on. Two are read more narrowly than they are written:
//!
//! - I-10 would call a note of removal beside a row a contradiction. After a kill it is none: content that was pushed again
//!   before the collector came by has both, and the collector strikes the note under the digest's lock (GR-6). Only a note
//!   that names no content is reported.
//! - I-09, a child that an index lists and that is not there, is something that may be asked for (F-02), so it is a note.

mod aside;
mod config;
mod content;
mod facts;
mod finding;
mod job;
mod manifests;
mod places;
mod repair;
mod scrub;
mod watch;

use std::sync::Arc;

use wharf_policy::{Attribution, Pattern};

use crate::{Error, Registry};

pub(crate) use aside::{Verdict, itself};
pub use config::{CheckConfig, VerifyReads};
pub(crate) use content::unreviewed;
pub use finding::{Class, Finding, Severity, UnknownClass};
pub(crate) use job::Checks;
pub use job::{CheckStatus, StoredHealth};
pub use repair::{NotRepairable, REPAIRABLE};
pub(crate) use scrub::Scrub;
pub use scrub::ScrubTotals;
pub use watch::{CheckProgress, CheckReport, Stage, Watch};

/// How many rows one read transaction takes.
const PAGE: u32 = 500;

/// How many manifests one read transaction takes; their references are read along.
const MANIFESTS_PAGE: u32 = 100;

/// How thorough a check is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// All metadata; of content, that it is there and how large it is.
    #[default]
    Fast,
    /// Every byte as well, and the hashes of open upload sessions.
    Deep,
}

/// What shall be checked.
#[derive(Clone, Debug)]
pub struct CheckOrder {
    /// How thoroughly.
    pub depth: Depth,
    /// Only what belongs to repositories with such a name. Then what belongs to none is left out: sessions, what lies in
    /// the data directory, the database's own check, the audit log, the rules.
    pub repositories: Option<Pattern>,
    /// Nothing else uses the data directory: what only a running registry keeps in order is not missed.
    pub offline: bool,
    /// Findings of these classes are repaired, as far as they are [`REPAIRABLE`].
    pub repair: Vec<Class>,
    /// Only say what would be repaired.
    pub dry_run: bool,
    /// Whom records name for repairs.
    pub by: Attribution,
}

impl CheckOrder {
    /// A check of everything, by the registry itself.
    pub fn of(depth: Depth) -> Self {
        let by = itself("check");
        Self { depth, repositories: None, offline: false, repair: Vec::new(), dry_run: false, by }
    }

    fn is_about(&self, repository: &str) -> bool {
        self.repositories.as_ref().is_none_or(|pattern| pattern.matches(repository))
    }
}

impl Registry {
    /// Checks what `order` says, and tells `watch` how far it is and what it found. Returns early when `watch` is told to
    /// stop.
    ///
    /// The caller has asked policy, or owns the data directory.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`], [`Error::Store`]: it could not be looked at, which says nothing about it.
    pub async fn check(self: &Arc<Self>, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        let is_whole = order.repositories.is_none();
        if is_whole {
            self.check_database(order, watch).await?;
            self.check_content(order, watch).await?;
        }
        self.check_links(order, watch).await?;
        self.check_manifests(order, watch).await?;
        self.check_tags(order, watch).await?;
        self.check_deleted(order, watch).await?;
        if is_whole {
            self.check_uploads(order, watch).await?;
            self.check_removals(watch).await?;
            self.check_places(watch).await?;
            self.check_rules(watch).await?;
            self.check_audit(watch).await?;
        }
        Ok(())
    }

    /// Tags, or manifests without one, that need this content; the first few.
    async fn affected(&self, digest: &wharf_oci::Digest) -> Result<Vec<String>, Error> {
        let affected = self.parts.meta.affected(digest, finding::AFFECTED_MAX).await;
        let affected = affected.map_err(Error::meta("looking for what needs a blob"))?;
        let mut names: Vec<String> = affected
            .into_iter()
            .map(|found| match found.tag {
                Some(tag) => format!("{}:{tag}", found.repository),
                None => format!("{}@{}", found.repository, found.manifest),
            })
            .collect();
        names.truncate(finding::AFFECTED_MAX as usize);
        Ok(names)
    }
}
