//! Requests whose framing is wrong, doubtful or unusual, as raw bytes (security corpus B-001 to B-010).

use bytes::Bytes;

use crate::harness::{Connection, Fixture, Reply, Request, Wharf, sha256};

/// A request that must never be answered when it comes in the shadow of a doubtful one.
const SMUGGLED: &str = "GET /v2/smuggled/repository/tags/list HTTP/1.1\r\nHost: x\r\n\r\n";

/// Sends `bytes`, then everything up to the end of the connection.
async fn exchange(server: &Wharf, bytes: impl AsRef<[u8]>) -> String {
    let mut connection = Connection::open(server.address()).await.unwrap();
    // A server that refuses early may have closed before everything was sent; what it said counts.
    let _ = connection.send(bytes.as_ref()).await;
    String::from_utf8_lossy(&connection.until_closed().await.unwrap()).into_owned()
}

/// Sends a doubtful request with a smuggled one behind it: refused with one of `statuses` or one answer, then the end.
#[track_caller]
fn refused(what: &str, answer: &str, statuses: &[&str]) {
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or("none");
    assert!(statuses.contains(&status), "{what}: answered {status}\n{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: a second answer\n{answer}");
    assert!(!answer.contains("NAME_UNKNOWN"), "{what}: the smuggled request was answered\n{answer}");
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /v2/t/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}{SMUGGLED}")
}

#[tokio::test]
async fn b001_length_and_chunks_at_once_end_the_connection() {
    let server = Wharf::start();
    let answer = exchange(&server, post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n")).await;
    refused("both framings", &answer, &["400", "202"]);
    let answer = exchange(&server, post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n")).await;
    refused("both framings, the other way round", &answer, &["400", "202"]);
}

#[tokio::test]
async fn b002_two_lengths_are_refused() {
    let server = Wharf::start();
    let answer = exchange(&server, post("Content-Length: 5\r\nContent-Length: 6", "hello")).await;
    refused("two lengths", &answer, &["400"]);
    let answer = exchange(&server, post("Content-Length: 5, 6", "hello")).await;
    refused("two lengths in one line", &answer, &["400"]);
    for length in ["-1", "+5", "5x", "0x5", "99999999999999999999"] {
        let answer = exchange(&server, post(&format!("Content-Length: {length}"), "hello")).await;
        refused(length, &answer, &["400", "413"]);
    }
}

#[tokio::test]
async fn b003_transfer_codings_other_than_chunked_are_refused() {
    let server = Wharf::start();
    for coding in ["xchunked", "chunked, identity", "chunked\r\nTransfer-Encoding: chunked"] {
        let answer = exchange(&server, post(&format!("Transfer-Encoding: {coding}"), "0\r\n\r\n")).await;
        refused(coding, &answer, &["400", "501"]);
    }
}

#[tokio::test]
async fn b004_bad_chunk_sizes_end_the_connection() {
    let server = Wharf::start();
    let before = server.memory().resident_bytes;
    let extension = format!("5;ext={}\r\nhello\r\n0\r\n\r\n", "x".repeat(1 << 20));
    for chunk in ["-1\r\nx", "0x5\r\nhello\r\n0\r\n\r\n", &extension] {
        let mut client = server.client();
        let location = client.begin_upload("t/a").await;
        let head =
            format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{SMUGGLED}");
        let answer = exchange(&server, head).await;
        refused(&chunk[..chunk.len().min(20)], &answer, &["400"]);
        let state = client.get(&location).await.expect(204);
        assert_eq!(state.header("range"), Some("0-0"), "{state}");
    }
    let grown = server.memory().resident_bytes.saturating_sub(before);
    assert!(grown < 16 * crate::harness::MIB, "memory grew by {grown} bytes");
}

/// The parser takes it for a chunk that large, so what follows is its content: nothing smuggled is answered, the body
/// never ends, and its time does.
#[tokio::test]
async fn b004_a_chunk_of_all_there_can_be_is_never_waited_for() {
    let server = Wharf::builder().set("server.body_idle_timeout", "1s").start();
    let mut client = server.client();
    let location = client.begin_upload("t/a").await;
    let chunk = format!("FFFFFFFFFFFFFFFF\r\nx{SMUGGLED}");
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
    let answer = exchange(&server, head).await;
    refused("FFFFFFFFFFFFFFFF", &answer, &["400", "408", "413"]);
    let state = client.get(&location).await.expect(204);
    assert_eq!(state.header("range"), Some(&*format!("0-{}", SMUGGLED.len())), "{state}");
}

#[tokio::test]
async fn b005_heads_that_two_readers_may_read_differently_are_refused() {
    let server = Wharf::start();
    for head in [
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Folded: a\r\n b\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Null: a\0b\r\n\r\n",
        "GET /v2/ HTTP/1.1\nHost: x\n\n",
        "GET /v2/ HTTP/1.1\r\nHost: x\nX-Bare: a\r\n\r\n",
    ] {
        let answer = exchange(&server, format!("{head}{SMUGGLED}")).await;
        refused(&format!("{head:?}"), &answer, &["400"]);
    }
}

#[tokio::test]
async fn b007_only_paths_of_this_server_are_answered() {
    let server = Wharf::start();
    let close = "Host: x\r\nConnection: close\r\n\r\n";
    let answer = exchange(&server, format!("GET http://evil.example/v2/ HTTP/1.1\r\n{close}")).await;
    assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.contains("evil.example"), "{answer}");
    for request in ["CONNECT x:1", "OPTIONS *", "TRACE /", "TRACE /v2/"] {
        let answer = exchange(&server, format!("{request} HTTP/1.1\r\n{close}")).await;
        let status = answer.get(9..12).unwrap_or_default();
        assert!(["400", "404", "405", "501"].contains(&status), "{request}: {answer}");
        assert!(!answer.contains("Connection: close\r\n\r\nTRACE"), "{request} reflects the request: {answer}");
    }
}

#[tokio::test]
async fn b010_pipelined_requests_are_answered_in_order() {
    const REQUESTS: usize = 1_000;
    let server = Wharf::start();
    let mut connection = Connection::open(server.address()).await.unwrap();
    let batch: String = (0..REQUESTS)
        .map(|number| match number % 2 {
            0 => "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            _ => format!("GET /v2/t/none/manifests/tag-{number} HTTP/1.1\r\nHost: x\r\n\r\n"),
        })
        .collect();
    connection.send(batch.as_bytes()).await.unwrap();
    for number in 0..REQUESTS {
        let reply = connection.reply(false).await.unwrap_or_else(|error| panic!("reply {number}: {error}"));
        match number % 2 {
            0 => assert_eq!((reply.status, &reply.body[..]), (200, &b"{}"[..]), "{number}: {reply}"),
            _ => assert_eq!((reply.status, reply.code().as_str()), (404, "MANIFEST_UNKNOWN"), "{number}: {reply}"),
        }
    }
}

#[tokio::test]
async fn p021_the_body_is_asked_for_only_when_it_is_wanted() {
    let server = Wharf::start();
    let mut client = server.client();
    let host = client.host();
    let location = client.begin_upload("t/a").await;
    let expecting = |target: &str| {
        let request = Request::new("PUT", target).header("Content-Length", "5").header("Expect", "100-continue");
        request.head(&host).into_bytes()
    };

    let mut wanted = client.connect().await.unwrap();
    wanted.send(&expecting(&format!("{location}?digest={}", Fixture::H.digest()))).await.unwrap();
    assert_eq!(wanted.head().await.unwrap().status, 100);
    wanted.send(b"hello").await.unwrap();
    wanted.reply(false).await.unwrap().expect(201);

    // Each of these is known to fail before a byte of the body: the final answer comes, and no 100 before it.
    let open = client.begin_upload("t/a").await;
    let unknown = "/v2/t/a/blobs/uploads/00000000-0000-4000-8000-000000000000";
    for (target, status) in [
        (format!("{unknown}?digest={}", Fixture::H.digest()), 404),
        (format!("{open}?digest=sha256:zz"), 400),
        ("/v2/T/Upper/manifests/v1".to_owned(), 400),
        ("/v2/t/a/manifests/sha256:zz".to_owned(), 400),
    ] {
        let mut unwanted = client.connect().await.unwrap();
        unwanted.send(&expecting(&target)).await.unwrap();
        let reply = unwanted.reply(false).await.unwrap();
        assert_eq!((reply.status, &reply.interim[..]), (status, &[][..]), "{target}\n{reply}");
    }
}

#[tokio::test]
async fn p020_an_early_refusal_of_a_large_body_can_be_read() {
    const BODY_BYTES: usize = 4 << 20;
    let server = Wharf::start();
    let mut client = server.client();
    let open = client.begin_upload("t/a").await;
    let unknown = "/v2/t/a/blobs/uploads/00000000-0000-4000-8000-000000000000";
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    for (request, status) in [
        (Request::new("PUT", format!("{unknown}?digest={}", sha256(&body))), 404),
        (Request::new("PATCH", unknown), 404),
        (Request::new("PUT", format!("{open}?digest=sha256:zz")), 400),
        (Request::new("PATCH", &open).header("Content-Range", format!("7-{}", BODY_BYTES + 6)), 416),
        (Request::new("POST", "/v2/t/a/tags/list"), 405),
        (Request::new("PUT", "/v2/T/Upper/manifests/v1"), 400),
    ] {
        let told = format!("{} {}", request.method, request.target);
        // The whole body goes out first, as from a client that does not look up; then the answer must still be there.
        let reply = send_whole(&client, request.body(body.clone())).await;
        assert_eq!(reply.status, status, "{told}\n{reply}");
        assert!(!reply.code().is_empty(), "{told}\n{reply}");
    }
}

async fn send_whole(client: &crate::harness::Client, request: Request) -> Reply {
    let mut connection = client.connect().await.unwrap();
    connection.send(request.head(&client.host()).as_bytes()).await.unwrap();
    connection.send(&request.framed_body()).await.unwrap();
    connection.reply(false).await.unwrap()
}
