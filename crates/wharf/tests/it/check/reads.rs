//! `storage.verify_reads`, and the scrub.

use super::online;
use crate::harness::{Client, PATIENCE, Request, Wharf, WireError, content};

const BLOB_BYTES: usize = 3 << 20;

async fn damaged(server: &Wharf, client: &mut Client) -> String {
    let digest = client.put_blob("a/b", content(1, BLOB_BYTES)).await;
    // Read once while it is right.
    client.get(&format!("/v2/a/b/blobs/{digest}")).await.expect(200);
    server.kept().flip_bit(&digest, 99);
    digest
}

fn get(digest: &str) -> Request {
    Request::new("GET", format!("/v2/a/b/blobs/{digest}"))
}

/// Soon it is not served any more; until then it breaks off each time.
async fn is_set_aside(client: &mut Client, digest: &str) {
    let begun = std::time::Instant::now();
    loop {
        match client.try_send(&get(digest)).await {
            Ok(reply) => break drop(reply.expect(404)),
            Err(WireError::Closed { .. }) => assert!(begun.elapsed() < PATIENCE, "it is never set aside"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The answer breaks off before its last 64 KiB, and the blob is set aside.
async fn breaks_off(client: &mut Client, digest: &str) {
    match client.try_send(&get(digest)).await {
        Err(WireError::Closed { received }) => assert!(received <= BLOB_BYTES - (64 << 10), "{received} bytes"),
        other => panic!("{other:?}"),
    }
    is_set_aside(client, digest).await;
    client.put_blob("a/b", content(1, BLOB_BYTES)).await;
    assert_eq!(client.send(get(digest)).await.expect(200).body, content(1, BLOB_BYTES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn always_means_that_no_read_ends_with_wrong_bytes() {
    let server = Wharf::builder().set("storage.verify_reads", "always").start();
    let mut client = server.client();
    let digest = damaged(&server, &mut client).await;
    let ranged = client.try_send(&get(&digest).header("Range", "bytes=0-9")).await;
    assert!(matches!(ranged, Err(WireError::Closed { .. })), "a range is answered with all of it: {ranged:?}");
    is_set_aside(&mut client, &digest).await;
    client.put_blob("a/b", content(1, BLOB_BYTES)).await;
    let ranged = client.send(get(&digest).header("Range", "bytes=0-9")).await.expect(200);
    assert_eq!(ranged.body.len(), BLOB_BYTES);
    server.kept().flip_bit(&digest, 8 * (BLOB_BYTES as u64) - 1);
    breaks_off(&mut client, &digest).await;
    online(&server, &["--deep"]).is_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_means_the_first_full_read_since_the_start() {
    let mut server = Wharf::builder().set("storage.verify_reads", "first").start();
    let mut client = server.client();
    let digest = damaged(&server, &mut client).await;
    client.send(get(&digest)).await.expect(200);
    server.restart();
    let mut client = server.client();
    client.send(get(&digest).header("Range", "bytes=0-9")).await.expect(206);
    breaks_off(&mut client, &digest).await;
}

/// What was read is small enough to stay in memory; who may read it is asked each time, and what lies on the disk when it is
/// read anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_blob_is_served_from_memory_to_whom_it_is_served() {
    for (setting, value, from_memory) in [
        ("storage.remembered", "8 MiB", true),
        ("storage.remembered", "0", false),
        ("storage.verify_reads", "always", false),
    ] {
        let server = Wharf::builder().set(setting, value).start();
        let mut client = server.client();
        let small = content(3, 4_000);
        let digest = client.put_blob("a/b", small.clone()).await;
        client.send(get(&digest)).await.expect(200);
        server.kept().flip_bit(&digest, 99);
        let again = client.send(get(&digest)).await;
        if !from_memory {
            assert_eq!(again.expect(404).code(), "BLOB_UNKNOWN", "{setting}");
            continue;
        }
        assert_eq!(again.expect(200).body, small);
        let part = client.send(get(&digest).header("Range", "bytes=10-19")).await.expect(206);
        assert_eq!(part.body, small[10..20]);
        client.get(&format!("/v2/c/d/blobs/{digest}")).await.expect(404);
        client.send(Request::new("DELETE", format!("/v2/a/b/blobs/{digest}"))).await.expect(202);
        client.send(get(&digest)).await.expect(404);
    }
}

/// By default large content is served as it is, until the scrub comes by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scrub_finds_what_nobody_reads() {
    let mut server = Wharf::start();
    let mut client = server.client();
    let digest = damaged(&server, &mut client).await;
    let sound = client.put_blob("a/b", content(2, 10_000)).await;
    client.send(get(&digest)).await.expect(200);
    let scrubbing = |server: crate::harness::Builder| {
        server.set("check.scrub_period", "1s").set("check.scrub_interval", "1s").set("check.scrub_share_percent", "100")
    };
    server.restart_with(scrubbing);
    server.wait_for_log("is damaged and set aside");
    let mut client = server.client();
    let reply = client.send(get(&digest)).await.expect(404);
    assert!(reply.header("warning").is_some(), "{reply}");
    client.send(get(&sound)).await.expect(200);
    assert_eq!(server.kept().set_aside(), 1);
    client.put_blob("a/b", content(1, BLOB_BYTES)).await;
    client.send(get(&digest)).await.expect(200);
    online(&server, &["--deep"]).is_clean();
}

/// A client that pushes without looking heals what nobody has noticed yet: the size alone does not say that it is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_replaces_damage_that_nobody_has_noticed() {
    let server = Wharf::start();
    let mut client = server.client();
    let digest = damaged(&server, &mut client).await;
    client.put_blob("c/d", content(1, BLOB_BYTES)).await;
    assert!(client.send(get(&digest)).await.expect(200).body == content(1, BLOB_BYTES));
    online(&server, &["--deep"]).is_clean();
    assert_eq!(server.kept().set_aside(), 0);
}
