//! FT-20: sixteen clients do everything at once, while everything that is not held goes a second later. Nothing fails that
//! was promised, and in the end the disk has what the ledgers say.

use std::time::{Duration, Instant};

use super::actor::Actor;
use super::ledger::After;
use super::{GRACE, eager, seeds, setting, settle, verify};

/// How many clients there are.
const ACTORS: u64 = 16;

/// For eight seconds; `WHARF_PROOF_SOAK_SECONDS=28800` makes it a working day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft20_nobody_notices_collection() {
    let seconds = setting("WHARF_PROOF_SOAK_SECONDS", 8);
    let seed = seeds("WHARF_PROOF_SOAK_ROUNDS", 1).next().expect("a seed");
    println!("seed {seed}");
    let mut server = eager().start();
    let until = Instant::now() + Duration::from_secs(seconds);
    let working = (0..ACTORS).map(|number| {
        let mut actor = Actor::new(seed, number, ACTORS, &server.client(), GRACE);
        // Most of what a look has promised.
        actor.think(GRACE * 3 / 4);
        tokio::spawn(actor.work_until(until))
    });
    let mut actors = Vec::new();
    for actor in working.collect::<Vec<_>>() {
        actors.push(actor.await.expect("an actor"));
    }
    assert!(Instant::now() >= until, "the server went away");
    verify(&server, &mut actors, After::Kill).await;
    settle(&mut server, &mut actors).await;
    let totals = server.client().get("/api/v1/gc").await.expect(200).json()["totals"].clone();
    let promises: u64 = actors.iter_mut().map(|actor| actor.ledger().acknowledged()).sum();
    println!("{promises} promises kept in {seconds} s; collected: {totals}");
    assert!(totals["removed"].as_u64().unwrap() > 0, "{totals}");
    assert!(actors.iter_mut().all(|actor| actor.ledger().strays().is_empty()), "nothing was cut off");
    server.stop();
}
