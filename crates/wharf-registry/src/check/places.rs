//! The data directory, and the upload sessions: what lies there that nothing names, and what is named and does not lie
//! there.

use std::time::Duration;

use wharf_base::{Location, UploadId};
use wharf_meta::CheckedUpload;
use wharf_oci::{Algorithm, Digest};
use wharf_store::{Entry, Facts, HashState, Removing, StagedBytes};

use super::content::exposed;
use super::{CheckOrder, Class, Depth, Finding, PAGE, Stage, Watch};
use crate::sessions::Claim;
use crate::{Error, Registry};

/// How many files are listed at a time.
const FILES: usize = 1_000;

/// How long a session may stay past its end before that is strange.
const OVERDUE: Duration = Duration::from_secs(24 * 3600);

impl Registry {
    /// Everything that lies in the data directory.
    pub(super) async fn check_places(&self, watch: &Watch) -> Result<(), Error> {
        watch.enter(Stage::Places);
        let mut after = None;
        while !watch.is_stopped() {
            let page = self.parts.store.list(after.as_ref(), FILES).await;
            let page = page.map_err(Error::store("listing the data directory"))?;
            watch.advance(|progress| progress.files += page.entries.len() as u64);
            let (mut content, mut located, mut staged) = (Vec::new(), Vec::new(), Vec::new());
            for entry in page.entries {
                match entry {
                    Entry::Content(digest) => content.push(digest),
                    Entry::Located(location) => located.push(location),
                    Entry::Staged(upload) => staged.push(upload),
                    Entry::Quarantined { .. } => {}
                    Entry::Foreign { place } => {
                        let advice = "the registry did not put it there and does not touch it; move it elsewhere";
                        watch.found(
                            Finding::warning(Class::Foreign, place, "it is no part of the store").advise(advice),
                        );
                    }
                    Entry::Exposed { place } => watch.found(exposed(place)),
                }
            }
            self.check_orphans(&content, watch).await?;
            for (location, facts) in self.confirm_unlocated(&located).await? {
                let problem = format!("no row names this content of {} bytes", facts.size_bytes);
                watch.found(Finding::warning(Class::Orphans, format!("blobs/{location}"), problem).advise(SWEEP));
            }
            self.check_staged(&staged, watch).await?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn check_orphans(&self, content: &[Digest], watch: &Watch) -> Result<(), Error> {
        for digest in self.parts.meta.unnamed(content).await.map_err(Error::meta("looking for rows of content"))? {
            let Some((facts, _)) = self.confirm_orphan(&digest).await? else { continue };
            let problem = format!("no row names this content of {} bytes", facts.size_bytes);
            watch.found(Finding::warning(Class::Orphans, digest.to_string(), problem).advise(SWEEP));
        }
        Ok(())
    }

    async fn check_staged(&self, staged: &[UploadId], watch: &Watch) -> Result<(), Error> {
        for upload in self.parts.meta.sessionless(staged).await.map_err(Error::meta("looking for upload sessions"))? {
            let Some((facts, _)) = self.confirm_staged_orphan(upload).await? else { continue };
            let problem = format!("no upload session has these {} staged bytes", facts.size_bytes);
            watch.found(Finding::warning(Class::Orphans, format!("uploads/{upload}"), problem).advise(SWEEP));
        }
        Ok(())
    }

    /// Content that no row names, and the lock it was looked at with; `None` also if it is too young to tell, or
    /// is noted to be removed.
    pub(crate) async fn confirm_orphan(&self, digest: &Digest) -> Result<Option<(Facts, Removing)>, Error> {
        let locked = self.parts.store.begin_removal(digest).await;
        let unnamed = self.parts.meta.unnamed(&[*digest]).await;
        if unnamed.map_err(Error::meta("looking for a row of content"))?.is_empty() {
            return Ok(None);
        }
        let place = self.place(digest).await?;
        let facts = self.parts.store.survey(&[place]).await.map_err(Error::store("inspecting content"))?.pop();
        Ok(facts.and_then(Result::ok).flatten().filter(|facts| self.is_old(facts)).map(|facts| (facts, locked)))
    }

    /// Content in places that no row names; without what is too young to tell, or is noted to be removed. Nobody can
    /// record it any more, so nothing needs to be locked.
    pub(crate) async fn confirm_unlocated(&self, located: &[Location]) -> Result<Vec<(Location, Facts)>, Error> {
        if located.is_empty() {
            return Ok(Vec::new());
        }
        let unlocated = self.parts.meta.unlocated(located).await.map_err(Error::meta("looking for rows of content"))?;
        let survey = self.parts.store.survey_unnamed(&unlocated).await.map_err(Error::store("inspecting content"))?;
        let found = unlocated.into_iter().zip(survey).filter_map(|(location, facts)| {
            let facts = facts.ok().flatten().filter(|facts| self.is_old(facts))?;
            Some((location, facts))
        });
        Ok(found.collect())
    }

    /// Staged bytes that no session has, and the claim that keeps everybody else from writing them.
    pub(crate) async fn confirm_staged_orphan(&self, upload: UploadId) -> Result<Option<(Facts, Claim)>, Error> {
        let Some(claim) = self.sessions.claim(upload) else { return Ok(None) };
        let sessionless = self.parts.meta.sessionless(&[upload]).await;
        if sessionless.map_err(Error::meta("looking for an upload session"))?.is_empty() {
            return Ok(None);
        }
        let facts = self.parts.store.survey_staged(&[upload]).await;
        let facts = facts.map_err(Error::store("inspecting staged content"))?.pop();
        Ok(facts.and_then(Result::ok).flatten().filter(|facts| self.is_old(facts)).map(|facts| (facts, claim)))
    }

    /// Whether a file was written before any upload that may still be going on began.
    fn is_old(&self, facts: &Facts) -> bool {
        facts.modified_at < self.now().minus(self.gc.orphan_age.get())
    }

    /// Every upload session.
    pub(super) async fn check_uploads(&self, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        watch.enter(Stage::Uploads);
        let mut after = None;
        while !watch.is_stopped() {
            let page = self.parts.meta.check_uploads(after.as_ref(), PAGE).await;
            let page = page.map_err(Error::meta("checking upload sessions"))?;
            watch.advance(|progress| progress.rows += page.rows.len() as u64);
            for upload in &page.rows {
                self.check_upload(upload, order, watch).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn check_upload(&self, listed: &CheckedUpload, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        let subject = || format!("upload {} to {}", listed.id, listed.repository);
        let Ok(id) = listed.id.parse::<UploadId>() else {
            watch.found(Finding::error(Class::Uploads, subject(), "its id is none"));
            return Ok(());
        };
        // First without a claim: reading all that is staged takes long, and meanwhile its client wants to go on.
        let Some(upload) = self.find_checked(id).await? else { return Ok(()) };
        if !self.is_overdue(&upload, order) && self.is_continuable(id, &upload, order.depth).await? {
            return Ok(());
        }
        // Whoever is writing to it knows better.
        let Some(_claim) = self.sessions.claim(id) else { return Ok(()) };
        let Some(upload) = self.find_checked(id).await? else { return Ok(()) };
        if self.is_overdue(&upload, order) {
            let advice = "it should have been ended long ago; see the registry's log";
            watch.found(
                Finding::warning(Class::Uploads, subject(), "its time is over since more than a day").advise(advice),
            );
        }
        if !self.is_continuable(id, &upload, order.depth).await? {
            // After a power cut this is nothing strange: what is staged is not synced before the upload is complete.
            let problem = "the bytes that it is recorded with are not there any more";
            let advice = "its client is told to begin anew; the session ends by itself";
            let finding = Finding::note(Class::Uploads, subject(), problem).advise(advice);
            let repair = async {
                let expired = self.parts.meta.expire_upload(id, &order.by, self.now()).await;
                expired.map_err(Error::meta("ending an upload session"))
            };
            self.found(finding, "ended", repair, order, watch).await?;
        }
        Ok(())
    }

    async fn find_checked(&self, id: UploadId) -> Result<Option<CheckedUpload>, Error> {
        self.parts.meta.check_upload(id).await.map_err(Error::meta("checking an upload session"))
    }

    fn is_overdue(&self, upload: &CheckedUpload, order: &CheckOrder) -> bool {
        !order.offline && upload.expires_at.plus(OVERDUE) < self.now()
    }

    /// Whether its client can go on; a session without bytes, or that has ended, needs none.
    async fn is_continuable(&self, id: UploadId, upload: &CheckedUpload, depth: Depth) -> Result<bool, Error> {
        if !upload.is_open || upload.offset_bytes == 0 {
            return Ok(true);
        }
        let staged = match self.parts.store.open_staged(id, upload.offset_bytes).await {
            Ok(StagedBytes::Readable(staged)) => staged,
            // It is there, and will be read when it is complete.
            Ok(StagedBytes::Opaque) => return Ok(true),
            Ok(StagedBytes::Lost) | Err(wharf_store::Error::StagedLost) => return Ok(false),
            Err(error) => return Err(Error::Store { doing: "opening staged content", source: error }),
        };
        let (Ok(algorithm), Some(state)) = (upload.algorithm.parse::<Algorithm>(), &upload.hash_state) else {
            return Ok(false);
        };
        if depth == Depth::Fast {
            return Ok(true);
        }
        let mut rehash = staged.rehash(algorithm);
        while rehash.step().await.map_err(|source| Error::Read { doing: "reading staged content", source })? > 0 {}
        Ok(rehash.continues(&HashState::from_bytes(state.clone())))
    }
}

const SWEEP: &str = "run `wharf gc run --orphans`, which removes what is too old to belong to anything";
