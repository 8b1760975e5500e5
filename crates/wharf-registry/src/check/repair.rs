//! Repairs: each looks again with the lock that its subject has, changes only what still needs it, adds information or
//! moves damaged things aside, and is recorded. None removes anything.

use wharf_meta::{ManifestRecord, Missing, Unreviewed};
use wharf_oci::Digest;
use wharf_policy::Attribution;

use super::content::ReadEnd;
use super::{CheckOrder, Class, Finding, Watch};
use crate::{Condition, Error, ManifestTarget, PushManifest, Registry, plan};

/// The classes of findings that a check can repair.
pub const REPAIRABLE: [Class; 7] = [
    Class::ContentThere,
    Class::ContentIntact,
    Class::ManifestReferences,
    Class::ReferencedLive,
    Class::LinkedLive,
    Class::Reviewed,
    Class::Uploads,
];

/// A check does not repair this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("findings of class {} are not repaired by a check; it repairs {}, and the others say what to do", .0, repairable())]
pub struct NotRepairable(Class);

fn repairable() -> String {
    REPAIRABLE.map(Class::as_str).join(", ")
}

impl Class {
    /// Itself, if a check can repair it.
    ///
    /// # Errors
    ///
    /// [`NotRepairable`].
    pub fn repairable(self) -> Result<Self, NotRepairable> {
        if REPAIRABLE.contains(&self) { Ok(self) } else { Err(NotRepairable(self)) }
    }
}

impl CheckOrder {
    /// Whether findings of this class are to be repaired.
    fn is_repairing(&self, class: Class) -> bool {
        self.repair.contains(&class)
    }
}

impl Registry {
    /// Tells of a finding, and repairs it first if that is asked for. `what` is what the repair does, in the past tense.
    pub(super) async fn found(
        &self,
        finding: Finding,
        what: &'static str,
        repair: impl Future<Output = Result<bool, Error>>,
        order: &CheckOrder,
        watch: &Watch,
    ) -> Result<(), Error> {
        let is_wanted = order.is_repairing(finding.class);
        let is_done = is_wanted && !order.dry_run && repair.await?;
        watch.found(Finding { repair: is_wanted.then_some(what), repaired: is_done, ..finding });
        Ok(())
    }

    /// Content that was set aside becomes live again if an intact copy lies in its place or was moved away.
    pub(super) async fn recover(
        &self,
        digest: &Digest,
        size_bytes: Option<u64>,
        by: &Attribution,
    ) -> Result<bool, Error> {
        let Some(size_bytes) = size_bytes else { return Ok(false) };
        let locked = self.parts.store.begin_removal(digest).await;
        let mut location = self.place(digest).await?.location;
        if !self.is_intact(digest, size_bytes).await {
            // What lies in its place is damaged, too, and would be in the way.
            let aside = self.parts.store.set_aside(&locked, &location, self.now()).await;
            aside.map_err(Error::store("moving damaged content aside"))?;
            let back = self.parts.store.bring_back(&locked, size_bytes).await;
            let Some(back) = back.map_err(Error::store("bringing content back"))? else { return Ok(false) };
            location = back;
        }
        let back = self.parts.meta.bring_back_blob(digest, &location, by, self.now()).await;
        back.map_err(Error::meta("bringing a blob back"))
    }

    /// Content that something needs is not removed after all, if it is intact.
    pub(super) async fn rescue(
        &self,
        digest: &Digest,
        size_bytes: Option<u64>,
        by: &Attribution,
    ) -> Result<bool, Error> {
        let Some(size_bytes) = size_bytes else { return Ok(false) };
        let _locked = self.parts.store.begin_removal(digest).await;
        if !self.is_intact(digest, size_bytes).await {
            return Ok(false);
        }
        let rescued = self.parts.meta.rescue_blob(digest, by, self.now()).await;
        rescued.map_err(Error::meta("rescuing a blob"))
    }

    async fn is_intact(&self, digest: &Digest, size_bytes: u64) -> bool {
        let read = self.read_content(digest, size_bytes, |_| std::future::ready(true)).await;
        matches!(read, Ok(ReadEnd::Intact))
    }

    /// The collector looks at the association after a whole grace period.
    pub(crate) async fn review_links(&self, links: &[Unreviewed], by: &Attribution) -> Result<u32, Error> {
        let now = self.now();
        let added = self.parts.meta.review_links(links, by, now, self.review_at(now)).await;
        added.map_err(Error::meta("having associations reviewed"))
    }

    /// What the manifest's bytes say is recorded again.
    pub(super) async fn describe_again(
        &self,
        manifest: &wharf_meta::CheckedManifest,
        by: &Attribution,
    ) -> Result<bool, Error> {
        let (Ok(repository), Ok(digest)) = (manifest.repository.parse(), manifest.digest.parse::<Digest>()) else {
            return Ok(false);
        };
        let now = self.now();
        let at = plan::Circumstances {
            repository: &repository,
            by: by.clone(),
            now,
            review_at: self.review_at(now),
            config: &self.config,
        };
        let request = PushManifest {
            target: ManifestTarget::Digest { digest, tags: Vec::new() },
            content_type: Some(&manifest.media_type),
            body: manifest.body.clone(),
            condition: Condition::None,
        };
        let record = plan::push(&request, &at)?;
        // It was accepted once; what it names and is not there any more must not keep the rest from being recorded.
        let record = ManifestRecord { missing_blobs: Missing::Allow, missing_children: Missing::Allow, ..record };
        let described = self.parts.meta.describe_manifest(&record).await;
        described.map_err(Error::meta("mending a manifest"))
    }
}
