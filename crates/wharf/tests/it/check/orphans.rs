//! What no row leads to (R-024, `reliability` §4.3 E and F).

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::{offline, online};
use crate::harness::{Builder, Client, Image, Reply, Request, Wharf, content, sha256};
use crate::only_in_the_embedded_run;

fn impatient(builder: Builder) -> Builder {
    builder.set("gc.orphan_age", "0s").set("gc.hold_after_crash", "0s")
}

async fn run(client: &mut Client, wish: Value) -> Reply {
    let request = Request::new("POST", "/api/v1/gc/run").header("Content-Type", "application/json");
    client.send(request.body(wish.to_string())).await
}

async fn sweep(client: &mut Client, wish: Value) -> Value {
    let number = run(client, wish).await.expect(202).json()["run"].as_u64();
    loop {
        let status = client.get("/api/v1/gc").await.expect(200).json();
        if status["completed_runs"].as_u64() >= number {
            return status;
        }
        tokio::task::yield_now().await;
    }
}

fn plant(server: &Wharf, seeds: std::ops::Range<u64>) -> BTreeSet<String> {
    let planted = seeds.map(|seed| {
        let bytes = content(seed, 1_000);
        server.kept().leave(&bytes);
        sha256(&bytes)
    });
    planted.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r024_files_that_belong_to_nothing_go_when_they_are_old_enough() {
    only_in_the_embedded_run!("plants a file that an upload left; the store's examination does it in a bucket");
    let mut server = Wharf::start();
    let mut client = server.client();
    let image = Image::small(1, "amd64", 1_000);
    image.push(&mut client, "a/b", "v1").await;
    let orphans = plant(&server, 100..103);
    let staged = server.data().join("uploads/01a20d6b-5871-7dc9-8308-9d294c9c90fa");
    fs::write(&staged, b"left behind").unwrap();
    let location = client.begin_upload("a/b").await;
    client.append(&location, 0, &b"still coming"[..]).await.expect(202);

    online(&server, &["--deep"]).is_clean();
    let status = sweep(&mut client, json!({ "orphans": true })).await;
    assert_eq!((&status["totals"]["orphans"], &status["last_sweep"]["files"]), (&json!(0), &json!(5)), "{status:#}");
    assert!(orphans.is_subset(&server.kept().digests()), "they are young");

    server.restart_with(impatient);
    let mut client = server.client();
    let found = online(&server, &[]);
    found.finds(&[("I-12", 4)]);
    let status = sweep(&mut client, json!({ "orphans": true })).await;
    let (totals, last) = (&status["totals"], &status["last_sweep"]);
    assert_eq!((&totals["orphans"], &totals["orphan_bytes"]), (&json!(4), &json!(3_011)), "{status:#}");
    assert_eq!((&last["orphans"], &last["stopped"]), (&json!(4), &json!(false)), "{status:#}");
    assert!(!staged.exists() && orphans.is_disjoint(&server.kept().digests()));
    let log = client.get(&format!("/api/v1/gc/log?digest={}", orphans.first().unwrap())).await.expect(200).json();
    assert_eq!(log["items"][0]["reason"], "orphan", "{log:#}");
    online(&server, &["--deep"]).is_clean();
    for blob in image.blobs() {
        client.get(&format!("/v2/a/b/blobs/{}", sha256(blob))).await.expect(200);
    }
    let whole = b"still coming and there";
    client.finish_upload(&location, &sha256(whole), &whole[12..]).await.expect(201);
}

/// More than a crash leaves behind is somebody's data until a person says otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_orphans_stop_the_sweep() {
    let server = impatient(Wharf::builder()).start();
    let mut client = server.client();
    client.put_blob("a/b", content(1, 1_000)).await;
    let orphans = plant(&server, 100..112);
    let status = sweep(&mut client, json!({ "orphans": true })).await;
    assert_eq!(
        (&status["last_sweep"]["stopped"], &status["totals"]["orphans"]),
        (&json!(true), &json!(0)),
        "{status:#}"
    );
    assert!(orphans.is_subset(&server.kept().digests()));
    server.wait_for_log("--accept-orphans 12");
    let status = sweep(&mut client, json!({ "orphans": true, "accept_orphans": 11 })).await;
    assert_eq!(status["last_sweep"]["stopped"], true, "{status:#}");
    run(&mut client, json!({ "accept_orphans": 12 })).await.expect(400);
    let status = sweep(&mut client, json!({ "orphans": true, "accept_orphans": 12 })).await;
    assert_eq!(
        (&status["last_sweep"]["stopped"], &status["totals"]["orphans"]),
        (&json!(false), &json!(12)),
        "{status:#}"
    );
    assert!(orphans.is_disjoint(&server.kept().digests()));
    client.get(&format!("/v2/a/b/blobs/{}", sha256(&content(1, 1_000)))).await.expect(200);
}

/// An association that fell out of the reviews is found again, and goes like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_review_is_entered_again() {
    let mut server = Wharf::start();
    let mut client = server.client();
    let digest = client.put_blob("a/b", content(1, 1_000)).await;
    server.stop();
    server.tamper("delete from gc_reviews");
    offline(server.data(), &[]).finds(&[("I-07", 1)]);
    server.restart_with(|builder| impatient(builder).set("gc.grace", "1s").set("gc.trash", "0s"));
    let mut client = server.client();
    let status = sweep(&mut client, json!({ "orphans": true })).await;
    assert_eq!(status["totals"]["reconciled"], 1, "{status:#}");
    online(&server, &[]).is_clean();
    let begun = std::time::Instant::now();
    while sweep(&mut client, json!({})).await["totals"]["removed"] != 1 {
        assert!(begun.elapsed() < crate::harness::PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    client.get(&format!("/v2/a/b/blobs/{digest}")).await.expect(404);
}
