//! How a server ends and begins: one a directory, and what was begun is finished. What kills do is in `proof`.

use rustix::process::Signal;

use crate::harness::{Connection, Fixture, Request, Wharf, serve_expecting_failure};
use crate::only_in_the_embedded_run;

#[tokio::test]
async fn b136_a_second_server_on_the_same_directory_is_refused() {
    let server = Wharf::start();
    let digest = server.client().put_blob("t/a", Fixture::H.bytes()).await;
    let output = serve_expecting_failure(server.data());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&server.data().display().to_string()), "the message does not name the directory: {said}");
    assert!(said.contains(&server.pid().to_string()), "the message does not name the other process: {said}");
    server.client().get(&format!("/v2/t/a/blobs/{digest}")).await.expect(200);
}

/// An empty database in the place of a lost one would be a registry that has lost everything.
#[tokio::test]
async fn content_without_its_database_is_refused() {
    only_in_the_embedded_run!("takes the file of the embedded database away");
    let mut server = Wharf::start();
    let digest = server.client().put_blob("t/a", Fixture::H.bytes()).await;
    server.stop();
    let (database, elsewhere) = (server.data().join("wharf.db"), server.data().join("wharf.lost"));
    std::fs::rename(&database, &elsewhere).unwrap();
    let output = serve_expecting_failure(server.data());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains(database.to_str().unwrap()) && said.contains("backup"), "{said}");
    assert!(!database.exists(), "nothing was put in its place");
    std::fs::rename(&elsewhere, &database).unwrap();
    server.restart();
    server.client().get(&format!("/v2/t/a/blobs/{digest}")).await.expect(200);
}

#[tokio::test]
async fn a_request_in_flight_is_finished_before_the_server_ends() {
    let mut server = Wharf::start();
    let mut client = server.client();
    let blob = Fixture::K.bytes();
    let location = client.begin_upload("t/a").await;
    let target = format!("{location}?digest={}", Fixture::K.digest());
    let request = Request::new("PUT", target).header("Expect", "100-continue").header("Content-Length", "2048");
    let mut connection = client.connect().await.unwrap();
    connection.send(request.head(&client.host()).as_bytes()).await.unwrap();
    assert_eq!(connection.head().await.unwrap().status, 100);
    connection.send(&blob[..1000]).await.unwrap();

    server.signal(Signal::TERM);
    // The listener closes first; that it has is what tells that the server is on its way out.
    let begun = std::time::Instant::now();
    while Connection::open(server.address()).await.is_ok() {
        assert!(begun.elapsed() < crate::harness::PATIENCE, "connections are still accepted");
    }
    connection.send(&blob[1000..]).await.unwrap();
    connection.reply(false).await.unwrap().expect(201);
    server.ended_cleanly();

    server.restart();
    let pulled = server.client().get(&format!("/v2/t/a/blobs/{}", Fixture::K.digest())).await.expect(200);
    assert_eq!(pulled.body, blob);
}
