//! Writing an object of a known size, in parts where it is large.

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use wharf_base::failpoint::reach;

use super::client::Client;
use crate::Error;

/// A part has at least this many bytes, and no object has more parts than this.
pub(super) const PART_MIN: u64 = 8 << 20;
pub(super) const PARTS_MAX: u64 = 10_000;

/// The size of the parts of an object with so many bytes.
pub(super) fn part_bytes(size_bytes: u64) -> u64 {
    let mib = 1 << 20;
    size_bytes.div_ceil(PARTS_MAX).div_ceil(mib).saturating_mul(mib).max(PART_MIN)
}

/// An object on its way. There is none until [`Outgoing::complete`].
pub(super) struct Outgoing {
    client: Client,
    key: Path,
    /// Where a multipart upload is written down while it goes on, so that somebody can end it if this process cannot.
    note: Path,
    part_bytes: usize,
    sent_bytes: u64,
    waiting: BytesMut,
    parts: Option<(String, Vec<String>)>,
}

impl Outgoing {
    /// An object of `size_bytes` at `key`.
    pub(super) fn begin(client: &Client, key: Path, note: Path, size_bytes: u64) -> Self {
        Self {
            client: client.clone(),
            key,
            note,
            part_bytes: usize::try_from(part_bytes(size_bytes)).unwrap_or(usize::MAX),
            sent_bytes: 0,
            waiting: BytesMut::new(),
            parts: None,
        }
    }

    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.waiting.len() == self.part_bytes {
                self.send().await?;
            }
            let taken = bytes.len().min(self.part_bytes - self.waiting.len());
            self.waiting.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Sends what is waiting as the next part.
    async fn send(&mut self) -> Result<(), Error> {
        let body = self.waiting.split().freeze();
        self.sent_bytes += body.len() as u64;
        if self.parts.is_none() {
            let id = self.client.begin_parts(&self.key).await?;
            self.client.put(&self.note, note_of(&self.key, &id)).await?;
            self.parts = Some((id, Vec::new()));
        }
        let Some((id, parts)) = &mut self.parts else { return Ok(()) };
        parts.push(self.client.put_part(&self.key, id, parts.len(), body).await?);
        reach("archive.part");
        Ok(())
    }

    /// That was all: the object is there, and lasts.
    pub(super) async fn complete(mut self) -> Result<(), Error> {
        if self.parts.is_none() {
            return self.client.put(&self.key, self.waiting.split().freeze()).await;
        }
        self.send().await?;
        let Some((id, parts)) = self.parts.take() else { return Ok(()) };
        self.client.complete(&self.key, &id, parts, self.sent_bytes).await?;
        self.client.delete(&self.note).await
    }

    /// It is not wanted.
    pub(super) async fn give_up(mut self) -> Result<(), Error> {
        let Some((id, _)) = self.parts.take() else { return Ok(()) };
        self.client.abort(&self.key, &id).await?;
        self.client.delete(&self.note).await
    }
}

fn note_of(key: &Path, id: &str) -> Bytes {
    format!("{key}\n{id}\n").into()
}

/// What an upload that nobody goes on with has left; `note` is where it was written down.
pub(super) async fn clear(client: &Client, note: &Path) -> Result<(), Error> {
    if let Some(text) = client.get(note).await?
        && let Ok(text) = std::str::from_utf8(&text)
        && let Some((key, id)) = text.trim_end().split_once('\n')
        && let Ok(key) = Path::parse(key)
    {
        client.abort(&key, id).await?;
    }
    client.delete(note).await
}
