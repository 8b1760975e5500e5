//! How much of each class of work is done at once (`reliability` §9.2). Work is admitted or refused at the door, before a body
//! is read; what is admitted ends. Who finds all places taken waits, for a bounded time in a queue of bounded length,
//! because many clients retry badly; then the answer is 429.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wharf_base::Rng;

use crate::class::Class;
use crate::limits::Source;

/// `[server.at_once]`: how many requests of a kind are answered at once; more of them wait for a moment, and then are
/// answered 429. Unset: the figure in the text for every two processors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AtOnce {
    /// Manifests, tags, referrers, HEAD of blobs, the catalog: 256.
    pub reads: Option<u32>,
    /// Blobs on their way out: 512.
    pub downloads: Option<u32>,
    /// Blobs on their way in: 128.
    pub uploads: Option<u32>,
    /// Pushes of manifests, deletions: 64.
    pub commits: Option<u32>,
    /// Requests to the administration API: 32.
    pub admin: Option<u32>,
}

impl AtOnce {
    /// Relations that cannot hold; empty when all is well.
    pub(crate) fn check(&self) -> Vec<String> {
        let keys = [
            ("reads", self.reads),
            ("downloads", self.downloads),
            ("uploads", self.uploads),
            ("commits", self.commits),
            ("admin", self.admin),
        ];
        let empty = keys.into_iter().filter(|(_, limit)| *limit == Some(0));
        empty.map(|(key, _)| format!("server.at_once.{key} must be at least 1")).collect()
    }
}

/// The gates of all classes.
pub(crate) struct Gates {
    gates: [Option<Arc<Gate>>; Class::ALL.len()],
}

/// A place at work; free again when dropped.
pub(crate) struct Permit {
    gate: Arc<Gate>,
    source: Source,
    _place: OwnedSemaphorePermit,
}

struct Gate {
    places: Arc<Semaphore>,
    size: u32,
    queue_max: u32,
    wait_max: Duration,
    sources: Mutex<Sources>,
    /// Changed under the lock of `sources` only; where nobody waits, nobody needs that lock to see it.
    waiting_in_all: AtomicU32,
    refused: AtomicU64,
}

/// Who is at work and who waits, by source.
#[derive(Default)]
struct Sources {
    working: HashMap<Source, u32>,
    waiting: HashMap<Source, u32>,
}

impl Gates {
    pub(crate) fn new(at_once: &AtOnce) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, |cores| u32::try_from(cores.get()).unwrap_or(2));
        let scale = (cores / 2).max(1);
        let gate = |configured: Option<u32>, usual: u32, queue_max: u32, wait_secs: u64| {
            let size = configured.unwrap_or(usual.saturating_mul(scale)).max(1);
            Some(Arc::new(Gate::new(size, queue_max, Duration::from_secs(wait_secs))))
        };
        let gates = Class::ALL.map(|class| match class {
            Class::Health | Class::Login => None,
            Class::Read => gate(at_once.reads, 256, 512, 1),
            Class::Download => gate(at_once.downloads, 512, 256, 2),
            Class::Upload => gate(at_once.uploads, 128, 128, 2),
            Class::Commit => gate(at_once.commits, 64, 256, 5),
            Class::Admin => gate(at_once.admin, 32, 64, 2),
        });
        Self { gates }
    }

    /// A place for a request of `class` from `source`; `None` where there is no limit.
    ///
    /// # Errors
    ///
    /// How long the client should wait before it asks again: from 1 to 5 s, not the same for everybody.
    pub(crate) async fn enter(&self, class: Class, source: Source, rng: &dyn Rng) -> Result<Option<Permit>, Duration> {
        let Some(gate) = self.gate(class) else { return Ok(None) };
        match gate.enter(source).await {
            Some(permit) => Ok(Some(permit)),
            None => {
                gate.refused.fetch_add(1, Ordering::Relaxed);
                let mut byte = [0];
                rng.fill(&mut byte);
                Err(Duration::from_secs(1 + u64::from(byte[0] % 5)))
            }
        }
    }

    /// Requests of `class` that are at work; `None` where nobody counts.
    pub(crate) fn working(&self, class: Class) -> Option<u64> {
        self.gate(class).map(|gate| u64::from(gate.size).saturating_sub(gate.places.available_permits() as u64))
    }

    /// Requests of `class` that were refused.
    pub(crate) fn refused(&self, class: Class) -> Option<u64> {
        self.gate(class).map(|gate| gate.refused.load(Ordering::Relaxed))
    }

    fn gate(&self, class: Class) -> Option<&Arc<Gate>> {
        self.gates[class as usize].as_ref()
    }
}

impl Gate {
    fn new(size: u32, queue_max: u32, wait_max: Duration) -> Self {
        let places = Arc::new(Semaphore::new(size as usize));
        Self {
            places,
            size,
            queue_max,
            wait_max,
            sources: Mutex::default(),
            waiting_in_all: AtomicU32::new(0),
            refused: AtomicU64::new(0),
        }
    }

    async fn enter(self: &Arc<Self>, source: Source) -> Option<Permit> {
        if self.is_over_share(source) {
            return None;
        }
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(self.begin(source, place));
        }
        let waiting = Waiting::begin(self, source)?;
        let place = tokio::time::timeout(self.wait_max, Arc::clone(&self.places).acquire_owned()).await;
        drop(waiting);
        place.ok()?.ok().map(|place| self.begin(source, place))
    }

    /// One source may have all places as long as nobody else wants any; while others wait, half of them.
    fn is_over_share(&self, source: Source) -> bool {
        if self.waiting_in_all.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let sources = self.sources();
        let waiting_in_all = self.waiting_in_all.load(Ordering::Relaxed);
        let others_waiting = waiting_in_all - sources.waiting.get(&source).copied().unwrap_or(0);
        others_waiting > 0 && sources.working.get(&source).copied().unwrap_or(0) >= self.size.div_ceil(2)
    }

    fn begin(self: &Arc<Self>, source: Source, place: OwnedSemaphorePermit) -> Permit {
        *self.sources().working.entry(source).or_insert(0) += 1;
        Permit { gate: Arc::clone(self), source, _place: place }
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        count_down(&mut self.gate.sources().working, self.source);
    }
}

/// A place in the queue; free again when dropped, also when the client is gone.
struct Waiting<'a> {
    gate: &'a Gate,
    source: Source,
}

impl<'a> Waiting<'a> {
    fn begin(gate: &'a Gate, source: Source) -> Option<Self> {
        let mut sources = gate.sources();
        if gate.waiting_in_all.load(Ordering::Relaxed) >= gate.queue_max {
            return None;
        }
        gate.waiting_in_all.fetch_add(1, Ordering::Relaxed);
        *sources.waiting.entry(source).or_insert(0) += 1;
        drop(sources);
        Some(Self { gate, source })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut sources = self.gate.sources();
        self.gate.waiting_in_all.fetch_sub(1, Ordering::Relaxed);
        count_down(&mut sources.waiting, self.source);
    }
}

fn count_down(counts: &mut HashMap<Source, u32>, source: Source) {
    if let Some(count) = counts.get_mut(&source) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::of([192, 0, 2, last].into())
    }

    fn gate(size: u32, queue_max: u32) -> Arc<Gate> {
        Arc::new(Gate::new(size, queue_max, Duration::from_secs(2)))
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_for_one_and_not_for_ever() {
        let gate = gate(1, 1);
        let first = gate.enter(source(1)).await.expect("an empty gate");
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter(source(1)).await.is_some() }
        });
        tokio::task::yield_now().await;
        let asked = tokio::time::Instant::now();
        assert!(gate.enter(source(1)).await.is_none(), "the queue is full");
        assert_eq!(asked.elapsed(), Duration::ZERO, "and nobody waits for a place in it");
        drop(first);
        assert!(waiting.await.expect("a task"), "a place became free");

        let _first = gate.enter(source(1)).await.expect("an empty gate");
        assert!(gate.enter(source(1)).await.is_none(), "nobody left");
        let (sources, waiting_in_all) = (gate.sources(), gate.waiting_in_all.load(Ordering::Relaxed));
        assert_eq!((waiting_in_all, sources.waiting.len(), sources.working.len()), (0, 0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_source_has_everything_while_nobody_else_wants_any() {
        let gate = gate(4, 8);
        let mut places = Vec::new();
        for _ in 0..4 {
            places.push(gate.enter(source(1)).await.expect("nobody else is there"));
        }
        let other = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter(source(2)).await }
        });
        tokio::task::yield_now().await;
        let asked = tokio::time::Instant::now();
        assert!(gate.enter(source(1)).await.is_none(), "somebody else waits");
        assert_eq!(asked.elapsed(), Duration::ZERO, "it did not get into the queue before them");
        places.pop();
        assert!(other.await.expect("a task").is_some());
    }
}
