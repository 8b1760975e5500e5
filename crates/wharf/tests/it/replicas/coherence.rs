//! What one replica was told, the others know.

use std::time::{Duration, Instant};

use serde_json::json;
use wharf_testkit::PostgresServer;

use super::waiting;
use crate::harness::{Admin, Client, Cluster, Image, OCI_MANIFEST, Request, basic, bearer_payload, content};

async fn with_accounts() -> Cluster {
    Cluster::with(3, |_, builder| builder.accounts()).await
}

/// Asks one replica until it answers `status`; how long that took.
async fn until(client: &mut Client, target: &str, status: u16) -> Duration {
    let begun = Instant::now();
    let mut again = waiting(target);
    while client.get(target).await.status != status {
        again();
        tokio::task::yield_now().await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s009_a_rule_is_in_force_on_every_replica() {
    let cluster = with_accounts().await;
    let mut admin = Admin::of(&cluster.replicas[0]);
    admin.human("alice", "alice's password").await;
    let image = Image::small(1, "amd64", 1_000);
    image.push(&mut admin.client, "team/app", "v1").await;
    let target = "/v2/team/app/manifests/v1";
    let mut alices: Vec<Client> =
        (1..3).map(|number| cluster.client_of(number).authorized(basic("alice", "alice's password"))).collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let rule = admin.deny("alice", &["team/*"]).await;
        for alice in &mut alices {
            slowest = until(alice, target, 403).await.max(slowest);
        }
        admin.send("DELETE", &format!("/policy/rules/{rule}"), &json!({})).await.expect(204);
        for alice in &mut alices {
            slowest = until(alice, target, 200).await.max(slowest);
        }
    }
    println!("rules were in force elsewhere within {slowest:?}");
}

/// S-027, S-032 across replicas: what somebody may is looked up as it is now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_is_turned_off_is_out_everywhere() {
    let cluster = with_accounts().await;
    let mut admin = Admin::of(&cluster.replicas[0]);
    admin.human("alice", "alice's password").await;
    let mut at_1 = cluster.client_of(1).authorized(basic("alice", "alice's password"));
    let token = at_1.fetch_token(&["repository:team/app:pull"]).await;
    let mut at_2 = cluster.client_of(2).authorized(format!("Bearer {token}"));
    // 404: whoever is not let in is not told that.
    at_2.get("/v2/team/app/manifests/v1").await.expect(404);
    at_1.get("/v2/team/app/manifests/v1").await.expect(404);
    admin.send("PATCH", "/accounts/alice", &json!({ "enabled": false })).await.expect(200);
    until(&mut at_2, "/v2/team/app/manifests/v1", 401).await;
    until(&mut at_1, "/v2/team/app/manifests/v1", 401).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s084_keys_are_shared_and_rotated_together() {
    let cluster = with_accounts().await;
    let kids = async |number: usize| {
        let found = cluster.client_of(number).get("/.well-known/jwks.json").await.expect(200).json();
        let mut kids: Vec<String> =
            found["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
        kids.sort();
        kids
    };
    let first = kids(0).await;
    assert_eq!(
        (first.len(), kids(1).await, kids(2).await),
        (1, first.clone(), first.clone()),
        "one first key between them"
    );

    let mut admin = Admin::of(&cluster.replicas[0]);
    let made = admin.send("POST", "/keys/rotate", &json!({})).await.expect(201).json();
    for number in 0..3 {
        let mut again = waiting("the new key");
        while kids(number).await.len() < 2 {
            again();
            tokio::task::yield_now().await;
        }
        assert_eq!(kids(number).await, kids(0).await);
    }
    assert!(kids(2).await.contains(&made["id"].as_str().unwrap().to_owned()), "{made}");

    let mut at_0 = cluster.client_of(0).authorized(basic("admin", crate::harness::ADMIN_PASSWORD));
    let token = at_0.fetch_token(&["repository:team/app:pull"]).await;
    assert!(bearer_payload(&token)["exp"].is_number());
    for number in 0..3 {
        let mut client = cluster.client_of(number).authorized(format!("Bearer {token}"));
        client.get("/v2/team/app/manifests/v1").await.expect(404);
    }
}

/// From the answer on, every replica sees what it says (PR-2, PR-4); GR-27.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr27_tags_are_read_as_they_were_written_everywhere() {
    let cluster = Cluster::with(3, |_, builder| builder.set("registry.delete_tags", "true")).await;
    let mut clients: Vec<Client> = (0..3).map(|number| cluster.client_of(number)).collect();
    let images: Vec<Image> = (0..2).map(|seed| Image::small(seed, "amd64", 500)).collect();
    for image in &images {
        image.push(&mut clients[0], "a/b", "first").await;
    }
    for turn in 0..30 {
        let image = &images[turn % 2];
        let writer = &mut clients[turn % 3];
        writer.put_manifest("a/b", "moving", OCI_MANIFEST, image.manifest.clone()).await;
        for client in &mut clients {
            let found = client.get("/v2/a/b/manifests/moving").await.expect(200);
            assert!(found.body == image.manifest, "{turn}");
            assert_eq!(client.get("/v2/a/b/tags/list").await.json()["tags"], json!(["first", "moving"]));
        }
        if turn % 5 == 4 {
            clients[turn % 3].delete("/v2/a/b/manifests/moving").await.expect(202);
            for client in &mut clients {
                client.get("/v2/a/b/manifests/moving").await.expect(404);
                client.head("/v2/a/b/manifests/moving").await.expect(404);
            }
        }
    }
}

/// Damage that one replica met is no content at any (§5.3), and a push at any of them heals it for all (GR-35).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr35_damage_is_known_everywhere_and_healed_everywhere() {
    let cluster = Cluster::start(3).await;
    let mut clients: Vec<Client> = (0..3).map(|number| cluster.client_of(number)).collect();
    let blob = content(1, 5_000);
    let digest = clients[0].put_blob("a/b", blob.clone()).await;
    let target = format!("/v2/a/b/blobs/{digest}");
    clients[2].get(&target).await.expect(200);
    // Its object is gone, as far as anybody can tell.
    cluster.database.sql("update blobs set storage_key = '01900000-0000-7000-8000-000000000000'");
    clients[0].get(&target).await;
    for client in &mut clients {
        until(client, &target, 404).await;
        let reply = client.get(&target).await.expect(404);
        assert!(reply.header("warning").is_some(), "{reply}");
    }
    clients[1].put_blob("a/b", blob.clone()).await;
    for client in &mut clients {
        assert!(client.get(&target).await.expect(200).body == blob);
    }
    let sent = Request::new("HEAD", &*target);
    clients[0].send(sent).await.expect(200);
}

/// a replica whose clock is wrong dates by the database's. Here it is the database that is ahead, by two days, and that all
/// replicas follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr40_the_databases_clock_counts() {
    const TWO_DAYS_S: i64 = 2 * 86_400;
    let database = PostgresServer::shared().database();
    database.sql(
        "create function public.clock_timestamp() returns timestamptz volatile language sql
             as $$ select pg_catalog.clock_timestamp() + interval '2 days' $$",
    );
    let name = database.sql("select current_database()");
    database.sql(&format!("alter database {name} set search_path = public, pg_catalog"));
    let cluster = Cluster::over(database, 2, |_, builder| builder).await;
    for number in 0..2 {
        cluster.client_of(number).put_blob("a/b", content(number as u64, 1_000)).await;
        cluster.replicas[number].wait_for_log("the database's, which is the one that counts");
    }
    let dates = cluster.database.sql(
        "select (created_at_us - extract(epoch from pg_catalog.clock_timestamp()) * 1000000)::bigint / 1000000 from blobs",
    );
    let ahead: Vec<i64> = dates.lines().map(|seconds| seconds.parse().unwrap()).collect();
    assert_eq!(ahead.len(), 2);
    assert!(ahead.iter().all(|ahead_s| (TWO_DAYS_S - 60..=TWO_DAYS_S).contains(ahead_s)), "{ahead:?}");
    let held = cluster.client_of(0).get("/api/v1/gc").await.expect(200).json();
    assert_eq!(held["holds"], json!([]), "no clock has jumped");
}
