//! What a server's processes take, as Linux tells.

use std::fs;
use std::time::Duration;

/// Processor time of the process and all below it, up to now; `None` when there is no such process.
///
/// From `schedstat`, in nanoseconds; a thread that has ended takes its part with it, so windows should be short.
pub(crate) fn cpu(pid: u32) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for task in tasks(pid)? {
        let stat = fs::read_to_string(format!("/proc/{pid}/task/{task}/schedstat")).unwrap_or_default();
        let nanoseconds = stat.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        sum += Duration::from_nanos(nanoseconds);
    }
    Some(children(pid).into_iter().filter_map(cpu).fold(sum, |sum, child| sum + child))
}

/// The most memory that the process and all below it have had resident, in bytes, each at its own time.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    memory(pid, "VmHWM:")
}

/// The memory that they have resident now, in bytes.
pub(crate) fn resident_memory(pid: u32) -> Option<u64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024 + children(pid).into_iter().filter_map(|child| memory(child, field)).sum::<u64>())
}

fn tasks(pid: u32) -> Option<Vec<u32>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    Some(tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect())
}

fn children(pid: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for task in tasks(pid).unwrap_or_default() {
        let listed = fs::read_to_string(format!("/proc/{pid}/task/{task}/children")).unwrap_or_default();
        children.extend(listed.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    children
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_used_time_and_memory() {
        let pid = std::process::id();
        assert!(super::cpu(pid).is_some_and(|cpu| !cpu.is_zero()));
        assert!(super::peak_memory(pid) > Some(100_000));
        assert!(super::resident_memory(pid) > Some(100_000));
        assert_eq!(super::cpu(u32::MAX), None);
    }
}
