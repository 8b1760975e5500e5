//! An upload is of the registry, not of a replica; but it has one writer at a time.

use std::time::Duration;

use bytes::Bytes;
use rustix::process::Signal;
use wharf_testkit::{Mood, Proxy, Weed};

use super::waiting;
use crate::harness::{Client, Cluster, Connection, MIB, Reply, Request, content, sha256};

/// FT-15: each chunk arrives at another replica than the one before it, with and without parts in the bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft15_uploads_hop_at_every_chunk() {
    let cluster = Cluster::start(3).await;
    let mut client = cluster.client();
    for (seed, length) in [(1, 7_000), (2, 21 * MIB as usize + 5)] {
        let blob = Bytes::from(content(seed, length));
        let digest = sha256(&blob);
        cluster.balancer.served();
        let location = client.begin_upload("a/b").await;
        let chunk = length / 7 + 1;
        let last = 6 * chunk;
        for start in (0..last).step_by(chunk) {
            let reply = client.append(&location, start, blob.slice(start..start + chunk)).await.expect(202);
            assert_eq!(reply.header("range"), Some(&*format!("0-{}", start + chunk - 1)), "{reply}");
        }
        client.finish_upload(&location, &digest, blob.slice(last..)).await.expect(201);
        let served: Vec<usize> = cluster.balancer.served().into_iter().map(|(number, _)| number).collect();
        assert_eq!(served.len(), 8);
        assert!(served.windows(2).all(|two| two[0] != two[1]), "{served:?}");
        for number in 0..3 {
            let found = cluster.client_of(number).get(&format!("/v2/a/b/blobs/{digest}")).await.expect(200);
            assert!(found.body == blob, "replica {number} has other bytes");
        }
    }
    assert_eq!(cluster.upload_leases(), 0, "nobody writes any more");
}

/// A PATCH to one replica of which half has arrived, and which therefore has the session.
struct Half {
    connection: Connection,
    rest: Bytes,
}

impl Half {
    async fn begin(cluster: &Cluster, number: usize, location: &str, start: usize, chunk: Bytes) -> Self {
        let client = cluster.client_of(number);
        let range = format!("{start}-{}", start + chunk.len() - 1);
        let request = Request::new("PATCH", location).header("Content-Range", range).body(chunk.clone());
        let mut connection = client.connect().await.unwrap();
        connection.send(request.head(&client.host()).as_bytes()).await.unwrap();
        connection.send(&chunk[..chunk.len() / 2]).await.unwrap();
        let mut again = waiting("the lease of the session");
        while cluster.upload_leases() == 0 {
            again();
            tokio::task::yield_now().await;
        }
        Self { connection, rest: chunk.slice(chunk.len() / 2..) }
    }

    async fn end(mut self) -> Reply {
        self.connection.send(&self.rest).await.unwrap();
        self.connection.reply(false).await.unwrap()
    }

    /// The same for a request that may be refused before all of it has arrived; then the answer may get lost on its way.
    async fn try_end(mut self) -> Option<Reply> {
        let _ = self.connection.send(&self.rest).await;
        self.connection.reply(false).await.ok()
    }
}

/// The session stands at `offset`, and somebody else is at it.
#[track_caller]
fn is_refused(reply: Reply, offset: usize, location: &str) {
    let reply = reply.expect(416);
    assert_eq!(reply.header("range"), Some(&*format!("0-{}", offset.saturating_sub(1))), "{reply}");
    assert_eq!(reply.header("location"), Some(location), "{reply}");
}

/// An upload of which `begun` bytes are recorded.
async fn begun(client: &mut Client, blob: &Bytes, begun: usize) -> String {
    let location = client.begin_upload("a/b").await;
    if begun > 0 {
        client.append(&location, 0, blob.slice(..begun)).await.expect(202);
    }
    location
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr17_of_two_replicas_one_writes_to_a_session() {
    let cluster = Cluster::start(2).await;
    let mut other = cluster.client_of(1);
    let blob = Bytes::from(content(1, 3_000));
    let location = begun(&mut other, &blob, 1_000).await;
    let half = Half::begin(&cluster, 0, &location, 1_000, blob.slice(1_000..2_000)).await;
    is_refused(other.append(&location, 1_000, blob.slice(1_000..3_000)).await, 1_000, &location);
    is_refused(other.finish_upload(&location, &sha256(&blob), blob.slice(1_000..)).await, 1_000, &location);
    let status = other.get(&location).await.expect(204);
    assert_eq!(status.header("range"), Some("0-999"), "asking disturbs nobody");
    assert_eq!(half.end().await.expect(202).header("range"), Some("0-1999"));
    other.finish_upload(&location, &sha256(&blob), blob.slice(2_000..)).await.expect(201);
    let found = cluster.client_of(0).get(&format!("/v2/a/b/blobs/{}", sha256(&blob))).await.expect(200);
    assert!(found.body == blob);
}

/// A chunk that is refused, or that breaks off, does not keep the session from the next replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_at_one_replica_can_be_tried_at_another_at_once() {
    let cluster = Cluster::start(3).await;
    let mut client = cluster.client();
    let blob = Bytes::from(content(1, 3_000));
    let location = begun(&mut client, &blob, 1_000).await;
    let too_early = client.append(&location, 500, blob.slice(500..2_000)).await.expect(416);
    assert_eq!(too_early.header("range"), Some("0-999"), "{too_early}");
    let longer = Request::new("PATCH", &location).header("Content-Range", "1000-1099").body(blob.slice(1_000..2_000));
    client.send(longer).await.expect(400);
    let half = Half::begin(&cluster, 0, &location, 1_000, blob.slice(1_000..2_000)).await;
    drop(half.connection);
    let mut again = waiting("the end of the broken request");
    while cluster.upload_leases() > 0 {
        again();
        tokio::task::yield_now().await;
    }
    let status = client.get(&location).await.expect(204);
    assert_eq!(status.header("range"), Some("0-1499"), "what had arrived is kept");
    client.finish_upload(&location, &sha256(&blob), blob.slice(1_500..)).await.expect(201);
}

/// FT-17: a replica that was asleep while another one went on with its upload can spoil nothing when it wakes up; neither where
/// both have begun, nor where both have put the same part of the same object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr18_a_replica_that_was_asleep_is_shut_out() {
    let cluster = Cluster::start(3).await;
    let mut other = cluster.client_of(1);
    let mib = MIB as usize;
    let cases = [
        (1, 100, 1_100, 2_000),
        (2, 100, 18 * mib, 20 * mib),
        (3, 9 * mib, 27 * mib, 28 * mib),
        (4, 0, 1_000, 2_000),
        (5, 0, 18 * mib, 20 * mib),
    ];
    for (seed, start, end, length) in cases {
        let blob = Bytes::from(content(seed, length));
        let location = begun(&mut other, &blob, start).await;
        let half = Half::begin(&cluster, 0, &location, start, blob.slice(start..end)).await;
        cluster.replicas[0].signal(Signal::STOP);
        cluster.replicas[0].stands_still().await;
        is_refused(other.append(&location, start, blob.slice(start..start + 9)).await, start, &location);
        cluster.let_leases_end();
        other.append(&location, start, blob.slice(start..end)).await.expect(202);
        cluster.replicas[0].signal(Signal::CONT);
        match half.try_end().await {
            Some(reply) => is_refused(reply, end, &location),
            None => assert!(end - start > mib, "what is small is answered"),
        }
        let mut third = cluster.client_of(2);
        third.finish_upload(&location, &sha256(&blob), blob.slice(end..)).await.expect(201);
        let found = cluster.client_of(0).get(&format!("/v2/a/b/blobs/{}", sha256(&blob))).await.expect(200);
        assert!(found.body == blob);
    }
    crate::check::sound(&cluster.replicas[0]);
}

/// FT-12: a lease that the database's server has forgotten costs another try, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft12_a_chunk_whose_lease_was_forgotten_can_be_tried_again() {
    let cluster = Cluster::start(2).await;
    let mut client = cluster.client_of(1);
    let blob = Bytes::from(content(1, 3_000));
    for start in [0, 1_000] {
        let location = begun(&mut client, &blob, start).await;
        let half = Half::begin(&cluster, 0, &location, start, blob.slice(start..2_000)).await;
        cluster.forget_leases();
        let reply = half.end().await.expect(503);
        assert_eq!(reply.code(), "UNAVAILABLE", "{reply}");
        assert!(reply.header("retry-after").is_some(), "{reply}");
        client.append(&location, start, blob.slice(start..2_000)).await.expect(202);
        client.finish_upload(&location, &sha256(&blob), blob.slice(2_000..)).await.expect(201);
        assert!(client.get(&format!("/v2/a/b/blobs/{}", sha256(&blob))).await.expect(200).body == blob);
    }
}

/// GR-37: what a dead replica had begun goes on elsewhere when its lease is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr37_an_upload_outlives_its_replica() {
    let mut cluster = Cluster::start(2).await;
    let mut other = cluster.client_of(1);
    let blob = Bytes::from(content(1, 3_000));
    let location = begun(&mut other, &blob, 1_000).await;
    let _half = Half::begin(&cluster, 0, &location, 1_000, blob.slice(1_000..2_000)).await;
    cluster.replicas[0].kill9();
    is_refused(other.append(&location, 1_000, blob.slice(1_000..2_000)).await, 1_000, &location);
    cluster.let_leases_end();
    other.append(&location, 1_000, blob.slice(1_000..2_000)).await.expect(202);
    cluster.restart(0);
    let mut back = cluster.client_of(0);
    back.finish_upload(&location, &sha256(&blob), blob.slice(2_000..)).await.expect(201);
    let log = cluster.replicas[0].log_text();
    assert!(!log.contains("not been stopped in order"), "one replica's death holds nobody's collection");
}

/// P-192 between replicas: the client's word ends the session, whoever writes to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p192_a_session_is_cancelled_at_any_replica() {
    let cluster = Cluster::start(2).await;
    let mut other = cluster.client_of(1);
    let blob = Bytes::from(content(1, 3_000));
    let location = begun(&mut other, &blob, 1_000).await;
    let half = Half::begin(&cluster, 0, &location, 1_000, blob.slice(1_000..2_000)).await;
    other.delete(&location).await.expect(204);
    half.end().await.expect(404);
    other.append(&location, 1_000, blob.slice(1_000..2_000)).await.expect(404);
    assert_eq!(cluster.upload_leases(), 0);
}

/// FT-14. The blob is recorded, with which the session's lease ends, and then the bucket does not answer whoever tidies up. A
/// lease that is over in this way is not one that another replica has taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft14_a_push_that_is_recorded_is_answered_so_while_the_bucket_is_silent() {
    /// Longer than it takes until the lease would be renewed.
    const SILENCE: Duration = Duration::from_secs(12);

    let way = Proxy::before_http(Weed::shared().address()).await;
    let cluster = Cluster::with(2, |number, builder| match number {
        0 => builder.env("WHARF_STORAGE__ENDPOINT", way.endpoint()).failpoints("registry.blob-recorded=stop"),
        _ => builder,
    })
    .await;
    let (mut client, mut other) = (cluster.client_of(0), cluster.client_of(1));
    let blob = Bytes::from(content(1, 200_000));
    let digest = sha256(&blob);
    let location = client.begin_upload("a/b").await;
    client.append(&location, 0, blob.slice(..100_000)).await.expect(202);
    let (target, rest) = (digest.clone(), blob.slice(100_000..));
    let mut finishing = tokio::spawn(async move { client.finish_upload(&location, &target, rest).await });
    cluster.replicas[0].stands_still().await;
    way.be(Mood::Blackhole);
    cluster.replicas[0].signal(Signal::CONT);
    let early = tokio::time::timeout(SILENCE, &mut finishing).await;
    way.be(Mood::Fair);
    match early {
        Ok(answered) => answered.unwrap().expect(201),
        Err(_) => finishing.await.unwrap().expect(201),
    };
    assert!(other.get(&format!("/v2/a/b/blobs/{digest}")).await.expect(200).body == blob);
}
