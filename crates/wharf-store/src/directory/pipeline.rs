//! Hashing and writing at the same time, while the next bytes arrive.
//!
//! Neither saves processor time, so what can be won is overlap: one batch is hashed on one thread and written on
//! another while the next one is gathered. One batch in flight and one being gathered is all the memory an upload
//! takes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use super::io::blocking;
use super::staged::Staged;
use crate::Error;
use crate::hash::Running;

/// How much is handed on at once.
const BATCH_BYTES: usize = 1 << 20;

/// One batch is gathered while another one is hashed and written.
pub(super) const BUFFERS_BYTES: u64 = 2 * BATCH_BYTES as u64;

/// Pieces smaller than this are copied together: a piece on its own costs a slice and keeps the buffer alive that it
/// was cut from, so a client that sends single bytes would take far more memory than it sends.
const MERGE_BELOW_BYTES: usize = 4 << 10;

/// How much may lie dirty before its write-back is started. Little in tests, so that small uploads reach it.
const WRITE_BACK_BYTES: u64 = if cfg!(test) { 2 << 20 } else { 32 << 20 };

/// Bytes being gathered, at most [`BATCH_BYTES`] of them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    parts: Vec<Bytes>,
    small: BytesMut,
    len_bytes: usize,
}

impl Batch {
    /// Takes from the front of `bytes` as much as there is room for.
    pub(super) fn take_from(&mut self, bytes: &mut Bytes) {
        let part = bytes.split_to(bytes.len().min(BATCH_BYTES - self.len_bytes));
        self.len_bytes += part.len();
        if part.len() < MERGE_BELOW_BYTES {
            self.small.extend_from_slice(&part);
        } else {
            self.close_small();
            self.parts.push(part);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.len_bytes == BATCH_BYTES
    }

    pub(super) fn into_parts(mut self) -> Vec<Bytes> {
        self.close_small();
        self.parts
    }

    fn close_small(&mut self) {
        if !self.small.is_empty() {
            self.parts.push(self.small.split().freeze());
        }
    }
}

/// The way of an upload's batches into its hash and its file.
pub(super) struct Pipeline {
    staged: Arc<Staged>,
    /// `None` while a batch is in flight, and for ever after a failure: the hash then no longer belongs to the bytes.
    running: Option<Running>,
    in_flight: Option<InFlight>,
    /// Where the next batch goes.
    offset_bytes: u64,
    write_back: WriteBack,
}

struct InFlight {
    hashing: JoinHandle<Result<Running, Error>>,
    writing: JoinHandle<Result<(), Error>>,
}

impl Pipeline {
    pub(super) fn new(staged: Arc<Staged>, running: Running, offset_bytes: u64) -> Self {
        let write_back = WriteBack { from_bytes: offset_bytes, syncing: None };
        Self { staged, running: Some(running), in_flight: None, offset_bytes, write_back }
    }

    pub(super) fn staged(&self) -> &Arc<Staged> {
        &self.staged
    }

    /// Waits for the batch in flight and hands the next one on.
    pub(super) async fn push(&mut self, batch: Batch) -> Result<(), Error> {
        self.settle().await?;
        let mut running = self.running.take().ok_or(Error::Broken)?;
        let parts: Arc<[Bytes]> = batch.into_parts().into();
        let at = self.offset_bytes;
        self.offset_bytes += len_bytes(&parts);
        self.in_flight = Some(InFlight {
            hashing: tokio::task::spawn_blocking({
                let parts = Arc::clone(&parts);
                move || {
                    update(&mut running, &parts);
                    Ok(running)
                }
            }),
            writing: tokio::task::spawn_blocking({
                let staged = Arc::clone(&self.staged);
                move || staged.append(&parts, at)
            }),
        });
        Ok(())
    }

    /// Everything up to and including `last` is in the hash and in the file, and no early write-back is running.
    /// What is left is little, so it takes one thread.
    pub(super) async fn finish(mut self, last: Batch) -> Result<Running, Error> {
        self.settle().await?;
        self.write_back.wait().await?;
        let mut running = self.running.take().ok_or(Error::Broken)?;
        let parts = last.into_parts();
        if parts.is_empty() {
            return Ok(running);
        }
        blocking("writing staged content", move || {
            update(&mut running, &parts);
            self.staged.append(&parts, self.offset_bytes)?;
            Ok(running)
        })
        .await
    }

    async fn settle(&mut self) -> Result<(), Error> {
        let Some(InFlight { hashing, writing }) = self.in_flight.take() else { return Ok(()) };
        let (hashed, written) = tokio::join!(joined(hashing), joined(writing));
        written?;
        self.write_back.advance(&self.staged, self.offset_bytes).await?;
        self.running = Some(hashed?);
        Ok(())
    }
}

/// Early write-back: without it a whole blob would lie dirty until the last sync, which would then take as long as the
/// disk needs for all of it.
struct WriteBack {
    /// What comes before is on its way to the disk.
    from_bytes: u64,
    syncing: Option<JoinHandle<Result<(), Error>>>,
}

impl WriteBack {
    /// Starts the next sync if enough has been written and none is running. Never waits for a slow one: the operating
    /// system slows down whoever dirties too much.
    async fn advance(&mut self, staged: &Arc<Staged>, written_bytes: u64) -> Result<(), Error> {
        let is_slow = self.syncing.as_ref().is_some_and(|syncing| !syncing.is_finished());
        if written_bytes - self.from_bytes < WRITE_BACK_BYTES || is_slow {
            return Ok(());
        }
        self.wait().await?;
        self.from_bytes = written_bytes;
        let staged = Arc::clone(staged);
        self.syncing = Some(tokio::task::spawn_blocking(move || staged.sync_early()));
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), Error> {
        match self.syncing.take() {
            Some(syncing) => joined(syncing).await,
            None => Ok(()),
        }
    }
}

async fn joined<T>(work: JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    work.await
        .unwrap_or_else(|lost| Err(Error::Io { doing: "writing staged content", source: std::io::Error::other(lost) }))
}

fn update(running: &mut Running, parts: &[Bytes]) {
    for part in parts {
        running.update(part);
    }
}

fn len_bytes(parts: &[Bytes]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_keeps_order_and_merges_small_pieces() {
        let source: Bytes = (0..=250u8).cycle().take(3 * BATCH_BYTES).collect::<Vec<_>>().into();
        let mut left = source.clone();
        let mut batch = Batch::default();
        let mut taken = 0;
        for len in [1, 10, MERGE_BELOW_BYTES, 3, 0, 70_000, 2, BATCH_BYTES] {
            let mut piece = left.split_to(len);
            batch.take_from(&mut piece);
            taken += len - piece.len();
        }
        assert!(batch.is_full());
        assert_eq!(taken, BATCH_BYTES);
        let parts = batch.into_parts();
        assert!(parts.len() <= 6, "{} parts", parts.len());
        assert_eq!(parts.concat(), &source[..BATCH_BYTES]);
    }

    #[test]
    fn single_bytes_make_one_part() {
        let mut batch = Batch::default();
        while !batch.is_full() {
            batch.take_from(&mut Bytes::from_static(b"x"));
        }
        assert_eq!(batch.into_parts().len(), 1);
    }
}
