//! Undo: deleted manifests and moved or deleted tags, until the grace period ends.

use wharf_base::{Timestamp, failpoint};
use wharf_meta::{ManifestRecord, Missing, Restore};
use wharf_oci::{Digest, Reference, Tag};
use wharf_policy::{Authorized, Pull, Push};

use crate::manifests::ManifestTarget;
use crate::plan::{self, Condition};
use crate::{Error, PushManifest, Registry};

pub use wharf_meta::{Restorable as Deleted, TagChange};

/// What shall be as it was.
#[derive(Clone, Debug)]
pub enum RestoreFrom {
    /// A manifest, with those of its tags that point at nothing now.
    Manifest(Digest),
    /// A tag, to what it pointed at then; without a time, before its last change.
    Tag(Tag, Option<Timestamp>),
}

/// What is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The manifest.
    pub digest: Digest,
    /// The tags that point at it again.
    pub tags: Vec<Tag>,
    /// Whether the manifest itself had been deleted.
    pub was_deleted: bool,
}

/// How often condemned content is saved before the manifest is given up: it may be condemned again by a collector that
/// had begun.
const TRIES: usize = 3;

impl Registry {
    /// The changes of a tag before version `before`, the newest first.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn tag_history(
        &self,
        ok: &Authorized<Pull>,
        tag: &Tag,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<TagChange>, Error> {
        let history = self.parts.meta.tag_history(ok.repository(), tag, before, limit).await;
        history.map_err(Error::meta("reading a tag's history"))
    }

    /// Deleted manifests of the repository that can be restored, by digest behind `after`.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn deleted_manifests(
        &self,
        ok: &Authorized<Pull>,
        after: Option<&Digest>,
        limit: u32,
    ) -> Result<Vec<Deleted>, Error> {
        let deleted = self.parts.meta.deleted_manifests(ok.repository(), after, self.now(), limit).await;
        deleted.map_err(Error::meta("listing deleted manifests"))
    }

    /// Brings back a manifest or what a tag pointed at. Again is fine.
    ///
    /// # Errors
    ///
    /// - [`Error::NothingToRestore`]: it was never there, has no such past, or its time is over.
    /// - [`Error::ContentGone`]: what it needs was deleted, too.
    /// - [`Error::ReadOnly`]; [`Error::Meta`]; [`Error::Store`].
    pub async fn restore(&self, ok: &Authorized<Push>, from: &RestoreFrom) -> Result<Restored, Error> {
        self.writable()?;
        self.guard.room_for_facts()?;
        match from {
            RestoreFrom::Manifest(digest) => self.restore_manifest(ok, *digest, Vec::new()).await,
            RestoreFrom::Tag(tag, at) => self.restore_tag(ok, tag, *at).await,
        }
    }

    async fn restore_tag(&self, ok: &Authorized<Push>, tag: &Tag, at: Option<Timestamp>) -> Result<Restored, Error> {
        let meta = &self.parts.meta;
        let unknown = || Error::NothingToRestore(Reference::Tag(tag.clone()));
        let change = match at {
            Some(at) => meta.tag_at(ok.repository(), tag, at).await,
            None => meta.tag_history(ok.repository(), tag, None, 1).await.map(|changes| changes.into_iter().next()),
        };
        let change = change.map_err(Error::meta("reading a tag's history"))?.ok_or_else(unknown)?;
        let digest = if at.is_some() { change.to } else { change.from }.ok_or_else(unknown)?;
        let now = self.now();
        let by = &ok.attribution();
        let retagged = meta.retag(ok.repository(), tag, &digest, by, now, self.review_at(now)).await;
        if retagged.map_err(Error::meta("restoring a tag"))? {
            failpoint::arrive("registry.retagged").await;
            return Ok(Restored { digest, tags: vec![tag.clone()], was_deleted: false });
        }
        self.restore_manifest(ok, digest, vec![tag.clone()]).await
    }

    async fn restore_manifest(&self, ok: &Authorized<Push>, digest: Digest, tags: Vec<Tag>) -> Result<Restored, Error> {
        let unknown = || Error::NothingToRestore(Reference::Digest(digest));
        for _ in 0..TRIES {
            let found = self.parts.meta.deleted_manifest(ok.repository(), &digest, self.now()).await;
            let found = found.map_err(Error::meta("reading a deleted manifest"))?;
            let Some((media_type, body)) = found else {
                return self.there_already(ok, digest).await?.ok_or_else(unknown);
            };
            let record = self.restoration(ok, digest, &tags, &media_type, &body)?;
            failpoint::arrive("registry.restore-planned").await;
            let restored = self.parts.meta.restore_manifest(&record).await;
            failpoint::arrive("registry.restore-recorded").await;
            match restored.map_err(Error::meta("restoring a manifest"))? {
                Restore::Restored { tags } => return Ok(Restored { digest, tags, was_deleted: true }),
                Restore::Missing(digests) => return Err(Error::ContentGone(digests)),
                Restore::Unknown => {}
                Restore::Condemned(digests) => self.revive(ok, digests).await?,
            }
        }
        Err(unknown())
    }

    /// Restoring what is there is done.
    async fn there_already(&self, ok: &Authorized<Push>, digest: Digest) -> Result<Option<Restored>, Error> {
        let head = self.parts.meta.manifest_head(ok.repository(), &Reference::Digest(digest)).await;
        let head = head.map_err(Error::meta("looking up a manifest"))?;
        Ok(head.map(|_| Restored { digest, tags: Vec::new(), was_deleted: false }))
    }

    /// What a push of the same bytes would write.
    fn restoration(
        &self,
        ok: &Authorized<Push>,
        digest: Digest,
        tags: &[Tag],
        media_type: &str,
        body: &bytes::Bytes,
    ) -> Result<ManifestRecord, Error> {
        let now = self.now();
        let at = plan::Circumstances {
            repository: ok.repository(),
            by: ok.attribution(),
            now,
            review_at: self.review_at(now),
            config: &self.config,
        };
        let request = PushManifest {
            target: ManifestTarget::Digest { digest, tags: tags.to_vec() },
            content_type: Some(media_type),
            body: body.clone(),
            condition: Condition::None,
        };
        let record = plan::push(&request, &at)?;
        // A manifest that was there with a child missing comes back as it was.
        Ok(ManifestRecord { missing_children: Missing::Allow, ..record })
    }

    /// Saves condemned content whose bytes are still there, under its lock, so that they cannot go meanwhile (GR-28).
    async fn revive(&self, ok: &Authorized<Push>, digests: Vec<Digest>) -> Result<(), Error> {
        let mut gone = Vec::new();
        for digest in digests {
            let removing = self.parts.store.begin_removal(&digest).await;
            let is_there = self
                .parts
                .store
                .exists(&self.place(&digest).await?)
                .await
                .map_err(Error::store("inspecting a blob"))?;
            failpoint::arrive("registry.revive-looked").await;
            if is_there {
                let revived = self.parts.meta.revive_blob(ok.repository(), &digest, self.review_at(self.now())).await;
                revived.map_err(Error::meta("reviving a blob"))?;
                failpoint::arrive("registry.revived").await;
            } else {
                gone.push(digest);
            }
            drop(removing);
        }
        if gone.is_empty() { Ok(()) } else { Err(Error::ContentGone(gone)) }
    }
}
