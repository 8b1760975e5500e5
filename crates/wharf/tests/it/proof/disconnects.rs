//! FT-30: clients hang up, at any byte of what they send and of what they are answered. What they had asked for happens
//! wholly or not at all, and nothing of them stays.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use wharf_base::SeededRng;

use super::actor::Actor;
use super::kills::draw;
use super::ledger::After;
use super::{GRACE, eager, seeds, settle, verify};
use crate::harness::{PATIENCE, Wharf};

/// How many clients hang up in a round.
const ACTORS: u64 = 125;

/// Five hundred; `WHARF_PROOF_HANG_UP_ROUNDS=160` makes them twenty thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft30_whoever_hangs_up_leaves_nothing_half_done() {
    let mut clients = 0;
    for seed in seeds("WHARF_PROOF_HANG_UP_ROUNDS", 4) {
        round(seed).await;
        clients += ACTORS;
    }
    println!("{clients} clients hung up");
}

async fn round(seed: u64) {
    println!("seed {seed}");
    let rng = SeededRng::new(seed);
    let mut server = eager().start();
    let before = descriptors(server.pid());
    let working: Vec<_> = (0..ACTORS)
        .map(|number| {
            let mut actor = Actor::new(seed, number, ACTORS, &server.client(), GRACE);
            actor.hang_up_after(draw(&rng, 12_000) as usize);
            tokio::spawn(actor.work())
        })
        .collect();
    let mut actors = Vec::new();
    for actor in working {
        actors.push(actor.await.expect("an actor"));
    }
    nothing_is_left_open(&server, before).await;
    // What was asked for and not waited for is done by now, one way or the other: an orderly end awaits it.
    server.restart();
    for actor in &mut actors {
        actor.hang_up_after(usize::MAX);
    }
    verify(&server, &mut actors, After::Kill).await;
    settle(&mut server, &mut actors).await;
    let held: BTreeSet<String> = actors.iter_mut().flat_map(|actor| actor.ledger().held()).collect();
    assert_eq!(server.kept().digests(), held, "nothing was killed: no content may be without a name");
    server.stop();
}

/// The connections are closed, and the files of uploads too.
async fn nothing_is_left_open(server: &Wharf, before: usize) {
    // Connections to what a registry is on were opened for all these clients and stay open: 16 to the embedded database, and others to
    // PostgreSQL and to a bucket, where no upload has a file.
    let is_open = || if server.is_shared() { connections(server) > 0 } else { descriptors(server.pid()) > before + 16 };
    let begun = Instant::now();
    while is_open() {
        let (open, from_clients) = (descriptors(server.pid()), connections(server));
        assert!(begun.elapsed() < PATIENCE, "{open} descriptors, {before} before, {from_clients} of clients");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many connections of clients the server has not closed.
fn connections(server: &Wharf) -> usize {
    const LISTENING: &str = "0A";
    const WAITING_FOR_LATE_PACKETS: &str = "06";
    let port = format!(":{:04X}", server.address().port());
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", server.pid())).expect("the kernel's connections");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.filter(|line| line[1].ends_with(&port) && ![LISTENING, WAITING_FOR_LATE_PACKETS].contains(&line[3])).count()
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")).expect("the server's descriptors").count()
}
