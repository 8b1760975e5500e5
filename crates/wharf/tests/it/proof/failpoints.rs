//! FT-03: the process dies at every place that has a name.
//!
//! A fixed script of all that clients do runs through several lives of one server. Once it runs undisturbed and the places
//! it passes are written down; then once for each of them, with a kill there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::actor::{Actor, Cut, Done, Fuse, Style, repository};
use super::ledger::After;
use super::{GRACE, after_grace, eager, settle, verify};
use crate::harness::{Builder, Ended, Image, Kept, Wharf, content, sha256};

/// How many scripts run at the same time; most of their time they wait for a grace period to end.
const AT_ONCE: usize = 6;

/// Places that the script does not pass, and why.
const NOT_PASSED: &[(&str, &str)] = &[
    ("store.set_aside", "needs damaged content: the tests of checks"),
    ("store.brought_back", "needs content that was damaged for a while: the tests of checks"),
    ("registry.manifest-retired", "needs a rule about untagged manifests: the tests of retention"),
    ("registry.links-looked", "is passed by sweeps, once a week: the tests of races"),
    ("registry.orphans-found", "is passed by sweeps, once a week: the tests of races"),
];

/// The same on the embedded default.
const NOT_PASSED_EMBEDDED: &[(&str, &str)] = &[
    ("meta.sync", "is left out, not passed: SQLite syncs inside the commit"),
    ("store.sync-early", "needs a blob of more than 32 MiB"),
];

/// The same with PostgreSQL and a bucket.
const NOT_PASSED_SHARED: &[(&str, &str)] = &[
    ("bucket.parts-begun", "needs a blob of more than 8 MiB"),
    ("bucket.parts-sent", "the same"),
    ("bucket.completed", "the same"),
];

/// Where the names are that only one of both passes.
const EMBEDDED_ROOMS: [&str; 2] = ["wharf-store/src/directory", "wharf-meta/src/sqlite"];
const SHARED_ROOMS: [&str; 2] = ["wharf-store/src/bucket", "wharf-meta/src/postgres"];

/// One process after the other on one data directory.
const LIVES: usize = 3;

/// Where the process dies: in which life, at which place, the how manyth time.
#[derive(Clone, Debug)]
struct Kill {
    life: usize,
    place: String,
    time: u64,
}

struct World {
    builder: Builder,
    actors: [Actor; 2],
}

/// How the script ended.
enum Played {
    ToItsEnd,
    Killed(Ended),
}

impl World {
    fn new() -> Self {
        // A log of a few pages begins anew all the time.
        let builder = eager().set("gc.enabled", "false").set("metadata.wal_max", "4KiB");
        let nowhere = crate::harness::Client::new(([127, 0, 0, 1], 1).into());
        let actors = [0, 1].map(|number| Actor::new(3, number, 2, &nowhere, GRACE));
        Self { builder, actors }
    }

    /// The script through all of its lives, or to the kill; `watch` is added to what each life is started with.
    async fn play(&mut self, watch: impl Fn(Builder, usize) -> Builder) -> Played {
        for life in 0..LIVES {
            let builder = watch(self.builder.clone(), life);
            if life == 2 {
                plant(&self.builder);
            }
            let mut server = match builder.try_start() {
                Ok(server) => server,
                Err(ended) => return Played::Killed(ended),
            };
            for actor in &mut self.actors {
                actor.meet(&server.client(), &Fuse::endless());
            }
            if self.live(life, &server).await.is_err() {
                return Played::Killed(server.ended());
            }
            server.signal(rustix::process::Signal::TERM);
            let ended = server.ended();
            if !ended.status.success() {
                return Played::Killed(ended);
            }
        }
        Played::ToItsEnd
    }

    async fn live(&mut self, life: usize, server: &Wharf) -> Done {
        let [one, two] = &mut self.actors;
        match life {
            0 => {
                push(one).await?;
                share(two).await?;
                undo(one).await?;
                collect(one).await
            }
            1 => {
                // Nothing is owed to a session whose time is over.
                let location = one.begin_upload(&blob(90, 9_000)).await?;
                one.ledger().session_ending(&location);
                one.push_image(&image(20), None).await?;
                one.delete_manifest(&image(20).digest()).await?;
                // Nor are the blobs of that image promised any more.
                after_grace().await;
                Ok(())
            }
            _ => {
                one.restore_manifest(&image(20).digest()).await?;
                expire(server)?;
                one.push_sha512(&blob(91, 100)).await?;
                collect(one).await
            }
        }
    }
}

fn blob(seed: u64, size_bytes: usize) -> Bytes {
    content(seed, size_bytes).into()
}

fn image(seed: u64) -> Arc<Image> {
    Arc::new(Image::small(seed, "amd64", 2_000))
}

/// Every style of pushing, and a session that is given up.
async fn push(actor: &mut Actor) -> Done {
    actor.push_blob(&blob(1, 3_000), Style::Single).await?;
    actor.push_blob(&blob(2, 3_000), Style::Monolithic).await?;
    actor.push_blob(&blob(3, 70_000), Style::Chunked).await?;
    actor.push_blob(&blob(3, 70_000), Style::Monolithic).await?;
    let location = actor.begin_upload(&blob(4, 3_000)).await?;
    actor.cancel_upload(&location).await?;
    actor.push_image(&image(10), Some("moving")).await?;
    actor.push_image(&image(11), Some("moving")).await?;
    actor.push_image(&image(12), Some("other")).await
}

/// What another repository has.
async fn share(actor: &mut Actor) -> Done {
    let shared = Bytes::from(image(10).layers[0].clone());
    actor.mount(&shared, &repository(0)).await?;
    // A look at what the collector would soon look at moves that.
    tokio::time::sleep(GRACE / 4).await;
    actor.have_blob(&shared).await?;
    actor.push_image(&image(10), None).await?;
    actor.pull_image(&image(10)).await
}

/// Deletions, and what takes them back.
async fn undo(actor: &mut Actor) -> Done {
    actor.restore_tag("moving", &image(10).digest()).await?;
    actor.delete_tag("other").await?;
    actor.delete_blob(&image(12).digests()[0].clone()).await?;
    actor.delete_manifest(&image(11).digest()).await?;
    actor.restore_manifest(&image(11).digest()).await?;
    actor.delete_manifest(&image(12).digest()).await
}

/// What nobody holds goes.
async fn collect(actor: &mut Actor) -> Done {
    after_grace().await;
    actor.collect_to_the_end().await
}

/// The time of open sessions is over. And two states that only bad luck leaves: content that is condemned while a deletion
/// can still be undone, and content that had lost its row, but not its bytes, when the process ended.
fn plant(world: &Builder) {
    let second = 1_000_000;
    let now = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap();
    let mut changes = vec![
        format!("update uploads set expires_at_us = {now} where state = 'open'"),
        format!("update deleted_manifests set restorable_until_us = {}", now + 3600 * second),
    ];
    for digest in image(20).digests() {
        changes.push(format!("delete from gc_reviews where digest = '{digest}'"));
        changes.push(format!(
            "delete from repository_blobs where blob_id = (select id from blobs where digest = '{digest}')"
        ));
        let due = now + 10 * second;
        changes.push(format!("update blobs set state = 'deleting', delete_after_us = {due} where digest = '{digest}'"));
    }
    let bytes = blob(92, 500);
    let (digest, key) = (sha256(&bytes), Kept::by(world.data()).leave(&bytes));
    changes.push(format!(
        "insert into gc_removals (key, digest, reason, size_bytes, due_at_us)
         values ('{key}', '{digest}', 'collected', 500, 0)"
    ));
    world.tamper(&changes.join("; "));
}

/// The session of the life before has expired, and the new process has found that out.
fn expire(server: &Wharf) -> Done {
    if server.log_says("upload sessions expired") { Ok(()) } else { Err(Cut::Gone) }
}

/// FT-03.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft03_the_process_dies_at_every_place_that_has_a_name() {
    let passed = passed().await;
    let is_shared = World::new().builder.is_shared();
    let (not_passed, not_ours) =
        if is_shared { (NOT_PASSED_SHARED, EMBEDDED_ROOMS) } else { (NOT_PASSED_EMBEDDED, SHARED_ROOMS) };
    let known = names_in_the_source(&not_ours);
    let reached: BTreeSet<&str> = passed.keys().map(|(_, place)| place.as_str()).collect();
    let left_out: BTreeSet<&str> = NOT_PASSED.iter().chain(not_passed).map(|(place, _)| *place).collect();
    let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    let missing: BTreeSet<&str> = known.difference(&reached).copied().collect();
    assert_eq!(missing, left_out, "what the script does not pass");

    let mut kills = kills(&passed).into_iter().enumerate();
    let begun = Instant::now();
    let mut count = 0;
    let mut running = tokio::task::JoinSet::new();
    loop {
        while running.len() < AT_ONCE
            && let Some((_, kill)) = kills.next()
        {
            count += 1;
            running.spawn(die(kill));
        }
        match running.join_next().await {
            Some(died) => died.unwrap(),
            None => break,
        }
    }
    println!("{count} kills at {} places in {:?}", reached.len(), begun.elapsed());
}

/// How often each place is passed, by life.
async fn passed() -> BTreeMap<(usize, String), u64> {
    let directory = tempfile::tempdir().unwrap();
    let trace = |life: usize| directory.path().join(life.to_string());
    let mut world = World::new();
    match world.play(|builder, life| builder.env("WHARF_FAILPOINT_TRACE", trace(life))).await {
        Played::ToItsEnd => {}
        Played::Killed(ended) => {
            panic!("the server ended with {} although nobody killed it\n{}", ended.status, ended.log)
        }
    }
    let mut passed = BTreeMap::new();
    for life in 0..LIVES {
        for place in std::fs::read_to_string(trace(life)).unwrap().lines() {
            *passed.entry((life, place.to_owned())).or_insert(0) += 1;
        }
    }
    passed
}

/// Each place once, at its first or at its last time; with `WHARF_PROOF_FAILPOINTS=all` at both, in each life.
fn kills(passed: &BTreeMap<(usize, String), u64>) -> Vec<Kill> {
    let all = std::env::var("WHARF_PROOF_FAILPOINTS").is_ok_and(|which| which == "all");
    let mut seen = BTreeSet::new();
    let mut kills = Vec::new();
    for (number, ((life, place), &times)) in passed.iter().enumerate() {
        if !all && !seen.insert(place) {
            continue;
        }
        let both = [1, times];
        let chosen = if all { &both[..] } else { &both[number % 2..=number % 2] };
        for &time in chosen.iter().take(if times == 1 { 1 } else { 2 }) {
            kills.push(Kill { life: *life, place: place.clone(), time });
        }
    }
    kills
}

/// The script to the kill; then everything is as it was promised, nothing is left over, and work goes on.
async fn die(kill: Kill) {
    // Shown if what follows fails.
    println!("{kill:?}");
    let mut world = World::new();
    let wish = format!("{}=kill@{}", kill.place, kill.time);
    let played = world.play(|builder, life| if life == kill.life { builder.failpoints(&wish) } else { builder }).await;
    match played {
        Played::Killed(ended) => {
            let signal = std::os::unix::process::ExitStatusExt::signal(&ended.status);
            assert_eq!(signal, Some(6), "{kill:?}: the server ended with {}\n{}", ended.status, ended.log);
        }
        // What happens beside the requests may happen less often the next time.
        Played::ToItsEnd => assert!(kill.time > 1, "{kill:?} was never passed"),
    }
    let mut server = world.builder.clone().start();
    verify(&server, &mut world.actors, After::Kill).await;
    settle(&mut server, &mut world.actors).await;
    let [one, two] = &mut world.actors;
    push(one).await.expect("a server that runs");
    share(two).await.expect("a server that runs");
    settle(&mut server, &mut world.actors).await;
    server.stop();
}

/// Every name that the source gives to a place, but for those of these directories.
fn names_in_the_source(but: &[&str]) -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = BTreeSet::new();
    for room in ["wharf-store", "wharf-meta", "wharf-registry"] {
        collect_names(&crates.join(room).join("src"), but, &mut names);
    }
    assert!(names.len() > 20, "{names:?}");
    names
}

fn collect_names(directory: &Path, but: &[&str], names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if but.iter().any(|other| path.ends_with(other)) {
            continue;
        }
        if path.is_dir() {
            collect_names(&path, but, names);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let starts = ["\"store.", "\"bucket.", "\"meta.", "\"registry."];
        let calls = ["failpoint::reach(", "failpoint::arrive(", "failpoint::skips(", "sync("];
        for line in text.lines().filter(|line| calls.iter().any(|call| line.contains(call))) {
            let quoted = line.split('"').skip(1).step_by(2);
            let named = quoted.filter(|text| starts.iter().any(|start| format!("\"{text}").starts_with(start)));
            names.extend(named.map(str::to_owned));
        }
    }
}
