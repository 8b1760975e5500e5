//! A load generator for registries of any make, side by side, in interleaved rounds of one run.
//!
//! It knows nothing of Wharf: what it measures is what any client sees. Everything that it reads is hashed or compared
//! once a round, and its status and length always, so that a wrong answer is a failure and not a fast answer.

mod ceiling;
mod content;
mod fixture;
mod measure;
mod picture;
mod process;
mod records;
mod report;
mod target;
mod wire;
mod work;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::fixture::Fixture;
use crate::target::{Kind, Target};

pub use picture::picture;
pub use report::{Machine, Memory, Outcome, Quantiles, Report, Spread, WorkReport};
pub use work::{Unit, WORKS, Work};

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// At which servers.
    pub servers: Vec<Server>,
    /// Which works.
    pub works: Vec<Work>,
    /// How often each at each server, at least once.
    pub rounds: usize,
    /// For how long each time.
    pub window: Duration,
    /// For how long before that, without being measured.
    pub warm_up: Duration,
    /// How large things are.
    pub sizes: Sizes,
    /// Who asks, where somebody is asked.
    pub login: Option<Login>,
    /// Certificates of authorities to believe instead of the system's.
    pub ca: Option<PathBuf>,
    /// Makes this run's repository and content different from all others'; letters, digits and dashes.
    pub run: String,
    /// Where a web server that does nothing finds what it serves, to show what the client itself can do; `None`: it is not
    /// shown.
    pub ceiling: Option<PathBuf>,
}

/// A server to be measured.
#[derive(Clone, Debug)]
pub struct Server {
    /// What it is called in the report.
    pub name: String,
    /// Where it is: scheme, host, port.
    pub url: String,
    /// The directory that it serves, if it is a web server of files and no registry.
    pub files: Option<PathBuf>,
    /// Its process, if its processor time and memory are to be measured too.
    pub pid: Option<u32>,
}

/// Who asks.
#[derive(Clone)]
pub struct Login {
    /// The account.
    pub user: String,
    /// Its password, or a token in the place of it.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How large things are.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// A large blob, in bytes.
    pub large_bytes: usize,
    /// A huge blob, in bytes.
    pub huge_bytes: usize,
    /// A small blob, in bytes; at least 32.
    pub small_bytes: usize,
    /// A layer of a small image, in bytes; at least 32.
    pub layer_bytes: usize,
    /// How many tags there are to be listed.
    pub tags: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { large_bytes: 64 << 20, huge_bytes: 256 << 20, small_bytes: 4 << 10, layer_bytes: 64 << 10, tags: 1_000 }
    }
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    /// A server's address is none.
    #[error("{url:?} is no server's URL: {reason}")]
    Url { url: String, reason: String },
    /// TLS cannot be spoken.
    #[error("TLS cannot be spoken: {0}")]
    Tls(String),
    /// Nobody listens there.
    #[error("{url} cannot be reached")]
    Connect { url: String, source: io::Error },
    /// The connection ended in the middle.
    #[error("the connection to {url} broke")]
    Broke { url: String, source: io::Error },
    /// It answers, but not as a registry does.
    #[error("{url}: {what}")]
    Wrong { url: String, what: String },
    /// A file for a web server could not be written.
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// No port for the web server that shows the client's own limit.
    #[error("no port of this machine can be listened on")]
    Listen(#[source] io::Error),
    /// A bug.
    #[error("a connection's thread ended in a panic; please report this")]
    Panicked,
}

impl Error {
    /// Whether the server may simply have closed a connection that it thought idle.
    pub(crate) fn is_broken_off(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        matches!(self, Self::Broke { source, .. } if matches!(source.kind(), BrokenPipe | ConnectionReset | UnexpectedEof))
    }
}

/// Measures. `progress` is told what is being done, a short line each time.
///
/// # Errors
///
/// The first [`Error`] of any server: figures of a server that gives wrong answers are worth nothing.
pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Report, Error> {
    let mut targets = Vec::new();
    for server in &options.servers {
        let kind = server.files.clone().map_or(Kind::Registry, Kind::Files);
        targets.push(Target::new(&server.name, &server.url, kind, server.pid, options)?);
    }
    if let Some(directory) = &options.ceiling {
        let address = ceiling::serve(directory.clone()).map_err(Error::Listen)?;
        let kind = Kind::Files(directory.clone());
        let target = Target::new("client's limit", &format!("http://{address}"), kind, None, options)?;
        targets.push(target.ceiling());
    }
    let idle: Vec<_> = targets.iter().map(|target| target.pid.and_then(process::resident_memory)).collect();
    let fixture = Fixture::new(&options.run, &options.sizes, &options.works);
    for target in &targets {
        let (mut done, all) = (0, fixture.objects());
        fixture.place(target, || {
            done += 1;
            progress(&format!("{}: {done} of {all} objects are there", target.name));
        })?;
    }
    let works = measure::run(options, &targets, &fixture, progress)?;
    let memory = targets.iter().zip(idle).filter(|(target, _)| target.pid.is_some()).map(|(target, idle_bytes)| {
        Memory { target: target.name.clone(), idle_bytes, peak_bytes: target.pid.and_then(process::peak_memory) }
    });
    Ok(Report {
        machine: Machine::here(),
        rounds: options.rounds,
        window_seconds: options.window.as_secs_f64(),
        memory: memory.collect(),
        works,
    })
}
