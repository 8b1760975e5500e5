//! FT-01: sixteen clients do everything at once, and the process dies under them at a moment that a seed chooses.

use std::time::Duration;

use wharf_base::{Rng, SeededRng};

use super::actor::{Actor, Fuse};
use super::ledger::After;
use super::{GRACE, eager, seeds, settle, verify};

/// How many clients there are.
const ACTORS: u64 = 16;

/// How many lives a server has in a round.
const LIVES: u64 = 10;

/// Fifty kills; `WHARF_PROOF_KILL_ROUNDS=100` makes them a thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft01_kills_at_random_lose_nothing() {
    let (mut kills, mut promises, mut slowest) = (0, 0, Duration::ZERO);
    for seed in seeds("WHARF_PROOF_KILL_ROUNDS", 5) {
        promises += round(seed, &mut slowest).await;
        kills += LIVES;
    }
    println!("{kills} kills, {promises} promises kept; ready again after {slowest:?} at most");
    assert!(promises > 10 * kills, "the load was killed before it did anything");
}

/// One server through all of its lives; how many promises it made.
async fn round(seed: u64, slowest: &mut Duration) -> u64 {
    println!("seed {seed}");
    let rng = SeededRng::new(seed);
    let mut server = eager().start();
    let mut actors: Vec<Actor> =
        (0..ACTORS).map(|number| Actor::new(seed, number, ACTORS, &server.client(), GRACE)).collect();
    for _ in 0..LIVES {
        // From a life that hardly begins to one in which things become due.
        let fuse = Fuse::new(5 + draw(&rng, 1_800));
        let working = actors.drain(..).map(|mut actor| {
            actor.meet(&server.client(), &fuse);
            if server.is_shared() {
                // The database's server has other tests to answer as well, and may take too long.
                actor.try_again();
            }
            tokio::spawn(actor.work())
        });
        let working: Vec<_> = working.collect();
        fuse.burnt().await;
        server.kill9();
        for actor in working {
            actors.push(actor.await.expect("an actor"));
        }
        server.restart();
        *slowest = server.started_at().elapsed().max(*slowest);
        verify(&server, &mut actors, After::Kill).await;
    }
    settle(&mut server, &mut actors).await;
    server.stop();
    actors.iter_mut().map(|actor| actor.ledger().acknowledged()).sum()
}

/// A number below `bound`.
pub fn draw(rng: &SeededRng, bound: u64) -> u64 {
    let mut bytes = [0; 8];
    rng.fill(&mut bytes);
    u64::from_le_bytes(bytes) % bound
}
