//! How often something may be tried (S-029): a bucket for each key that fills up with tries and empties with time.
//!
//! Failed logins count by account *and* network, and by network alone: whoever attacks an account from one network shuts
//! out himself, and never its owner, who comes from another one (B-098).

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;

/// How many keys are known at once; the least used are forgotten.
const KEYS_MAX: usize = 100_000;

/// The network that an address belongs to: itself, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network(u128);

impl Network {
    pub(crate) fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self(0),
            Some(IpAddr::V4(address)) => Self(u128::from(address.to_bits()) | 1 << 32),
            Some(IpAddr::V6(address)) => Self(address.to_bits() >> 64 << 64),
        }
    }
}

/// Buckets of one size, by key. GCRA: what is kept of each is the time at which it will be empty.
pub(crate) struct Limit<K> {
    empties: Cache<K, Arc<Mutex<Duration>>>,
    /// What one try fills.
    step: Duration,
    /// How full a bucket may be.
    full: Duration,
}

impl<K: Eq + std::hash::Hash + Clone> Limit<K> {
    /// At most `burst` tries at once, and one more every `step` from then on.
    pub(crate) fn new(burst: u32, step: Duration) -> Self {
        Self { empties: Cache::new(KEYS_MAX), step, full: step * burst }
    }

    /// Counts a try.
    ///
    /// # Errors
    ///
    /// There is no room: for how long to wait. Nothing is counted then.
    pub(crate) fn take(&self, key: &K, now: Duration) -> Result<(), Duration> {
        let bucket = self.bucket(key);
        let mut empty_at = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let after = (*empty_at).max(now) + self.step;
        let over = after.saturating_sub(now).saturating_sub(self.full);
        if !over.is_zero() {
            return Err(over);
        }
        *empty_at = after;
        Ok(())
    }

    /// Takes a try back: it was none of those that are counted.
    pub(crate) fn give_back(&self, key: &K) {
        let bucket = self.bucket(key);
        let mut empty_at = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        *empty_at = empty_at.saturating_sub(self.step);
    }

    fn bucket(&self, key: &K) -> Arc<Mutex<Duration>> {
        let made: Result<_, std::convert::Infallible> = self.empties.get_or_insert_with(key, || Ok(Arc::default()));
        match made {
            Ok(bucket) => bucket,
            Err(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Limit, Network};

    #[test]
    fn s029_a_bucket_fills_with_tries_and_empties_with_time() {
        let limit = Limit::new(3, Duration::from_secs(10));
        let now = Duration::from_secs(1_000);
        for _ in 0..3 {
            assert_eq!(limit.take(&"a", now), Ok(()));
        }
        assert_eq!(limit.take(&"a", now), Err(Duration::from_secs(10)));
        assert_eq!(limit.take(&"b", now), Ok(()), "another key has its own");
        assert_eq!(limit.take(&"a", now + Duration::from_secs(9)), Err(Duration::from_secs(1)));
        assert_eq!(limit.take(&"a", now + Duration::from_secs(10)), Ok(()));
        limit.give_back(&"a");
        assert_eq!(limit.take(&"a", now + Duration::from_secs(10)), Ok(()));
        assert!(limit.take(&"a", now + Duration::from_secs(10)).is_err());
    }

    #[test]
    fn a_network_is_an_address_or_an_ipv6_64() {
        let network = |text: &str| Network::of(Some(text.parse().expect("an address")));
        assert_eq!(network("2001:db8::1"), network("2001:db8::2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_ne!(network("0.0.0.0"), Network::of(None));
    }
}
