//! A bucket on bad days: clear errors within the time-outs, nothing acknowledged that is lost, and recovery without a restart
//!

use std::time::{Duration, Instant};

use wharf_testkit::{Mood, Proxy};

use super::*;

struct Bad {
    server: Server,
    bucket: String,
    proxy: Proxy,
    store: BucketStore,
}

impl Bad {
    async fn new() -> Self {
        let server = Server::start().await;
        let bucket = server.bucket("one");
        let proxy = Proxy::before_http(server.address()).await;
        let store = open(&config(&proxy.endpoint(), &bucket)).await.unwrap();
        Self { server, bucket, proxy, store }
    }

    /// From the first day on that is fair again.
    async fn recovers(&self, place: &Place, expected: &Bytes) {
        self.proxy.be(Mood::Fair);
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = self.store.stat(place).await {
            assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
            assert!(Instant::now() < deadline, "it does not recover");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(read(&self.store, place, expected.len()).await.unwrap() == *expected);
        push(&self.store, &content(10)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r031_a_bucket_that_refuses_or_resets_is_an_error_that_passes() {
    for mood in [Mood::Status(503), Mood::Reset, Mood::Truncated(0), Mood::Truncated(40)] {
        let bad = Bad::new().await;
        let content = content(2 * MIB);
        let place = push(&bad.store, &content).await.unwrap();
        bad.proxy.be(mood);
        let pushed = push(&bad.store, &content).await;
        assert!(matches!(pushed, Err(Error::Unavailable { .. })), "{mood:?}: {pushed:?}");
        let opened = bad.store.open(&place, content.len() as u64).await;
        assert!(
            matches!(opened, Err(Error::Unavailable { .. })),
            "{mood:?}: a failure never says that nothing is there"
        );
        assert!(bad.store.list(None, 10).await.is_err());
        assert!(bad.store.probe().await.is_err());
        bad.recovers(&place, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r086_while_it_does_not_answer_it_is_hardly_asked() {
    let bad = Bad::new().await;
    let content = content(2 * MIB);
    let place = push(&bad.store, &content).await.unwrap();
    bad.proxy.be(Mood::Status(503));
    for _ in 0..5 {
        assert!(bad.store.stat(&place).await.is_err());
    }
    let before = bad.proxy.requests();
    let begun = Instant::now();
    for _ in 0..500 {
        assert!(matches!(bad.store.stat(&place).await, Err(Error::Unavailable { .. })));
    }
    let asked = bad.proxy.requests() - before;
    let most = 1 + usize::try_from(begun.elapsed().as_secs() / 2).unwrap();
    assert!(asked <= most, "it was asked {asked} times");
    bad.recovers(&place, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_refusals_are_not_noticed() {
    let bad = Bad::new().await;
    bad.proxy.be(Mood::EveryNth(8));
    let content = content(27 * MIB);
    let before = bad.proxy.requests();
    let place = push(&bad.store, &content).await.unwrap();
    assert!(read(&bad.store, &place, content.len()).await.unwrap() == content);
    assert!(bad.proxy.requests() - before >= 8, "nothing was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn r004_a_body_that_is_cut_short_is_never_the_end() {
    let bad = Bad::new().await;
    let content = content(3 * MIB);
    let place = push(&bad.store, &content).await.unwrap();
    let reader = bad.store.open(&place, content.len() as u64).await.unwrap().unwrap();
    bad.proxy.be(Mood::Truncated(MIB));
    let read: Result<Vec<Bytes>, _> = reader.stream(0..content.len() as u64).try_collect().await;
    // What was cut is asked for again; either all of it comes, or an error.
    if let Ok(read) = read {
        assert!(read.concat() == content);
    }
    bad.proxy.be(Mood::Truncated(300));
    let read: Result<Vec<Bytes>, _> = reader.stream(0..content.len() as u64).try_collect().await;
    assert!(read.is_err());
    bad.recovers(&place, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_is_slow_and_right() {
    let bad = Bad::new().await;
    let content = content(MIB + 1);
    bad.proxy.be(Mood::Late(Duration::from_millis(50)));
    let place = push(&bad.store, &content).await.unwrap();
    bad.proxy.be(Mood::Slow(640 << 10));
    assert!(read(&bad.store, &place, content.len()).await.unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn r031_silence_ends_and_what_arrived_before_is_kept() {
    let bad = Bad::new().await;
    let content = content(10 * MIB);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let mut writer = bad.store.writer(upload(1), Algorithm::Sha256, None, None).await.unwrap();
    writer.write(content.slice(..9 * MIB)).await.unwrap();
    let at = writer.checkpoint().await.unwrap();
    let mut writer = bad.store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.unwrap();
    bad.proxy.be(Mood::Blackhole);
    writer.write(content.slice(9 * MIB..)).await.unwrap();
    let begun = Instant::now();
    let committed = writer.commit(&digest).await;
    assert!(matches!(committed, Err(Error::Unavailable { .. })), "{committed:?}");
    assert!(begun.elapsed() < Duration::from_secs(130), "it took {:?}", begun.elapsed());
    bad.proxy.be(Mood::Fair);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut writer = bad.store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.unwrap();
    writer.write(content.slice(9 * MIB..)).await.unwrap();
    let place = writer.commit(&digest).await.unwrap().place().clone();
    bad.recovers(&place, &content).await;
    assert_eq!(bad.server.unfinished(), 0, "{}", bad.bucket);
}

/// GR-18: a request that was cut off, and whose part arrives after the one that counts.
#[tokio::test(flavor = "multi_thread")]
async fn gr18_a_part_that_was_replaced_does_not_become_content() {
    let bad = Bad::new().await;
    let content = content(20 * MIB);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let mut writer = bad.store.writer(upload(1), Algorithm::Sha256, None, None).await.unwrap();
    writer.write(content.slice(..9 * MIB)).await.unwrap();
    let at = writer.checkpoint().await.unwrap();
    // Another replica, which has nothing in common but the bucket, goes on from the same checkpoint.
    let zombies = open(&config(&bad.server.endpoint(), &bad.bucket)).await.unwrap();
    let mut zombie = zombies.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.unwrap();
    let mut writer = bad.store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.unwrap();
    writer.write(content.slice(9 * MIB..17 * MIB)).await.unwrap();
    let at = writer.checkpoint().await.unwrap();
    zombie.write(Bytes::from(vec![b'!'; 9 * MIB])).await.unwrap();
    drop(zombie.checkpoint().await);
    let resumed = bad.store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await;
    let committed = match resumed {
        Ok(mut writer) => {
            writer.write(content.slice(17 * MIB..)).await.unwrap();
            writer.commit(&digest).await.map(|placed| placed.place().clone())
        }
        Err(error) => Err(error),
    };
    match committed {
        Err(Error::StagedLost) => {}
        Ok(place) => {
            assert!(read(&bad.store, &place, content.len()).await.unwrap() == content, "other bytes were placed")
        }
        Err(error) => panic!("{error:?}"),
    }
}
