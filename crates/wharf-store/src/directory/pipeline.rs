//! Hashing and writing at the same time, while the next bytes arrive.
//!
//! Neither saves processor time, so what can be won is overlap: batches are hashed on one thread and written on another
//! while the next one is gathered. Each of the two has a queue, so that it goes on without being woken for every batch, which
//! takes a good part of the time of one; and it has a thread only as long as there is something in it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::staged::Staged;
use crate::Error;
use crate::hash::Running;

/// How much is handed on at once.
pub(super) const BATCH_BYTES: usize = 512 << 10;

/// How many batches may wait to be hashed or written, with those that are.
const IN_FLIGHT: usize = 3;

/// One batch is gathered meanwhile.
pub(super) const BUFFERS_BYTES: u64 = ((IN_FLIGHT + 1) * BATCH_BYTES) as u64;

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
    hashing: Lane<Running>,
    writing: Lane<Appending>,
    /// What comes before has been written.
    written_bytes: Arc<AtomicU64>,
    write_back: WriteBack,
    /// Whether a batch was lost because whoever handed it in did not wait: the hash then no longer belongs to the bytes.
    has_gap: bool,
}

impl Pipeline {
    /// Goes on with what was staged before.
    pub(super) fn new(staged: Staged, running: Running, offset_bytes: u64) -> Self {
        let appending = Appending::new(Arc::new(staged), offset_bytes);
        Self {
            staged: Arc::clone(&appending.staged),
            written_bytes: Arc::clone(&appending.written_bytes),
            hashing: Lane::new(running),
            writing: Lane::new(appending),
            write_back: WriteBack { from_bytes: offset_bytes, syncing: None },
            has_gap: false,
        }
    }

    /// Hands a batch on; waits while there are too many already.
    pub(super) async fn push(&mut self, batch: Batch) -> Result<(), Error> {
        if std::mem::replace(&mut self.has_gap, true) {
            return Err(Error::Broken);
        }
        self.writing.wait(IN_FLIGHT - 1).await?;
        self.hashing.wait(IN_FLIGHT - 1).await?;
        self.write_back.advance(&self.staged, self.written_bytes.load(Ordering::Relaxed)).await?;
        let parts: Arc<[Bytes]> = batch.into_parts().into();
        self.writing.hand_on(Arc::clone(&parts));
        self.hashing.hand_on(parts);
        self.has_gap = false;
        Ok(())
    }

    /// Everything before `last` is in the hash and in the file, and no early write-back is running.
    pub(super) async fn finish(mut self, last: Batch) -> Result<Rest, Error> {
        if self.has_gap {
            return Err(Error::Broken);
        }
        let appending = self.writing.end().await?;
        let running = self.hashing.end().await?;
        self.write_back.wait().await?;
        Ok(Rest { appending, running, last })
    }
}

/// The last batch, still to be written.
pub(super) struct Rest {
    appending: Appending,
    running: Running,
    last: Batch,
}

impl Rest {
    /// Of an upload that has no other.
    pub(super) fn only(staged: Staged, running: Running, offset_bytes: u64, last: Batch) -> Self {
        Self { appending: Appending::new(Arc::new(staged), offset_bytes), running, last }
    }

    /// Everything is in the hash and in the file. Blocks: what is left is little, so it takes no second thread.
    pub(super) fn write(mut self) -> Result<(Arc<Staged>, Running), Error> {
        let parts = self.last.into_parts();
        if !parts.is_empty() {
            self.running.take(&parts)?;
            self.appending.take(&parts)?;
        }
        Ok((self.appending.staged, self.running))
    }
}

/// What is done with batches, in their order.
trait Work: Send + 'static {
    fn take(&mut self, parts: &[Bytes]) -> Result<(), Error>;
}

impl Work for Running {
    fn take(&mut self, parts: &[Bytes]) -> Result<(), Error> {
        parts.iter().for_each(|part| self.update(part));
        Ok(())
    }
}

/// Writes behind what has been written.
struct Appending {
    staged: Arc<Staged>,
    written_bytes: Arc<AtomicU64>,
}

impl Appending {
    fn new(staged: Arc<Staged>, offset_bytes: u64) -> Self {
        Self { staged, written_bytes: Arc::new(AtomicU64::new(offset_bytes)) }
    }
}

impl Work for Appending {
    fn take(&mut self, parts: &[Bytes]) -> Result<(), Error> {
        let at = self.written_bytes.load(Ordering::Relaxed);
        self.staged.append(parts, at)?;
        let len_bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        self.written_bytes.store(at + len_bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// A queue before a piece of work, which is done on a thread that may block while there is something to do. A failure ends it:
/// it is told once, and [`Error::Broken`] from then on.
struct Lane<W>(Arc<Shared<W>>);

struct Shared<W> {
    state: Mutex<State<W>>,
    /// Told when less is in flight. One waits at most: whoever has the lane.
    less: Notify,
}

struct State<W> {
    waiting: VecDeque<Arc<[Bytes]>>,
    work: At<W>,
}

enum At<W> {
    Rest(W),
    Work,
    Failed(Error),
    Gone,
}

impl<W: Work> Lane<W> {
    fn new(work: W) -> Self {
        let state = State { waiting: VecDeque::with_capacity(IN_FLIGHT), work: At::Rest(work) };
        Self(Arc::new(Shared { state: Mutex::new(state), less: Notify::new() }))
    }

    fn hand_on(&self, parts: Arc<[Bytes]>) {
        let mut state = self.0.lock();
        state.waiting.push_back(parts);
        state.work = match std::mem::replace(&mut state.work, At::Work) {
            At::Rest(work) => {
                let shared = Arc::clone(&self.0);
                tokio::task::spawn_blocking(move || shared.run(work));
                At::Work
            }
            other => other,
        };
    }

    /// Waits until no more than so many batches are in flight.
    async fn wait(&self, in_flight: usize) -> Result<(), Error> {
        while self.0.lock().in_flight()? > in_flight {
            self.0.less.notified().await;
        }
        Ok(())
    }

    /// Waits until everything is done, and gives what did it.
    async fn end(&self) -> Result<W, Error> {
        self.wait(0).await?;
        match std::mem::replace(&mut self.0.lock().work, At::Gone) {
            At::Rest(work) => Ok(work),
            _ => Err(Error::Broken),
        }
    }
}

impl<W: Work> Shared<W> {
    fn run(&self, mut work: W) {
        let mut state = self.lock();
        while let Some(parts) = state.waiting.pop_front() {
            drop(state);
            self.less.notify_one();
            let done = catch_unwind(AssertUnwindSafe(|| work.take(&parts)));
            drop(parts);
            state = self.lock();
            let lost =
                |_| Err(Error::Io { doing: "writing staged content", source: std::io::Error::other("it panicked") });
            if let Err(failure) = done.unwrap_or_else(lost) {
                state.waiting.clear();
                state.work = At::Failed(failure);
                self.less.notify_one();
                return;
            }
        }
        state.work = At::Rest(work);
        self.less.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> State<W> {
    fn in_flight(&mut self) -> Result<usize, Error> {
        match &self.work {
            At::Rest(_) => Ok(self.waiting.len()),
            At::Work => Ok(self.waiting.len() + 1),
            At::Gone => Err(Error::Broken),
            At::Failed(_) => match std::mem::replace(&mut self.work, At::Gone) {
                At::Failed(failure) => Err(failure),
                _ => Err(Error::Broken),
            },
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Work that says when it begins with a batch, and does with it what it is told.
    struct Told {
        begun: Sender<usize>,
        how: Receiver<Result<(), Error>>,
    }

    impl Work for Told {
        fn take(&mut self, parts: &[Bytes]) -> Result<(), Error> {
            self.begun.send(parts.len()).unwrap();
            self.how.recv().expect("nobody says how this is done")
        }
    }

    fn told() -> (Lane<Told>, Receiver<usize>, Sender<Result<(), Error>>) {
        let ((begun, begins), (tell, how)) = (channel(), channel());
        (Lane::new(Told { begun, how }), begins, tell)
    }

    /// Told apart by its number of parts.
    fn parts(number: usize) -> Arc<[Bytes]> {
        vec![Bytes::from_static(b"x"); number].into()
    }

    #[tokio::test]
    async fn a_lane_works_in_order_and_rests_in_between() {
        let (lane, begins, tell) = told();
        for round in 0..3 {
            for number in 1..=IN_FLIGHT {
                lane.wait(IN_FLIGHT - 1).await.unwrap();
                lane.hand_on(parts(number));
            }
            let is_full = lane.wait(IN_FLIGHT - 1);
            tokio::pin!(is_full);
            assert!(futures_util::poll!(&mut is_full).is_pending(), "round {round}: one more than there may be");
            for number in 1..=IN_FLIGHT {
                assert_eq!(begins.recv().unwrap(), number);
                tell.send(Ok(())).unwrap();
            }
            is_full.await.unwrap();
            lane.wait(0).await.unwrap();
        }
        assert!(lane.end().await.is_ok());
        assert!(matches!(lane.end().await, Err(Error::Broken)));
    }

    #[tokio::test]
    async fn a_failure_is_told_once_and_what_waited_behind_it_is_not_done() {
        let (lane, begins, tell) = told();
        lane.hand_on(parts(1));
        lane.hand_on(parts(2));
        tell.send(Err(Error::NoSpace)).unwrap();
        assert!(matches!(lane.wait(0).await, Err(Error::NoSpace)));
        lane.hand_on(parts(3));
        assert!(matches!(lane.wait(IN_FLIGHT).await, Err(Error::Broken)));
        assert!(matches!(lane.end().await, Err(Error::Broken)));
        assert_eq!(begins.try_iter().collect::<Vec<_>>(), [1]);
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let (lane, _begins, tell) = told();
        lane.hand_on(parts(1));
        drop(tell);
        assert!(matches!(lane.end().await, Err(Error::Io { .. })));
    }

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
