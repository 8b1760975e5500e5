//! Figures that a release must reach: memory under load, start-up, size.
//!
//! Sizes are asserted. Times are printed, with what is wanted beside them: how long a sync takes is the machine's affair.
//!
//! Ignored by default. They want the release build and the machine to themselves:
//! `cargo test --release -p wharf --test it load:: -- --ignored --test-threads=1 --nocapture`

mod backup;
mod check;
pub mod images;
mod million;
mod pages;
pub mod policy;
mod replicas;
mod scale;
mod small;
mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::{Client, Cluster, MIB, MemoryWatch, Request, Stripes, Wharf, binary, content, sha256};
use images::Catalogue;

/// What the server may take of the machine's memory, whatever it does.
const MEMORY_LIMIT_BYTES: u64 = 150 * MIB;

#[track_caller]
fn release_only() {
    if cfg!(debug_assertions) {
        panic!("these figures are about the release build: run with --release");
    }
}

/// The middle of five tries: one hiccup of the machine is not the product's.
fn median(mut tries: [Duration; 5]) -> Duration {
    tries.sort();
    println!("  tries: {tries:?}");
    tries[2]
}

#[tokio::test]
#[ignore = "release build only"]
async fn the_binary_is_small() {
    release_only();
    let size_bytes = std::fs::metadata(binary()).unwrap().len();
    println!("binary: {:.1} MiB", size_bytes as f64 / MIB as f64);
    // It holds two databases, S3, TLS, the pages and the command line for all of it.
    assert!(size_bytes < 36 * MIB);
}

#[tokio::test]
#[ignore = "release build only"]
async fn pages_of_a_large_registry_are_small() {
    release_only();
    pages::look().await;
}

/// Ten times as much of everything may cost what one more step of a search costs.
#[tokio::test]
#[ignore = "release build only"]
async fn the_cost_of_a_request_does_not_depend_on_how_much_there_is() {
    release_only();
    let curve = scale::curve().await;
    let (_, first) = &curve[0];
    for (size, figures) in &curve[1..] {
        for ((kind, cost), (_, least)) in figures.iter().zip(first) {
            let is_time = kind.ends_with("µs");
            assert!(!is_time || *cost < least.max(20.0) * 4.0, "{kind}: {cost:.1} at {size}, {least:.1} at the least");
        }
    }
}

/// `WHARF_LOAD_LAYER` is how many GiB it has; 1 unless that says otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "release build only"]
async fn a_large_layer_goes_through_a_replica_to_the_bucket_and_back() {
    release_only();
    let gib: u64 = std::env::var("WHARF_LOAD_LAYER").map_or(1, |text| text.parse().expect("WHARF_LOAD_LAYER: GiB"));
    let cluster = Cluster::start(1).await;
    let watch = MemoryWatch::start(cluster.replicas[0].pid());
    large_blob_up_and_down(cluster.client_of(0), Stripes::new(5, gib << 30)).await;
    let (seen_bytes, memory) = (watch.stop(), cluster.replicas[0].memory());
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    println!("{gib} GiB: {:.1} MiB by samples, {:.1} MiB high-water", mib(seen_bytes), mib(memory.high_water_bytes));
    assert!(memory.high_water_bytes < MEMORY_LIMIT_BYTES);
}

/// Printed for `docs/scaling.md`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "release build only"]
async fn what_requests_cost_replicas_and_their_database() {
    release_only();
    replicas::table().await;
}

#[tokio::test]
#[ignore = "release build only"]
async fn an_empty_registry_answers_at_once_and_is_light() {
    const IDLE_LIMIT_BYTES: u64 = 30 * MIB;
    release_only();
    let mut tries = [Duration::ZERO; 5];
    for first_answer in &mut tries {
        let server = Wharf::start();
        *first_answer = first_answer_after(&server).await;
        let idle_bytes = server.memory().resident_bytes;
        println!("idle: {:.1} MiB resident", idle_bytes as f64 / MIB as f64);
        assert!(idle_bytes < IDLE_LIMIT_BYTES);
    }
    let first_answer = median(tries);
    println!("first answer on an empty directory: {first_answer:?} (wanted: 50 ms at most)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "release build only"]
async fn start_up_does_not_depend_on_how_much_is_stored() {
    const BLOBS: u64 = 100_000;
    const CONNECTIONS: u64 = 32;
    release_only();
    let mut server = Wharf::start();
    let begun = Instant::now();
    let pushers = (0..CONNECTIONS).map(|pusher| {
        let client = server.client();
        tokio::spawn(push_tiny_blobs(client, pusher, (pusher..BLOBS).step_by(CONNECTIONS as usize)))
    });
    for pusher in pushers.collect::<Vec<_>>() {
        pusher.await.expect("a pusher");
    }
    println!("{BLOBS} blobs pushed in {:?}", begun.elapsed());

    let mut tries = [Duration::ZERO; 5];
    for first_answer in &mut tries {
        server.restart();
        *first_answer = first_answer_after(&server).await;
    }
    let first_answer = median(tries);
    println!("first answer with {BLOBS} blobs: {first_answer:?} (wanted: 100 ms at most)");
    let last = content(BLOBS - 1, 16);
    let pulled = server.client().get(&format!("/v2/{}/blobs/{}", tiny_repository(31), sha256(&last))).await.expect(200);
    assert_eq!(pulled.body, last);
}

fn tiny_repository(pusher: u64) -> String {
    format!("load/tiny-{pusher}")
}

async fn push_tiny_blobs(mut client: Client, pusher: u64, seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        let blob = content(seed, 16);
        let target = format!("/v2/{}/blobs/uploads/?digest={}", tiny_repository(pusher), sha256(&blob));
        client.send(Request::new("POST", target).body(blob)).await.expect(201);
    }
}

async fn first_answer_after(server: &Wharf) -> Duration {
    server.client().get("/v2/").await.expect(200);
    server.started_at().elapsed()
}

/// 2,000 small images with layers in common, by twenty clients that also pull each other's; at the same time 4 GiB go up,
/// and then the same 4 GiB come down while they go up once more into another repository.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "release build only"]
async fn twenty_clients_and_a_large_blob_within_the_memory_limit() {
    const CLIENTS: u64 = 20;
    const IMAGES: u64 = 2_000;
    const LARGE_BYTES: u64 = 4 << 30;
    release_only();
    // What is left of a disk that also holds two builds may be less than a registry would keep free by itself.
    let server = Wharf::builder().set("storage.min_free", "64 MiB").start();
    let watch = MemoryWatch::start(server.pid());
    let begun = Instant::now();
    let catalogue = Arc::new(Catalogue::default());
    let clients = (0..CLIENTS).map(|number| {
        let numbers = (number..IMAGES).step_by(CLIENTS as usize);
        tokio::spawn(images::push_and_pull(server.client(), Arc::clone(&catalogue), numbers))
    });
    let clients: Vec<_> = clients.collect();
    let large = tokio::spawn(large_blob_up_and_down(server.client(), Stripes::new(4, LARGE_BYTES)));
    for client in clients {
        client.await.expect("a client");
    }
    println!("{IMAGES} images pushed and pulled by {CLIENTS} clients in {:?}", begun.elapsed());
    large.await.expect("the large blob");
    images::no_tag_is_lost(&mut server.client(), &catalogue, IMAGES).await;

    let seen_bytes = watch.stop();
    let memory = server.memory();
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    println!(
        "memory: {:.1} MiB at most by samples, {:.1} MiB high-water, {:.1} MiB at the end ({:.1} MiB anonymous)",
        mib(seen_bytes),
        mib(memory.high_water_bytes),
        mib(memory.resident_bytes),
        mib(memory.anonymous_bytes),
    );
    assert!(seen_bytes < MEMORY_LIMIT_BYTES && memory.high_water_bytes < MEMORY_LIMIT_BYTES);
}

async fn large_blob_up_and_down(client: Client, blob: Stripes) {
    let blob = Arc::new(blob);
    let digest = blob.digest();
    let timed = |what: &'static str, begun: Instant| {
        let seconds = begun.elapsed().as_secs_f64();
        println!("large blob {what}: {seconds:.1} s, {:.0} MiB/s", (blob.size_bytes() / MIB) as f64 / seconds);
    };
    let begun = Instant::now();
    stream::push(client.another(), "load/large", Arc::clone(&blob), digest.clone()).await;
    timed("up", begun);
    let begun = Instant::now();
    let again = tokio::spawn(stream::push(client.another(), "load/again", Arc::clone(&blob), digest.clone()));
    let target = format!("/v2/load/large/blobs/{digest}");
    assert_eq!(stream::pull(&client, &target, blob.size_bytes()).await, digest);
    again.await.expect("the second push");
    timed("down, and up again at the same time", begun);
}

/// Printed, not asserted: a figure of one machine is no property of the product. At most a tenth more is what is wanted.
#[tokio::test]
#[ignore = "release build only"]
async fn what_policy_costs_a_reader() {
    release_only();
    let (open, closed) = policy::cost().await;
    let percent = (closed.as_secs_f64() / open.as_secs_f64() - 1.0) * 100.0;
    println!("GET of a manifest: {open:?} open, {closed:?} with bearer token, 200 rules and audit: {percent:+.1} %");
}

/// Latencies are printed, not asserted: at most twice as long is what is wanted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "release build only"]
async fn collection_of_very_many_blobs_is_light() {
    release_only();
    let figures = million::collect(million::rows()).await;
    million::report(&figures);
    assert!(figures.memory_bytes < 100 * MIB);
}

/// Printed, not asserted: a minute for a million blobs is what is wanted.
#[test]
#[ignore = "release build only"]
fn how_long_a_fast_check_takes() {
    release_only();
    let rows = million::rows();
    let took = check::fast(rows);
    println!("a fast check of {rows} blobs: {took:?}");
}

/// Printed, not asserted: what group commit is worth depends on the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "release build only"]
async fn small_pushes_by_many() {
    release_only();
    let servers = [Wharf::start()];
    for work in [small::Work::Blobs, small::Work::Images] {
        for connections in [1, 8, 32, 64] {
            let rates = small::rates(&servers, work, connections).await;
            println!("{work:?} over {connections} connections: {rates:.0?}/s");
        }
    }
}

/// Printed, not asserted: at most a quarter more at the 99th percentile is what is wanted, with 100 pushes a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "release build only"]
async fn what_a_backup_costs_those_who_push() {
    release_only();
    let figures = backup::measure().await;
    let percentile = |sorted: &[Duration], percent: usize| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)];
    let paced = format!("with a backup at {} a second", backup::RATE);
    let kinds = [("without a backup", &figures.calm), ("with a backup", &figures.busy), (&paced, &figures.paced)];
    for (name, sorted) in kinds {
        let [middle, high] = [50, 99].map(|percent| percentile(sorted, percent));
        println!("a push {name}: p50 {middle:?}, p99 {high:?}, most {:?}", sorted.last().unwrap());
    }
    let rate = |took: Duration| (figures.bytes / MIB) as f64 / took.as_secs_f64();
    println!(
        "{} MiB: backup {:?} ({:.0} MiB/s), again {:?}, restore {:?} ({:.0} MiB/s)",
        figures.bytes / MIB,
        figures.backup,
        rate(figures.backup),
        figures.again,
        figures.restore,
        rate(figures.restore)
    );
}

/// Printed, not asserted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "release build only"]
async fn how_long_a_backup_of_many_rows_takes() {
    const BLOBS: u64 = 100_000;
    release_only();
    let (backup, again, restore, bytes) = backup::many_rows(BLOBS).await;
    println!("{BLOBS} blobs, database of {} MiB: backup {backup:?}, again {again:?}, restore {restore:?}", bytes / MIB);
}
