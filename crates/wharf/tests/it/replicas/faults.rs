//! A database that is out of reach, for one replica or for all.

use std::time::Duration;

use wharf_testkit::{Mood, PostgresServer, Proxy};

use super::waiting;
use crate::harness::{Client, Cluster, Image, OCI_MANIFEST, PATIENCE, Request, content};

/// Everything that a client asks is refused, and told when to come again; nothing is answered from what was true before.
async fn knows_nothing(client: &mut Client, image: &Image) {
    let manifest = Request::new("PUT", "/v2/a/b/manifests/v2").header("Content-Type", OCI_MANIFEST);
    let requests = [
        Request::new("GET", "/v2/a/b/manifests/v1"),
        Request::new("HEAD", "/v2/a/b/manifests/nothing"),
        Request::new("GET", format!("/v2/a/b/blobs/{}", image.digests()[0])),
        Request::new("GET", "/v2/a/b/tags/list"),
        Request::new("POST", "/v2/a/b/blobs/uploads/").body(""),
        manifest.body(image.manifest.clone()),
    ];
    let asked = requests.map(|request| {
        let mut client = client.another();
        tokio::spawn(async move { client.send(request).await })
    });
    for reply in asked {
        let reply = tokio::time::timeout(PATIENCE, reply).await.expect("an answer in time").unwrap().expect(503);
        assert!(reply.header("retry-after").is_some(), "{reply}");
    }
}

/// GR-38, FT-16. One replica is cut off from the database, by connections that break and by connections on which nothing moves.
/// It says so; the others go on; and when the way is free again it goes on by itself, and knows what happened meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr38_a_replica_without_its_database_says_nothing_stale() {
    let database = PostgresServer::shared().database();
    let door = Proxy::before(database.address()).await;
    let way = database.url_by(door.address());
    let cluster = Cluster::over(database, 2, |number, builder| match number {
        0 => builder.env("WHARF_METADATA__URL", way.clone()).env("WHARF_METADATA__STATEMENT_TIMEOUT", "2s"),
        _ => builder,
    })
    .await;
    let (mut cut_off, mut other) = (cluster.client_of(0), cluster.client_of(1));
    let images: Vec<Image> = (0..3).map(|seed| Image::small(seed, "amd64", 2_000)).collect();
    images[0].push(&mut cut_off, "a/b", "v1").await;
    for (held, after) in [(false, &images[1]), (true, &images[2])] {
        if held {
            door.be(Mood::Blackhole)
        } else {
            door.shut().await
        }
        knows_nothing(&mut cut_off, &images[0]).await;
        after.push(&mut other, "a/b", "v1").await;
        assert!(other.get("/v2/a/b/manifests/v1").await.expect(200).body == after.manifest);
        door.be(Mood::Fair);
        let mut again = waiting("the replica's recovery");
        loop {
            let reply = cut_off.get("/v2/a/b/manifests/v1").await;
            if reply.status == 200 {
                assert!(reply.body == after.manifest, "it is as it was before");
                break;
            }
            reply.expect(503);
            again();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cut_off.put_blob("a/b", content(9, 5_000)).await;
    }
    crate::check::sound(&cluster.replicas[0]);
}
