//! FT-15: sixty-four clients do everything at once to three replicas behind a balancer, and every few seconds one of them dies and
//! comes back. Whatever was acknowledged stays, and whatever failed may be tried again.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use wharf_testkit::PostgresServer;

use super::actor::{Actor, Fuse};
use super::ledger::After;
use super::{GRACE, seeds, setting};
use crate::collection::{collect_all, hasten};
use crate::harness::{Cluster, Wharf};

const ACTORS: u64 = 64;
const REPLICAS: usize = 3;

/// How long a replica lives until the next one dies.
const KILL_EVERY: Duration = Duration::from_secs(5);

/// For sixteen seconds; `WHARF_PROOF_REPLICA_SECONDS=60` makes it a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft15_replicas_die_and_nothing_is_lost() {
    let seconds = setting("WHARF_PROOF_REPLICA_SECONDS", 16);
    let seed = seeds("WHARF_PROOF_REPLICA_ROUNDS", 1).next().expect("a seed");
    println!("seed {seed}");
    // Whoever has looked up where content lies still reads it when another client's push has replaced it.
    let mut cluster =
        Cluster::with(REPLICAS, |_, builder| hasten(builder, "1s", "5s").set("registry.delete_tags", "true")).await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let working = let_work(&cluster, ACTORS, seed, until);
    let mut kills = 0;
    while Instant::now() + KILL_EVERY < until {
        tokio::time::sleep(KILL_EVERY).await;
        let number = kills % REPLICAS;
        cluster.replicas[number].kill9();
        tokio::task::block_in_place(|| cluster.restart(number));
        kills += 1;
    }
    let (mut actors, failures) = gather(working).await;
    // Sessions that somebody wrote to who died.
    cluster.let_leases_end();
    verify_cluster(&cluster, &mut actors).await;
    collect_all(&mut cluster.client_of(0)).await;
    verify_cluster(&cluster, &mut actors).await;
    let promises: u64 = actors.iter_mut().map(|actor| actor.ledger().acknowledged()).sum();
    println!("{kills} kills in {seconds} s, {failures} requests failed, {promises} promises kept");
    assert!(kills > 1 && failures > 0, "nobody noticed anything");
    assert!(promises > 100, "the load did nothing");
    for replica in &mut cluster.replicas {
        replica.stop();
    }
}

/// FT-12: the database's server dies under load as a machine does, and comes back. Nobody restarts anything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft12_the_database_server_dies_and_nothing_is_lost() {
    let seconds = setting("WHARF_PROOF_DATABASE_SECONDS", 12);
    let seed = seeds("WHARF_PROOF_REPLICA_ROUNDS", 1).next().expect("a seed");
    println!("seed {seed}");
    let server = PostgresServer::start(None);
    let cluster = Cluster::over(server.database(), REPLICAS, |_, builder| {
        hasten(builder, "1s", "5s").set("registry.delete_tags", "true")
    })
    .await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let working = let_work(&cluster, ACTORS / 4, seed, until);
    let mut deaths = 0;
    while Instant::now() + KILL_EVERY < until {
        tokio::time::sleep(KILL_EVERY).await;
        tokio::task::block_in_place(|| {
            server.crash();
            server.start_again();
        });
        deaths += 1;
    }
    let (mut actors, failures) = gather(working).await;
    cluster.let_leases_end();
    verify_cluster(&cluster, &mut actors).await;
    let promises: u64 = actors.iter_mut().map(|actor| actor.ledger().acknowledged()).sum();
    println!("{deaths} deaths of the server in {seconds} s, {failures} requests failed, {promises} promises kept");
    assert!(deaths > 0 && promises > 100, "the load did nothing");
    // It ends before the server does that it needs.
    drop(cluster);
}

/// Every replica agrees with everything that the actors know, and the check with itself.
pub async fn verify_cluster(cluster: &Cluster, actors: &mut [Actor]) {
    let mut clients: Vec<_> = cluster.replicas.iter().map(Wharf::client).collect();
    for (number, actor) in actors.iter_mut().enumerate() {
        let count = clients.len();
        let client = &mut clients[number % count];
        actor.meet(client, &Fuse::endless());
        actor.ledger().verify(client, After::Kill).await;
    }
    crate::check::sound(&cluster.replicas[0]);
}

/// Clients that try again what fails, until then.
pub fn let_work(cluster: &Cluster, actors: u64, seed: u64, until: Instant) -> Vec<JoinHandle<(Actor, u64)>> {
    let working = (0..actors).map(|number| {
        let mut actor = Actor::new(seed, number, actors, &cluster.client(), GRACE);
        actor.try_again();
        tokio::spawn(actor.work_through(until))
    });
    working.collect()
}

/// The clients when they have stopped, and how many of their requests failed.
pub async fn gather(working: Vec<JoinHandle<(Actor, u64)>>) -> (Vec<Actor>, u64) {
    let (mut actors, mut failures) = (Vec::new(), 0);
    for actor in working {
        let (actor, failed) = actor.await.expect("an actor");
        failures += failed;
        actors.push(actor);
    }
    (actors, failures)
}
