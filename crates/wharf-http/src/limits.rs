//! How much one client may have: connections and requests.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;

/// Sources that a rate is kept for; the least used is forgotten, which only ever favours the client.
const SOURCES_MAX: usize = 16_384;

/// How long a quiet source saves up for: its burst is what its rate makes of this time.
const BURST_NS: u64 = 10_000_000_000;

/// Whose share it is: an address, for IPv6 its /64, which is what one customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Self(IpAddr::V6(Ipv6Addr::from(network)))
            }
            address => Self(address),
        }
    }
}

/// Requests a second and source, by the generic cell rate algorithm: one number a source, the time at which its
/// bucket is empty again.
pub(crate) struct RateLimit {
    interval_ns: u64,
    buckets: Cache<Source, Arc<AtomicU64>>,
}

impl RateLimit {
    /// `None` when there is no limit.
    pub(crate) fn new(requests_per_second: u32) -> Option<Self> {
        let interval_ns = 1_000_000_000_u64.checked_div(u64::from(requests_per_second))?;
        Some(Self { interval_ns, buckets: Cache::new(SOURCES_MAX) })
    }

    /// Takes one request's share.
    ///
    /// # Errors
    ///
    /// How long to wait when there is none left.
    pub(crate) fn take(&self, source: Source, now: Duration) -> Result<(), Duration> {
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let found = self.buckets.get_or_insert_with(&source, || Ok::<_, std::convert::Infallible>(Arc::default()));
        let Ok(bucket) = found;
        let taken = bucket.fetch_update(Ordering::AcqRel, Ordering::Acquire, |full_until_ns| {
            let next = full_until_ns.max(now_ns).saturating_add(self.interval_ns);
            (next - now_ns <= BURST_NS).then_some(next)
        });
        taken.map(drop).map_err(|full_until_ns| {
            Duration::from_nanos((full_until_ns.saturating_add(self.interval_ns) - now_ns).saturating_sub(BURST_NS))
        })
    }
}

/// Open connections, in all and by source.
#[derive(Clone)]
pub(crate) struct Connections {
    open: Arc<Mutex<Open>>,
    max: u32,
    max_per_source: u32,
}

#[derive(Default)]
struct Open {
    total: u32,
    by_source: HashMap<Source, u32>,
}

/// A place for one connection; free again when dropped.
pub(crate) struct Place {
    open: Arc<Mutex<Open>>,
    source: Source,
}

impl Connections {
    pub(crate) fn new(max: u32, max_per_source: u32) -> Self {
        Self { open: Arc::default(), max, max_per_source }
    }

    /// How many are open.
    pub(crate) fn open(&self) -> u32 {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    /// A place for a connection from `peer`, if there is one.
    pub(crate) fn admit(&self, peer: IpAddr) -> Option<Place> {
        let source = Source::of(peer);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let from_source = open.by_source.get(&source).copied().unwrap_or(0);
        if open.total >= self.max || from_source >= self.max_per_source {
            return None;
        }
        open.total += 1;
        open.by_source.insert(source, from_source + 1);
        Some(Place { open: Arc::clone(&self.open), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(count) = open.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.by_source.remove(&self.source);
            }
        }
    }
}
