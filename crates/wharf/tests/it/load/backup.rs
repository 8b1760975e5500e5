//! What a backup costs those who push meanwhile, how fast it is, and how fast a registry is made of one.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::backup::desk::{Desk, text};
use crate::harness::{Client, Image, MIB, Request, Stripes, Wharf, content, layer, sha256};

/// Pushes of small images, 100 a minute and a little more often, so that a percentile has something to stand on: rounds
/// without and with backups in turn, so that the machine's moods are shared.
const PUSH_EVERY: Duration = Duration::from_millis(200);
const PUSHES: u64 = 50;
const ROUNDS: u64 = 4;

/// Content of the registry.
const LARGE_BLOBS: u64 = 4;
const LARGE_BYTES: u64 = 256 * MIB;

/// What a backup may take a second so that others hardly notice.
pub const RATE: &str = "50MiB";

/// Seconds that something took.
pub struct Figures {
    pub calm: Vec<Duration>,
    pub busy: Vec<Duration>,
    /// With backups that keep to [`RATE`].
    pub paced: Vec<Duration>,
    pub backup: Duration,
    pub again: Duration,
    pub restore: Duration,
    pub bytes: u64,
}

pub async fn measure() -> Figures {
    let server = Wharf::start();
    for number in 0..LARGE_BLOBS {
        let blob = std::sync::Arc::new(Stripes::new(number, LARGE_BYTES));
        let digest = blob.digest();
        super::stream::push(server.client(), "load/large", blob, digest).await;
    }
    let desk = Desk::new();
    let url = format!("http://{}", server.address());
    let begun = Instant::now();
    let first: Value = run(&desk, &["backup", &text(&desk.path("first")), "--json", "--server", &url]).await;
    let backup = begun.elapsed();

    let (mut calm, mut busy, mut paced) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        calm.extend(pushes(server.client(), 3 * round).await);
        busy.extend(beside_backups(&desk, &server, 3 * round + 1, &[]).await);
        paced.extend(beside_backups(&desk, &server, 3 * round + 2, &["--rate", RATE]).await);
    }
    for took in [&mut calm, &mut busy, &mut paced] {
        took.sort();
    }
    let begun = Instant::now();
    run(&desk, &["backup", &text(&desk.path("first")), "--json", "--server", &url]).await;
    let again = begun.elapsed();
    let begun = Instant::now();
    run(&desk, &["restore", "--json", "--from", &text(&desk.path("first")), "--data", &text(&desk.path("new"))]).await;
    let restore = begun.elapsed();
    Figures { calm, busy, paced, backup, again, restore, bytes: first["content"]["bytes"].as_u64().unwrap() }
}

/// One backup after the other, each of everything, as long as the pushes last.
async fn beside_backups(desk: &Desk, server: &Wharf, seed: u64, words: &[&str]) -> Vec<Duration> {
    let url = format!("http://{}", server.address());
    let pushing = tokio::spawn(pushes(server.client(), seed));
    while !pushing.is_finished() {
        let directory = text(&desk.path("busy"));
        run(desk, &[&["backup", &directory, "--json", "--server", &url], words].concat()).await;
        std::fs::remove_dir_all(directory).unwrap();
    }
    pushing.await.unwrap()
}

async fn run(desk: &Desk, words: &[&str]) -> Value {
    let mut command = tokio::process::Command::from(desk.command(words));
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// How long each push took: two blobs and a manifest.
async fn pushes(mut client: Client, seed: u64) -> Vec<Duration> {
    let mut took = Vec::new();
    let mut tick = tokio::time::interval(PUSH_EVERY);
    for number in 0..PUSHES {
        tick.tick().await;
        let image = Image::of(vec![layer("data", &content(seed << 32 | number, 100_000))], "amd64");
        let begun = Instant::now();
        image.push(&mut client, "load/small", &format!("v{number}")).await;
        took.push(begun.elapsed());
    }
    took
}

/// Rows and small blobs: how long a backup, a restore and the first start of a registry with `blobs` blobs take.
pub async fn many_rows(blobs: u64) -> (Duration, Duration, Duration, u64) {
    const CONNECTIONS: u64 = 32;
    let server = Wharf::start();
    let pushers = (0..CONNECTIONS).map(|pusher| {
        let mut client = server.client();
        tokio::spawn(async move {
            for seed in (pusher..blobs).step_by(usize::try_from(CONNECTIONS).unwrap()) {
                let blob = content(seed, 16);
                let target = format!("/v2/load/tiny-{pusher}/blobs/uploads/?digest={}", sha256(&blob));
                client.send(Request::new("POST", target).body(blob)).await.expect(201);
            }
        })
    });
    for pusher in pushers.collect::<Vec<_>>() {
        pusher.await.unwrap();
    }
    let desk = Desk::new();
    let url = format!("http://{}", server.address());
    let directory = text(&desk.path("backups"));
    let begun = Instant::now();
    let made = run(&desk, &["backup", &directory, "--json", "--server", &url]).await;
    let backup = begun.elapsed();
    let begun = Instant::now();
    run(&desk, &["backup", &directory, "--json", "--server", &url]).await;
    let again = begun.elapsed();
    let begun = Instant::now();
    run(&desk, &["restore", "--json", "--from", &directory, "--data", &text(&desk.path("new"))]).await;
    (backup, again, begun.elapsed(), made["database"]["bytes"].as_u64().unwrap())
}
