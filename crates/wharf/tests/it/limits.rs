//! What a client may ask for, at the limit and one beyond it.

use std::time::{Duration, Instant};

use crate::harness::{Connection, Fixture, OCI_MANIFEST, Reply, Request, Wharf, content, sha256};

/// Sends one head as it is and reads the reply.
async fn answer(server: &Wharf, head: &str) -> Reply {
    let mut connection = Connection::open(server.address()).await.unwrap();
    let _ = connection.send(head.as_bytes()).await;
    connection.reply(false).await.unwrap_or_else(|error| panic!("{}…: {error}", &head[..head.len().min(60)]))
}

#[tokio::test]
async fn p022_large_heads_are_accepted() {
    let server = Wharf::start();
    let line = format!("GET /v2/?unknown={} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(16 * 1024));
    assert_eq!(answer(&server, &line).await.status, 200);
    let headers: String = (0..4).map(|number| format!("X-Long-{number}: {}\r\n", "x".repeat(15 * 1024))).collect();
    assert_eq!(answer(&server, &format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await.status, 200);
}

#[tokio::test]
async fn b006_heads_beyond_the_limit_are_refused() {
    let server = Wharf::start();
    // A line that does not even fit into the reader's buffer is a head that is too large before it is a target.
    for (bytes, status) in [(33 * 1024, 414), (1 << 20, 431)] {
        let line = format!("GET /v2/?unknown={} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(bytes));
        assert_eq!(answer(&server, &line).await.status, status, "a request line of {bytes} bytes");
    }
    let large = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(1 << 20));
    assert_eq!(answer(&server, &large).await.status, 431, "one header of 1 MiB");
    for count in [129, 10_000] {
        let headers: String = (0..count).map(|number| format!("X-{number}: a\r\n")).collect();
        let many = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        assert_eq!(answer(&server, &many).await.status, 431, "{count} headers");
    }
}

#[tokio::test]
async fn b008_a_head_that_does_not_end_is_not_waited_for() {
    const LIMIT: Duration = Duration::from_secs(1);
    let server = Wharf::builder().set("server.header_timeout", "1s").start();
    for begun in ["", "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: a"] {
        let mut connection = Connection::open(server.address()).await.unwrap();
        connection.send(begun.as_bytes()).await.unwrap();
        let opened = Instant::now();
        let said = String::from_utf8(connection.until_closed().await.unwrap()).unwrap();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
        assert!(opened.elapsed() < 10 * LIMIT, "closed only after {:?}", opened.elapsed());
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Wharf::builder().set("server.keep_alive_timeout", "1s").start();
    let mut connection = Connection::open(server.address()).await.unwrap();
    connection.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    connection.reply(false).await.unwrap().expect(200);
    assert!(connection.until_closed().await.unwrap().is_empty());
}

#[tokio::test]
async fn b009_a_body_that_stands_still_is_answered_and_its_session_goes_on() {
    let server = Wharf::builder().set("server.body_idle_timeout", "1s").start();
    let mut client = server.client();
    let blob = content(9, 1 << 20);
    let location = client.begin_upload("t/a").await;
    let mut stalled = client.connect().await.unwrap();
    let head = Request::new("PATCH", &location).header("Content-Length", blob.len().to_string());
    stalled.send(head.head(&client.host()).as_bytes()).await.unwrap();
    stalled.send(&blob[..300_000]).await.unwrap();
    let reply = stalled.reply(false).await.unwrap();
    assert_eq!(reply.status, 408, "{reply}");

    let state = client.get(&location).await.expect(204);
    let last: usize = state.header("range").unwrap().strip_prefix("0-").unwrap().parse().unwrap();
    let kept = if last == 0 { 0 } else { last + 1 };
    assert!(kept <= 300_000, "{state}");
    client.append(&location, kept, blob[kept..].to_vec()).await.expect(202);
    client.finish_upload(&location, &sha256(&blob), "").await.expect(201);
    let pulled = client.get(&format!("/v2/t/a/blobs/{}", sha256(&blob))).await.expect(200);
    assert!(pulled.body == blob);
}

#[tokio::test]
async fn one_connection_more_than_allowed_is_closed() {
    const ALLOWED: usize = 4;
    let server = Wharf::builder().set("server.max_connections", &ALLOWED.to_string()).start();
    let ping = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..ALLOWED {
        let mut connection = Connection::open(server.address()).await.unwrap();
        connection.send(ping).await.unwrap();
        connection.reply(false).await.unwrap().expect(200);
        open.push(connection);
    }
    let mut refused = Connection::open(server.address()).await.unwrap();
    let _ = refused.send(ping).await;
    let said = String::from_utf8_lossy(&refused.until_closed().await.unwrap()).into_owned();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 503"), "{said}");

    // The others are untouched, and a place that becomes free is given away.
    for connection in &mut open {
        connection.send(ping).await.unwrap();
        connection.reply(false).await.unwrap().expect(200);
    }
    drop(open.pop());
    let begun = Instant::now();
    loop {
        let mut next = Connection::open(server.address()).await.unwrap();
        let _ = next.send(ping).await;
        if next.reply(false).await.is_ok_and(|reply| reply.status == 200) {
            return;
        }
        assert!(begun.elapsed() < crate::harness::PATIENCE, "the freed place was never given away");
    }
}

#[tokio::test]
async fn a_blob_beyond_the_limit_is_refused_before_or_while_it_is_read() {
    let server = Wharf::builder().set("registry.blob_size_max", "64 KiB").start();
    let mut client = server.client();
    let largest = content(1, 64 * 1024);
    client.put_blob("t/a", largest).await;

    let larger = content(2, 64 * 1024 + 1);
    let digest = sha256(&larger);
    for chunked in [false, true] {
        let location = client.begin_upload("t/a").await;
        let mut request = Request::new("PATCH", &location).body(larger.clone());
        if chunked {
            request.body = crate::harness::Body::Chunked(larger.clone().into());
        }
        let reply = client.send(request).await.expect(413);
        assert_eq!(reply.code(), "BLOB_UPLOAD_INVALID", "{reply}");
        client.get(&location).await.expect(404);
    }
    client.head(&format!("/v2/t/a/blobs/{digest}")).await.expect(404);
}

#[tokio::test]
async fn p213_manifests_up_to_4_mib_are_accepted_and_returned() {
    const LIMIT_BYTES: usize = 4 << 20;
    let server = Wharf::start();
    let mut client = server.client();
    client.put_blob("t/a", Fixture::J.bytes()).await;
    client.put_blob("t/a", Fixture::H.bytes()).await;
    let manifest = Fixture::padded_manifest(LIMIT_BYTES);
    client.put_manifest("t/a", "large", OCI_MANIFEST, manifest.clone()).await;
    let pulled = client.get("/v2/t/a/manifests/large").await.expect(200);
    assert!(pulled.body == manifest);

    let larger = Request::new("PUT", "/v2/t/a/manifests/larger").header("Content-Type", OCI_MANIFEST);
    let reply = client.send(larger.body(Fixture::padded_manifest(LIMIT_BYTES + 1))).await.expect(413);
    assert_eq!(reply.code(), "MANIFEST_INVALID");
}

#[tokio::test]
async fn b031_parameters_without_end_are_refused_and_unknown_ones_are_not() {
    let server = Wharf::start();
    let mut client = server.client();
    client.get("/v2/?%zz&&&&ns=evil.example&a=%ff").await.expect(200);
    let many = (0..2_000).map(|number| format!("p{number}=1")).collect::<Vec<_>>().join("&");
    client.get(&format!("/v2/?{many}")).await.expect(414);
}
