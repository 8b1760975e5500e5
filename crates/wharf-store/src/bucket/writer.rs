use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use tokio::task::JoinHandle;
use wharf_base::{UploadId, failpoint};
use wharf_oci::{Algorithm, Digest};

use super::Inner;
use super::client::{Client, Created};
use super::keys::ContentKey;
use super::staged::{Parts, Staging};
use crate::hash::Running;
use crate::sessions::Lease;
use crate::{BlobWriter, Checkpoint, Error, Place, Placed};

/// How many parts an object may have.
const PARTS_MAX: usize = 10_000;

/// The writer of one upload into the bucket: one part is gathered while the one before it is on its way.
pub(super) struct Writer {
    inner: Arc<Inner>,
    staging: Staging,
    /// `None` after a failure: the hash then no longer belongs to what is in the bucket.
    running: Option<Running>,
    offset_bytes: u64,
    gathered: BytesMut,
    parts: Option<Parts>,
    on_its_way: Option<Part>,
    part_bytes: u64,
    /// The offset of the checkpoint that it went on from, which is kept until the next one is recorded.
    from_bytes: u64,
    lease: Lease,
}

/// A part on its way. Dropping it cuts it off.
struct Part(JoinHandle<Result<String, Error>>);

impl Drop for Part {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Writer {
    pub(super) async fn open(
        inner: Arc<Inner>,
        upload: UploadId,
        algorithm: Algorithm,
        at: Option<&Checkpoint>,
        expected_bytes: Option<u64>,
    ) -> Result<Self, Error> {
        let lease = inner.sessions.lease(upload)?;
        let staging = Staging { client: inner.client.clone(), keys: inner.keys.clone(), upload };
        let mut writer = Self {
            running: Some(Running::new(algorithm)),
            offset_bytes: 0,
            gathered: BytesMut::new(),
            parts: None,
            on_its_way: None,
            part_bytes: inner.part_bytes,
            from_bytes: 0,
            inner,
            staging,
            lease,
        };
        if let Some(at) = at.filter(|at| at.offset_bytes > 0) {
            let (standing, running) = writer.staging.find(at, algorithm).await?;
            writer.offset_bytes = at.offset_bytes;
            writer.running = Some(running);
            writer.part_bytes = standing.parts.as_ref().map_or(writer.part_bytes, |parts| parts.part_bytes);
            writer.gathered = BytesMut::from(&standing.rest[..]);
            writer.parts = standing.parts;
            writer.from_bytes = at.offset_bytes;
        }
        let most_bytes = writer.part_bytes.saturating_mul(PARTS_MAX as u64);
        if writer.offset_bytes.saturating_add(expected_bytes.unwrap_or(0)) > most_bytes {
            return Err(Error::NoSpace);
        }
        Ok(writer)
    }

    /// Sends off what is gathered as the next part, when the one before it has arrived.
    async fn send_part(&mut self) -> Result<(), Error> {
        self.settle().await?;
        if self.parts.is_none() {
            let multipart = self.staging.begin_parts(self.inner.new_key()).await?;
            self.parts = Some(Parts { multipart, part_bytes: self.part_bytes, ids: Vec::new() });
        }
        let Some(parts) = &self.parts else { return Err(Error::Broken) };
        let number = parts.ids.len();
        if number >= PARTS_MAX {
            return Err(Error::NoSpace);
        }
        let key = self.inner.keys.content(parts.multipart.key()?);
        let (client, id) = (self.inner.client.clone(), parts.multipart.id.clone());
        let body = self.gathered.split().freeze();
        let sending = async move { client.put_part(&key, &id, number, body).await };
        self.on_its_way = Some(Part(tokio::spawn(sending)));
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Error> {
        let Some(mut part) = self.on_its_way.take() else { return Ok(()) };
        let lost = |error| Error::Io { doing: "uploading a part", source: std::io::Error::other(error) };
        let sent = (&mut part.0).await.map_err(lost)??;
        let Some(parts) = &mut self.parts else { return Err(Error::Broken) };
        parts.ids.push(sent);
        Ok(())
    }

    async fn take(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        let part_bytes = usize::try_from(self.part_bytes).unwrap_or(usize::MAX);
        while !bytes.is_empty() {
            if self.gathered.len() >= part_bytes {
                self.send_part().await?;
            }
            let taken = bytes.split_to(bytes.len().min(part_bytes - self.gathered.len()));
            self.gathered.extend_from_slice(&taken);
        }
        Ok(())
    }

    /// The content under its key, complete and of the right size; nothing names it yet.
    async fn complete(&mut self) -> Result<ContentKey, Error> {
        let Some(parts) = &self.parts else { return self.put_whole().await };
        let key = parts.multipart.key()?;
        if !self.gathered.is_empty() {
            self.send_part().await?;
        }
        self.settle().await?;
        let Some(parts) = &self.parts else { return Err(Error::Broken) };
        failpoint::arrive("bucket.parts-sent").await;
        let object = self.inner.keys.content(key);
        let completed =
            self.inner.client.complete(&object, &parts.multipart.id, parts.ids.clone(), self.offset_bytes).await;
        completed.map_err(|error| match error {
            // A part is another than was recorded, or the multipart upload is not there any more.
            Error::Io { .. } => Error::StagedLost,
            error => error,
        })?;
        failpoint::arrive("bucket.completed").await;
        Ok(key)
    }

    async fn put_whole(&mut self) -> Result<ContentKey, Error> {
        let (key, body) = (self.inner.new_key(), self.gathered.split().freeze());
        let object = self.inner.keys.content(key);
        let created = self.inner.client.create(&object, body).await?;
        failpoint::arrive("bucket.put").await;
        // An answer that was lost: nobody but us has this key.
        let found = self.inner.client.head(&object).await?;
        match (created, found) {
            (Created::Yes | Created::Exists, Some(meta)) if meta.size == self.offset_bytes => Ok(key),
            _ => Err(Error::Io {
                doing: "writing an object to the bucket",
                source: std::io::Error::other("it is not there, or of another size, after it was acknowledged"),
            }),
        }
    }

    /// What the content hashes to by another algorithm than it was hashed with on its way: it is read once more.
    async fn hash_again(client: &Client, object: &Path, algorithm: Algorithm, len_bytes: u64) -> Result<Digest, Error> {
        let reader = super::reader::open(client.clone(), object.clone(), len_bytes, None);
        let mut rehash = reader.rehash(algorithm);
        let failed = |source| Error::Io { doing: "hashing an upload again", source };
        while rehash.step().await.map_err(failed)? > 0 {}
        rehash.digest().ok_or(Error::StagedLost)
    }

    /// Whether anything of this upload may be staged.
    fn has_staged(&self) -> bool {
        self.from_bytes > 0 || self.parts.is_some()
    }

    /// What is staged stays until the session is given up: another process may have gone on with it meanwhile.
    fn mismatch(&self, expected: Digest, actual: Digest) -> Error {
        self.inner.sessions.gone(self.lease.upload());
        Error::DigestMismatch { expected: Box::new(expected), actual: Box::new(actual) }
    }
}

#[async_trait]
impl BlobWriter for Writer {
    fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let mut running = self.running.take().ok_or(Error::Broken)?;
        running.update(&bytes);
        self.offset_bytes += bytes.len() as u64;
        self.take(bytes).await?;
        self.running = Some(running);
        Ok(())
    }

    async fn checkpoint(mut self: Box<Self>) -> Result<Checkpoint, Error> {
        let running = self.running.take().ok_or(Error::Broken)?;
        self.settle().await?;
        let at = Checkpoint { offset_bytes: self.offset_bytes, hash_state: running.save(self.offset_bytes) };
        if at.offset_bytes > 0 {
            self.staging.keep(&at, self.parts.as_ref(), &self.gathered).await?;
        }
        failpoint::arrive("bucket.checkpoint-kept").await;
        // What earlier beginnings have left stays until the session ends: one of them may be of another process that has gone on.
        if self.from_bytes > 0 {
            self.staging.clear_before(self.from_bytes).await?;
        }
        if let Err(lost) = self.lease.check_standing() {
            self.staging.clear().await?;
            return Err(lost);
        }
        Ok(at)
    }

    async fn commit(mut self: Box<Self>, digest: &Digest) -> Result<Placed, Error> {
        let running = self.running.take().ok_or(Error::Broken)?;
        let is_hashed = running.algorithm() == digest.algorithm();
        if is_hashed {
            let actual = running.finish();
            if actual != *digest {
                self.on_its_way = None;
                return Err(self.mismatch(*digest, actual));
            }
        }
        self.lease.check_standing()?;
        let len_bytes = self.offset_bytes;
        let begun = Instant::now();
        let key = self.complete().await?;
        self.inner.complete_seconds.observe(begun.elapsed());
        let object = self.inner.keys.content(key);
        let may_be_mixed = self.from_bytes > 0 && self.parts.is_some() && !self.inner.names_parts;
        if !is_hashed || may_be_mixed {
            let actual = Self::hash_again(&self.inner.client, &object, digest.algorithm(), len_bytes).await?;
            if actual != *digest {
                self.inner.client.delete(&object).await?;
                let error = self.mismatch(*digest, actual);
                return Err(if is_hashed { Error::StagedLost } else { error });
            }
        }
        failpoint::arrive("store.sealed").await;
        let lock = self.inner.digests.lock(digest).await;
        failpoint::arrive("store.locked").await;
        if let Err(lost) = self.lease.check_standing() {
            self.inner.client.delete(&object).await?;
            return Err(lost);
        }
        self.inner.sessions.gone(self.lease.upload());
        let placed = Placed::new(Place { digest: *digest, location: key.location() }, len_bytes, lock);
        Ok(if self.has_staged() { placed.leaving_staged() } else { placed })
    }
}
