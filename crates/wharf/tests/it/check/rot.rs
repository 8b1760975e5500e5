//! FT-09: bits that turned over.

use super::online;
use crate::harness::{Wharf, content};

/// One bit in each of a thousand objects: all are found, none is served, and pushing them again heals all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft09_a_thousand_flipped_bits() {
    const OBJECTS: u64 = 1_000;
    let server = Wharf::start();
    let mut client = server.client();
    let mut digests = Vec::new();
    for seed in 0..OBJECTS {
        digests.push(client.put_blob("rot/objects", content(seed, 300 + seed as usize)).await);
    }
    let clean = online(&server, &["--deep"]);
    clean.is_clean();
    assert_eq!(clean.found["totals"]["blobs"], OBJECTS);
    let bit = |seed: u64| seed * 7_919 % (8 * (300 + seed));
    server.kept().flip_bits(digests.iter().zip((0..).map(bit)));
    online(&server, &[]).is_clean();
    online(&server, &["--deep"]).finds(&[("I-02", OBJECTS)]);
    for digest in &digests {
        client.get(&format!("/v2/rot/objects/blobs/{digest}")).await.expect(404);
    }
    assert_eq!(server.kept().set_aside() as u64, OBJECTS);
    for (seed, digest) in digests.iter().enumerate() {
        let bytes = content(seed as u64, 300 + seed);
        assert_eq!(&client.put_blob("rot/objects", bytes.clone()).await, digest);
        assert_eq!(client.get(&format!("/v2/rot/objects/blobs/{digest}")).await.expect(200).body, bytes);
    }
    online(&server, &["--deep"]).is_clean();
}
