//! What the registry does when the machine under it does not do its part: disks that fail, fill up, become read-only or
//! vanish, clocks that jump, a database that is damaged. Each day ends with everything there that was acknowledged.

mod clock;
mod full;
mod protected;
mod sync;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Client, Image, PATIENCE, Reply, sha256};

/// What `/readyz?verbose` says; the registry is ready on all of these days.
async fn report(client: &mut Client) -> Value {
    client.get("/readyz?verbose").await.expect(200).json()
}

/// Waits until `/readyz?verbose` says `writes` of writing; the whole report.
async fn wait_for_writes(client: &mut Client, writes: &str) -> Value {
    let begun = Instant::now();
    loop {
        let found = report(client).await;
        if found["writes"] == writes {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "writes are never \"{writes}\": {found:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A write that is refused for now, and says so in words that a client shows to a person.
fn refused_for_now(reply: Reply, status: u16, words: &str) {
    let reply = reply.expect(status);
    assert_eq!(reply.code(), "UNAVAILABLE", "{reply}");
    assert!(reply.has("retry-after"), "{reply}");
    let message = reply.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(words), "{reply}");
}

/// All of `image` comes back as it was pushed.
async fn pulls(client: &mut Client, repository: &str, image: &Image) {
    let manifest = client.get(&format!("/v2/{repository}/manifests/{}", image.digest())).await.expect(200);
    assert_eq!(manifest.body, image.manifest);
    for blob in image.blobs() {
        let found = client.get(&format!("/v2/{repository}/blobs/{}", sha256(blob))).await.expect(200);
        assert!(found.body == *blob, "a blob came back with other bytes");
    }
}
