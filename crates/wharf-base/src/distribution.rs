use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long things took or how large they were: counted in buckets, cheap enough to be fed in every request.
#[derive(Debug)]
pub struct Distribution {
    /// Upper bounds, rising.
    bounds: &'static [f64],
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    sum_millionths: AtomicU64,
}

/// What a [`Distribution`] had seen at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct DistributionSnapshot {
    /// The sum of everything seen.
    pub sum: f64,
    /// Upper bounds of the buckets, each with how much was seen in it and in none before. The last has no bound:
    /// [`f64::MAX`].
    pub buckets: Vec<(f64, u64)>,
}

impl Distribution {
    /// Buckets for what takes from a tenth of a millisecond to a minute.
    pub const SECONDS: &'static [f64] =
        &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0];

    /// Nothing seen yet. `bounds` are upper bounds that belong to their bucket, and rise.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_millionths: AtomicU64::new(0) }
    }

    /// Counts a span of time, in seconds.
    pub fn observe(&self, span: Duration) {
        self.count(span.as_secs_f64(), u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts a number of things.
    pub fn observe_count(&self, count: u32) {
        self.count(f64::from(count), u64::from(count) * 1_000_000);
    }

    fn count(&self, value: f64, millionths: u64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_millionths.fetch_add(millionths, Ordering::Relaxed);
    }

    /// What was seen so far.
    pub fn snapshot(&self) -> DistributionSnapshot {
        let bounds = self.bounds.iter().copied().chain([f64::MAX]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        // Precise up to 2⁵³ millionths: 285 years.
        #[allow(clippy::cast_precision_loss)]
        let sum = self.sum_millionths.load(Ordering::Relaxed) as f64 / 1e6;
        DistributionSnapshot { sum, buckets: bounds.zip(counts).collect() }
    }
}
