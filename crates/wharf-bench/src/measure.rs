//! Rounds: each work at each target in turn, so that whatever else the machine does meets all of them.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::fixture::Fixture;
use crate::process;
use crate::report::{Outcome, Quantiles, Spread, WorkReport};
use crate::target::{Kind, Target};
use crate::work::{Recipes, Unit, Work, Worker};
use crate::{Error, Options};

/// Latencies are counted from 1 µs to 10 min with three digits.
const LATENCY_MAX_MICROS: u64 = 600_000_000;

/// What one work at one target came to in one round.
struct Window {
    /// Bytes or operations a second.
    rate: f64,
    /// Processor seconds of the server per GiB, or per 1,000 operations.
    cpu: Option<f64>,
    latencies: Histogram<u64>,
}

/// Measures all works at all targets.
pub(crate) fn run(
    options: &Options,
    targets: &[Target],
    fixture: &Fixture,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<WorkReport>, Error> {
    let recipes = Recipes::new(&options.sizes);
    let mut reports = Vec::new();
    for &work in &options.works {
        let able: Vec<&Target> = targets.iter().filter(|target| can(target, work)).collect();
        let mut windows: Vec<Vec<Window>> = able.iter().map(|_| Vec::new()).collect();
        for round in 0..options.rounds {
            for place in 0..able.len() {
                // Another one is first in each round.
                let place = (place + round) % able.len();
                progress(&format!("{}: round {} of {}, {}", work.name(), round + 1, options.rounds, able[place].name));
                let crew = Crew { options, target: able[place], fixture, recipes: &recipes, work, round };
                windows[place].push(crew.measure()?);
            }
        }
        let outcomes = able.iter().zip(windows).map(|(target, windows)| sum_up(&target.name, &windows)).collect();
        reports.push(WorkReport::new(work, &options.sizes, outcomes));
    }
    Ok(reports)
}

fn can(target: &Target, work: Work) -> bool {
    match target.kind {
        Kind::Registry => true,
        Kind::Files(_) if target.is_ceiling => {
            work.is_for_files() && work != Work::PullRange && work != Work::ManifestHead
        }
        Kind::Files(_) => work.is_for_files(),
    }
}

/// The connections that do one work at one target.
struct Crew<'a> {
    options: &'a Options,
    target: &'a Target,
    fixture: &'a Fixture,
    recipes: &'a Recipes,
    work: Work,
    round: usize,
}

/// What one connection did.
struct Share {
    bytes: u64,
    ended: Instant,
    latencies: Histogram<u64>,
}

impl Crew<'_> {
    fn measure(&self) -> Result<Window, Error> {
        let count = self.work.connections();
        // All connections and the one who holds the clock.
        let (ready, begin) = (Barrier::new(count + 1), Barrier::new(count + 1));
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..count)
                .map(|index| {
                    scope.spawn({
                        let (ready, begin) = (&ready, &begin);
                        move || self.work_on(index, ready, begin)
                    })
                })
                .collect();
            ready.wait();
            let cpu_before = self.target.pid.and_then(process::cpu);
            let began = Instant::now();
            begin.wait();
            let shares = workers.into_iter().map(|worker| worker.join().unwrap_or(Err(Error::Panicked)));
            let shares: Vec<Share> = shares.collect::<Result<_, _>>()?;
            let cpu = self
                .target
                .pid
                .and_then(process::cpu)
                .zip(cpu_before)
                .map(|(after, before)| after.saturating_sub(before));
            Ok(self.window(began, &shares, cpu))
        })
    }

    fn work_on(&self, index: usize, ready: &Barrier, begin: &Barrier) -> Result<Share, Error> {
        let mark = format!("{}-{}-{}-{index}", self.options.run, self.work.name(), self.round);
        let made = Worker::new(self.work, self.target, self.fixture, self.recipes, mark, index * 7);
        let warmed = made.and_then(|mut worker| self.warm_up(&mut worker, index).map(|()| worker));
        // Whoever failed must not let the others wait.
        ready.wait();
        begin.wait();
        let mut worker = warmed?;
        let mut latencies = histogram();
        let mut bytes = 0;
        let mut now = Instant::now();
        let until = now + self.options.window;
        while now < until {
            bytes += worker.step()?;
            let done = Instant::now();
            latencies.saturating_record(micros(done - now));
            now = done;
        }
        Ok(Share { bytes, ended: now, latencies })
    }

    fn warm_up(&self, worker: &mut Worker<'_>, index: usize) -> Result<(), Error> {
        let until = Instant::now() + self.options.warm_up;
        // One looks at everything, the others open their connections.
        if index == 0 {
            worker.verify()?
        } else {
            worker.step().map(|_| ())?
        }
        while Instant::now() < until {
            worker.step()?;
        }
        Ok(())
    }

    fn window(&self, began: Instant, shares: &[Share], cpu: Option<Duration>) -> Window {
        let ended = shares.iter().map(|share| share.ended).max().unwrap_or(began);
        let mut latencies = histogram();
        for share in shares {
            // Of the same bounds, so that all fits.
            let _ = latencies.add(&share.latencies);
        }
        let bytes: u64 = shares.iter().map(|share| share.bytes).sum();
        let (amount, per) = match self.work.unit() {
            Unit::Bytes => (float(bytes), float(1 << 30)),
            Unit::Operations => (float(latencies.len()), 1_000.0),
        };
        let seconds = (ended - began).as_secs_f64();
        let cpu = cpu.filter(|_| amount > 0.0).map(|cpu| cpu.as_secs_f64() / amount * per);
        Window { rate: amount / seconds, cpu, latencies }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_MICROS, 3).expect("the bounds are in order")
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Exact below 2^53, which is more than is ever counted here.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

fn sum_up(target: &str, windows: &[Window]) -> Outcome {
    let mut latencies = histogram();
    for window in windows {
        let _ = latencies.add(&window.latencies);
    }
    let cpu: Vec<f64> = windows.iter().filter_map(|window| window.cpu).collect();
    Outcome {
        target: target.to_owned(),
        rate: Spread::of(windows.iter().map(|window| window.rate).collect()),
        cpu: (!cpu.is_empty()).then(|| Spread::of(cpu)),
        latency_ms: Quantiles::of(&latencies),
        operations: latencies.len(),
    }
}
