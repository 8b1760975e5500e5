//! What a request costs when there is much more of everything: the curve should be flat, or rise as a logarithm does.
//!
//! `WHARF_LOAD_SCALE=10000,100000,1000000` for the whole curve, which takes some gigabytes and some minutes; with less, there are fewer
//! repositories than a page of the catalog has. CPU time of the
//! server is counted rather than time on the clock, so that it says something on a machine that does other things too.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::functions::FunctionFlags;
use serde_json::json;

use crate::harness::{Client, Image, MIB, Request, Wharf, cpu_time, sha256};

/// Tags in one repository for each of these, and so many tags in one repository that has nothing else.
const TAGS_PER_REPOSITORY: u64 = 10;

/// Blobs of each manifest.
const BLOBS: u64 = 10;

/// Requests of each kind.
const REQUESTS: u64 = 500;

/// So many blobs are due for review when collection is measured.
const REVIEWS: u64 = 2_000;

pub fn sizes() -> Vec<u64> {
    let text = std::env::var("WHARF_LOAD_SCALE").unwrap_or_else(|_| "10000,40000".to_owned());
    text.split(',').map(|size| size.trim().parse().expect("WHARF_LOAD_SCALE: numbers with commas")).collect()
}

/// Measures at each size; prints a table and gives back the CPU time of each kind of request, by size.
pub async fn curve() -> Vec<(u64, Vec<(&'static str, f64)>)> {
    let mut found = Vec::new();
    for size in sizes() {
        found.push((size, at(size).await));
    }
    let mut table = String::from("| tags, manifests |");
    for (kind, _) in &found[0].1 {
        let _ = write!(table, " {kind} |");
    }
    table += "\n|---|";
    table += &"---|".repeat(found[0].1.len());
    for (size, figures) in &found {
        let _ = write!(table, "\n| {size} |");
        for (_, figure) in figures {
            let _ = write!(table, " {figure:.1} |");
        }
    }
    println!("{table}");
    found
}

async fn at(size: u64) -> Vec<(&'static str, f64)> {
    let mut server = Wharf::start();
    server.stop();
    let begun = Instant::now();
    seed(&server.data().join("wharf.db"), size);
    println!("{size} tags and manifests, {} blobs seeded in {:?}", size * BLOBS, begun.elapsed());
    // Collection is measured when it is let go, and has nothing to remove.
    server.restart_with(|builder| builder.set("gc.enabled", "false"));
    let started = Instant::now();
    let mut client = server.client();
    client.get("/v2/").await.expect(200);
    let first_answer = started.elapsed().min(server.started_at().elapsed());
    settle(server.pid()).await;
    let repositories = size / TAGS_PER_REPOSITORY;
    let middle = size / 2;
    let mut figures = vec![("first answer, ms", first_answer.as_secs_f64() * 1e3)];
    let mut measure = async |kind: &'static str, request: &dyn Fn(u64) -> Request, status: u16| {
        let before = cpu_time(server.pid());
        for number in 0..REQUESTS {
            client.send(request(number)).await.expect(status);
        }
        let spent = cpu_time(server.pid()) - before;
        figures.push((kind, spent.as_secs_f64() * 1e6 / REQUESTS as f64));
    };
    let get = |path: String| Request::new("GET", path);
    measure(
        "tag page, µs",
        &|number| get(format!("/v2/seed/tags/tags/list?n=100&last=t{}", middle + number % 100)),
        200,
    )
    .await;
    measure("catalog page, µs", &|number| get(format!("/v2/_catalog?n=100&last=seed/r{}", number + 1)), 200).await;
    // Each of them for the first time, spread over everything.
    let spread = |number: u64| number * (size / REQUESTS).max(1) % size;
    let of = |number: u64| format!("/v2/seed/r{}/manifests/v{}", spread(number) % repositories, spread(number));
    measure("manifest by tag, not in memory, µs", &|number| get(of(number)), 200).await;
    measure("manifest by tag, in memory, µs", &|number| get(of(number % 20)), 200).await;
    figures.push(("push of an image, µs", push(&server).await));
    figures.push(("review, µs", collect(&mut server).await));
    figures.push(("resident, MiB", server.memory().resident_bytes as f64 / MIB as f64));
    figures
}

/// Waits until the server does nothing of its own accord: what it counts after a start is not what a request costs.
async fn settle(pid: u32) {
    let begun = Instant::now();
    loop {
        let before = cpu_time(pid);
        tokio::time::sleep(Duration::from_millis(500)).await;
        if cpu_time(pid) - before < Duration::from_millis(10) || begun.elapsed() > crate::harness::PATIENCE {
            return;
        }
    }
}

/// CPU time of a push of an image with two blobs and a manifest.
async fn push(server: &Wharf) -> f64 {
    let mut client = server.client();
    let before = cpu_time(server.pid());
    let pushes = REQUESTS / 5;
    for number in 0..pushes {
        Image::small(number, "amd64", 2_000).push(&mut client, &format!("seed/r{number}"), "pushed").await;
    }
    (cpu_time(server.pid()) - before).as_secs_f64() * 1e6 / pushes as f64
}

/// CPU time of a look at a blob that something needs.
async fn collect(server: &mut Wharf) -> f64 {
    server.tamper(&format!(
        "insert into gc_reviews (repository_id, kind, digest, due_at_us)
           select x.repository_id, 'blob', b.digest, b.id
             from (select * from blobs order by id limit {REVIEWS}) b join repository_blobs x on x.blob_id = b.id"
    ));
    server.restart_with(|builder| builder.set("gc.interval", "1s").set("gc.share_percent", "100"));
    let mut client: Client = server.client();
    let before = cpu_time(server.pid());
    let begun = Instant::now();
    loop {
        let status = client.get("/api/v1/gc").await.expect(200).json();
        let reviewed = status["totals"]["reviewed"].as_u64().unwrap();
        if reviewed >= REVIEWS {
            return (cpu_time(server.pid()) - before).as_secs_f64() * 1e6 / reviewed as f64;
        }
        assert!(begun.elapsed() < crate::harness::PATIENCE, "{reviewed} of {REVIEWS} reviewed: {}", json!(status));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Rows as pushes would have made them: `size` manifests with a tag and ten blobs each, in a tenth as many repositories; and
/// a repository with `size` tags.
fn seed(path: &Path, size: u64) {
    let database = rusqlite::Connection::open(path).unwrap();
    let hash = |context: &mut rusqlite::functions::Context<'_>| Ok(sha256(&context.get::<Vec<u8>>(0)?));
    database.create_scalar_function("sha256", 1, FunctionFlags::SQLITE_DETERMINISTIC, hash).unwrap();
    let repositories = size / TAGS_PER_REPOSITORY;
    let blobs = size * BLOBS;
    let script = format!(
        "pragma cache_size = -1000000; pragma synchronous = off;
         begin;
         create temporary table numbers as
           with recursive n(i) as (select 0 union all select i + 1 from n where i < {blobs} - 1) select i from n;
         create temporary table bodies as
           select i, cast('{{\"schemaVersion\":2,\"seed\":' || i || ',\"pad\":\"' || hex(zeroblob(200)) || '\"}}' as blob) as body
             from numbers where i < {size};
         insert into repositories (id, name, created_at_us) select 1000 + i, 'seed/r' || i, 0 from numbers where i < {repositories};
         insert into repositories (id, name, created_at_us) values (999, 'seed/tags', 0);
         insert into manifests (id, repository_id, digest, media_type, pushed_at_us, pushed_by, body)
           select 1000 + i, 1000 + i % {repositories}, sha256(body), 'application/vnd.oci.image.manifest.v1+json', 0, 'seed', body
             from bodies;
         insert into manifests (id, repository_id, digest, media_type, pushed_at_us, pushed_by, body)
           select 999, 999, digest, media_type, 0, 'seed', body from manifests where id = 1000;
         insert into tags (repository_id, name, manifest_id, version, updated_at_us, updated_by)
           select 1000 + i % {repositories}, 'v' || i, 1000 + i, 1, 0, 'seed' from bodies;
         insert into tags (repository_id, name, manifest_id, version, updated_at_us, updated_by)
           select 999, 't' || i, 999, 1, 0, 'seed' from bodies;
         insert into blobs (id, digest, size_bytes, state, created_at_us)
           select 1 + i, 'sha256:' || lower(hex(randomblob(32))), 1000, 'live', 0 from numbers;
         insert into repository_blobs (repository_id, blob_id, created_at_us, created_by)
           select 1000 + (i / {BLOBS}) % {repositories}, 1 + i, 0, 'seed' from numbers;
         insert into manifest_blobs (manifest_id, blob_id, repository_id)
           select 1000 + i / {BLOBS}, 1 + i, 1000 + (i / {BLOBS}) % {repositories} from numbers;
         commit;"
    );
    database.execute_batch(&script).unwrap();
}
