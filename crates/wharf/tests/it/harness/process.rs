//! What the kernel says about a process's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes in a mebibyte.
pub const MIB: u64 = 1 << 20;

/// Memory of one process at one moment, from `/proc/<pid>/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident pages of every kind.
    pub resident_bytes: u64,
    /// Resident pages that no file backs.
    pub anonymous_bytes: u64,
    /// The most that was ever resident.
    pub high_water_bytes: u64,
}

impl Memory {
    /// The figures of process `pid`, which must be alive.
    pub fn of(pid: u32) -> Self {
        Self::read(pid).expect("the process's memory figures")
    }

    fn read(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
        };
        Some(Self {
            resident_bytes: field("VmRSS:")?,
            anonymous_bytes: field("RssAnon:")?,
            high_water_bytes: field("VmHWM:")?,
        })
    }
}

/// CPU time that the threads which a process has now have had.
pub fn cpu_time(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process's threads");
    let nanoseconds = threads.map_while(Result::ok).filter_map(|thread| {
        // A thread that ends meanwhile is gone.
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// Samples a process's resident memory every 50 ms until it is asked for the greatest figure.
pub struct MemoryWatch {
    done: Arc<AtomicBool>,
    greatest_bytes: Arc<AtomicU64>,
    sampler: JoinHandle<()>,
}

impl MemoryWatch {
    /// How often it looks.
    const INTERVAL: Duration = Duration::from_millis(50);

    /// Begins to watch process `pid`.
    pub fn start(pid: u32) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let greatest_bytes = Arc::new(AtomicU64::new(0));
        let (stop, greatest) = (Arc::clone(&done), Arc::clone(&greatest_bytes));
        let sampler = std::thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                if let Some(memory) = Memory::read(pid) {
                    greatest.fetch_max(memory.resident_bytes, Ordering::AcqRel);
                }
                std::thread::park_timeout(Self::INTERVAL);
            }
        });
        Self { done, greatest_bytes, sampler }
    }

    /// The greatest resident size seen.
    pub fn stop(self) -> u64 {
        self.done.store(true, Ordering::Release);
        self.sampler.thread().unpark();
        self.sampler.join().expect("the memory sampler");
        self.greatest_bytes.load(Ordering::Acquire)
    }
}
