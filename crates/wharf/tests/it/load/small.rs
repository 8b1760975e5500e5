//! How many small blobs and images a second are pushed, each on stable storage before its answer.

use std::time::{Duration, Instant};

use crate::harness::{Client, Image, Request, Wharf, content, sha256};

/// How long one round is.
const ROUND: Duration = Duration::from_secs(1);

/// Rounds of each number of connections; the middle one counts.
const ROUNDS: u64 = 3;

/// What is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Blobs of 4 KiB, one request each.
    Blobs,
    /// Images of a configuration and one layer, with a tag: three requests each.
    Images,
}

/// Pushes a second over so many connections, on each of `servers` in turn.
pub async fn rates(servers: &[Wharf], work: Work, connections: u64) -> Vec<f64> {
    let mut found = vec![Vec::new(); servers.len()];
    for number in 0..ROUNDS {
        for (server, rates) in servers.iter().zip(&mut found) {
            rates.push(round(server, work, connections, number).await);
        }
    }
    for rates in &mut found {
        rates.sort_by(f64::total_cmp);
    }
    found.into_iter().map(|rates| rates[rates.len() / 2]).collect()
}

async fn round(server: &Wharf, work: Work, connections: u64, number: u64) -> f64 {
    let begun = Instant::now();
    let until = begun + ROUND;
    let pushers = (0..connections).map(|connection| {
        let seed = (number << 16 | connections << 8 | connection) << 32;
        tokio::spawn(push(server.client(), work, seed, until))
    });
    let mut pushed = 0;
    for pusher in pushers.collect::<Vec<_>>() {
        pushed += pusher.await.expect("a pusher");
    }
    pushed as f64 / begun.elapsed().as_secs_f64()
}

async fn push(mut client: Client, work: Work, seed: u64, until: Instant) -> u64 {
    let mut pushed = 0;
    while Instant::now() < until {
        match work {
            Work::Blobs => {
                let blob = content(seed | pushed, 4096);
                let target = format!("/v2/load/small/blobs/uploads/?digest={}", sha256(&blob));
                client.send(Request::new("POST", target).body(blob)).await.expect(201);
            }
            Work::Images => {
                let image = Image::small(seed | pushed, "amd64", 500);
                image.push(&mut client, "load/small", &format!("v{seed}-{pushed}")).await;
            }
        }
        pushed += 1;
    }
    pushed
}
