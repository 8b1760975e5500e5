//! What one replica removes while another reads it.

use rustix::process::Signal;
use serde_json::json;

use super::waiting;
use crate::collection::{collect_all, post};
use crate::harness::{Builder, Client, Cluster, content, sha256};

/// Beyond what is passed on in any case.
const LARGE: usize = 1_500_000;

/// Collects only when asked to.
fn on_demand(builder: Builder) -> Builder {
    builder.set("gc.enabled", "false").set("gc.grace", "1s").set("gc.share_percent", "100")
}

async fn fetched(link: &str) -> (u16, Vec<u8>) {
    let answer = reqwest::Client::new().get(link).send().await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
}

/// Asks again and again, about the database, until it is so.
async fn until(cluster: &Cluster, question: &str, answer: &str) {
    let mut again = waiting(question);
    while cluster.database.sql(question) != answer {
        again();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The blob is taken out of the repository, and condemned.
async fn condemn(cluster: &Cluster, client: &mut Client, digest: &str) {
    client.delete(&format!("/v2/a/b/blobs/{digest}")).await.expect(202);
    cluster.database.sql("update gc_reviews set due_at_us = 1");
    post(client, "/gc/run", &json!({})).await.expect(202);
    until(cluster, &format!("select state from blobs where digest = '{digest}'"), "deleting").await;
}

/// GR-33. One replica has sent a client to the bucket, and another removes what it was sent to. The content is there for as long as
/// the trash period lasts, which is longer than the address is good; after that there is nothing, and never anything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr33_whoever_was_sent_to_the_bucket_finds_it_there_or_nothing() {
    let cluster = Cluster::with(2, |_, builder| {
        on_demand(builder).set("gc.trash", "1h").set("storage.redirect", "always").set("check.scrub_period", "0s")
    })
    .await;
    let (mut sends, mut removes) = (cluster.client_of(0), cluster.client_of(1));
    let blob = content(1, LARGE);
    let digest = removes.put_blob("a/b", blob.clone()).await;
    let target = format!("/v2/a/b/blobs/{digest}");
    let first = sends.get(&target).await.expect(307).header("location").unwrap().to_owned();

    condemn(&cluster, &mut removes, &digest).await;
    sends.get(&target).await.expect(404);
    assert!(fetched(&first).await == (200, blob.clone()), "it was removed before its time");

    // Pushed again it is there again, under whatever key, and the first address still is of these bytes.
    assert_eq!(removes.put_blob("a/b", blob.clone()).await, digest);
    let second = sends.get(&target).await.expect(307).header("location").unwrap().to_owned();
    assert!(fetched(&first).await == (200, blob.clone()));
    assert!(fetched(&second).await == (200, blob.clone()));

    // The trash period is over, which is a matter of the database's time.
    condemn(&cluster, &mut removes, &digest).await;
    cluster.database.sql("update blobs set delete_after_us = 1; update gc_removals set due_at_us = 1");
    post(&mut removes, "/gc/run", &json!({})).await.expect(202);
    until(&cluster, "select (select count(*) from blobs) + (select count(*) from gc_removals)", "0").await;
    for link in [&first, &second] {
        let (status, body) = fetched(link).await;
        assert!(status == 404 && !body.windows(64).any(|some| some == &blob[..64]), "{status}");
    }
    // Other content does not get there.
    removes.put_blob("a/b", content(2, LARGE)).await;
    assert_eq!(fetched(&first).await.0, 404);
}

/// GR-34. The scrub has read where content lies and falls asleep; another replica removes it, or removes it and takes a new push of
/// it. When the scrub wakes up it sees nothing in the old place, and calls nothing damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr34_what_goes_under_the_scrub_of_another_replica_is_not_damaged() {
    for comes_back in [false, true] {
        let cluster = Cluster::with(2, |number, builder| {
            let builder = on_demand(builder).set("gc.trash", "0s");
            match number {
                0 => builder.set("check.scrub_interval", "1s").failpoints("check.place_read=stop"),
                _ => builder.set("check.scrub_period", "0s"),
            }
        })
        .await;
        let mut other = cluster.client_of(1);
        let blob = content(1, LARGE);
        let digest = other.put_blob("a/b", blob.clone()).await;
        let place = || cluster.database.sql(&format!("select storage_key from blobs where digest = '{digest}'"));
        let first = place();
        cluster.database.sql("update blobs set verified_at_us = 1");
        cluster.replicas[0].stands_still().await;

        other.delete(&format!("/v2/a/b/blobs/{digest}")).await.expect(202);
        cluster.database.sql("update gc_reviews set due_at_us = 1");
        collect_all(&mut other).await;
        assert_eq!(cluster.database.sql("select count(*) from blobs"), "0");
        if comes_back {
            assert_eq!(other.put_blob("a/b", blob.clone()).await, digest);
            assert_ne!(place(), first, "no key is used twice");
        }
        // The next one is due as well: when that is verified, the scrub is over the first.
        let next = sha256(&content(2, 5_000));
        other.put_blob("a/b", content(2, 5_000)).await;
        cluster.database.sql("update blobs set verified_at_us = 1");
        cluster.replicas[0].signal(Signal::CONT);
        until(&cluster, &format!("select verified_at_us > 1 from blobs where digest = '{next}'"), "t").await;

        assert_eq!(cluster.database.sql("select count(*) from blobs where state = 'quarantined'"), "0", "{comes_back}");
        for number in 0..2 {
            let found = cluster.client_of(number).get(&format!("/v2/a/b/blobs/{digest}")).await;
            match comes_back {
                true => assert!(found.expect(200).body == blob),
                false => _ = found.expect(404),
            }
        }
        let log = cluster.replicas[0].log_text();
        assert!(!log.contains("set aside") && !log.contains("damaged"), "{log}");
        crate::check::sound(&cluster.replicas[1]);
    }
}
