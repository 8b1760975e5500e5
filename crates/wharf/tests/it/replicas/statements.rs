//! How often a request asks the database, counted in the log of a server: what `docs/scaling.md` says.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::json;
use wharf_testkit::PostgresServer;

use crate::harness::{Builder, Client, Cluster, OCI_MANIFEST, content, sha256};

/// So often each request is counted. A replica has some things to do by itself now and then; the least is the request's own.
const TRIES: u64 = 8;

/// Statements that reach the server, and commits that it syncs before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    statements: usize,
    commits: usize,
}

struct Counting {
    server: PostgresServer,
    client: Client,
}

impl Counting {
    /// What `request` costs at the least.
    async fn of(&mut self, mut request: impl AsyncFnMut(&mut Client, u64)) -> Cost {
        let mut least = None;
        for number in 0..TRIES {
            let before = self.server.log().len();
            request(&mut self.client, number).await;
            let cost = cost(&self.server.log()[before..]);
            least = Some(least.map_or(cost, |least: Cost| least.min(cost)));
        }
        least.unwrap()
    }

    /// What the push of a manifest costs that names so many layers.
    async fn manifest(&mut self, layers: u64) -> Cost {
        let mut pushes = Vec::new();
        for number in 0..TRIES {
            let mut blobs = Vec::new();
            for layer in 0..=layers {
                let bytes = content(layers << 32 | number << 16 | layer, 100);
                let digest = self.client.put_blob("a/b", bytes).await;
                blobs.push(json!({ "mediaType": "application/octet-stream", "digest": digest, "size": 100 }));
            }
            let config = blobs.remove(0);
            let manifest = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": blobs });
            pushes.push((format!("l{layers}-{number}"), manifest.to_string()));
        }
        let mut pushes = pushes.into_iter();
        self.of(async |client, _| {
            let (tag, manifest) = pushes.next().unwrap();
            client.put_manifest("a/b", &tag, OCI_MANIFEST, manifest).await;
        })
        .await
    }
}

fn cost(log: &str) -> Cost {
    let sent = |line: &&str| line.starts_with("[wharf] LOG:  statement:") || line.starts_with("[wharf] LOG:  execute ");
    Cost {
        statements: log.lines().filter(sent).count(),
        commits: log.lines().filter(|line| line.ends_with("statement: commit")).count(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_costs_what_the_page_about_scaling_says() {
    let server = PostgresServer::start(None);
    server.log_statements();
    let quiet = |_, builder: Builder| builder.set("gc.enabled", "false");
    let cluster = Cluster::over(server.database(), 1, quiet).await;
    let mut counting = Counting { server, client: cluster.client_of(0) };
    let few = counting.manifest(4).await;
    let many = counting.manifest(40).await;
    assert_eq!(few, many, "a manifest with 4 layers, and one with 40");

    let mut found = vec![("`PUT` of a manifest by tag, whatever it names", many)];
    let bytes = content(7, 5_000);
    let blob = counting.client.put_blob("a/b", bytes).await;
    let target = format!("/v2/a/b/blobs/{blob}");
    let listed = "`GET` or `HEAD` of a manifest, by tag or digest; a page of tags";
    for path in ["/v2/a/b/manifests/l4-0", "/v2/a/b/tags/list?n=3"] {
        found.push((listed, counting.of(async |client, _| _ = client.get(path).await.expect(200)).await));
    }
    found.push(("`GET` of a blob", counting.of(async |client, _| _ = client.get(&target).await.expect(200)).await));
    found.push(("`HEAD` of a blob", counting.of(async |client, _| _ = client.head(&target).await.expect(200)).await));

    let mut locations = Vec::new();
    let begun = counting.of(async |client, _| locations.push(client.begin_upload("a/b").await)).await;
    found.push(("`POST` that opens an upload", begun));
    let chunk = |number| Bytes::from(content(1_000 + number, 3_000));
    let appended = counting.of(async |client, number| {
        client.append(&locations[number as usize], 0, chunk(number)).await.expect(202);
    });
    found.push(("`PATCH`", appended.await));
    let finished = counting.of(async |client, number| {
        client.finish_upload(&locations[number as usize], &sha256(&chunk(number)), "").await.expect(201);
    });
    found.push(("`PUT` that ends an upload, with or without bytes", finished.await));

    let mut wrong = String::new();
    for (request, Cost { statements, commits }) in found {
        let commits = if commits == 0 { "–".to_owned() } else { commits.to_string() };
        let line = format!("| {request} | {statements} | {commits} |");
        if !include_str!("../../../../../docs/scaling.md").contains(&line) {
            let _ = writeln!(wrong, "{line}");
        }
    }
    assert!(wrong.is_empty(), "docs/scaling.md does not say:\n{wrong}");
}
