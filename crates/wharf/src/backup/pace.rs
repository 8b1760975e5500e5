use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;
use wharf_base::ByteSize;

/// Makes all who share it wait, so that together they take no more than a rate.
#[derive(Debug)]
pub(crate) struct Pace {
    /// `None` for as fast as it goes.
    bytes_per_s: Option<u64>,
    /// When what was taken so far may have been taken.
    paid_until: Mutex<Instant>,
}

impl Pace {
    /// At most `rate` a second; without one, no wait at all.
    pub(crate) fn new(rate: Option<ByteSize>) -> Self {
        Self { bytes_per_s: rate.map(|rate| rate.as_u64().max(1)), paid_until: Mutex::new(Instant::now()) }
    }

    /// Waits until `bytes` more have had their time. What was not taken earlier is not made up for.
    pub(crate) async fn take(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_s else { return };
        let cost = Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / rate);
        let until = {
            let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
            *paid_until = (*paid_until).max(Instant::now()) + cost;
            *paid_until
        };
        tokio::time::sleep_until(until).await;
    }

    /// How many bytes may share a sync: `most`, or what the rate gives in a tenth of a second.
    pub(crate) fn batch_bytes(&self, most: u64) -> u64 {
        self.bytes_per_s.map_or(most, |rate| most.min(rate / 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_together_keep_to_the_rate() {
        let (pace, begun) = (Pace::new(Some(ByteSize::bytes(1_000_000))), Instant::now());
        tokio::join!(pace.take(500_000), pace.take(500_000), pace.take(1_000_000));
        assert_eq!(begun.elapsed().as_millis(), 2_000);
        // A pause is not made up for.
        tokio::time::sleep(Duration::from_secs(10)).await;
        pace.take(100_000).await;
        assert_eq!(begun.elapsed().as_millis(), 12_100);
        Pace::new(None).take(usize::MAX).await;
        assert_eq!(begun.elapsed().as_millis(), 12_100);
        assert_eq!((pace.batch_bytes(16_000), pace.batch_bytes(16_000_000)), (16_000, 100_000));
    }
}
