//! What came out, for programs and for people.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::Sizes;
use crate::measure::float;
use crate::work::{Unit, Work};

/// All that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of what the machine is made.
    pub machine: Machine,
    /// How often each work was measured at each target.
    pub rounds: usize,
    /// How long, in seconds.
    pub window_seconds: f64,
    /// The works.
    pub works: Vec<WorkReport>,
    /// What the servers took, as far as their process ids were given.
    pub memory: Vec<Memory>,
}

/// The machine that everything ran on, seen from the client.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Processors that the client may use.
    pub processors: usize,
    /// What they call themselves.
    pub model: String,
    /// The kernel's version.
    pub kernel: String,
    /// How TCP connections adapt to their path.
    pub congestion_control: String,
}

/// Memory of a server.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// Whose.
    pub target: String,
    /// Resident before anything was asked, in bytes.
    pub idle_bytes: Option<u64>,
    /// The most that was resident, in bytes.
    pub peak_bytes: Option<u64>,
}

/// One work.
#[derive(Debug, Serialize)]
pub struct WorkReport {
    /// The word that it is chosen by.
    pub name: &'static str,
    /// What it is.
    pub title: String,
    /// How many connections did it.
    pub connections: usize,
    /// What rates count: `bytes` or `operations`.
    pub unit: &'static str,
    /// By target.
    pub outcomes: Vec<Outcome>,
}

impl WorkReport {
    pub(crate) fn new(work: Work, sizes: &Sizes, outcomes: Vec<Outcome>) -> Self {
        let unit = match work.unit() {
            Unit::Bytes => "bytes",
            Unit::Operations => "operations",
        };
        Self { name: work.name(), title: work.title(sizes), connections: work.connections(), unit, outcomes }
    }

    /// A rate as people read it.
    pub fn rate_text(&self, rate: f64) -> String {
        if self.unit == "bytes" {
            let mib = rate / f64::from(1 << 20);
            return if mib < 1024.0 { format!("{mib:.0} MiB/s") } else { format!("{:.2} GiB/s", mib / 1024.0) };
        }
        if rate < 100.0 { format!("{rate:.1}/s") } else { format!("{rate:.0}/s") }
    }

    /// Processor time as people read it: seconds per GiB, or microseconds per operation.
    pub fn cpu_text(&self, cpu: f64) -> String {
        if self.unit == "bytes" { format!("{cpu:.3} s/GiB") } else { format!("{:.1} µs", cpu * 1_000.0) }
    }
}

/// One work at one target.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Which target.
    pub target: String,
    /// Bytes or operations a second, over the rounds.
    pub rate: Spread,
    /// Processor seconds of the server per GiB, or per 1,000 operations, over the rounds.
    pub cpu: Option<Spread>,
    /// How long operations took, over all rounds, in milliseconds.
    pub latency_ms: Quantiles,
    /// How many there were.
    pub operations: u64,
}

/// Several measurements of the same.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of at least one measurement.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Self { median, min: values[0], max: values[values.len() - 1] }
    }
}

/// Quantiles of a distribution, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    /// Half took no longer.
    pub p50: f64,
    /// 95 of 100 took no longer.
    pub p95: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// 999 of 1,000 took no longer.
    pub p999: f64,
    /// None took longer.
    pub max: f64,
}

impl Quantiles {
    pub(crate) fn of(micros: &Histogram<u64>) -> Self {
        let at = |quantile| float(micros.value_at_quantile(quantile)) / 1_000.0;
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

impl Machine {
    pub(crate) fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split(':').nth(1).map(|model| model.trim().to_owned()));
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            model: model.unwrap_or_else(|| "unknown".to_owned()),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control").trim().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_is_between_two() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of(vec![7.0]).median, 7.0);
    }
}
