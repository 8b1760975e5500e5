//! Memory that requests take their buffers from. Whoever finds none waits, without reading from the client; so a
//! crowd makes everybody slower, and nothing larger.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wharf_base::ByteSize;

use crate::Error;

/// How long a request waits for memory before it is told to come again.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// What is counted.
const UNIT_BYTES: u64 = 1 << 10;

/// A share of the memory; free again when dropped.
#[derive(Debug)]
pub struct Share(#[allow(dead_code, reason = "it is there to be dropped")] OwnedSemaphorePermit);

/// So much, and no more at any one time.
#[derive(Debug)]
pub(crate) struct Memory {
    free: Arc<Semaphore>,
    units: u32,
}

impl Memory {
    pub(crate) fn new(size: ByteSize) -> Self {
        let units = units_of(size.as_u64());
        Self { free: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// So many bytes of it, or all of it for whoever wants more than there is.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]: others have had it for too long.
    pub(crate) async fn take(&self, bytes: u64) -> Result<Share, Error> {
        let wanted = units_of(bytes).min(self.units);
        match tokio::time::timeout(WAIT_MAX, Arc::clone(&self.free).acquire_many_owned(wanted)).await {
            Ok(Ok(permit)) => Ok(Share(permit)),
            Ok(Err(_)) | Err(_) => Err(Error::OutOfMemory),
        }
    }
}

fn units_of(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).clamp(1, 1 << 30)
}

/// 512 MiB, or two fifths of what this process may have if that is less; at least 64 MiB.
pub(crate) fn default_size() -> ByteSize {
    let limit = memory_limit().map_or(u64::MAX, |limit| limit / 5 * 2);
    ByteSize::bytes(limit.clamp(64 << 20, 512 << 20))
}

/// What the control group allows, or what the machine has; `None` where neither says.
fn memory_limit() -> Option<u64> {
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse().ok());
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    group.into_iter().chain(machine).min()
}

/// `MemTotal:       16384000 kB`
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn r081_whoever_finds_none_waits_and_gets_what_becomes_free() {
        let memory = Arc::new(Memory::new(ByteSize::mib(3)));
        let first = memory.take(2 << 20).await.unwrap();
        let waiting = tokio::spawn({
            let memory = Arc::clone(&memory);
            async move { memory.take(2 << 20).await }
        });
        tokio::time::sleep(WAIT_MAX / 2).await;
        assert!(!waiting.is_finished());
        drop(first);
        let second = waiting.await.unwrap().unwrap();
        assert!(matches!(memory.take(2 << 20).await, Err(Error::OutOfMemory)));
        drop(second);
        let all = memory.take(u64::MAX).await.unwrap();
        assert!(matches!(memory.take(0).await, Err(Error::OutOfMemory)), "even the smallest share is one");
        drop(all);
        memory.take(3 << 20).await.unwrap();
    }

    #[test]
    fn what_the_machine_has_is_read() {
        assert_eq!(total_of("MemFree: 1 kB\nMemTotal:       16384000 kB\n"), Some(16_777_216_000));
        assert_eq!(total_of("MemTotal: many\n"), None);
        assert!((64..=512).contains(&(default_size().as_u64() >> 20)));
    }
}
