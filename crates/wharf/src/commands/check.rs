//! `wharf check`: asks a running registry, or looks at the data directory of one that does not run.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use wharf_base::{Spawner, SystemClock, SystemRng};
use wharf_policy::{Engine, Pattern};
use wharf_registry::{CheckOrder, Class, Depth, Finding, Parts, Registry, UnknownClass, Watch};

use super::load;
use super::remote::{pages, say};
use crate::app::{self, AppError};
use crate::cli::{CheckArgs, OutputArgs, SettingArgs};
use crate::client::Api;
use crate::config::Config;
use crate::error::{CommandError, Exit};
use crate::table::{self, text};

/// How often a check on a server is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Carries out the command.
pub(super) fn run(args: &CheckArgs) -> Result<(), CommandError> {
    if args.stop {
        Api::connect(&args.remote)?.delete("/check")?;
        return say(&args.remote.output, &json!({ "stopped": true }), "the check ends\n");
    }
    if args.status {
        let status = Api::connect(&args.remote)?.get("/check")?.json()?;
        return say(&args.remote.output, &status, &health(&status));
    }
    let mut outcome = match args.offline() {
        Some(settings) => offline(args, &settings)?,
        None => online(args)?,
    };
    outcome["dry_run"] = json!(args.dry_run);
    show(&outcome, &args.remote.output)
}

/// Has the server check itself, and waits for the end.
fn online(args: &CheckArgs) -> Result<Value, CommandError> {
    let api = Api::connect(&args.remote)?;
    let mode = if args.deep { "deep" } else { "fast" };
    let mut wish = json!({ "mode": mode });
    if let Some(pattern) = &args.repo {
        wish["repository"] = json!(pattern);
    }
    wish["repair"] = json!(args.repair);
    wish["dry_run"] = json!(args.dry_run);
    let number = api.write(Method::POST, "/check", &wish)?.json()?["number"].clone();
    let mut line = Line::default();
    let mut status = loop {
        let status = api.get("/check")?.json()?["check"].take();
        if status["number"] != number {
            return Err(CommandError::new(Exit::Refused, "the check is over, and another one has begun since"));
        }
        if status["running"] != true {
            break status;
        }
        line.say(&status);
        std::thread::sleep(POLL);
    };
    drop(line);
    status["findings"] = Value::Array(pages(&api, "/check/findings", None)?);
    Ok(status)
}

fn class(text: &str) -> Result<Class, CommandError> {
    let usage = |error: &dyn std::error::Error| CommandError::new(Exit::Usage, error.to_string());
    let class: Class = text.parse().map_err(|error: UnknownClass| usage(&error))?;
    class.repairable().map_err(|error| usage(&error))
}

/// Checks a data directory that nobody else uses.
fn offline(args: &CheckArgs, settings: &SettingArgs) -> Result<Value, CommandError> {
    let pattern = args.repo.as_deref().map(str::parse::<Pattern>).transpose();
    let repositories = pattern.map_err(|error| CommandError::new(Exit::Usage, error.to_string()))?;
    let depth = if args.deep { Depth::Deep } else { Depth::Fast };
    let repair = args.repair.iter().map(|text| class(text)).collect::<Result<_, _>>()?;
    let dry_run = args.dry_run;
    let order = CheckOrder { repositories, offline: true, repair, dry_run, ..CheckOrder::of(depth) };
    let config = load(settings)?.config;
    app::check_data(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandError::unexpected("starting the runtime", error))?;
    runtime.block_on(check_directory(&config, &order))
}

/// Looks at all of a registry that does not run, but for the bytes of its blobs.
pub(super) async fn whole(config: &Config) -> Result<Value, CommandError> {
    check_directory(config, &CheckOrder { offline: true, ..CheckOrder::of(Depth::Fast) }).await
}

async fn check_directory(config: &Config, order: &CheckOrder) -> Result<Value, CommandError> {
    let clock = Arc::new(SystemClock::new());
    let opened = app::open_offline(config, clock.clone()).await.map_err(refusal)?;
    let parts = Parts {
        meta: Arc::clone(&opened.meta),
        store: Arc::clone(&opened.store),
        policy: Arc::new(Engine::open()),
        clock,
        rng: Arc::new(SystemRng),
        spawner: Spawner::new(),
    };
    let registry = Registry::new(parts, config.use_cases());
    let (watch, begun) = (Watch::default(), Instant::now());
    let checking = registry.check(order, &watch);
    let done = watching(checking, || describe(order, &watch)).await;
    drop(registry);
    let closed = opened.close().await;
    closed?;
    let mut outcome = describe(order, &watch);
    if let Err(error) = done {
        outcome["error"] = json!(with_causes(&error));
    }
    outcome["seconds"] = json!(begun.elapsed().as_secs());
    outcome["findings"] = watch.report().findings.iter().map(finding).collect();
    Ok(outcome)
}

/// The error and what lies below it, on one line, as the server puts it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Waits for `work`, and says how far it is.
async fn watching<T>(work: impl Future<Output = T>, status: impl Fn() -> Value) -> T {
    let mut work = std::pin::pin!(work);
    let mut line = Line::default();
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(POLL) => line.say(&status()),
        }
    }
}

/// A server in the way is the one to ask.
fn refusal(error: AppError) -> CommandError {
    let is_in_use = matches!(&error, AppError::Store { source: wharf_store::OpenError::InUse { .. }, .. });
    let error = CommandError::from(error);
    if is_in_use {
        return error
            .with_hint("a registry runs on it; ask that one, without --data and --config: wharf check --server URL");
    }
    error
}

/// As the server describes a check.
fn describe(order: &CheckOrder, watch: &Watch) -> Value {
    let (progress, report) = (watch.progress(), watch.counts());
    let counts: serde_json::Map<String, Value> =
        report.counts.iter().map(|(class, count)| (class.to_string(), json!(count))).collect();
    json!({
        "mode": if order.depth == Depth::Deep { "deep" } else { "fast" },
        "repository": order.repositories.as_ref().map(Pattern::as_str),
        "stage": progress.stage.as_str(),
        "totals": {
            "blobs": progress.blobs,
            "bytes": progress.bytes,
            "manifests": progress.manifests,
            "rows": progress.rows,
            "files": progress.files,
        },
        "clean": report.is_clean(),
        "counts": counts,
        "notes": report.notes,
        "repaired": report.repaired,
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "class": finding.class.as_str(),
        "severity": finding.severity.as_str(),
        "subject": finding.subject,
        "problem": finding.problem,
        "affected": finding.affected,
        "advice": finding.advice,
        "repair": finding.repair,
        "repaired": finding.repaired,
    })
}

/// What was found, for people or programs.
fn show(outcome: &Value, output: &OutputArgs) -> Result<(), CommandError> {
    say(output, outcome, &report(outcome))?;
    verdict(outcome)
}

/// Findings are a failure of their own kind.
pub(super) fn verdict(outcome: &Value) -> Result<(), CommandError> {
    if let Some(error) = outcome["error"].as_str() {
        return Err(CommandError::new(Exit::Unexpected, format!("the check ended early: {error}"))
            .with_hint("what it had not reached may be damaged; run it again"));
    }
    if outcome["clean"] == true {
        return Ok(());
    }
    let counts = outcome["counts"].as_object();
    let found: u64 = counts.map_or(0, |counts| counts.values().filter_map(Value::as_u64).sum());
    Err(CommandError::new(Exit::Broken, format!("{found} findings"))
        .with_hint("each says what to do; see docs/check.md"))
}

fn report(outcome: &Value) -> String {
    let mut lines = Vec::new();
    let mut findings: Vec<&Value> = outcome["findings"].as_array().map_or_else(Vec::new, |all| all.iter().collect());
    let rank = |finding: &Value| match finding["severity"].as_str() {
        Some("error") => 0,
        Some("warning") => 1,
        _ => 2,
    };
    findings.sort_by_key(|finding| (rank(finding), finding["class"].as_str().unwrap_or_default().to_owned()));
    for finding in findings {
        let (severity, class) = (text(&finding["severity"]), text(&finding["class"]));
        lines.push(format!("{severity} {class}: {}", text(&finding["subject"])));
        lines.push(format!("    {}", text(&finding["problem"])));
        if finding["affected"].as_array().is_some_and(|affected| !affected.is_empty()) {
            lines.push(format!("    affected: {}", text(&finding["affected"])));
        }
        let repair = text(&finding["repair"]);
        match (finding["repaired"] == true, repair.is_empty()) {
            (true, _) => lines.push(format!("    repaired: {repair}")),
            (false, false) if outcome["dry_run"] == true => lines.push(format!("    would be repaired: {repair}")),
            _ => lines.push(format!("    {}", text(&finding["advice"]))),
        }
    }
    lines.push(looked_at(outcome));
    if outcome["repaired"].as_u64().is_some_and(|repaired| repaired > 0) {
        lines.push(format!("{} findings repaired", text(&outcome["repaired"])));
    }
    if outcome["clean"] == true && outcome["error"].is_null() {
        lines.push("clean: everything is as it should be".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

/// How what a server stores is doing.
fn health(status: &Value) -> String {
    let (check, scrub) = (&status["check"], &status["scrub"]);
    let last = match (check["running"].as_bool(), check["clean"] == true) {
        (None, _) => "none since the start".to_owned(),
        (Some(true), _) => format!("running ({})", text(&check["stage"])),
        (Some(false), true) => format!("{}, {}: clean", text(&check["ended_at"]), text(&check["mode"])),
        (Some(false), false) => format!("{}, {}: findings", text(&check["ended_at"]), text(&check["mode"])),
    };
    let since = scrub["verified_since"]
        .as_str()
        .map_or_else(|| "nothing is stored".to_owned(), |since| format!("everything read and hashed since {since}"));
    let period =
        if scrub["period"] == "0s" { "turned off".to_owned() } else { format!("every {}", text(&scrub["period"])) };
    let found = format!("{} blobs since the start, {} damaged", text(&scrub["blobs"]), text(&scrub["set_aside"]));
    let damaged = text(&status["set_aside"]);
    format!(
        "last check    {last}\nscrub         {period}: {found}\n              {since}\nset aside     {damaged} blobs wait for a push\n"
    )
}

fn looked_at(outcome: &Value) -> String {
    let totals = &outcome["totals"];
    let read = match totals["bytes"].as_u64() {
        Some(bytes) if outcome["mode"] == "deep" => format!(" ({} read)", table::size(bytes)),
        _ => String::new(),
    };
    format!(
        "looked at {} blobs{read}, {} manifests, {} other rows, {} files",
        text(&totals["blobs"]),
        text(&totals["manifests"]),
        text(&totals["rows"]),
        text(&totals["files"])
    )
}

/// One line of a terminal that says how far a check is, and is gone when it is over.
#[derive(Default)]
struct Line {
    shown: bool,
}

impl Line {
    fn say(&mut self, status: &Value) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[Kchecking {}: {}", text(&status["stage"]), looked_at(status));
            self.shown = true;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
