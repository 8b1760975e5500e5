//! Collection and undo against a running registry: space comes back, and nothing goes that somebody was told is there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Admin, Builder, Client, Image, OCI_INDEX, OCI_MANIFEST, PATIENCE, Reply, Request, Wharf, basic, content, sha256,
};

/// A server that collects as fast as it can.
pub fn eager() -> Wharf {
    eager_with("1s").start()
}

/// A server that collects as fast as it can, with this grace period.
pub fn eager_with(grace: &str) -> Builder {
    hasten(Wharf::builder(), grace, "0s")
}

/// Such a server made of any other.
pub fn hasten(builder: Builder, grace: &str, trash: &str) -> Builder {
    builder
        .set("gc.grace", grace)
        .set("gc.trash", trash)
        .set("gc.interval", "1s")
        .set("gc.share_percent", "100")
        .set("gc.hold_after_crash", "0s")
}

/// Posts JSON to the administration API.
pub async fn post(client: &mut Client, path: &str, body: &Value) -> Reply {
    let request = Request::new("POST", format!("/api/v1{path}")).header("Content-Type", "application/json");
    client.send(request.body(body.to_string())).await
}

async fn status(client: &mut Client) -> Value {
    client.get("/api/v1/gc").await.expect(200).json()
}

/// Runs collection until nothing waits for it.
pub async fn collect_all(client: &mut Client) {
    let begun = Instant::now();
    loop {
        post(client, "/gc/run", &json!({})).await.expect(202);
        let found = status(client).await;
        let backlog = &found["backlog"];
        if ["reviews", "condemned", "removals"].iter().all(|member| backlog[*member] == 0) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "collection does not come to an end: {found:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn blobs_of(images: &[&Image]) -> BTreeSet<String> {
    images.iter().flat_map(|image| image.blobs()).map(|blob| sha256(blob)).collect()
}

#[tokio::test]
async fn space_comes_back_and_only_that() {
    let server = eager();
    let mut client = server.client();
    let (kept, deleted) = (Image::small(1, "amd64", 5_000), Image::small(2, "amd64", 5_000));
    kept.push(&mut client, "a/kept", "v1").await;
    kept.push(&mut client, "a/twice", "v1").await;
    deleted.push(&mut client, "a/deleted", "v1").await;
    let orphan = client.put_blob("a/kept", content(3, 4_000)).await;
    let mut all = blobs_of(&[&kept, &deleted]);
    all.insert(orphan.clone());
    assert_eq!(server.kept().digests(), all);

    client.delete(&format!("/v2/a/deleted/manifests/{}", deleted.digest())).await.expect(202);
    client.delete(&format!("/v2/a/twice/manifests/{}", kept.digest())).await.expect(202);
    collect_all(&mut client).await;
    assert_eq!(server.kept().digests(), blobs_of(&[&kept]));
    client.get(&format!("/v2/a/kept/blobs/{orphan}")).await.expect(404);
    for blob in kept.blobs() {
        let digest = sha256(blob);
        assert_eq!(&client.get(&format!("/v2/a/kept/blobs/{digest}")).await.expect(200).body, blob);
        client.get(&format!("/v2/a/twice/blobs/{digest}")).await.expect(404);
    }
    let totals = &status(&mut client).await["totals"];
    // What was pushed to two repositories has been two objects for a while; the log is about content that is gone.
    let twice: Vec<_> = kept.blobs().filter(|_| server.kept().is_in_a_bucket()).collect();
    let freed: usize = deleted.blobs().chain(twice.iter().copied()).map(Vec::len).sum::<usize>() + 4_000;
    assert_eq!(totals["removed"], 3 + twice.len(), "{totals}");
    assert_eq!(totals["removed_bytes"], freed, "{totals}");
    assert_eq!(totals["forgotten"], 2, "{totals}");

    let log = client.get("/api/v1/gc/log").await.expect(200).json();
    let logged: BTreeSet<_> =
        log["items"].as_array().unwrap().iter().map(|line| line["digest"].as_str().unwrap()).collect();
    assert_eq!(logged.len(), 3, "{log:#}");
    let where_did_it_go = client.get(&format!("/api/v1/gc/log?digest={orphan}")).await.expect(200).json();
    let line = &where_did_it_go["items"][0];
    assert_eq!(
        (&line["repository"], &line["size_bytes"], &line["reason"]),
        (&json!("a/kept"), &json!(4_000), &json!("unreferenced"))
    );
    client.get("/api/v1/gc/log?digest=nonsense").await.expect(400);
    let first = client.get("/api/v1/gc/log?limit=1").await.expect(200).json();
    let rest =
        client.get(&format!("/api/v1/gc/log?after={}", first["next"].as_str().unwrap())).await.expect(200).json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 2, "{rest:#}");

    deleted.push(&mut client, "a/deleted", "v1").await;
    assert_eq!(server.kept().digests(), blobs_of(&[&kept, &deleted]));
}

/// F-10's other half: people deploy by digest, so what no tag names goes only where a rule says so, and can be restored.
#[tokio::test]
async fn untagged_manifests_go_only_where_a_rule_says_so() {
    let server = eager_with("1s").set("gc.untagged", r#"[{ repositories = "ci/**", after = "2s" }]"#).start();
    let mut client = server.client();
    for repository in ["ci/app", "team/app"] {
        for seed in 1..=2 {
            Image::small(seed, "amd64", 1_000).push(&mut client, repository, "latest").await;
        }
        let never = Image::small(3, "amd64", 1_000);
        for blob in never.blobs() {
            client.put_blob(repository, blob.clone()).await;
        }
        client.put_manifest(repository, &never.digest(), OCI_MANIFEST, never.manifest.clone()).await;
    }
    let is_there = async |client: &mut Client, repository: &str, seed: u64| {
        let digest = Image::small(seed, "amd64", 1_000).digest();
        client.head(&format!("/v2/{repository}/manifests/{digest}")).await.status == 200
    };
    let begun = Instant::now();
    while is_there(&mut client, "ci/app", 1).await || is_there(&mut client, "ci/app", 3).await {
        assert!(begun.elapsed() < PATIENCE, "they never go");
        post(&mut client, "/gc/run", &json!({})).await.expect(202);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(is_there(&mut client, "ci/app", 2).await, "it has a tag");
    for seed in 1..=3 {
        assert!(is_there(&mut client, "team/app", seed).await, "no rule is about team/app");
    }
    assert_eq!(status(&mut client).await["totals"]["retired"], 2);
    let first = Image::small(1, "amd64", 1_000).digest();
    let deleted = client.get("/api/v1/deleted?repository=ci/app").await.expect(200).json();
    for item in deleted["items"].as_array().unwrap() {
        assert_eq!(item["deleted_by"], "retention:ci/**", "{deleted:#}");
    }
    let wish = json!({ "digest": first });
    post(&mut client, "/restore?repository=ci/app", &wish).await.expect(200);
    assert!(is_there(&mut client, "ci/app", 1).await);
}

/// Nothing goes while a hold stands; an unclean stop sets one by itself.
#[tokio::test]
async fn a_hold_keeps_everything() {
    let mut server = eager();
    let mut client = server.client();
    let held = post(&mut client, "/gc/holds", &json!({ "reason": "a look around", "hours": 1 })).await.expect(201);
    assert_eq!(held.json()["id"], "operator");
    let orphan = client.put_blob("a/b", content(1, 1_000)).await;
    let begun = Instant::now();
    while status(&mut client).await["backlog"]["reviews_due"] != 1 {
        assert!(begun.elapsed() < PATIENCE, "it is never due");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refused = post(&mut client, "/gc/run", &json!({})).await.expect(409);
    assert!(refused.json()["detail"].as_str().unwrap().contains("a look around"), "{refused}");
    let preview = client.get("/api/v1/gc/preview").await.expect(200).json();
    assert_eq!((&preview["blobs"], &preview["bytes"], &preview["complete"]), (&json!(1), &json!(1_000), &json!(true)));
    assert_eq!(preview["repositories"][0]["repository"], "a/b", "{preview:#}");
    assert_eq!(client.get(&format!("/v2/a/b/blobs/{orphan}")).await.status, 200);
    client.delete("/api/v1/gc/holds/operator").await.expect(204);
    client.delete("/api/v1/gc/holds/operator").await.expect(404);
    collect_all(&mut client).await;
    assert!(server.kept().digests().is_empty());

    server.restart_with(|builder| builder.set("gc.grace", "1s").set("gc.hold_after_crash", "1h"));
    assert_eq!(status(&mut server.client()).await["holds"], json!([]), "the stop was in order");
    server.kill9();
    server.restart();
    let holds = status(&mut server.client()).await["holds"].clone();
    let held: Vec<_> = holds.as_array().unwrap().iter().map(|hold| hold["id"].as_str().unwrap()).collect();
    // Replicas are expected to die.
    assert_eq!(held, if server.is_shared() { vec![] } else { vec!["unclean-stop"] });
    post(&mut server.client(), "/gc/holds", &json!({ "reason": "", "hours": 1 })).await.expect(400);
    post(&mut server.client(), "/gc/holds", &json!({ "reason": "x", "hours": 0 })).await.expect(400);
}

/// What was deleted or moved comes back as it was, and says how it went.
#[tokio::test]
async fn deletions_and_moves_are_undone() {
    let server = Wharf::builder().set("registry.delete_tags", "true").start();
    let mut client = server.client();
    let (one, two) = (Image::small(1, "amd64", 1_000), Image::small(2, "amd64", 1_000));
    one.push(&mut client, "team/app", "v1").await;
    let before_move = client.get("/api/v1/tags/history?repository=team/app&tag=v1").await.expect(200).json();
    let at = before_move["items"][0]["at"].as_str().unwrap().to_owned();
    two.push(&mut client, "team/app", "v1").await;
    let tag = async |client: &mut Client, name: &str| {
        let reply = client.head(&format!("/v2/team/app/manifests/{name}")).await;
        (reply.status == 200).then(|| reply.header("docker-content-digest").unwrap().to_owned())
    };
    let restore = async |client: &mut Client, wish: Value| post(client, "/restore?repository=team/app", &wish).await;

    restore(&mut client, json!({ "tag": "v1" })).await.expect(200);
    assert_eq!(tag(&mut client, "v1").await, Some(one.digest()));
    restore(&mut client, json!({ "tag": "v1" })).await.expect(200);
    assert_eq!(tag(&mut client, "v1").await, Some(two.digest()), "undoing is undone likewise");
    restore(&mut client, json!({ "tag": "v1", "at": at })).await.expect(200);
    assert_eq!(tag(&mut client, "v1").await, Some(one.digest()));

    client.delete("/v2/team/app/manifests/v1").await.expect(202);
    restore(&mut client, json!({ "tag": "v1" })).await.expect(200);
    assert_eq!(tag(&mut client, "v1").await, Some(one.digest()));

    client.delete(&format!("/v2/team/app/manifests/{}", one.digest())).await.expect(202);
    assert_eq!(tag(&mut client, "v1").await, None);
    let deleted = client.get("/api/v1/deleted?repository=team/app").await.expect(200).json();
    assert_eq!(deleted["items"][0]["digest"], one.digest(), "{deleted:#}");
    assert_eq!(deleted["items"][0]["tags"], json!(["v1"]));
    let restored = restore(&mut client, json!({ "digest": one.digest() })).await.expect(200).json();
    assert_eq!(restored, json!({ "digest": one.digest(), "tags": ["v1"], "was_deleted": true }));
    assert_eq!(tag(&mut client, "v1").await, Some(one.digest()));
    let pulled = client.get("/v2/team/app/manifests/v1").await.expect(200);
    assert_eq!(pulled.body, one.manifest);
    let again = restore(&mut client, json!({ "digest": one.digest() })).await.expect(200).json();
    assert_eq!(again["was_deleted"], false, "{again}");

    // A tag whose manifest was deleted: both come back.
    client.delete(&format!("/v2/team/app/manifests/{}", one.digest())).await.expect(202);
    let restored = restore(&mut client, json!({ "tag": "v1" })).await.expect(200).json();
    assert_eq!(restored["was_deleted"], true, "{restored}");
    assert_eq!(tag(&mut client, "v1").await, Some(one.digest()));

    // A referrer is one again.
    let subject = json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": one.digest(), "size": one.manifest.len() });
    let referrer = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "artifactType": "application/x.test", "manifests": [], "subject": subject });
    let digest = client
        .put_manifest("team/app", &sha256(referrer.to_string().as_bytes()), OCI_INDEX, referrer.to_string())
        .await;
    client.delete(&format!("/v2/team/app/manifests/{digest}")).await.expect(202);
    restore(&mut client, json!({ "digest": digest })).await.expect(200);
    let referrers = client.get(&format!("/v2/team/app/referrers/{}", one.digest())).await.expect(200).json();
    assert_eq!(referrers["manifests"][0]["digest"], digest, "{referrers:#}");
    assert_eq!(referrers["manifests"][0]["artifactType"], "application/x.test");

    for (wish, status) in [
        (json!({ "tag": "never" }), 404),
        (json!({ "tag": "v1", "at": "1999-01-01T00:00:00Z" }), 404),
        (json!({ "digest": sha256(b"never") }), 404),
        (json!({}), 400),
        (json!({ "tag": "v1", "digest": one.digest() }), 400),
        (json!({ "tag": "-" }), 400),
        (json!({ "digest": "sha256:12" }), 400),
        (json!({ "digest": one.digest(), "at": at }), 400),
        (json!({ "tag": "v1", "at": "yesterday" }), 400),
    ] {
        let reply = restore(&mut client, wish.clone()).await;
        assert_eq!(reply.status, status, "{wish}\n{reply}");
    }
    post(&mut client, "/restore", &json!({ "tag": "v1" })).await.expect(400);
    post(&mut client, "/restore?repository=..", &json!({ "tag": "v1" })).await.expect(400);
}

/// Reading what was needs pull, bringing it back needs push; the record says who did.
#[tokio::test]
async fn undo_asks_policy_about_the_repository() {
    let server = Wharf::with_accounts();
    let mut admin = Admin::of(&server);
    let secret = admin.robot("reader", &[]).await;
    admin.allow("reader", &["registry:pull"], &["team/**"]).await;
    let image = Image::small(1, "amd64", 500);
    image.push(&mut admin.client, "team/app", "v1").await;
    admin.client.delete(&format!("/v2/team/app/manifests/{}", image.digest())).await.expect(202);

    let mut reader = server.client().authorized(basic("reader", &secret));
    let found = reader.get("/api/v1/deleted?repository=team/app").await.expect(200).json();
    assert_eq!(found["items"][0]["digest"], image.digest());
    reader.get("/api/v1/tags/history?repository=team/app&tag=v1").await.expect(200);
    reader.get("/api/v1/deleted?repository=other/app").await.expect(403);
    reader.get("/api/v1/gc").await.expect(403);
    post(&mut reader, "/restore?repository=team/app", &json!({ "digest": image.digest() })).await.expect(403);
    server.client().get("/api/v1/deleted?repository=team/app").await.expect(401);
    post(&mut admin.client, "/restore?repository=team/app", &json!({ "digest": image.digest() })).await.expect(200);
    let audit = admin.client.get("/api/v1/audit?action=manifest.restore").await.expect(200).json();
    assert_eq!(audit["items"][0]["principal"], "admin", "{audit:#}");
    assert_eq!(audit["items"][0]["target"], image.digest());
}
