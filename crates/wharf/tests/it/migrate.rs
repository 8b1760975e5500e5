//! `wharf migrate`: a registry moves to PostgreSQL and a bucket, and back, and answers everything as before.

mod kills;
mod large;
mod place;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use self::place::{Place, objects, staged};
use crate::backup::desk::{Desk, answer, questions};
use crate::harness::{ADMIN_PASSWORD, Admin, Client, Image, OCI_MANIFEST, Wharf, basic, content, sha256};
use crate::load::images::{Catalogue, push_and_pull};
use crate::only_in_the_embedded_run;

/// Images, tags that moved, a deletion that can be undone, a referrer, and half of an upload.
async fn fill(server: &Wharf, images: u64) {
    let authorization = basic("admin", ADMIN_PASSWORD);
    let catalogue = Arc::new(Catalogue::default());
    let pushers = (0..4).map(|pusher| {
        let client = server.client().authorized(authorization.clone());
        tokio::spawn(push_and_pull(client, Arc::clone(&catalogue), (pusher..images).step_by(4)))
    });
    for pusher in pushers.collect::<Vec<_>>() {
        pusher.await.unwrap();
    }
    let mut client = server.client().authorized(authorization);
    let (old, new, gone) =
        (Image::small(1, "amd64", 5_000), Image::small(2, "amd64", 70_000), Image::small(3, "amd64", 5_000));
    old.push(&mut client, "a/b", "tag").await;
    new.push(&mut client, "a/b", "tag").await;
    let digest = gone.push(&mut client, "a/b", "gone").await;
    client.delete(&format!("/v2/a/b/manifests/{digest}")).await.expect(202);
    let config = client.put_blob("a/b", "{}").await;
    let referrer = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "text/plain",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": config },
        "layers": [],
        "subject": { "mediaType": OCI_MANIFEST, "size": new.manifest.len(), "digest": new.digest() },
    });
    client.put_manifest("a/b", "signature", OCI_MANIFEST, referrer.to_string()).await;
    client.send(crate::harness::Request::new("POST", "/v2/a/b/blobs/uploads/").body("")).await.expect(202);
}

fn admin(server: &Wharf) -> Client {
    server.client().authorized(basic("admin", ADMIN_PASSWORD))
}

async fn ask(server: &Wharf, questions: &[String]) -> Vec<String> {
    let (mut client, mut answers) = (admin(server), Vec::new());
    for question in questions {
        answers.push(answer(&mut client, question).await);
    }
    answers
}

#[track_caller]
fn migrate(desk: &Desk, from: &Place, to: &Place) -> Value {
    let said = desk.ok(&["migrate", "--json", "--from", &from.file(), "--to", &to.file()]);
    serde_json::from_str(&said).unwrap()
}

fn blobs_of(server: &Wharf) -> u64 {
    server.look("select count(*) || '' from blobs where state in ('live', 'deleting')")[0][0].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_moves_to_postgresql_and_a_bucket_and_back_with_equal_answers() {
    only_in_the_embedded_run!("names its engines itself");
    let (old, new, back) = (Place::embedded(), Place::scaled_out(), Place::embedded());
    let mut server = old.start();
    fill(&server, 240).await;
    let token = Admin::of(&server).robot("ci", &[]).await;
    Admin::of(&server).allow("ci", &["registry:pull", "registry:push"], &["ci/*"]).await;
    let desk = Desk::with_token(Admin::of(&server).token("admin", &[]).await);

    // While it serves.
    let url = format!("http://{}", server.address());
    let alone = old.with_postgres();
    let words = ["migrate", "--ahead", "--from", &old.file(), "--to", &alone.file(), "--server", &url];
    desk.fails(&words, 2, "there is nothing to copy ahead");
    let ahead = ["migrate", "--json", "--ahead", "--from", &old.file(), "--to", &new.file(), "--server", &url];
    let ahead: Value = serde_json::from_str(&desk.ok(&ahead)).unwrap();
    let blobs = blobs_of(&server);
    assert_eq!((&ahead["blobs"], &ahead["copied_blobs"]), (&json!(blobs), &json!(blobs)), "{ahead}");
    new.refuses("its metadata database");
    desk.fails(&["migrate", "--from", &old.file(), "--to", &new.file()], 3, "use");
    Image::small(9, "amd64", 30_000).push(&mut admin(&server), "a/late", "v1").await;

    let asked = questions(&server);
    let answers = ask(&server, &asked).await;
    assert!(asked.len() > 1_000, "{}", asked.len());
    server.stop();
    let moved = migrate(&desk, &old, &new);
    assert_eq!((&moved["blobs"], &moved["copied_blobs"]), (&json!(blobs + 2), &json!(2)), "{moved}");
    assert_eq!((&moved["lost"], &moved["check"]["clean"]), (&json!([]), &json!(true)), "{moved}");
    assert_eq!(objects(&new).len() as u64, blobs + 2);
    assert!(!new.data().join("wharf.migrating").exists() && !new.data().join("wharf.db.migrating").exists());

    let mut server = new.start();
    assert_eq!(ask(&server, &asked).await, answers);
    // Who was let in is let in, and a push there is one like any other.
    let mut robot = server.client().authorized(basic("ci", &token));
    let pushed = Image::small(10, "amd64", 30_000).push(&mut robot, "ci/app", "v1").await;
    server.stop();

    let moved = migrate(&desk, &new, &back);
    assert_eq!((&moved["blobs"], &moved["check"]["clean"]), (&json!(blobs + 4), &json!(true)), "{moved}");
    let server = back.start();
    let differ: BTreeSet<_> = ask(&server, &asked).await.into_iter().zip(&answers).filter(|(a, b)| a != *b).collect();
    // The catalog has one name more.
    assert!(differ.iter().all(|(answer, _)| answer.contains("/v2/_catalog")) && differ.len() == 1, "{differ:?}");
    let mut robot = server.client().authorized(basic("ci", &token));
    assert_eq!(sha256(&robot.get("/v2/ci/app/manifests/v1").await.expect(200).body), pushed);
    let removed = admin(&server).get("/api/v1/audit?action=registry.migrate").await.expect(200).json();
    assert_eq!(removed["items"].as_array().map(Vec::len), Some(2), "{removed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_moves_alone_and_the_one_before_it_is_given_up() {
    only_in_the_embedded_run!("names its engines itself");
    let old = Place::embedded();
    let new = old.with_postgres();
    let mut server = old.start();
    fill(&server, 20).await;
    let asked = questions(&server);
    let answers = ask(&server, &asked).await;
    server.stop();
    let desk = Desk::new();
    let moved = migrate(&desk, &old, &new);
    assert_eq!((&moved["copied_blobs"], &moved["check"]["clean"]), (&Value::Null, &json!(true)), "{moved}");
    assert!(new.data().join("wharf.db.moved").exists());
    old.refuses("its metadata database");
    let mut server = new.start();
    assert_eq!(ask(&server, &asked).await, answers);
    Image::small(9, "amd64", 30_000).push(&mut admin(&server), "a/late", "v1").await;
    server.stop();

    migrate(&desk, &new, &old);
    new.refuses("belongs to store");
    let server = old.start();
    admin(&server).get("/v2/a/late/manifests/v1").await.expect(200);
    let answers_now = ask(&server, &asked).await;
    assert_eq!(answers_now[1..], answers[1..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_moves_alone() {
    only_in_the_embedded_run!("names its engines itself");
    let (old, new) = (Place::embedded(), Place::in_a_bucket());
    let mut server = old.start();
    fill(&server, 20).await;
    // So large that it goes up in parts.
    admin(&server).put_blob("a/b", content(1, 12 << 20)).await;
    let (asked, blobs) = (questions(&server), blobs_of(&server));
    let answers = ask(&server, &asked).await;
    server.stop();
    let moved = migrate(&Desk::new(), &old, &new);
    assert_eq!((&moved["copied_blobs"], &moved["check"]["clean"]), (&json!(blobs), &json!(true)), "{moved}");
    assert_eq!(staged(&new), Vec::<PathBuf>::new(), "what led to content goes with the upload");
    assert_eq!(ask(&new.start(), &asked).await, answers);
    // The source is as it was.
    assert_eq!(ask(&old.start(), &asked).await, answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_moved_is_said_and_nothing_is_touched() {
    only_in_the_embedded_run!("names its engines itself");
    let (old, new, other) = (Place::embedded(), Place::scaled_out(), Place::embedded());
    let desk = Desk::new();
    let words = |from: &Place, to: &Place| ["migrate", "--from", &from.file(), "--to", &to.file()].map(str::to_owned);
    let fails = |words: [String; 5], exit, says| desk.fails(&words.each_ref().map(String::as_str), exit, says);
    fails(words(&old, &new), 2, "there is no data directory");
    let mut server = old.start();
    let digest = Image::small(1, "amd64", 5_000).push(&mut admin(&server), "a/b", "v1").await;
    fails(words(&old, &new), 3, "use");
    server.stop();
    fails(words(&old, &old), 2, "the same database");
    fails(words(&old, &old.with_bucket()), 2, "the same database");
    other.start().stop();
    fails(words(&old, &other), 9, "already");

    let manifest: Value =
        serde_json::from_slice(&admin(&old.start()).get(&format!("/v2/a/b/manifests/{digest}")).await.body).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    crate::harness::Kept::by(old.data()).remove(layer);
    fails(words(&old, &new), 8, layer);
    new.refuses("its metadata database");
    let allowed = [&words(&old, &new)[..], &["--allow-damaged".to_owned()]].concat();
    desk.fails(&allowed.iter().map(String::as_str).collect::<Vec<_>>(), 8, "everything has moved");
    let server = new.start();
    admin(&server).get("/v2/a/b/manifests/v1").await.expect(200);
    admin(&server).get(&format!("/v2/a/b/blobs/{layer}")).await.expect(404);
    // What was lost is healed by a push.
    Image::small(1, "amd64", 5_000).push(&mut admin(&server), "a/b", "v1").await;
    admin(&server).get(&format!("/v2/a/b/blobs/{layer}")).await.expect(200);
}
