//! A layer of 1 GiB: pushed in pieces over a connection that breaks, pulled whole and in ranges.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::harness::{Client, Connection, MIB, Memory, Request, Stripes, Wharf};

const SIZE_BYTES: u64 = 1 << 30;

/// What the server may grow to; the layer is seven times as large.
const MEMORY_LIMIT_BYTES: u64 = 150 * MIB;

#[tokio::test]
async fn a_layer_of_1_gib_goes_up_over_a_broken_connection_and_comes_down_in_ranges() {
    let server = Wharf::start();
    let layer = Stripes::new(1, SIZE_BYTES);
    let digest = layer.digest();
    let mut client = server.client();

    let location = client.begin_upload("t/large").await;
    hang_up_after(&client, &location, &layer, 300).await;
    let start = received(&mut client, &location).await;
    assert!(start > 0 && start <= 300 * MIB + MIB / 2, "the session claims {start} bytes");
    push_from(&client, &location, &layer, start).await;
    client.finish_upload(&location, &digest, "").await.expect(201);

    let target = format!("/v2/t/large/blobs/{digest}");
    assert_eq!(pull_whole(&client, &target).await, digest);
    pull_ranges(&mut client, &target, &layer).await;
    // A stripe's length against this: the figures of a debug build, and still no part of the layer in memory.
    let Memory { high_water_bytes, .. } = server.memory();
    assert!(high_water_bytes < MEMORY_LIMIT_BYTES, "the server grew to {high_water_bytes} bytes");
}

/// Announces the whole layer, sends `stripes` and a half, and breaks the connection.
async fn hang_up_after(client: &Client, location: &str, layer: &Stripes, stripes: u64) {
    let mut connection = client.connect().await.unwrap();
    let request = Request::new("PATCH", location).header("Content-Length", SIZE_BYTES.to_string());
    connection.send(request.head(&client.host()).as_bytes()).await.unwrap();
    for number in 0..stripes {
        connection.send(&layer.stripe(number)).await.unwrap();
    }
    connection.send(&layer.stripe(stripes)[..Stripes::STRIPE_BYTES / 2]).await.unwrap();
}

/// How much the session has, once its writer is gone. An empty append is refused while somebody else writes; the one that
/// succeeds tells the offset that holds from then on. A status read before it may still be that of the writer.
async fn received(client: &mut Client, location: &str) -> u64 {
    let begun = std::time::Instant::now();
    loop {
        let probe = client.send(Request::new("PATCH", location).body("")).await;
        if probe.status == 202 {
            let last: u64 = probe.header("range").unwrap().strip_prefix("0-").unwrap().parse().unwrap();
            return if last == 0 { 0 } else { last + 1 };
        }
        assert_eq!(probe.status, 416, "{probe}");
        assert!(begun.elapsed() < crate::harness::PATIENCE, "the session never became free\n{probe}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Sends the layer from `start` to its end in chunks of 256 MiB.
async fn push_from(client: &Client, location: &str, layer: &Stripes, start: u64) {
    const CHUNK_BYTES: u64 = 256 * MIB;
    let mut connection = client.connect().await.unwrap();
    let mut start = start;
    while start < SIZE_BYTES {
        let end = SIZE_BYTES.min(start + CHUNK_BYTES);
        let request = Request::new("PATCH", location)
            .header("Content-Range", format!("{start}-{}", end - 1))
            .header("Content-Length", (end - start).to_string());
        connection.send(request.head(&client.host()).as_bytes()).await.unwrap();
        let mut at = start;
        while at < end {
            let piece = slice(layer, at, end);
            connection.send(&piece).await.unwrap();
            at += piece.len() as u64;
        }
        let reply = connection.reply(false).await.unwrap().expect(202);
        assert_eq!(reply.header("range"), Some(format!("0-{}", end - 1).as_str()), "{reply}");
        start = end;
    }
}

/// The layer's bytes from `at` to the end of their stripe, or to `end`.
fn slice(layer: &Stripes, at: u64, end: u64) -> Bytes {
    let stripe_bytes = Stripes::STRIPE_BYTES as u64;
    let number = at / stripe_bytes;
    let within = (at % stripe_bytes) as usize;
    let until = (end - number * stripe_bytes).min(stripe_bytes) as usize;
    Bytes::from(layer.stripe(number)).slice(within..until)
}

/// Pulls all of it and gives the digest of what came.
async fn pull_whole(client: &Client, target: &str) -> String {
    let mut connection = client.connect().await.unwrap();
    connection.send(Request::new("GET", target).head(&client.host()).as_bytes()).await.unwrap();
    let reply = connection.final_head().await.unwrap().expect(200);
    assert_eq!(reply.header("content-length"), Some(SIZE_BYTES.to_string().as_str()), "{reply}");
    digest_of(&mut connection, SIZE_BYTES).await
}

async fn digest_of(connection: &mut Connection, mut left: u64) -> String {
    let mut hash = Sha256::new();
    while left > 0 {
        let bytes = connection.some(usize::try_from(left).unwrap()).await.unwrap();
        hash.update(&bytes);
        left -= bytes.len() as u64;
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}

/// Ranges at the beginning, across stripes, in the middle, and at the end.
async fn pull_ranges(client: &mut Client, target: &str, layer: &Stripes) {
    for (start, end) in [(0, 0), (MIB - 3, MIB + 3), (512 * MIB + 17, 514 * MIB + 5), (SIZE_BYTES - 5, SIZE_BYTES - 1)]
    {
        let request = Request::new("GET", target).header("Range", format!("bytes={start}-{end}"));
        let reply = client.send(request).await.expect(206);
        assert_eq!(
            reply.header("content-range"),
            Some(format!("bytes {start}-{end}/{SIZE_BYTES}").as_str()),
            "{reply}"
        );
        let mut expected = Vec::new();
        while expected.len() < reply.body.len() {
            expected.extend_from_slice(&slice(layer, start + expected.len() as u64, end + 1));
        }
        assert!(reply.body == expected, "the bytes of {start}-{end}");
    }
}
