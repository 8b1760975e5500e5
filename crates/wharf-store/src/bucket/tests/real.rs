//! The same examination over a real server: SeaweedFS, which `scripts/install-test-tools` installs. `scripts/test` runs it.

use std::time::Duration;

use wharf_testkit::Weed;

use super::*;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs SeaweedFS; scripts/test runs it"]
async fn seaweedfs_passes_the_examination() {
    let weed = Weed::start();
    let number = AtomicU64::new(0);
    crate::contract::examine(|| {
        let prefix = format!("store-{}", number.fetch_add(1, Ordering::Relaxed));
        let config = BucketConfig { prefix, ..config(&weed.endpoint(), "examination") };
        async move { Arc::new(open(&config).await.unwrap()) as Arc<dyn BlobStore> }
    })
    .await;

    // And what only a server can show that has parts.
    let store = open(&config(&weed.endpoint(), "parts")).await.unwrap();
    let content = content(27 * MIB + 5);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let mut at = None;
    for (start, end) in [(0, 9 * MIB), (9 * MIB, 20 * MIB), (20 * MIB, content.len())] {
        let other = open(&config(&weed.endpoint(), "parts")).await.unwrap();
        let mut writer = other.writer(upload(1), Algorithm::Sha256, at.as_ref(), None).await.unwrap();
        writer.write(content.slice(start..end)).await.unwrap();
        at = Some(writer.checkpoint().await.unwrap());
    }
    let writer = store.writer(upload(1), Algorithm::Sha256, at.as_ref(), None).await.unwrap();
    let place = writer.commit(&digest).await.unwrap().place().clone();
    assert!(read(&store, &place, content.len()).await.unwrap() == content);
    // When the row is recorded, what led there goes.
    store.discard(upload(1)).await.unwrap();
    assert_eq!(everything(&store).await, [Entry::Located(place.location.clone())]);
    let lifetime = Duration::from_secs(60);
    let link = store.link(&place, "application/octet-stream", lifetime).await.unwrap().unwrap();
    let got = reqwest::get(&link).await.unwrap().error_for_status().unwrap();
    assert!(got.bytes().await.unwrap() == content);
    let forged = link.replace("X-Amz-Expires=60", "X-Amz-Expires=600");
    assert!(reqwest::get(&forged).await.unwrap().status().is_client_error());
}
