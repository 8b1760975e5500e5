//! Background work is done by one replica at a time, and one that lost it can do no harm.

use rustix::process::Signal;
use serde_json::json;

use super::waiting;
use crate::collection::{collect_all, post};
use crate::harness::{ADMIN_PASSWORD, Admin, Builder, Client, Cluster, Image, Request, basic, content, sha256};

/// Collects only when asked to, and at once.
fn on_demand(builder: Builder) -> Builder {
    builder
        .set("gc.enabled", "false")
        .set("gc.grace", "1s")
        .set("gc.trash", "0s")
        .set("gc.share_percent", "100")
        .set("check.scrub_period", "0s")
}

/// Waits until an association of these repositories is due, which is a matter of the database's time.
async fn due(cluster: &Cluster) {
    cluster.database.sql("update gc_reviews set due_at_us = 1");
}

/// Pushes `blob` once more for as long as it is asked to: a process may fall asleep within a transaction, whose locks the
/// database's server takes from it only after a while.
async fn put_blob_beside_a_sleeper(client: &mut Client, repository: &str, blob: &[u8]) -> String {
    let digest = sha256(blob);
    let mut again = waiting("the locks of the one that is asleep");
    loop {
        let location = client.begin_upload(repository).await;
        let reply = client.finish_upload(&location, &digest, blob.to_vec()).await;
        if reply.status == 201 {
            return digest;
        }
        reply.expect(503);
        again();
    }
}

/// FT-17. A collector falls asleep at each of its steps; another replica takes over, and what the first had condemned is pushed
/// again meanwhile. When it wakes up it removes nothing that is needed, and says that it was overtaken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr30_a_collector_that_was_asleep_has_lost_its_work() {
    for step in
        ["registry.condemned-found", "registry.removal-locked", "registry.blob-forgotten", "registry.bytes-removed"]
    {
        let cluster = Cluster::with(2, |number, builder| {
            let builder = on_demand(builder);
            if number == 0 { builder.failpoints(&format!("{step}=stop")) } else { builder }
        })
        .await;
        let mut other = cluster.client_of(1);
        let image = Image::small(1, "amd64", 2_000);
        image.push(&mut other, "a/kept", "v1").await;
        let blob = content(2, 3_000);
        let digest = other.put_blob("a/b", blob.clone()).await;
        due(&cluster).await;
        post(&mut cluster.client_of(0), "/gc/run", &json!({})).await.expect(202);
        cluster.replicas[0].stands_still().await;
        assert_eq!(cluster.database.sql("select count(*) from leases where name = 'collection'"), "1", "{step}");

        // Pushed again while the old content is on its way out.
        assert_eq!(put_blob_beside_a_sleeper(&mut other, "a/b", &blob).await, digest);
        cluster.let_leases_end();
        collect_all(&mut other).await;
        let target = format!("/v2/a/b/blobs/{digest}");
        let is_there = other.get(&target).await;
        cluster.replicas[0].signal(Signal::CONT);
        // It finds out by its next change, or before that if it slept long enough to be due for a renewal.
        cluster.replicas[0].wait_for_log("another replica took over");

        // The first goes on with what its asker wants, under a lease of its own.
        collect_all(&mut cluster.client_of(0)).await;
        for number in 0..2 {
            let mut client = cluster.client_of(number);
            assert_eq!(client.get(&target).await.status, is_there.status, "{step}");
            for blob in image.blobs() {
                let found = client.get(&format!("/v2/a/kept/blobs/{}", sha256(blob))).await.expect(200);
                assert!(&found.body == blob, "{step}");
            }
        }
        crate::check::sound(&cluster.replicas[1]);
    }
}

/// Whoever asked one replica is told by the others when it is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_asked_for_is_seen_at_every_replica() {
    let cluster = Cluster::with(3, |_, builder| on_demand(builder)).await;
    let mut client = cluster.client();
    for turn in 1..4 {
        client.put_blob("a/b", content(turn, 3_000)).await;
        cluster.database.sql("update gc_reviews set due_at_us = 1");
        let url = format!("http://{}", cluster.balancer.address());
        let home = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(crate::harness::binary());
        command
            .args(["gc", "run", "--orphans", "--server", &url])
            .env("HOME", home.path())
            .env_remove("XDG_CONFIG_HOME");
        let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
        assert!(said.starts_with("1 links ended, 1 blobs condemned, 1 removed"), "{said}");
        for number in 0..3 {
            let status = cluster.client_of(number).get("/api/v1/gc").await.expect(200).json();
            assert_eq!(
                (&status["completed_runs"], &status["totals"]["removed"]),
                (&json!(turn), &json!(turn)),
                "{status}"
            );
        }
    }
}

/// GR-37: a collector that dies leaves its work to the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr37_a_collection_outlives_its_replica() {
    for step in ["registry.reviewed", "registry.blob-forgotten", "registry.bytes-removed"] {
        let mut cluster = Cluster::with(2, |number, builder| {
            let builder = on_demand(builder);
            if number == 0 { builder.failpoints(&format!("{step}=kill")) } else { builder }
        })
        .await;
        let mut other = cluster.client_of(1);
        let digest = other.put_blob("a/b", content(1, 3_000)).await;
        due(&cluster).await;
        let asked = Request::new("POST", "/api/v1/gc/run").header("Content-Type", "application/json");
        let _ = cluster.client_of(0).try_send(&asked.body("{}")).await;
        let ended = cluster.replicas[0].ended();
        assert!(ended.status.code().is_none(), "{step}: {}", ended.log);
        // Its lease stands for a while.
        post(&mut other, "/gc/run", &json!({})).await.expect(202);
        cluster.let_leases_end();
        collect_all(&mut other).await;
        other.get(&format!("/v2/a/b/blobs/{digest}")).await.expect(404);
        assert_eq!(cluster.database.sql("select count(*) from gc_removals"), "0", "{step}");
        crate::check::sound(&cluster.replicas[1]);
    }
}

/// The chain has no branch, whoever of the three seals it, and every end of a replica is in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s078_three_replicas_write_one_audit_log() {
    let mut cluster = Cluster::with(3, |_, builder| builder.accounts()).await;
    let mut admin = Admin::of(&cluster.replicas[0]);
    for number in 0..30 {
        admin.human(&format!("human-{number}"), "a long password").await;
        let mut other = cluster.client_of(number % 3).authorized(basic("admin", ADMIN_PASSWORD));
        other.fetch_token(&["repository:a/b:pull"]).await;
    }
    for replica in &mut cluster.replicas[1..] {
        replica.stop();
    }
    let mut again = waiting("everything is sealed");
    let stopped = "select count(*) from audit_log where action = 'server.stop'";
    let open = "select count(*) from audit_log where sha256 is null";
    while cluster.database.sql(stopped) != "2" || cluster.database.sql(open) != "0" {
        again();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let broken = "select count(*) from audit_seals s
                   where previous_sha256 <> coalesce((select p.sha256 from audit_seals p
                                                       where p.last_sequence < s.last_sequence
                                                       order by p.last_sequence desc limit 1), previous_sha256)";
    assert_eq!(cluster.database.sql(broken), "0");
    // More may have been written meanwhile.
    let sums = cluster.database.sql(
        "select (select sum(records) from audit_seals), (select count(*) from audit_log where sha256 is not null)",
    );
    let (sealed, written) = sums.split_once('|').unwrap();
    assert_eq!(sealed, written, "each record is covered by one seal");
}
