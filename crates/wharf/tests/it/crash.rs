//! The process dies at any moment and everything that was acknowledged is still there.
//!
//! A seeded script of pushes, moves of tags and deletes runs on several connections at once. A fuse counts the pieces
//! that go over the wire; when it has burnt down the server is killed, wherever it stands. A ledger in the test knows
//! what was acknowledged and what was only attempted; after the restart the registry must agree with it.

mod ledger;
mod script;

use std::path::Path;
use std::sync::Arc;

use rustix::process::Signal;
use wharf_base::{Rng, SeededRng};

use crate::harness::{Connection, Fixture, Request, Wharf, hex_sha256, serve_expecting_failure};
use ledger::Ledger;
use script::{Fuse, Writer};

/// How often the server is killed.
const KILLS: u64 = 20;

/// Connections that write at the same time.
const WRITERS: u64 = 4;

#[tokio::test]
async fn twenty_kills_lose_nothing_that_was_acknowledged() {
    let mut server = Wharf::start();
    let mut ledger = Ledger::default();
    for round in 0..KILLS {
        let fuse = Arc::new(Fuse::new(20 + number(round) % 400));
        let writers = (0..WRITERS).map(|writer| {
            let writer = Writer::new(round * WRITERS + writer, &server.client(), Arc::clone(&fuse));
            tokio::spawn(writer.write_until_the_end())
        });
        let writers: Vec<_> = writers.collect();
        fuse.burnt().await;
        server.kill9();
        for writer in writers {
            ledger.merge(writer.await.expect("a writer"));
        }
        only_whole_files(&server.data().join("layers"));
        server.restart();
        ledger.verify(&mut server.client()).await;
        only_whole_files(&server.data().join("layers"));
    }
    println!("{KILLS} kills, {}", ledger.summary());
    assert!(ledger.acknowledged() > KILLS, "the script was killed before it did anything");
    server.stop();
}

/// A number that depends on `seed` alone.
fn number(seed: u64) -> u64 {
    let mut bytes = [0; 8];
    SeededRng::new(seed).fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Whatever lies under a digest's name has that digest.
fn only_whole_files(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            only_whole_files(&path);
        } else if path.ancestors().any(|ancestor| ancestor.ends_with("sha256")) {
            let name = entry.file_name().into_string().unwrap();
            assert_eq!(hex_sha256(&std::fs::read(&path).unwrap()), name, "a torn file in {}", directory.display());
        }
    }
}

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
