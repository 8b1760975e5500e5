//! What people look at. Everything here shows what the asker may pull, and nothing tells of the rest (S-018).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use wharf_meta::{AuditEntry, AuditFilter, ManifestDetails, RepositorySummary, TagSummary};
use wharf_oci::{Digest, RepositoryName};
use wharf_policy::{Authorized, Catalog, Delete, GcManage, Pull};

use crate::{Error, Registry};

/// How many names are read at a time while those that the asker may pull are looked for.
const NAMES_PORTION: u32 = 500;

/// How many records of the audit log are looked at for what has changed lately.
const RECORDS_LOOKED_AT: u32 = 1_000;

/// What of the audit log is a change of content.
const CHANGES: [&str; 7] =
    ["manifest.push", "manifest.delete", "manifest.restore", "tag.create", "tag.move", "tag.delete", "blob.delete"];

/// How many blobs are counted at a time, and how long a sum of all of them is good for.
const CONTENT_PORTION: u32 = 5_000;
const SUM_GOOD_FOR: Duration = Duration::from_secs(60);

/// How long the first sum is waited for.
const FIRST_SUM_WITHIN: Duration = Duration::from_millis(50);

/// A piece of a list that people page through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Whether there are more.
    pub goes_on: bool,
}

impl<T> Listing<T> {
    /// Cuts a list that was asked for with one item more than it takes.
    pub fn cut(mut items: Vec<T>, limit: u32) -> Self {
        let goes_on = items.len() > limit as usize;
        items.truncate(limit as usize);
        Self { items, goes_on }
    }

    /// Where the list goes on, by the last item shown; `None` at its end.
    pub fn next<K>(&self, key: impl FnOnce(&T) -> K) -> Option<K> {
        self.items.last().filter(|_| self.goes_on).map(key)
    }
}

/// How much content there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentSum {
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes that they would have if each repository kept its own.
    pub unshared_bytes: u64,
}

/// The sum of all content, as it was counted last.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    last: Mutex<Option<(Duration, ContentSum)>>,
    counting: tokio::sync::Mutex<()>,
}

impl Sums {
    /// What was counted last, and when, in monotonic time.
    fn last(&self) -> Option<(Duration, ContentSum)> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// At most `limit` repositories whose names contain `text` and that the asker may pull, strictly after `after`.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn search_repositories(
        &self,
        ok: &Authorized<Catalog>,
        text: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Listing<RepositorySummary>, Error> {
        let doing = "searching repositories";
        let names = self.pullable(ok.asker(), Some(text), after, limit, NAMES_PORTION).await;
        let names = Listing::cut(names.map_err(Error::meta(doing))?, limit);
        let items = self.parts.meta.repository_summaries(&names.items).await.map_err(Error::meta(doing))?;
        Ok(Listing { items, goes_on: names.goes_on })
    }

    /// At most `limit` tags that contain `text`, strictly after `after`, with what they point at.
    ///
    /// # Errors
    ///
    /// [`Error::RepositoryUnknown`]; [`Error::Meta`].
    pub async fn search_tags(
        &self,
        ok: &Authorized<Pull>,
        text: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Listing<TagSummary>, Error> {
        let found = self.parts.meta.tag_summaries(ok.repository(), text, after, limit.saturating_add(1)).await;
        let found = found.map_err(Error::meta("reading about tags"))?;
        Ok(Listing::cut(found.ok_or_else(|| Error::RepositoryUnknown(ok.repository().clone()))?, limit))
    }

    /// What is known of a manifest besides its bytes; `None` if the repository does not have it.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn manifest_details(
        &self,
        ok: &Authorized<Pull>,
        digest: &Digest,
    ) -> Result<Option<ManifestDetails>, Error> {
        let found = self.parts.meta.manifest_details(ok.repository(), digest).await;
        found.map_err(Error::meta("reading about a manifest"))
    }

    /// The bytes of a blob that is looked into rather than downloaded; `None` if it has more than `max_bytes`.
    ///
    /// # Errors
    ///
    /// Those of [`open_blob`](Self::open_blob); [`Error::Read`].
    pub async fn read_blob(
        self: &Arc<Self>,
        ok: &Authorized<Pull>,
        digest: &Digest,
        max_bytes: u64,
    ) -> Result<Option<Bytes>, Error> {
        let blob = self.open_blob(ok, digest).await?;
        if blob.size_bytes > max_bytes {
            return Ok(None);
        }
        let pieces: Vec<Bytes> = blob
            .stream(0..blob.size_bytes)
            .try_collect()
            .await
            .map_err(|source| Error::Read { doing: "reading a blob", source })?;
        Ok(Some(pieces.concat().into()))
    }

    /// What has changed lately in repositories that the asker may pull, the newest first, at most `limit` of the last
    /// thousand records.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn recent_changes(&self, ok: &Authorized<Catalog>, limit: usize) -> Result<Vec<AuditEntry>, Error> {
        let filter = AuditFilter { outcome: Some("done".to_owned()), ..AuditFilter::default() };
        let found = self.parts.meta.audit(&filter, None, RECORDS_LOOKED_AT).await;
        let found = found.map_err(Error::meta("reading what has changed"))?;
        let is_shown = |entry: &AuditEntry| {
            let name = entry.repository.as_deref().and_then(|name| name.parse::<RepositoryName>().ok());
            CHANGES.contains(&entry.action.as_str()) && name.is_some_and(|name| self.may_pull(ok.asker(), &name))
        };
        Ok(found.into_iter().filter(is_shown).take(limit).collect())
    }

    /// How much content there is. What was counted a minute ago or earlier is counted anew, in the background and in portions;
    /// until then the sum is the one before, or after a start `None`.
    pub async fn content_sum(self: &Arc<Self>, _ok: &Authorized<GcManage>) -> Option<ContentSum> {
        let now = self.parts.clock.monotonic();
        let known = self.sums.last();
        if let Some((at, sum)) = known
            && now.saturating_sub(at) < SUM_GOOD_FOR
        {
            return Some(sum);
        }
        let registry = Arc::clone(self);
        let counting = self.parts.spawner.spawn("count content", async move {
            // One count at a time; whoever comes meanwhile is served by it.
            let Ok(_turn) = registry.sums.counting.try_lock() else { return };
            let sum = match registry.count_content().await {
                Ok(sum) => sum,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "content could not be counted");
                    return;
                }
            };
            let now = registry.parts.clock.monotonic();
            *registry.sums.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, sum));
        });
        match known {
            Some((_, sum)) => Some(sum),
            None => {
                // Where there is little, it is counted at once.
                let _ = tokio::time::timeout(FIRST_SUM_WITHIN, counting).await;
                self.sums.last().map(|(_, sum)| sum)
            }
        }
    }

    /// Counts it, a portion at a time.
    pub(crate) async fn count_content(&self) -> Result<ContentSum, Error> {
        let mut sum = ContentSum::default();
        let mut after = None;
        loop {
            let portion = self.parts.meta.content_portion(after, CONTENT_PORTION).await;
            let portion = portion.map_err(Error::meta("counting content"))?;
            sum.blobs += portion.blobs;
            sum.bytes = sum.bytes.saturating_add(portion.bytes);
            sum.unshared_bytes = sum.unshared_bytes.saturating_add(portion.unshared_bytes);
            after = portion.next;
            if after.is_none() {
                break;
            }
        }
        Ok(sum)
    }

    /// Whether manifests may be deleted at all, by whoever asks, now.
    ///
    /// # Errors
    ///
    /// [`Error::DeletionDisabled`]; [`Error::ReadOnly`].
    pub fn may_delete_manifests(&self, _ok: &Authorized<Delete>) -> Result<(), Error> {
        self.writable()?;
        if self.config.delete_manifests { Ok(()) } else { Err(Error::DeletionDisabled("manifests")) }
    }
}
