//! What a request costs replicas and their database: processor time of each, and statements, for one replica, two and three.
//!
//! Processor time is counted rather than requests a second, because the machine that runs this has all of them, and its clients too.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use wharf_testkit::PostgresServer;

use crate::harness::{Client, Cluster, Image, cpu_time};

/// Clients at a time, each on connections of its own to one of the replicas.
const CLIENTS: u64 = 6;

/// Images that each client pushes and pulls.
const IMAGES: u64 = 60;

/// So often each image is pulled.
const PULLS: u64 = 10;

/// What one request costs.
struct Cost {
    replica: Duration,
    database: Duration,
}

/// Prints a row for one, two and three replicas.
pub async fn table() {
    println!("| replicas | pull: replica | pull: database | push: replica | push: database |\n|---|---|---|---|---|");
    for count in 1..=3 {
        let server = PostgresServer::start(None);
        let cluster = Arc::new(Cluster::over(server.database(), count, |_, builder| builder).await);
        let push = measure(&server, &cluster, CLIENTS * IMAGES, push).await;
        let pull = measure(&server, &cluster, CLIENTS * IMAGES * PULLS, pull).await;
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        println!(
            "| {count} | {:.0} µs | {:.0} µs | {:.0} µs | {:.0} µs |",
            micros(pull.replica),
            micros(pull.database),
            micros(push.replica),
            micros(push.database)
        );
    }
}

async fn measure<W>(
    server: &PostgresServer,
    cluster: &Arc<Cluster>,
    requests: u64,
    work: impl Fn(Client, u64) -> W + Copy + Send + 'static,
) -> Cost
where
    W: Future<Output = ()> + Send + 'static,
{
    // Nobody begins before everybody is there, and connections of the database are open.
    let barrier = Arc::new(Barrier::new(usize::try_from(CLIENTS).expect("few clients") + 1));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let replica = usize::try_from(number).expect("few clients") % cluster.replicas.len();
            let (mut client, barrier) = (cluster.client_of(replica), Arc::clone(&barrier));
            tokio::spawn(async move {
                client.get("/v2/_catalog").await.expect(200);
                barrier.wait().await;
                work(client, number).await;
            })
        })
        .collect();
    let of_replicas = || cluster.replicas.iter().map(|replica| cpu_time(replica.pid())).sum::<Duration>();
    let of_database = || server.processes().into_iter().map(cpu_time).sum::<Duration>();
    barrier.wait().await;
    let (replicas, database) = (of_replicas(), of_database());
    for client in clients {
        client.await.expect("a client");
    }
    let requests = u32::try_from(requests).expect("fewer requests");
    Cost { replica: (of_replicas() - replicas) / requests, database: (of_database() - database) / requests }
}

fn repository(client: u64) -> String {
    format!("load/client-{client}")
}

/// Images of one layer, each new.
async fn push(mut client: Client, number: u64) {
    for image in 0..IMAGES {
        let pushed = Image::small(number << 32 | image, "amd64", 4_000);
        pushed.push(&mut client, &repository(number), &format!("v{image}")).await;
    }
}

/// Manifests by their tag: what asks the database and nobody else.
async fn pull(mut client: Client, number: u64) {
    for image in (0..IMAGES).cycle().take(usize::try_from(IMAGES * PULLS).expect("fewer pulls")) {
        client.get(&format!("/v2/{}/manifests/v{image}", repository(number))).await.expect(200);
    }
}
