//! Pages of a registry with very many repositories, and of a repository with very many tags.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{Client, Image, Wharf};

const MANY: u64 = 100_000;

/// The most that a page may transfer.
const PAGE_BYTES_MAX: usize = 200 << 10;

/// Each page five times; the middle, and how much it is.
pub async fn look() {
    let mut server = Wharf::start();
    let image = Image::small(1, "amd64", 100);
    image.push(&mut server.client(), "many/tags", "first").await;
    server.stop();
    let begun = Instant::now();
    seed(&server.data().join("wharf.db"));
    println!("{MANY} repositories and as many tags seeded in {:?}", begun.elapsed());
    server.restart();
    let mut client = server.client();
    for (path, expected) in [
        ("/", "What changed lately"),
        ("/repositories", "seed/r1"),
        ("/repositories?q=9999", "seed/r9999"),
        ("/repositories?q=nothing+like+it", "No repository"),
        ("/repositories?after=seed/r9", "seed/r9"),
        ("/repository?repository=many/tags", "linux/amd64"),
        ("/repository?repository=many/tags&after=tag-9", "linux/amd64"),
        ("/repository?repository=many/tags&q=99999", "tag-99999"),
        ("/repository?repository=many/tags&q=nothing", "No tag"),
        ("/image?repository=many/tags&reference=first", "Layers"),
        ("/delete?repository=many/tags&reference=first", "What goes"),
        ("/storage", "Stored"),
    ] {
        let (took, size_bytes) = page(&mut client, path, expected).await;
        println!("{path}: {took:?} (wanted: 100 ms), {} KiB", size_bytes.div_ceil(1024));
        assert!(size_bytes < PAGE_BYTES_MAX, "{path} is {size_bytes} bytes long");
    }
}

async fn page(client: &mut Client, path: &str, expected: &str) -> (Duration, usize) {
    let mut tries = [Duration::ZERO; 5];
    let mut size_bytes = 0;
    for took in &mut tries {
        let begun = Instant::now();
        let reply = client.get(path).await.expect(200);
        *took = begun.elapsed();
        assert!(String::from_utf8_lossy(&reply.body).contains(expected), "{path}: {reply}");
        size_bytes = reply.body.len();
    }
    (super::median(tries), size_bytes)
}

fn seed(path: &Path) {
    let database = rusqlite::Connection::open(path).unwrap();
    let script = format!(
        "begin;
         create temporary table numbers as
           with recursive n(i) as (select 1 union all select i + 1 from n where i < {MANY}) select i from n;
         create temporary table first as select id, repository_id from manifests limit 1;
         insert into tags (repository_id, name, manifest_id, version, updated_at_us, updated_by)
           select first.repository_id, 'tag-' || i, first.id, 1, i, 'seed' from numbers, first;
         insert into repositories (name, created_at_us) select 'seed/r' || i, 0 from numbers;
         insert into manifests (repository_id, digest, media_type, pushed_at_us, pushed_by, body)
           select id, 'sha256:' || lower(hex(randomblob(32))), 'application/vnd.oci.image.manifest.v1+json', 0, 'seed',
                  randomblob(500)
             from repositories where name like 'seed/%';
         commit;"
    );
    database.execute_batch(&script).unwrap();
}
