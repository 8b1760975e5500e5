//! Collection of very many blobs that nothing needs among as many that are needed, beside clients that push.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Client, Image, MIB, MemoryWatch, Request, Wharf};

/// Clients that push at the same time.
const CLIENTS: u64 = 8;

/// Rounds of each, with and without collection in turn, so that the machine's moods are shared.
const ROUNDS: u64 = 5;

/// How long one round is.
const ROUND: Duration = Duration::from_secs(3);

/// How long collection is watched alone in the end.
const ALONE: Duration = Duration::from_secs(20);

/// How many blobs of either kind there are: `WHARF_LOAD_ROWS`.
pub fn rows() -> u64 {
    std::env::var("WHARF_LOAD_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

/// What was measured.
#[derive(Debug)]
pub struct Figures {
    /// The most resident memory while collecting, in bytes.
    pub memory_bytes: u64,
    /// The 99th percentile of a push of a small image, collection on hold.
    pub without: Duration,
    /// The same while it collects.
    pub with: Duration,
    /// Reviews while clients were pushing, a second.
    pub reviews_per_second: f64,
}

/// Seeds the database, then pushes with and without collection, then lets collection go on alone for a while.
pub async fn collect(rows: u64) -> Figures {
    let mut server = Wharf::start();
    server.stop();
    let begun = Instant::now();
    seed(&server.data().join("wharf.db"), rows);
    println!("{rows} blobs without a reference and {rows} with one seeded in {:?}", begun.elapsed());
    server.restart_with(|builder| builder.set("gc.trash", "0s").set("gc.interval", "1s"));

    let mut client = server.client();
    hold(&mut client).await;
    let watch = MemoryWatch::start(server.pid());
    round(&server, 1_000, Duration::from_secs(1)).await;
    let (mut without, mut with, mut reviewed, mut seconds) = (Vec::new(), Vec::new(), 0, 0.0);
    for number in 0..ROUNDS {
        without.extend(round(&server, 2 * number, ROUND).await);
        client.delete("/api/v1/gc/holds/operator").await.expect(204);
        let (before, begun) = (totals(&mut client, "reviewed").await, Instant::now());
        with.extend(round(&server, 2 * number + 1, ROUND).await);
        reviewed += totals(&mut client, "reviewed").await - before;
        seconds += begun.elapsed().as_secs_f64();
        hold(&mut client).await;
    }
    client.delete("/api/v1/gc/holds/operator").await.expect(204);
    finish(&mut client, rows).await;
    let memory_bytes = watch.stop();
    println!("pushes: {} on hold, {} beside collection", without.len(), with.len());
    Figures {
        memory_bytes,
        without: percentile_99(&mut without),
        with: percentile_99(&mut with),
        reviews_per_second: reviewed as f64 / seconds,
    }
}

async fn hold(client: &mut Client) {
    let wish = json!({ "reason": "a round without collection", "hours": 1 }).to_string();
    let request = Request::new("POST", "/api/v1/gc/holds").header("Content-Type", "application/json");
    client.send(request.body(wish)).await.expect(201);
}

async fn status(client: &mut Client) -> Value {
    client.get("/api/v1/gc").await.expect(200).json()
}

async fn totals(client: &mut Client, member: &str) -> u64 {
    status(client).await["totals"][member].as_u64().unwrap()
}

/// Alone, with the share of the disk that it has by default.
async fn finish(client: &mut Client, rows: u64) {
    let (begun, before) = (Instant::now(), totals(client, "reviewed").await);
    let mut done = before;
    while begun.elapsed() < ALONE && done < rows {
        tokio::time::sleep(Duration::from_secs(1)).await;
        done = totals(client, "reviewed").await;
    }
    let rate = (done - before) as f64 / begun.elapsed().as_secs_f64();
    let backlog = status(client).await["backlog"].clone();
    println!("alone: {rate:.0} reviews/s for {:?}; waiting then: {backlog}", begun.elapsed());
}

/// The latencies of pushes of small images by several clients for a while.
async fn round(server: &Wharf, number: u64, length: Duration) -> Vec<Duration> {
    let until = Instant::now() + length;
    let clients = (0..CLIENTS).map(|client| tokio::spawn(push(server.client(), number * CLIENTS + client, until)));
    let mut latencies = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        latencies.extend(client.await.expect("a client"));
    }
    latencies
}

async fn push(mut client: Client, seed: u64, until: Instant) -> Vec<Duration> {
    let mut latencies = Vec::new();
    for number in 0.. {
        if Instant::now() >= until {
            break;
        }
        let image = Image::small(seed << 32 | number, "amd64", 4_000);
        let begun = Instant::now();
        image.push(&mut client, &format!("load/push-{seed}"), "v1").await;
        latencies.push(begun.elapsed());
    }
    latencies
}

fn percentile_99(latencies: &mut [Duration]) -> Duration {
    latencies.sort_unstable();
    latencies[latencies.len() * 99 / 100]
}

/// Rows as pushes would have made them: `rows` blobs that manifests of ten layers hold, and as many that were due long ago.
fn seed(path: &Path, rows: u64) {
    let database = rusqlite::Connection::open(path).unwrap();
    let repositories = 1_000;
    let script = format!(
        "begin;
         create temporary table numbers as
           with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows}) select i from n;
         insert into repositories (name, created_at_us) select 'seed/r' || i, 0 from numbers where i <= {repositories};
         create temporary table first as select min(id) as id from repositories where name like 'seed/%';
         insert into blobs (id, digest, size_bytes, state, created_at_us)
           select i, 'sha256:' || lower(hex(randomblob(32))), 1000, 'live', 0 from numbers;
         insert into blobs (id, digest, size_bytes, state, created_at_us)
           select {rows} + i, 'sha256:' || lower(hex(randomblob(32))), 1000, 'live', 0 from numbers;
         insert into repository_blobs (repository_id, blob_id, created_at_us, created_by)
           select (select id from first) + (id / 10) % {repositories}, id, 0, 'seed' from blobs;
         insert into manifests (id, repository_id, digest, media_type, pushed_at_us, pushed_by, body)
           select i / 10 + 1, (select id from first) + (i / 10) % {repositories},
                  'sha256:' || lower(hex(randomblob(32))), 'application/vnd.oci.image.manifest.v1+json', 0, 'seed',
                  randomblob(500)
             from numbers where i % 10 = 0;
         insert into manifest_blobs (manifest_id, blob_id, repository_id)
           select m.id, b.i, m.repository_id from numbers b join manifests m on m.id = b.i / 10 + 1;
         insert into gc_reviews (repository_id, kind, digest, due_at_us)
           select (select id from first) + (id / 10) % {repositories}, 'blob', digest, id from blobs where id > {rows};
         commit;"
    );
    database.execute_batch(&script).unwrap();
}

/// Printed, so that the figures stand in the log; the limits are those of the release.
pub fn report(figures: &Figures) {
    let ratio = figures.with.as_secs_f64() / figures.without.as_secs_f64();
    println!(
        "push p99: {:?} on hold, {:?} beside collection ({ratio:.2}×); {:.0} reviews/s meanwhile; {:.1} MiB resident at most",
        figures.without,
        figures.with,
        figures.reviews_per_second,
        figures.memory_bytes as f64 / MIB as f64
    );
}
