//! Blobs too large to hold, in both directions.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::harness::{Client, Request, Stripes};

/// Pushes `blob` in one PATCH.
pub async fn push(mut client: Client, repository: &str, blob: Arc<Stripes>, digest: String) {
    let location = client.begin_upload(repository).await;
    let mut connection = client.connect().await.expect("a connection");
    let request = Request::new("PATCH", &location).header("Content-Length", blob.size_bytes().to_string());
    connection.send(request.head(&client.host()).as_bytes()).await.expect("sending");
    for number in 0..blob.count() {
        connection.send(&blob.stripe(number)).await.expect("sending");
    }
    connection.reply(false).await.expect("a reply").expect(202);
    // Its first connection has been idle for as long as the server keeps one, or longer.
    client.another().finish_upload(&location, &digest, "").await.expect(201);
}

/// Pulls `size_bytes` bytes and gives their digest; keeps none of them.
pub async fn pull(client: &Client, target: &str, size_bytes: u64) -> String {
    let mut connection = client.connect().await.expect("a connection");
    connection.send(Request::new("GET", target).head(&client.host()).as_bytes()).await.expect("sending");
    let reply = connection.final_head().await.expect("a reply").expect(200);
    assert_eq!(reply.header("content-length"), Some(size_bytes.to_string().as_str()), "{reply}");
    let mut hash = Sha256::new();
    let mut left = size_bytes;
    while left > 0 {
        let bytes = connection.some(usize::try_from(left).unwrap_or(usize::MAX)).await.expect("the body");
        hash.update(&bytes);
        left -= bytes.len() as u64;
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}
