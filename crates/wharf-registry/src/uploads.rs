//! Upload sessions: begin, append, finish, ask, cancel.
//!
//! A session is a row (offset and hash state, always recorded together) and a staged file. The row is the truth: a
//! writer cuts the file back to the recorded offset before it appends, so bytes that were never acknowledged cannot
//! become part of a blob. A request that breaks off keeps what arrived, so that the client can go on from there.

use std::sync::Arc;

use futures_util::StreamExt;
use wharf_base::{UploadId, failpoint};
use wharf_meta::{Advance, BeginUpload, BlobRecord, NewUpload, RecordBlob, Upload, UploadLimits, UploadState};
use wharf_oci::{Algorithm, ContentRange, Digest};
use wharf_policy::{Authorized, Push};
use wharf_store::{BlobWriter, Checkpoint, HashState};

use crate::{BodyError, Chunk, Error, REMEMBER_FINISHED, Registry, Share};

/// Where an upload session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadStatus {
    /// The session.
    pub id: UploadId,
    /// Bytes received and recorded.
    pub offset_bytes: u64,
}

/// A blob that is in the repository now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishedBlob {
    /// Its digest as the client named it.
    pub digest: Digest,
}

/// An open session that this request alone may write to.
struct Claimed {
    ok: Authorized<Push>,
    upload: Upload,
    checkpoint: Option<Checkpoint>,
}

impl Claimed {
    fn offset_bytes(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |at| at.offset_bytes)
    }
}

enum Claiming {
    Open(Box<Claimed>),
    Finished(Digest),
}

impl Claiming {
    /// Where an open session stands.
    fn offset_bytes(&self) -> Option<u64> {
        match self {
            Self::Open(claimed) => Some(claimed.offset_bytes()),
            Self::Finished(_) => None,
        }
    }
}

impl Registry {
    /// Opens an upload session whose content will be hashed with `algorithm` (end-4a, end-4c).
    ///
    /// # Errors
    ///
    /// [`Error::TooManyUploads`]; [`Error::ReadOnly`], [`Error::WriteProtected`], [`Error::StorageFull`].
    pub async fn begin_upload(&self, ok: &Authorized<Push>, algorithm: Algorithm) -> Result<UploadStatus, Error> {
        self.writable()?;
        self.guard.room_for_facts()?;
        self.guard.room_for(None)?;
        let now = self.now();
        let id = UploadId::generate(&*self.parts.clock, &*self.parts.rng);
        let new = NewUpload {
            id,
            repository: ok.repository().clone(),
            owner: ok.principal().name().to_owned(),
            algorithm,
            now,
            expires_at: now.plus(self.config.upload_idle.get().min(self.config.upload_life.get())),
        };
        let limits = UploadLimits {
            per_repository: self.config.uploads_per_repository,
            per_owner: self.config.uploads_per_principal,
            total: self.config.uploads_total,
        };
        let begun = self.parts.meta.begin_upload(&new, &limits).await;
        match begun.map_err(Error::meta("opening an upload session"))? {
            BeginUpload::Started => {
                failpoint::arrive("registry.upload-begun").await;
                Ok(UploadStatus { id, offset_bytes: 0 })
            }
            BeginUpload::TooMany { scope } => Err(Error::TooManyUploads { scope }),
        }
    }

    /// Where the session stands (end-13). Never ahead of what is recorded, also while a chunk is arriving.
    ///
    /// # Errors
    ///
    /// [`Error::UploadUnknown`]: no such open session for this principal in this repository.
    pub async fn upload_status(&self, ok: &Authorized<Push>, id: UploadId) -> Result<UploadStatus, Error> {
        match self.find_upload(ok, id).await?.state {
            UploadState::Open { checkpoint, .. } => {
                Ok(UploadStatus { id, offset_bytes: checkpoint.map_or(0, |(offset_bytes, _)| offset_bytes) })
            }
            UploadState::Done { .. } => Err(Error::UploadUnknown),
        }
    }

    /// Appends one chunk and says where the session stands then (end-5).
    ///
    /// The offset moves only together with the hash state that covers it. Runs to its end also when the
    /// client is gone.
    ///
    /// # Errors
    ///
    /// - [`Error::UploadUnknown`]: no such session, or it ended meanwhile.
    /// - [`Error::OutOfOrder`], [`Error::UploadBusy`]: nothing was written; both say where to go on.
    /// - [`Error::UploadInterrupted`]: the session stands where it was.
    /// - [`Error::SizeInvalid`]: the chunk was dropped, the session stands where it was.
    /// - [`Error::BlobTooLarge`]: the session has ended.
    /// - [`Error::Body`]: what had arrived is kept.
    /// - [`Error::StorageFull`], [`Error::Store`], [`Error::OutOfMemory`]: the session stands at its last recorded offset.
    ///
    /// # Source
    ///
    /// Protocol checklist §10; `reliability.md` §2.2.
    pub async fn append(
        self: &Arc<Self>,
        ok: &Authorized<Push>,
        id: UploadId,
        chunk: Chunk,
    ) -> Result<UploadStatus, Error> {
        self.writable()?;
        let (registry, ok) = (Arc::clone(self), ok.clone());
        self.detached("append", async move {
            let appending = async |claiming| {
                let Claiming::Open(claimed) = claiming else { return Err(Error::UploadUnknown) };
                registry.check_announced(&claimed, chunk.range, chunk.length_bytes).await?;
                let _memory = registry.memory_for(chunk.announced_bytes()).await?;
                let writer = registry.receive(&claimed, claimed.upload.algorithm, chunk).await?;
                let offset_bytes = registry.record_progress(&claimed, writer).await?;
                Ok(UploadStatus { id, offset_bytes })
            };
            registry.alone(&ok, id, appending).await
        })
        .await
    }

    /// Takes the last bytes, if any, verifies the whole against `digest` and adds the blob to the repository (end-6).
    ///
    /// Repeating it on a session that has just been finished with the same digest succeeds again (P-184).
    ///
    /// # Errors
    ///
    /// Those of [`append`](Self::append), and [`Error::DigestMismatch`]: nothing was kept and the session has ended.
    ///
    /// # Source
    ///
    /// Protocol checklist §11; `reliability.md` §2.2.
    pub async fn finish_upload(
        self: &Arc<Self>,
        ok: &Authorized<Push>,
        id: UploadId,
        digest: Digest,
        chunk: Chunk,
    ) -> Result<FinishedBlob, Error> {
        self.writable()?;
        let (registry, ok) = (Arc::clone(self), ok.clone());
        self.detached("finish upload", async move {
            let finishing = async |claiming| {
                let claimed = match claiming {
                    Claiming::Open(claimed) => claimed,
                    Claiming::Finished(finished) if finished == digest => return Ok(FinishedBlob { digest }),
                    Claiming::Finished(_) => return Err(Error::UploadUnknown),
                };
                registry.check_announced(&claimed, chunk.range, chunk.length_bytes).await?;
                let _memory = registry.memory_for(chunk.announced_bytes()).await?;
                registry.complete(claimed, digest, chunk).await
            };
            registry.alone(&ok, id, finishing).await
        })
        .await
    }

    /// Takes a whole blob in one request (end-4b).
    ///
    /// # Errors
    ///
    /// Those of [`begin_upload`](Self::begin_upload) and [`finish_upload`](Self::finish_upload); whatever happens, no
    /// session is left open.
    pub async fn push_blob(
        self: &Arc<Self>,
        ok: &Authorized<Push>,
        digest: Digest,
        chunk: Chunk,
    ) -> Result<FinishedBlob, Error> {
        let begun = self.begin_upload(ok, digest.algorithm()).await?;
        let finished = self.finish_upload(ok, begun.id, digest, chunk).await;
        if finished.is_err() {
            // The client never learned of the session and cannot go on with it.
            self.drop_session(ok, begun.id).await;
        }
        finished
    }

    /// Ends the session and drops its bytes (end-14). A chunk that is arriving meanwhile fails (P-192).
    ///
    /// # Errors
    ///
    /// [`Error::UploadUnknown`]: no such open session.
    pub async fn cancel_upload(&self, ok: &Authorized<Push>, id: UploadId) -> Result<(), Error> {
        self.writable()?;
        let end = || self.parts.meta.end_upload(id, ok.repository(), ok.principal().name());
        let ended = self.with_reserve(end).await;
        if !ended.map_err(Error::meta("ending an upload session"))? {
            return Err(Error::UploadUnknown);
        }
        failpoint::arrive("registry.upload-ended").await;
        self.discard_staged(id).await;
        Ok(())
    }

    async fn find_upload(&self, ok: &Authorized<Push>, id: UploadId) -> Result<Upload, Error> {
        let found = self.parts.meta.upload(id, ok.repository(), ok.principal().name(), self.now()).await;
        found.map_err(Error::meta("looking up an upload session"))?.ok_or(Error::UploadUnknown)
    }

    /// Runs `work` as the one writer of a session, in this process and among all replicas. Another replica that has it dies,
    /// or ends its work, or loses it after a while; whoever loses it can record nothing any more (GR-17, GR-18).
    async fn alone<T>(
        &self,
        ok: &Authorized<Push>,
        id: UploadId,
        work: impl AsyncFnOnce(Claiming) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(_claim) = self.sessions.claim(id) else { return Err(self.busy(ok, id, None).await) };
        let mut began_at = None;
        let working = async {
            let claiming = self.claim_upload(ok, id).await?;
            began_at = claiming.offset_bytes();
            work(claiming).await
        };
        match self.as_the_one(&wharf_meta::name_of_upload(id), working).await? {
            Some(done) => Ok(done),
            None => Err(self.busy(ok, id, began_at).await),
        }
    }

    /// Why this request may not write, which found the session at `began_at` if it was the one that might. A lease that is lost
    /// without another writer's having come further is one that the database forgot when it crashed: its commit is not waited for.
    async fn busy(&self, ok: &Authorized<Push>, id: UploadId, began_at: Option<u64>) -> Error {
        match self.upload_status(ok, id).await {
            Ok(UploadStatus { offset_bytes, .. }) if began_at == Some(offset_bytes) => Error::UploadInterrupted,
            Ok(UploadStatus { offset_bytes, .. }) => Error::UploadBusy { offset_bytes },
            Err(error) => error,
        }
    }

    /// Looks after it is claimed: a session that was looked up before that may have moved on.
    async fn claim_upload(&self, ok: &Authorized<Push>, id: UploadId) -> Result<Claiming, Error> {
        failpoint::arrive("registry.upload-claimed").await;
        let upload = self.find_upload(ok, id).await?;
        match &upload.state {
            UploadState::Done { digest } => Ok(Claiming::Finished(*digest)),
            UploadState::Open { checkpoint, patches } => {
                if *patches >= self.config.chunks_per_upload {
                    return Err(Error::TooManyChunks { limit: self.config.chunks_per_upload });
                }
                let checkpoint = checkpoint.as_ref().map(|(offset_bytes, state)| Checkpoint {
                    offset_bytes: *offset_bytes,
                    hash_state: HashState::from_bytes(state.clone()),
                });
                Ok(Claiming::Open(Box::new(Claimed { ok: ok.clone(), upload, checkpoint })))
            }
        }
    }

    /// Everything that can be said of a chunk before its first byte is read (P-164 … P-167, P-173).
    async fn check_announced(
        &self,
        claimed: &Claimed,
        range: Option<ContentRange>,
        length_bytes: Option<u64>,
    ) -> Result<(), Error> {
        let offset_bytes = claimed.offset_bytes();
        if let Some(range) = range {
            if range.start != offset_bytes {
                return Err(Error::OutOfOrder { offset_bytes });
            }
            if let Some(found_bytes) = length_bytes.filter(|length| *length != range.len_bytes()) {
                return Err(Error::SizeInvalid { announced_bytes: range.len_bytes(), found_bytes });
            }
        }
        let announced_bytes = range.map(|range| range.len_bytes()).or(length_bytes);
        if offset_bytes.saturating_add(announced_bytes.unwrap_or(0)) > self.config.blob_size_max.as_u64() {
            return Err(self.too_large(claimed).await);
        }
        self.guard.room_for(announced_bytes)
    }

    /// What the buffers on the way to the store take.
    async fn memory_for(&self, announced_bytes: Option<u64>) -> Result<Share, Error> {
        self.memory.take(self.parts.store.buffer_bytes(announced_bytes)).await
    }

    async fn too_large(&self, claimed: &Claimed) -> Error {
        self.drop_session(&claimed.ok, claimed.upload.id).await;
        Error::BlobTooLarge { limit_bytes: self.config.blob_size_max.as_u64() }
    }

    /// Writes the chunk behind the recorded offset. When the body breaks off, what arrived is recorded before the
    /// error is returned.
    async fn receive(
        &self,
        claimed: &Claimed,
        algorithm: Algorithm,
        chunk: Chunk,
    ) -> Result<Box<dyn BlobWriter>, Error> {
        let Chunk { range, length_bytes, mut body } = chunk;
        let announced_bytes = range.map(|range| range.len_bytes());
        let opened = self.parts.store.writer(
            claimed.upload.id,
            algorithm,
            claimed.checkpoint.as_ref(),
            announced_bytes.or(length_bytes),
        );
        let mut writer = self.or_end_lost(claimed, opened.await, "opening the staged file of an upload").await?;
        let mut received_bytes = 0_u64;
        while let Some(frame) = body.next().await {
            let bytes = match frame {
                Ok(bytes) => bytes,
                Err(broken) => return Err(self.keep_progress(claimed, writer, broken).await),
            };
            received_bytes = received_bytes.saturating_add(bytes.len() as u64);
            if let Some(announced_bytes) = announced_bytes.filter(|announced| received_bytes > *announced) {
                return Err(Error::SizeInvalid { announced_bytes, found_bytes: received_bytes });
            }
            if claimed.offset_bytes().saturating_add(received_bytes) > self.config.blob_size_max.as_u64() {
                return Err(self.too_large(claimed).await);
            }
            // What was announced counts as taken already; what nobody has announced must not take the last of the disk.
            if announced_bytes.or(length_bytes).is_none() {
                self.guard.room_for(Some(bytes.len() as u64))?;
            }
            self.or_end_lost(claimed, writer.write(bytes).await, "writing the bytes of an upload").await?;
        }
        match announced_bytes {
            Some(announced_bytes) if announced_bytes != received_bytes => {
                Err(Error::SizeInvalid { announced_bytes, found_bytes: received_bytes })
            }
            _ => Ok(writer),
        }
    }

    /// A session whose staged file is gone cannot go on: it ends.
    async fn or_end_lost<T>(
        &self,
        claimed: &Claimed,
        result: Result<T, wharf_store::Error>,
        doing: &'static str,
    ) -> Result<T, Error> {
        if let Err(wharf_store::Error::StagedLost) = &result {
            tracing::warn!(upload.id = %claimed.upload.id, "the staged file of upload {} is gone; the session ends", claimed.upload.id);
            self.drop_session(&claimed.ok, claimed.upload.id).await;
        }
        match result {
            Err(wharf_store::Error::Busy) => Err(Error::UploadBusy { offset_bytes: claimed.offset_bytes() }),
            result => result.map_err(Error::store(doing)),
        }
    }

    async fn keep_progress(&self, claimed: &Claimed, writer: Box<dyn BlobWriter>, broken: BodyError) -> Error {
        match self.record_progress(claimed, writer).await {
            Ok(_) => Error::Body(broken),
            Err(error) => error,
        }
    }

    /// Ends the writer and records how far it came.
    async fn record_progress(&self, claimed: &Claimed, writer: Box<dyn BlobWriter>) -> Result<u64, Error> {
        let checkpoint = writer.checkpoint().await;
        let checkpoint = self.or_end_lost(claimed, checkpoint, "keeping the bytes of an upload").await?;
        failpoint::arrive("registry.chunk-kept").await;
        let now = self.now();
        let idle_end = now.plus(self.config.upload_idle.get());
        let life_end = claimed.upload.started_at.plus(self.config.upload_life.get());
        let advanced = self.parts.meta.advance_upload(
            claimed.upload.id,
            claimed.offset_bytes(),
            checkpoint.offset_bytes,
            checkpoint.hash_state.as_bytes(),
            idle_end.min(life_end),
        );
        match advanced.await.map_err(Error::meta("recording the offset of an upload"))? {
            Advance::Advanced => {
                failpoint::arrive("registry.chunk-recorded").await;
                Ok(checkpoint.offset_bytes)
            }
            // Another process went on with it, from the same offset; ours is void.
            Advance::Moved => {
                let status = self.upload_status(&claimed.ok, claimed.upload.id).await?;
                Err(Error::UploadBusy { offset_bytes: status.offset_bytes })
            }
            Advance::Gone => {
                self.discard_staged(claimed.upload.id).await;
                Err(Error::UploadUnknown)
            }
        }
    }

    async fn complete(&self, claimed: Box<Claimed>, digest: Digest, chunk: Chunk) -> Result<FinishedBlob, Error> {
        // Nothing has been hashed yet: the digest itself says how to, whatever the session was opened for (P-145).
        let algorithm = if claimed.checkpoint.is_none() { digest.algorithm() } else { claimed.upload.algorithm };
        let writer = self.receive(&claimed, algorithm, chunk).await?;
        failpoint::arrive("registry.blob-received").await;
        let committed = writer.commit(&digest).await;
        if let Err(wharf_store::Error::DigestMismatch { .. }) = &committed {
            self.drop_session(&claimed.ok, claimed.upload.id).await;
        }
        let placed = self.or_end_lost(&claimed, committed, "placing a blob").await?;
        failpoint::arrive("registry.blob-placed").await;
        let now = self.now();
        let record = BlobRecord {
            repository: claimed.ok.repository().clone(),
            digest,
            size_bytes: placed.size_bytes(),
            location: placed.location().clone(),
            replaced_go_at: now.plus(self.gc.trash.get()),
            upload: Some(claimed.upload.id),
            by: claimed.ok.attribution(),
            now,
            review_at: self.review_at(now),
            remember_until: now.plus(REMEMBER_FINISHED),
        };
        let recorded = self.parts.meta.record_blob(&record).await.map_err(Error::meta("recording a blob"))?;
        failpoint::arrive("registry.blob-recorded").await;
        // The digest's lock is held until the row that names the content is committed.
        let leaves_staged = placed.leaves_staged();
        drop(placed);
        if leaves_staged {
            self.discard_staged(claimed.upload.id).await;
        }
        match recorded {
            RecordBlob::Recorded => Ok(FinishedBlob { digest }),
            RecordBlob::UploadGone => Err(Error::UploadUnknown),
        }
    }

    /// Ends a session whose outcome is decided already. Failing here costs space until the session expires, nothing
    /// else, so it is only logged.
    async fn drop_session(&self, ok: &Authorized<Push>, id: UploadId) {
        if let Err(error) = self.parts.meta.end_upload(id, ok.repository(), ok.principal().name()).await {
            tracing::warn!(upload.id = %id, error = %error, "upload {id} stays until it expires: its session could not be ended");
            return;
        }
        self.discard_staged(id).await;
    }

    async fn discard_staged(&self, id: UploadId) {
        if let Err(error) = self.parts.store.discard(id).await {
            tracing::warn!(upload.id = %id, error = %error, "the staged file of upload {id} could not be removed");
        }
    }

    /// Runs `work` in a task of its own and waits for it; a client that hangs up stops only the waiting.
    async fn detached<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.parts.spawner.spawn(name, work).await.unwrap_or(Err(Error::TaskLost))
    }
}
