//! More than the registry can do at once: it says so early, in words that clients can follow, and goes on with the rest.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Connection, Image, OCI_MANIFEST, Reply, Request, Wharf, content, sha256};

/// An upload that has begun and does not end: its client sends no more for now.
async fn begun_upload(server: &Wharf, repository: &str) -> (Connection, String) {
    let mut client = server.client();
    let location = client.begin_upload(repository).await;
    let mut connection = client.connect().await.unwrap();
    let head = Request::new("PATCH", &location).header("Expect", "100-continue").header("Content-Length", "1000");
    connection.send(head.head(&client.host()).as_bytes()).await.unwrap();
    // It has its place when it is asked for its body.
    assert_eq!(connection.head().await.unwrap().status, 100);
    (connection, location)
}

#[track_caller]
fn busy(reply: Reply) {
    let reply = reply.expect(429);
    assert_eq!(reply.code(), "TOOMANYREQUESTS");
    let wait: u64 = reply.header("retry-after").expect("a time to wait").parse().unwrap();
    assert!((1..=5).contains(&wait), "{reply}");
}

#[tokio::test]
async fn r080_uploads_beyond_the_limit_wait_and_are_refused_before_their_body() {
    let server = Wharf::builder().set("server.at_once.uploads", "1").start();
    let mut client = server.client();
    let (mut upload, _) = begun_upload(&server, "t/a").await;
    // The other kinds of work have places of their own, and health needs none.
    client.get("/v2/").await.expect(200);
    client.get("/readyz").await.expect(200);
    // Its body is never asked for.
    let post = Request::new("POST", "/v2/t/a/blobs/uploads/").header("Expect", "100-continue");
    let mut refused = client.connect().await.unwrap();
    refused.send(post.header("Content-Length", "1000").head(&client.host()).as_bytes()).await.unwrap();
    let reply = refused.reply(false).await.unwrap();
    assert!(reply.interim.is_empty(), "{reply}");
    busy(reply);
    assert!(server.client().get("/metrics").await.expect(200).to_string().contains("wharf_"));

    // Who waits gets the place that becomes free.
    let waiting = tokio::spawn({
        let mut client = server.client();
        async move { client.send(Request::new("POST", "/v2/t/b/blobs/uploads/").body("")).await }
    });
    upload.send(&[0; 1000]).await.unwrap();
    upload.reply(false).await.unwrap().expect(202);
    let begun = waiting.await.unwrap();
    assert!(begun.status == 202 || begun.status == 429, "{begun}");
    client.put_blob("t/a", content(1, 10_000)).await;
}

#[tokio::test]
async fn r080_a_download_that_nobody_reads_keeps_its_place_and_no_other() {
    let server = Wharf::builder().set("server.at_once.downloads", "1").start();
    let mut client = server.client();
    let large = content(1, 48 << 20);
    let digest = client.put_blob("t/a", large.clone()).await;
    let mut reader = client.connect().await.unwrap();
    let pull = Request::new("GET", format!("/v2/t/a/blobs/{digest}"));
    reader.send(pull.head(&client.host()).as_bytes()).await.unwrap();
    reader.final_head().await.unwrap().expect(200);
    busy(client.get(&format!("/v2/t/a/blobs/{digest}")).await);
    client.head(&format!("/v2/t/a/blobs/{digest}")).await.expect(200);
    Image::small(2, "amd64", 5_000).push(&mut client, "t/a", "v1").await;
    assert!(reader.exactly(large.len()).await.unwrap() == large);
    drop(reader);
    let again = client.get(&format!("/v2/t/a/blobs/{digest}")).await.expect(200);
    assert!(again.body == large);
}

/// FT-07: with 64 descriptors, and 100 clients that want one each.
#[tokio::test]
async fn ft07_few_descriptors_make_clients_wait_and_kill_nobody() {
    let builder = Wharf::builder();
    // Sixteen or seventeen connections either way. Each of those to PostgreSQL takes four descriptors besides, and how many are needed
    // differs from run to run.
    let allowed = if builder.is_shared() { "--nofile=96:96" } else { "--nofile=64:64" };
    let mut server = builder.under(["prlimit", allowed].map(Into::into)).start();
    let mut client = server.client();
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "t/a", "v1").await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(Connection::open(server.address()).await.unwrap());
    }
    // Some are in service, the others wait in the system's queue; nothing broke.
    let mut served = 0;
    for connection in idle.iter_mut().take(8) {
        connection.send(b"GET /v2/t/a/manifests/v1 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        served += u32::from(connection.reply(false).await.unwrap().status == 200);
    }
    assert_eq!(served, 8);
    // Connections stopped being accepted before there was no descriptor left for anything.
    assert!(!server.log_text().contains("could not be accepted"), "{}", server.log_text());
    drop(idle);
    for reference in ["v1", &image.digest()] {
        client.get(&format!("/v2/t/a/manifests/{reference}")).await.expect(200);
    }
    Image::small(2, "amd64", 5_000).push(&mut client, "t/a", "v2").await;
    server.stop();
}

/// FT-18: heads and bodies that drip keep nobody else from anything.
#[tokio::test]
async fn ft18_two_hundred_slow_clients_and_everybody_else() {
    let server = Wharf::start();
    let mut slow = Vec::new();
    for _ in 0..150 {
        let mut connection = Connection::open(server.address()).await.unwrap();
        connection.send(b"GET /v2/t/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nX-Drip: ").await.unwrap();
        slow.push(connection);
    }
    for _ in 0..50 {
        slow.push(begun_upload(&server, "t/slow").await.0);
    }
    let mut client = server.client();
    for seed in 0..10 {
        let image = Image::small(seed, "amd64", 5_000);
        image.push(&mut client, "t/a", "v1").await;
        for connection in &mut slow {
            connection.send(b"a").await.unwrap();
        }
        client.get("/v2/t/a/manifests/v1").await.expect(200);
        client.get("/readyz").await.expect(200);
    }
    for mut upload in slow.drain(..).skip(150) {
        upload.send(&[b'a'; 990]).await.unwrap();
        upload.reply(false).await.unwrap().expect(202);
    }
}

/// FT-26: each sync and each commit takes two seconds more. Health is answered while they last, and what is read is
/// read.
#[tokio::test]
async fn ft26_a_slow_disk_makes_writes_slow_and_nothing_else() {
    let server = Wharf::builder().failpoints("meta.commit=slow:2000,store.sync=slow:2000").start();
    let mut client = server.client();
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "t/a", "v1").await;
    // Two seconds are little on a busy machine.
    for _ in 0..5 {
        let push = tokio::spawn({
            let (mut client, manifest) = (server.client(), image.manifest.clone());
            let request = Request::new("PUT", "/v2/t/a/manifests/v2").header("Content-Type", OCI_MANIFEST);
            async move { client.send(request.body(manifest)).await }
        });
        for path in ["/healthz", "/readyz", "/v2/t/a/manifests/v1"] {
            client.get(path).await.expect(200);
        }
        let was_first = !push.is_finished();
        push.await.unwrap().expect(201);
        if was_first {
            return;
        }
    }
    panic!("reads are answered only after a commit of 2 s");
}

/// FT-27: first `/readyz` says so, then nobody new is let in, then it ends; a second signal ends it at once.
#[tokio::test]
async fn ft27_a_signal_is_seen_by_load_balancers_first() {
    let mut server = Wharf::builder().env("WHARF_SERVER__DRAIN_DELAY", "1h").start();
    let mut client = server.client();
    let blob = content(1, 1_000);
    client.put_blob("t/a", blob.clone()).await;
    client.get("/readyz").await.expect(200);
    server.signal(Signal::TERM);
    server.wait_for_log("stopping: requests in flight may end");
    let mut newcomer = server.client();
    assert_eq!(newcomer.get("/readyz").await.expect(503).body, b"stopping\n");
    newcomer.get("/healthz").await.expect(200);
    assert_eq!(newcomer.get(&format!("/v2/t/a/blobs/{}", sha256(&blob))).await.expect(200).body, blob);
    newcomer.put_blob("t/a", content(2, 1_000)).await;
    server.signal(Signal::TERM);
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("told to stop a second time"), "{}", ended.log);
    tokio::time::timeout(Duration::from_secs(60), async {
        Connection::open(newcomer_address(&newcomer)).await.is_err()
    })
    .await
    .expect("nobody listens any more");
}

fn newcomer_address(client: &crate::harness::Client) -> std::net::SocketAddr {
    client.host().parse().unwrap()
}
