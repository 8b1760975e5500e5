//! Backups of a running registry, and registries made of them (R-060 … R-066, FT-23, GR-36).

mod buckets;
mod damage;
pub mod desk;
mod kills;

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::collection::{collect_all, eager_with};
use crate::harness::{
    ADMIN_PASSWORD, Admin, Client, Image, OCI_MANIFEST, PATIENCE, Reply, Request, Wharf, basic, content,
    serve_expecting_failure, sha256,
};
use crate::only_in_the_embedded_run;
use crate::proof::{Actor, GRACE};
pub use desk::{Desk, finish, text};
use desk::{answer, contents, nothing_dangles, questions};

async fn post(client: &mut Client, path: &str, body: &Value) -> Reply {
    let request = Request::new("POST", format!("/api/v1{path}")).header("Content-Type", "application/json");
    client.send(request.body(body.to_string())).await
}

async fn holds(client: &mut Client) -> Vec<String> {
    let status = client.get("/api/v1/gc").await.expect(200).json();
    let holds = status["holds"].as_array().unwrap();
    holds.iter().map(|hold| hold["id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until `is_so`, looking again and again.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what} never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How long clients are busy while backups are made.
fn busy_for() -> Duration {
    let seconds = std::env::var("WHARF_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

/// One of eight clients that do everything.
fn actor(server: &Wharf, number: u64) -> Actor {
    Actor::new(900, number, 8, &server.client(), GRACE)
}

/// Clients that have stopped know exactly what must be in a backup; others go on all the while, and so does collection
/// with a grace period of a second. Each generation is a moment to which one can go back (FT-23).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r061_all_that_was_acknowledged_before_is_in_a_backup_under_load() {
    let server = crate::proof::eager().start();
    let desk = Desk::new();
    let begin = |numbers: std::ops::Range<u64>, until: Instant| {
        let working = numbers.map(|number| tokio::spawn(actor(&server, number).work_until(until)));
        working.collect::<Vec<_>>()
    };
    let mut settled = Vec::new();
    for client in begin(0..3, Instant::now() + Duration::from_secs(2)) {
        settled.push(client.await.unwrap());
    }
    let busy = begin(3..7, Instant::now() + busy_for());
    let mut made = 0;
    while made < 2 || busy.iter().any(|client| !client.is_finished()) {
        desk.backup(&server);
        made += 1;
    }
    let mut all = settled;
    let known_before = all.len();
    for client in busy {
        all.push(client.await.unwrap());
    }
    let requests: u64 = all.iter_mut().map(|actor| actor.ledger().acknowledged()).sum();
    for client in &mut all {
        client.ledger().verify_images(&mut server.client()).await;
    }
    let generations = desk.generations();
    println!("{} generations while {requests} requests were answered", generations.len());
    assert_eq!(generations.len(), made);
    desk.verify_deeply();

    // A few of them, unless there is time.
    let step = if std::env::var_os("WHARF_SOAK_SECONDS").is_some() { 1 } else { generations.len().div_ceil(4) };
    for generation in generations.iter().rev().step_by(step) {
        let restored = Wharf::builder().set("gc.grace", "1s").set("gc.trash", "0s").set("gc.interval", "1s");
        let data = text(restored.data());
        desk.ok(&["restore", "--from", &desk.at(), "--generation", generation, "--data", &data]);
        let restored = restored.start();
        assert!(nothing_dangles(&restored, &mut restored.client()).await > 0);
        for client in &mut all[..known_before] {
            client.ledger().verify_images(&mut restored.client()).await;
        }
        // What is collected there is what nobody needs there.
        restored.client().delete("/api/v1/gc/holds/restored").await.expect(204);
        collect_all(&mut restored.client()).await;
        nothing_dangles(&restored, &mut restored.client()).await;
        for client in &mut all[..known_before] {
            client.ledger().verify_images(&mut restored.client()).await;
        }
    }
}

/// FT-24: on a machine that had nothing but the backup.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restored_registry_gives_equal_answers() {
    let server = crate::proof::eager().start();
    let desk = Desk::new();
    let begun = Instant::now();
    let mut actors: Vec<_> = (0..4).map(|number| actor(&server, number)).collect();
    while questions(&server).len() < 50 {
        assert!(begun.elapsed() < PATIENCE, "nothing is pushed");
        let until = Instant::now() + Duration::from_secs(1);
        let working: Vec<_> = actors.into_iter().map(|actor| tokio::spawn(actor.work_until(until))).collect();
        actors = Vec::new();
        for actor in working {
            actors.push(actor.await.unwrap());
        }
    }
    let mut client = server.client();
    let subject = Image::small(1, "amd64", 1_000);
    subject.push(&mut client, "a/b", "v1").await;
    let referrer = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "text/plain",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": client.put_blob("a/b", "{}").await },
        "layers": [],
        "subject": { "mediaType": OCI_MANIFEST, "size": subject.manifest.len(), "digest": subject.digest() },
    });
    client.put_manifest("a/b", "signature", OCI_MANIFEST, referrer.to_string()).await;
    let gone = Image::small(2, "amd64", 1_000).push(&mut client, "a/b", "v2").await;
    client.delete(&format!("/v2/a/b/manifests/{gone}")).await.expect(202);
    desk.backup(&server);
    let restored = Wharf::builder();
    desk.restore(restored.data());
    let restored = restored.start();
    for question in questions(&server) {
        assert_eq!(answer(&mut client, &question).await, answer(&mut restored.client(), &question).await);
    }
}

#[tokio::test]
async fn r062_a_second_generation_copies_only_what_is_new_and_pruning_keeps_what_is_named() {
    two_generations(Desk::new()).await;
}

#[tokio::test]
async fn r062_a_second_generation_copies_only_what_is_new_and_pruning_keeps_what_is_named_in_a_bucket() {
    two_generations(Desk::with_bucket()).await;
}

async fn two_generations(desk: Desk) {
    let server = eager_with("1s").start();
    let mut client = server.client();
    let (old, kept, new) =
        (Image::small(1, "amd64", 5_000), Image::small(2, "amd64", 5_000), Image::small(3, "amd64", 9_000));
    let digests = |images: &[&Image]| images.iter().flat_map(|image| image.blobs()).map(|blob| sha256(blob)).collect();
    old.push(&mut client, "a/old", "v1").await;
    kept.push(&mut client, "a/kept", "v1").await;
    let first = desk.backup(&server);
    assert_eq!(first["copied"]["blobs"], 4);
    assert_eq!(contents(&desk.backups().join("content")), digests(&[&old, &kept]));

    client.delete(&format!("/v2/a/old/manifests/{}", old.digest())).await.expect(202);
    collect_all(&mut client).await;
    new.push(&mut client, "a/new", "v1").await;
    let second = desk.backup(&server);
    assert_eq!(second["copied"]["blobs"], 2, "{second}");
    assert_eq!(second["copied"]["bytes"], new.blobs().map(Vec::len).sum::<usize>());
    assert_eq!(second["content"]["blobs"], 4);
    assert_eq!(desk.backup(&server)["copied"]["blobs"], 0);
    assert_eq!(contents(&desk.backups().join("content")), digests(&[&old, &kept, &new]));
    let all = desk.generations();
    assert_eq!((all.len(), &all[0], &all[1]), (3, &text_of(&first), &text_of(&second)));
    desk.verify_deeply();

    let pruned: Value =
        serde_json::from_str(&desk.ok(&["backup", "prune", &desk.at(), "--keep", "2", "--json"])).unwrap();
    assert_eq!(pruned["generations"], json!([text_of(&first)]));
    assert_eq!((&pruned["content"]["files"], &pruned["left"]), (&json!(2), &json!(2)));
    assert_eq!(contents(&desk.backups().join("content")), digests(&[&kept, &new]));
    desk.verify_deeply();
    desk.fails(&["backup", "prune", &desk.at(), "--keep", "0"], 2, "--keep");

    // The older of the two that are left, by its name and by its time.
    let backups = desk.at();
    for (flag, value) in [("--generation", text_of(&second)), ("--at", second["taken_at"].as_str().unwrap().to_owned())]
    {
        let target = text(&desk.path(&format!("target{flag}")));
        let said = desk.ok(&["restore", "--json", "--from", &backups, flag, &value, "--data", &target]);
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["generation"], second["generation"], "{flag}");
    }
    let target = text(&desk.path("too-old"));
    let words = ["restore", "--from", &backups, "--at", "2020-01-01T00:00:00Z", "--data", &target];
    desk.fails(&words, 9, "no generation is as old as");
}

fn text_of(generation: &Value) -> String {
    generation["generation"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn gr36_collection_is_held_while_a_backup_is_made_and_goes_on_afterwards() {
    let server = eager_with("1s").start();
    let mut client = server.client();
    let orphan = client.put_blob("a/b", content(1, 4_000)).await;
    let begun = post(&mut client, "/backup", &json!({ "renew_seconds": 60 })).await.expect(201).json();
    let path = format!("/backup/{}", begun["id"].as_str().unwrap());
    assert_eq!(holds(&mut client).await, [format!("backup-{}", begun["id"].as_str().unwrap())]);
    post(&mut client, "/gc/run", &json!({})).await.expect(409);
    post(&mut client, "/backup", &json!({ "renew_seconds": 60 })).await.expect(409);
    eventually("the snapshot", async || {
        let state = post(&mut client, &format!("{path}/renew"), &json!({})).await.expect(200).json();
        !state["snapshot"].is_null()
    })
    .await;
    assert!(server.data().join("wharf.db.snapshot").exists());

    // Only what the snapshot names is given out, and only to whoever knows the backup.
    let later = client.put_blob("a/b", content(2, 4_000)).await;
    let blob = client.get(&format!("/api/v1{path}/blobs/{orphan}")).await.expect(200);
    assert_eq!(sha256(&blob.body), orphan);
    client.get(&format!("/api/v1{path}/blobs/{later}")).await.expect(404);
    client.get(&format!("/api/v1{path}/blobs/sha256:..")).await.expect(404);
    client.get(&format!("/api/v1/backup/01a20d6b-5871-7dc9-8308-9d294c9c90fa/blobs/{orphan}")).await.expect(404);
    let database = client.get(&format!("/api/v1{path}/database")).await.expect(200);
    assert!(database.body.starts_with(b"SQLite format 3\0"));

    client.delete(&format!("/api/v1{path}")).await.expect(204);
    client.delete(&format!("/api/v1{path}")).await.expect(404);
    assert_eq!(holds(&mut client).await, Vec::<String>::new());
    assert!(!server.data().join("wharf.db.snapshot").exists());
    collect_all(&mut client).await;
    client.head(&format!("/v2/a/b/blobs/{orphan}")).await.expect(404);
}

#[tokio::test]
async fn r061_a_backup_that_nobody_attends_to_ends_by_itself() {
    let mut server = eager_with("1s").start();
    let mut client = server.client();
    let begun = post(&mut client, "/backup", &json!({ "renew_seconds": 1 })).await.expect(201).json();
    let path = format!("/backup/{}", begun["id"].as_str().unwrap());
    server.wait_for_log("was given up");
    eventually("the end of the hold", async || holds(&mut client).await.is_empty()).await;
    eventually("the end of the copy", async || !server.data().join("wharf.db.snapshot").exists()).await;
    post(&mut client, &format!("{path}/renew"), &json!({})).await.expect(404);
    client.get(&format!("/api/v1{path}/database")).await.expect(404);

    // With the registry it ends, too: in order, and by a kill.
    post(&mut client, "/backup", &json!({ "renew_seconds": 3_600 })).await.expect(201);
    server.restart();
    let mut client = server.client();
    assert_eq!(holds(&mut client).await, Vec::<String>::new());
    let begun = post(&mut client, "/backup", &json!({ "renew_seconds": 3_600 })).await.expect(201).json();
    let path = format!("/backup/{}", begun["id"].as_str().unwrap());
    eventually("the snapshot", async || server.data().join("wharf.db.snapshot").exists()).await;
    server.kill9();
    server.restart();
    let mut client = server.client();
    assert!(!server.data().join("wharf.db.snapshot").exists());
    post(&mut client, &format!("{path}/renew"), &json!({})).await.expect(404);
    post(&mut client, "/backup", &json!({ "renew_seconds": 1 })).await.expect(201);
}

#[tokio::test]
async fn r061_without_its_hold_a_backup_fails() {
    let server = eager_with("1s").start();
    let (mut client, desk) = (server.client(), Desk::new());
    let begun = post(&mut client, "/backup", &json!({ "renew_seconds": 60 })).await.expect(201).json();
    let id = begun["id"].as_str().unwrap();
    client.delete(&format!("/api/v1/gc/holds/backup-{id}")).await.expect(204);
    let refused = post(&mut client, &format!("/backup/{id}/renew"), &json!({})).await.expect(409);
    assert!(refused.json()["detail"].as_str().unwrap().contains("the hold on collection"), "{refused}");
    client.delete(&format!("/api/v1/backup/{id}")).await.expect(404);

    // The same under the command line, which is stopped for the moment in which somebody releases its hold.
    desk.backup(&server);
    for number in 0..20 {
        client.put_blob("a/b", content(number, 1_000_000)).await;
    }
    let words = desk.backup_words(&server);
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.retain(|word| *word != "--json");
    let mut child = desk.command(&words).spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert!(line.starts_with("snapshot taken: everything acknowledged before 20"), "{line}");
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    // Meanwhile nobody else writes there, and whoever reads need not wait.
    desk.fails(&words, 3, "another process is at work");
    desk.fails(&["backup", "prune", &desk.at(), "--keep", "1"], 3, "another process is at work");
    desk.verify_deeply();
    desk.restore(&desk.path("meanwhile"));
    let held = holds(&mut client).await;
    client.delete(&format!("/api/v1/gc/holds/{}", held[0])).await.expect(204);
    kill_process(pid, Signal::CONT).unwrap();
    let ran = finish(child);
    assert_eq!(ran.exit, Some(9), "{ran:?}");
    assert!(ran.err.contains("the hold on collection was released or ran out"), "{ran:?}");
    assert_eq!(desk.generations().len(), 1);
    desk.backup(&server);
    desk.verify_deeply();
}

#[tokio::test]
async fn r063_a_restored_registry_knows_everybody_and_trusts_no_old_token() {
    let server = Wharf::with_accounts();
    let mut admin = Admin::of(&server);
    admin.human("alice", "canary-password").await;
    let robot = admin.robot("ci", &[]).await;
    admin.allow("ci", &["backup:create", "registry:pull", "registry:push"], &[]).await;
    let mut alice = server.client().authorized(basic("alice", "canary-password"));
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut alice, "team/app", "1.0").await;
    let token = alice.fetch_token(&["repository:team/app:pull"]).await;
    let refresh = alice.get("/v2/token?offline_token=true&client_id=test").await.expect(200).json();
    assert!(refresh["refresh_token"].is_string(), "{refresh}");
    let by_token = || server.client().authorized(format!("Bearer {token}"));
    by_token().get("/v2/team/app/manifests/1.0").await.expect(200);

    // A robot that a rule allows it; people and other robots are denied (`matrix.txt`).
    let desk = Desk::with_token(robot.clone());
    desk.backup(&server);
    let audit = admin.send("GET", "/audit?action=backup.begin", &json!({})).await.expect(200).json();
    assert_eq!(audit["items"][0]["principal"], "ci", "{audit}");

    let builder = Wharf::builder().accounts();
    let made = desk.restore(builder.data());
    let restored = builder.start();
    let mut admin = Admin::of(&restored);
    admin.send("GET", "/accounts/alice", &json!({})).await.expect(200);
    let stale = restored.client().authorized(format!("Bearer {token}")).get("/v2/team/app/manifests/1.0").await;
    assert_eq!(stale.status, 401, "a token of the old registry");
    let mut alice = restored.client().authorized(basic("alice", "canary-password"));
    alice.get("/v2/team/app/manifests/1.0").await.expect(200);
    alice.fetch_token(&["repository:team/app:pull"]).await;
    let form = format!(
        "grant_type=refresh_token&service=wharf&client_id=test&refresh_token={}",
        refresh["refresh_token"].as_str().unwrap()
    );
    let request = Request::new("POST", "/v2/token").header("Content-Type", "application/x-www-form-urlencoded");
    let reply = restored.client().send(request.body(form)).await;
    assert_eq!(reply.status, 401, "{reply}");
    restored.client().authorized(basic("ci", &robot)).get("/v2/team/app/manifests/1.0").await.expect(200);

    // Another store, held, and it says so.
    let id = std::fs::read_to_string(restored.data().join("wharf.id")).unwrap();
    assert_eq!(id, format!("layout 1\nstore {}\n", made["store_id"].as_str().unwrap()));
    assert_ne!(id, std::fs::read_to_string(server.data().join("wharf.id")).unwrap());
    let status = admin.send("GET", "/gc", &json!({})).await.expect(200).json();
    assert_eq!(status["holds"][0]["id"], "restored");
    let audit = admin.send("GET", "/audit?action=backup.restore", &json!({})).await.expect(200).json();
    assert_eq!(audit["items"][0]["target"], made["generation"]);
    assert_eq!(admin.send("GET", "/audit/verify", &json!({})).await.expect(200).json()["intact"], true);
    admin.client.another().authorized(basic("admin", ADMIN_PASSWORD)).get("/api/v1/me").await.expect(200);

    // The next backups of the restored registry are those of another store.
    let words = desk.backup_words(&restored);
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    desk.fails(&words, 4, "--allow-other-store");
    words.push("--allow-other-store");
    desk.ok(&words);
    desk.backup(&restored);
    desk.verify_deeply();
}

#[tokio::test]
async fn a_registry_that_does_not_run_is_backed_up() {
    let mut server = Wharf::start();
    let (mut client, desk) = (server.client(), Desk::new());
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "a/b", "v1").await;
    let (backups, data) = (desk.at(), text(server.data()));
    let words = ["backup", backups.as_str(), "--data", data.as_str()];
    desk.fails(&words, 3, "is already in use");
    server.stop();
    desk.ok(&words);
    desk.verify_deeply();
    assert!(!server.data().join("wharf.db.snapshot").exists());
    assert_eq!(desk.generations().len(), 1);
    desk.fails(&["backup", &backups, "--data", "/nowhere/at/all"], 2, "there is no data directory");
    let empty = tempfile::tempdir().unwrap();
    desk.fails(&["backup", &backups, "--data", &text(empty.path())], 2, "is not the data directory of a registry");
    assert_eq!(
        std::fs::read_dir(empty.path()).unwrap().count(),
        0,
        "a registry was made where somebody looked for one"
    );
    desk.fails(&["backup", &data, "--data", &data], 2, "is neither empty nor a backup");
    desk.fails(&["restore", "--from", &data, "--data", &backups], 2, "there is no backup in");
}

#[tokio::test]
async fn a_registry_that_runs_is_not_overwritten() {
    only_in_the_embedded_run!("restores over a data directory");
    let mut server = Wharf::start();
    let (mut client, desk) = (server.client(), Desk::new());
    Image::small(1, "amd64", 5_000).push(&mut client, "a/b", "v1").await;
    desk.backup(&server);
    server.stop();
    let (backups, data) = (desk.at(), text(server.data()));
    let restore = ["restore", "--from", &backups, "--data", &data];
    desk.fails(&restore, 9, "is not empty");
    server.restart();
    let orphan = server.client().put_blob("a/b", content(2, 4_000)).await;
    desk.fails(&[&restore[..], &["--force"]].concat(), 3, "is already in use");
    server.client().get(&format!("/v2/a/b/blobs/{orphan}")).await.expect(200);
    server.stop();
    let said = desk.ok(&[&restore[..], &["--force", "--json"]].concat());
    let moved = serde_json::from_str::<Value>(&said).unwrap()["moved_to"].as_str().unwrap().to_owned();
    let moved = std::path::PathBuf::from(moved);
    assert!(contents(&moved.join("layers")).contains(&orphan), "what was there is in {}", moved.display());
    server.restart();
    let mut client = server.client();
    assert_eq!(nothing_dangles(&server, &mut client).await, 1);
    client.get(&format!("/v2/a/b/blobs/{orphan}")).await.expect(404);
    std::fs::remove_dir_all(moved).unwrap();

    // That it had not been stopped in order is not forgotten because a backup opens and closes its database.
    server.kill9();
    desk.ok(&["backup", &backups, "--data", &data, "--allow-other-store"]);
    server.restart();
    assert_eq!(holds(&mut server.client()).await, ["restored", "unclean-stop"]);
}
