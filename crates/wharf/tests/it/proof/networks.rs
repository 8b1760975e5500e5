//! FT-14, FT-16: clients work on while the way between the replicas and their database, or their bucket, goes wrong in every way.
//! Each request is answered in the words of a registry and in time, what was acknowledged stays, and when the way is good again
//! the same processes serve again.

use std::time::{Duration, Instant};

use wharf_testkit::{Mood, PostgresServer, Proxy, Weed};

use super::actor::{Actor, Fuse};
use super::replicas::{gather, verify_cluster};
use super::{GRACE, seeds, setting};
use crate::collection::hasten;
use crate::harness::{Builder, Client, Cluster, PATIENCE, Request, content};

const ACTORS: u64 = 8;
const REPLICAS: usize = 2;

/// How long clients work before a fault, and after it.
const FAIR: Duration = Duration::from_millis(700);

/// What TCP can do to either neighbour.
const MOODS: [Mood; 7] = [
    Mood::Late(Duration::from_millis(20)),
    Mood::Reset,
    Mood::Blackhole,
    // In the middle of an answer, and before anything of it.
    Mood::Truncated(150),
    Mood::Truncated(0),
    Mood::Slow(2_000),
    Mood::Slow(100),
];

/// Requests that fail leave uploads open, more than one principal may have.
fn lenient(builder: Builder) -> Builder {
    hasten(builder, "1s", "5s").set("registry.delete_tags", "true").set("registry.uploads_per_principal", "100000")
}

/// For three seconds each, which the database's time-outs are made to fit in; `WHARF_PROOF_NETWORK_SECONDS=90` is longer than
/// any time-out there is by default, and leaves them as they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft16_the_way_to_the_database_goes_wrong_in_every_way() {
    let seconds = setting("WHARF_PROOF_NETWORK_SECONDS", 3);
    let database = PostgresServer::shared().database();
    let way = Proxy::before(database.address()).await;
    let url = database.url_by(way.address());
    let cluster = Cluster::over(database, REPLICAS, |_, builder| {
        let builder = lenient(builder);
        let builder = builder.env("WHARF_METADATA__URL", url.clone());
        if seconds > 10 {
            return builder;
        }
        builder.set("metadata.statement_timeout", "2s").set("metadata.connect_timeout", "1s")
    })
    .await;
    // An answer that does not come in seven seconds is not waited for, nor are three more tries to connect, of a second each.
    let spans = Spans { usual: Duration::from_secs(seconds), blackhole: Duration::from_secs(seconds.max(14)) };
    endure(&cluster, &way, &MOODS, spans).await;
}

/// The same between the replicas and their bucket, which can also say that it fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft14_the_way_to_the_bucket_goes_wrong_in_every_way() {
    let seconds = setting("WHARF_PROOF_NETWORK_SECONDS", 3);
    let way = Proxy::before_http(Weed::shared().address()).await;
    let cluster = Cluster::with(REPLICAS, |_, builder| {
        let builder = lenient(builder);
        builder.env("WHARF_STORAGE__ENDPOINT", way.endpoint())
    })
    .await;
    let said = [Mood::Status(500), Mood::Status(503), Mood::EveryNth(3)];
    let moods: Vec<Mood> = MOODS.into_iter().chain(said).collect();
    // Nor one of a bucket in twenty.
    let spans = Spans { usual: Duration::from_secs(seconds), blackhole: Duration::from_secs(seconds.max(23)) };
    endure(&cluster, &way, &moods, spans).await;
}

/// How long a fault lasts.
struct Spans {
    usual: Duration,
    /// Long enough for a time-out to end what was asked before it.
    blackhole: Duration,
}

/// One fault after the other, under load.
async fn endure(cluster: &Cluster, way: &Proxy, moods: &[Mood], spans: Spans) {
    let seed = seeds("WHARF_PROOF_REPLICA_ROUNDS", 1).next().expect("a seed");
    println!("seed {seed}");
    let mut actors: Vec<Actor> = (0..ACTORS)
        .map(|number| {
            let mut actor = Actor::new(seed, number, ACTORS, &cluster.client(), GRACE);
            actor.try_again();
            actor
        })
        .collect();
    for mood in moods {
        let span = if *mood == Mood::Blackhole { spans.blackhole } else { spans.usual };
        let until = Instant::now() + FAIR + span + FAIR;
        let working = actors.into_iter().map(|mut actor| {
            actor.meet(&cluster.client(), &Fuse::endless());
            tokio::spawn(actor.work_through(until))
        });
        let working = working.collect();
        tokio::time::sleep(FAIR).await;
        way.be(*mood);
        tokio::time::sleep(span).await;
        way.be(Mood::Fair);
        for number in 0..REPLICAS {
            recovers(&mut cluster.client_of(number), mood).await;
        }
        let failures;
        (actors, failures) = gather(working).await;
        let promises: u64 = actors.iter_mut().map(|actor| actor.ledger().acknowledged()).sum();
        println!("{mood:?}: {failures} requests failed, {promises} promises so far");
        // What is only slow, or fails now and then, may be borne.
        let is_borne = matches!(mood, Mood::Late(_) | Mood::Slow(_) | Mood::EveryNth(_));
        assert!(failures > 0 || is_borne, "nobody noticed {mood:?}");
        // Sessions of requests that were given up; whoever has one still ends within the time-outs.
        cluster.let_leases_end();
        verify_cluster(cluster, &mut actors).await;
    }
}

/// Pushes and pulls are answered again, by the process that was there before.
async fn recovers(client: &mut Client, mood: &Mood) {
    let begun = Instant::now();
    loop {
        let blob = content(1, 30_000);
        let target = format!("/v2/proof/recovery/blobs/uploads/?digest={}", crate::harness::sha256(&blob));
        let pushed = client.send(Request::new("POST", target).body(blob)).await;
        if pushed.status == 201 {
            return;
        }
        assert_eq!(pushed.status, 503, "{mood:?}\n{pushed}");
        assert!(begun.elapsed() < PATIENCE, "{mood:?}: no recovery\n{pushed}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
