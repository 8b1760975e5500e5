//! `wharf bench`: measures registries of any make, side by side.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wharf_base::{ByteSize, Rng as _, SystemRng};
use wharf_bench::{Error, Login, Options, Report, Server, Sizes, WORKS, Work, WorkReport};

use super::print;
use super::remote::print_json;
use crate::cli::BenchArgs;
use crate::error::{CommandError, Exit};
use crate::table;

/// Where the password is, so that it is in no list of processes.
const PASSWORD: &str = "WHARF_BENCH_PASSWORD";

/// Carries out the command.
pub(super) fn run(args: &BenchArgs) -> Result<(), CommandError> {
    if args.list {
        return list(args);
    }
    let run = run_id();
    let ceiling = args.limit.then(|| Scratch::new(&run)).transpose()?;
    let options = options(args, &run, ceiling.as_ref())?;
    let mut line = Line::default();
    let report = wharf_bench::run(&options, &mut |doing| line.say(doing)).map_err(failed)?;
    drop(line);
    if let Some(path) = &args.svg {
        let written = fs::write(path, wharf_bench::picture(&report));
        written.map_err(|error| CommandError::unexpected(format!("writing {}", path.display()), error))?;
    }
    if args.json {
        return print_json(&serde_json::to_value(&report).unwrap_or_default());
    }
    print(&tables(&report))
}

fn list(args: &BenchArgs) -> Result<(), CommandError> {
    let sizes = sizes(args)?;
    let items: Vec<Value> = WORKS
        .iter()
        .map(|work| json!({ "name": work.name(), "title": work.title(&sizes), "connections": work.connections() }))
        .collect();
    print(&table::render(&[("WORK", "name"), ("WHAT IT DOES", "title"), ("CONNECTIONS", "connections")], &items))
}

fn options(args: &BenchArgs, run: &str, ceiling: Option<&Scratch>) -> Result<Options, CommandError> {
    Ok(Options {
        servers: servers(args)?,
        works: works(args)?,
        rounds: usize::from(args.rounds),
        window: args.time,
        warm_up: args.warm_up,
        sizes: sizes(args)?,
        login: login(args)?,
        ca: args.ca.clone(),
        run: run.to_owned(),
        ceiling: ceiling.map(|scratch| scratch.0.clone()),
    })
}

fn sizes(args: &BenchArgs) -> Result<Sizes, CommandError> {
    let bytes = |flag: &str, size: ByteSize| match usize::try_from(size.as_u64()) {
        Ok(bytes) if (4 << 10..=64 << 30).contains(&bytes) => Ok(bytes),
        _ => Err(usage(format!("--{flag} {size} is not from 4 KiB to 64 GiB"))),
    };
    Ok(Sizes {
        large_bytes: bytes("large", args.large)?,
        huge_bytes: bytes("huge", args.huge)?,
        tags: args.tags as usize,
        ..Sizes::default()
    })
}

fn works(args: &BenchArgs) -> Result<Vec<Work>, CommandError> {
    let known = |name: &String| WORKS.into_iter().find(|work| work.name() == name);
    if let Some(unknown) = args.only.iter().chain(&args.skip).find(|name| known(name).is_none()) {
        return Err(
            usage(format!("there is no work called {unknown:?}")).with_hint("name all with `wharf bench --list`")
        );
    }
    let is_wanted = |work: &Work| {
        let named = |names: &[String]| names.iter().any(|name| name == work.name());
        if args.only.is_empty() { !named(&args.skip) } else { named(&args.only) }
    };
    let works: Vec<Work> = WORKS.into_iter().filter(is_wanted).collect();
    if works.is_empty() { Err(usage("no work is left to be measured".to_owned())) } else { Ok(works) }
}

fn servers(args: &BenchArgs) -> Result<Vec<Server>, CommandError> {
    let mut servers = Vec::new();
    for given in &args.servers {
        let (name, url) = named(given);
        servers.push(Server { name: name.to_owned(), url: url.to_owned(), files: None, pid: None });
    }
    for given in &args.files {
        let (name, rest) = named(given);
        let (url, directory) = rest.rsplit_once(',').ok_or_else(|| {
            usage(format!("--files {given} names no directory"))
                .with_hint("write --files nginx=http://127.0.0.1:8080,/srv/files")
        })?;
        let files = Some(PathBuf::from(directory));
        servers.push(Server { name: name.to_owned(), url: url.to_owned(), files, pid: None });
    }
    for given in &args.pid {
        let of = given.split_once('=').and_then(|(name, pid)| Some((name, pid.parse().ok()?)));
        let (name, pid) = of.ok_or_else(|| usage(format!("--pid {given} is not NAME=PID")))?;
        let server = servers.iter_mut().find(|server| server.name == name);
        server.ok_or_else(|| usage(format!("--pid {given}: no server is called {name:?}")))?.pid = Some(pid);
    }
    Ok(servers)
}

/// `NAME=URL`, or a URL that is its own name.
fn named(given: &str) -> (&str, &str) {
    match given.split_once('=') {
        Some((name, url)) if !name.contains("://") => (name, url),
        _ => (given, given),
    }
}

fn login(args: &BenchArgs) -> Result<Option<Login>, CommandError> {
    let Some(user) = args.user.clone() else { return Ok(None) };
    let password = std::env::var(PASSWORD).map_err(|_| {
        usage(format!("--user {user} has no password"))
            .with_hint(format!("put it into the environment variable {PASSWORD}"))
    })?;
    Ok(Some(Login { user, password }))
}

fn usage(message: String) -> CommandError {
    CommandError::new(Exit::Usage, message)
}

fn failed(error: Error) -> CommandError {
    let exit = match &error {
        Error::Url { .. } | Error::Tls(_) => Exit::Usage,
        Error::Connect { .. } | Error::Broke { .. } => Exit::Unreachable,
        Error::Wrong { .. } => Exit::Refused,
        Error::Write { .. } | Error::Listen(_) | Error::Panicked => Exit::Unexpected,
    };
    CommandError::from_source(exit, error)
}

/// Different in each run, so that nothing that is pushed has been there before.
fn run_id() -> String {
    let mut random = [0; 6];
    SystemRng.fill(&mut random);
    hex::encode(random)
}

/// A directory that goes when the run is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(run: &str) -> Result<Self, CommandError> {
        let path = std::env::temp_dir().join(format!("wharf-bench-{run}"));
        let made = fs::create_dir(&path);
        made.map_err(|error| CommandError::unexpected(format!("making {}", path.display()), error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in the directory for such things.
        let _ = fs::remove_dir_all::<&Path>(&self.0);
    }
}

/// The line on the terminal that says what is being done; nothing anywhere else.
#[derive(Default)]
struct Line {
    is_drawn: bool,
}

impl Line {
    fn say(&mut self, doing: &str) {
        if std::io::stderr().is_terminal() {
            self.is_drawn = true;
            let _ = write!(std::io::stderr(), "\r\x1b[K{doing}");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_drawn {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn tables(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "{} x {}, Linux {}, {}; {} rounds of {} s, median [least - most]\n",
        machine.processors,
        machine.model,
        machine.kernel,
        machine.congestion_control,
        report.rounds,
        report.window_seconds
    );
    for work in &report.works {
        let plural = if work.connections == 1 { "" } else { "s" };
        text.push_str(&format!("\n{} ({}, {} connection{plural})\n", work.title, work.name, work.connections));
        text.push_str(&outcomes(work));
    }
    if !report.memory.is_empty() {
        let size = |bytes: Option<u64>| bytes.map(table::size);
        let rows: Vec<Value> = report
            .memory
            .iter()
            .map(|memory| json!({ "server": memory.target, "idle": size(memory.idle_bytes), "peak": size(memory.peak_bytes) }))
            .collect();
        text.push_str("\nmemory\n");
        text.push_str(&table::render(&[("SERVER", "server"), ("BEFORE", "idle"), ("PEAK", "peak")], &rows));
    }
    text
}

fn outcomes(work: &WorkReport) -> String {
    let rows: Vec<Value> = work
        .outcomes
        .iter()
        .map(|outcome| {
            let (rate, latency) = (outcome.rate, outcome.latency_ms);
            let spread = format!("[{} - {}]", work.rate_text(rate.min), work.rate_text(rate.max));
            json!({
                "server": outcome.target,
                "rate": work.rate_text(rate.median),
                "spread": spread,
                "cpu": outcome.cpu.map(|cpu| work.cpu_text(cpu.median)),
                "p50": milliseconds(latency.p50),
                "p95": milliseconds(latency.p95),
                "p99": milliseconds(latency.p99),
                "p999": milliseconds(latency.p999),
            })
        })
        .collect();
    let columns = [
        ("SERVER", "server"),
        ("RATE", "rate"),
        ("", "spread"),
        ("SERVER CPU", "cpu"),
        ("P50 MS", "p50"),
        ("P95", "p95"),
        ("P99", "p99"),
        ("P99.9", "p999"),
    ];
    table::render(&columns, &rows)
}

fn milliseconds(time: f64) -> String {
    if time < 100.0 { format!("{time:.2}") } else { format!("{time:.0}") }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn a_url_with_a_query_is_not_taken_for_a_name() {
        assert_eq!(named("wharf=http://127.0.0.1:5000"), ("wharf", "http://127.0.0.1:5000"));
        assert_eq!(named("http://host/?a=b"), ("http://host/?a=b", "http://host/?a=b"));
    }
}
