//! FT-04 and FT-05: every call that changes or reads the data directory fails once, with an I/O error and for want of space.
//!
//! A fixed script runs under a tracer that makes each thread's n-th call of one kind fail. Whoever asked is told so; what
//! was promised holds; the service goes on, at once or after a restart.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::actor::{Actor, Cut, Done, Fuse, Style};
use super::ledger::After;
use super::{GRACE, after_grace, eager, settle, verify};
use crate::harness::{Builder, Image, PATIENCE, Strace, Wharf, content};
use crate::only_in_the_embedded_run;

/// How many scripts run at the same time.
const AT_ONCE: usize = 6;

/// How often something is pushed before nothing can be pushed any more.
const TRIES: usize = 16;

/// The calls, and whether they can fail for want of space.
const CALLS: &[(&str, bool)] = &[
    ("pwritev", true),
    ("pwrite64", true),
    ("fsync", true),
    ("fdatasync", true),
    ("renameat", true),
    ("rename", true),
    ("openat2", true),
    ("unlinkat", false),
    ("unlink", false),
    ("ftruncate", true),
    ("fallocate", true),
    ("mkdirat", true),
    ("pread64", false),
];

/// Calls that other files need as well: they fail only on the database.
const CALLS_ON_THE_DATABASE: &[(&str, bool)] = &[("openat", true)];

#[derive(Clone, Debug)]
struct Fault {
    call: &'static str,
    error: &'static str,
    time: usize,
    on_the_database: bool,
}

/// FT-04, FT-05. Each kind of call at five of its times; with `WHARF_PROOF_FAULTS=fsync,openat2` these at every one, and
/// with `all` all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft04_every_call_fails_and_is_survived() {
    only_in_the_embedded_run!("fails system calls about the data directory");
    let begun = Instant::now();
    let mut faults = faults().await.into_iter();
    let mut running = tokio::task::JoinSet::new();
    let mut outcomes = BTreeMap::new();
    loop {
        while running.len() < AT_ONCE
            && let Some(fault) = faults.next()
        {
            running.spawn(fail(fault));
        }
        match running.join_next().await {
            Some(outcome) => *outcomes.entry(outcome.unwrap()).or_insert(0) += 1,
            None => break,
        }
    }
    println!("{outcomes:?} in {:?}", begun.elapsed());
    assert!(outcomes.contains_key("told"), "no request ever heard of a failure");
}

/// What can fail in the script, as often as it is called.
async fn faults() -> Vec<Fault> {
    let wish = std::env::var("WHARF_PROOF_FAULTS").unwrap_or_default();
    let all = !wish.is_empty();
    let mut faults = Vec::new();
    for (calls, on_the_database) in [(CALLS, false), (CALLS_ON_THE_DATABASE, true)] {
        let server = builder();
        let times = times(server, calls, on_the_database).await;
        for (call, can_lack_space) in calls {
            let Some(&last) = times.get(*call) else { continue };
            if all && wish != "all" && !wish.split(',').any(|wanted| wanted == *call) {
                continue;
            }
            let chosen = if all { (1..=last).collect() } else { spread(last) };
            for (number, time) in chosen.into_iter().enumerate() {
                let errors = match (all, can_lack_space) {
                    (_, false) => &["EIO"][..],
                    (true, true) => &["EIO", "ENOSPC"],
                    (false, true) => [&["EIO"][..], &["ENOSPC"]][number % 2],
                };
                faults.extend(errors.iter().map(|error| Fault { call, error, time, on_the_database }));
            }
        }
    }
    faults
}

/// First, last, and some between; the first ones happen while the server starts.
fn spread(last: usize) -> Vec<usize> {
    let mut times = vec![1, last.div_ceil(3), last.div_ceil(2), (last * 3).div_ceil(4), last];
    times.dedup();
    times
}

/// How often a thread makes each of `calls` in the script, at most.
async fn times(server: Builder, calls: &[(&'static str, bool)], on_the_database: bool) -> BTreeMap<String, usize> {
    let names: Vec<&str> = calls.iter().map(|(call, _)| *call).collect();
    let strace = about(Strace::of(&names.join(",")), server.data(), on_the_database);
    let mut server = strace.around(server).start();
    let mut actor = Actor::new(4, 0, 1, &server.client(), GRACE);
    script(&mut actor, &server).await;
    server.stop();
    let mut by_thread: BTreeMap<(String, u32), usize> = BTreeMap::new();
    for call in strace.calls() {
        *by_thread.entry((call.name, call.thread_id)).or_insert(0) += 1;
    }
    let mut times = BTreeMap::new();
    for ((call, _), count) in by_thread {
        let most = times.entry(call).or_insert(0);
        *most = count.max(*most);
    }
    times
}

fn about(strace: Strace, data: &Path, on_the_database: bool) -> Strace {
    let files = ["wharf.db", "wharf.db-wal", "wharf.db-shm", "wharf.db.new"].map(|name| data.join(name));
    if on_the_database { strace.about(files) } else { strace }
}

fn builder() -> Builder {
    eager().set("gc.enabled", "false").set("metadata.wal_max", "64KiB")
}

/// What became of one fault.
async fn fail(fault: Fault) -> &'static str {
    // Shown if what follows fails.
    println!("{fault:?}");
    let plain = builder();
    let strace = Strace::of(fault.call).inject(fault.call, fault.error, fault.time);
    let strace = about(strace, plain.data(), fault.on_the_database);
    let nowhere = crate::harness::Client::new(([127, 0, 0, 1], 1).into());
    let mut actors = [Actor::new(4, 0, 1, &nowhere, GRACE)];
    let outcome = match strace.around(plain.clone()).try_start() {
        Err(ended) => {
            assert!(ended.status.code().is_some(), "{fault:?}: the server ended with {}\n{}", ended.status, ended.log);
            "refused to start"
        }
        Ok(mut server) => live(&mut server, &mut actors[0], &fault).await,
    };
    let mut server = plain.start();
    verify(&server, &mut actors, After::Fault).await;
    settle(&mut server, &mut actors).await;
    server.stop();
    outcome
}

/// The script under the fault, and something after it.
async fn live(server: &mut Wharf, actor: &mut Actor, fault: &Fault) -> &'static str {
    actor.meet(&server.client(), &Fuse::endless());
    actor.bear_failures(true);
    let told = script(actor, server).await;
    // A process that cannot trust its log any more says so, or ends by itself; any other goes on.
    let last = blob(99, 100);
    let mut goes_on = false;
    let begun = Instant::now();
    for tried in 0.. {
        // Another thread may come to its n-th call only now; and after a probe that failed nothing is taken until the next
        // one.
        match actor.push_blob(&last, Style::Single).await {
            Ok(()) => goes_on = true,
            Err(Cut::Gone) if tried >= TRIES => break,
            Err(Cut::Gone) => {}
            Err(Cut::Failed) if begun.elapsed() > PATIENCE => break,
            Err(Cut::Failed) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        if goes_on && tried >= TRIES {
            break;
        }
    }
    actor.bear_failures(false);
    server.signal(rustix::process::Signal::TERM);
    let ended = server.ended();
    assert!(ended.status.code().is_some(), "{fault:?}: the server ended with {}\n{}", ended.status, ended.log);
    if !goes_on {
        // A log that could not be synced.
        assert_eq!(ended.status.code(), Some(5), "{fault:?}: nothing can be pushed any more\n{}", ended.log);
        return "ended by itself";
    }
    if told { "told" } else { "not noticed" }
}

/// Everything once; whether any of it failed.
async fn script(actor: &mut Actor, server: &Wharf) -> bool {
    let mut failed = false;
    for step in 0..STEPS {
        if let Err(cut) = perform(step, actor, server).await {
            failed = true;
            // A cut connection is the only way to say that a body cannot be read to its end.
            if cut == Cut::Gone {
                actor.meet(&server.client(), &Fuse::endless());
            }
        }
    }
    failed
}

const STEPS: usize = 12;

async fn perform(step: usize, actor: &mut Actor, server: &Wharf) -> Done {
    let (one, two, three) = (image(10), image(11), image(12));
    match step {
        0 => actor.push_blob(&blob(1, 3_000), Style::Single).await,
        1 => actor.push_blob(&blob(2, 3_000), Style::Monolithic).await,
        2 => actor.push_blob(&blob(3, 70_000), Style::Chunked).await,
        3 => actor.push_image(&one, Some("moving")).await,
        4 => actor.push_image(&two, Some("moving")).await,
        5 => actor.push_image(&three, Some("other")).await,
        6 if actor.ledger().has(&two.digest()) => actor.pull_image(&two).await,
        7 => actor.delete_blob(&three.digests()[0]).await,
        8 if actor.ledger().has(&two.digest()) => actor.delete_manifest(&two.digest()).await,
        9 if actor.ledger().is_restorable(&two.digest()) => actor.restore_manifest(&two.digest()).await,
        10 if actor.ledger().has(&three.digest()) => actor.delete_manifest(&three.digest()).await,
        11 => {
            after_grace().await;
            collect(server).await
        }
        _ => Ok(()),
    }
}

/// One run of the collector, to its end.
async fn collect(server: &Wharf) -> Done {
    let mut client = server.client();
    let run = crate::harness::Request::new("POST", "/api/v1/gc/run").body("");
    let reply = client.try_send(&run).await.map_err(|_| Cut::Gone)?;
    if reply.status != 202 {
        return Err(Cut::Failed);
    }
    let wanted = reply.json()["run"].as_u64().expect("the number of the run");
    loop {
        let status = crate::harness::Request::new("GET", "/api/v1/gc");
        let reply = client.try_send(&status).await.map_err(|_| Cut::Gone)?;
        if reply.status != 200 {
            return Err(Cut::Failed);
        }
        let status = reply.json();
        if status["completed_runs"].as_u64() >= Some(wanted) {
            return if status["last_error"].is_null() { Ok(()) } else { Err(Cut::Failed) };
        }
        tokio::time::sleep(GRACE / 50).await;
    }
}

fn blob(seed: u64, size_bytes: usize) -> Bytes {
    content(seed, size_bytes).into()
}

fn image(seed: u64) -> Arc<Image> {
    Arc::new(Image::small(seed, "amd64", 2_000))
}
