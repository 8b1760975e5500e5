use std::sync::Arc;
use std::time::Duration;

use wharf_base::{Shutdown, UploadId, failpoint};

use crate::{Error, Registry};

/// Sessions looked at in one step.
const STEP: u32 = 100;

/// How long to wait when nothing was due.
const PAUSE: Duration = Duration::from_secs(60);

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// That many sessions ended; there may be more.
    Ended(usize),
    /// Nothing was due.
    NothingDue,
}

impl Registry {
    /// Ends upload sessions whose time has come and forgets finished ones, a bounded number of them (P-193).
    ///
    /// Idempotent; may be killed anywhere: the row goes before its staged file, and a file whose row is gone costs
    /// space until the collector finds it.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`]; what was not done is due again.
    pub async fn expire_uploads(&self) -> Result<Expiry, Error> {
        if self.is_held_for_clock().await? {
            return Ok(Expiry::NothingDue);
        }
        let due = self.parts.meta.expired_uploads(self.now(), STEP).await;
        let due = due.map_err(Error::meta("looking for expired upload sessions"))?;
        if due.is_empty() {
            return Ok(Expiry::NothingDue);
        }
        let mut ended = 0;
        for id in due {
            ended += usize::from(self.expire_upload(id).await?);
        }
        // Sessions that are being written to stay due; without progress the next look can wait.
        Ok(if ended == 0 { Expiry::NothingDue } else { Expiry::Ended(ended) })
    }

    /// A session that is being written to, here or by another replica, is left alone: its writer decides (R-023, GR-16).
    async fn expire_upload(&self, id: UploadId) -> Result<bool, Error> {
        let Some(_claim) = self.sessions.claim(id) else { return Ok(false) };
        let ended = self.as_the_one(&wharf_meta::name_of_upload(id), self.end_expired(id)).await?;
        Ok(ended.unwrap_or(false))
    }

    async fn end_expired(&self, id: UploadId) -> Result<bool, Error> {
        failpoint::arrive("registry.expiry-claimed").await;
        let removed = self.parts.meta.remove_expired_upload(id, self.now()).await;
        failpoint::arrive("registry.expiry-recorded").await;
        let removed = removed.map_err(Error::meta("removing an expired upload session"))?;
        if removed && let Err(error) = self.parts.store.discard(id).await {
            tracing::warn!(upload.id = %id, error = %error, "the staged file of expired upload {id} could not be removed");
        }
        Ok(removed)
    }

    /// Runs [`expire_uploads`](Self::expire_uploads) until shutdown.
    pub async fn keep_expiring(self: Arc<Self>, shutdown: Shutdown) {
        while !shutdown.has_started() {
            if self.guard.writable().is_err() {
                pause(&shutdown).await;
                continue;
            }
            match self.as_the_one("expiry of uploads", self.expire_uploads()).await {
                Ok(Some(Expiry::Ended(count))) => tracing::info!(count, "{count} upload sessions expired"),
                Ok(Some(Expiry::NothingDue) | None) => pause(&shutdown).await,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "expiry of upload sessions is put off");
                    pause(&shutdown).await;
                }
            }
        }
    }
}

async fn pause(shutdown: &Shutdown) {
    let _ = tokio::time::timeout(PAUSE, shutdown.started()).await;
}
