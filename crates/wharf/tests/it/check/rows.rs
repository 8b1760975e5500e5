//! Rows that contradict each other: each is found in its class, and what can be repaired is.

use std::path::Path;

use serde_json::json;

use super::{offline, online, put_manifest};
use crate::harness::{Image, OCI_INDEX, Wharf, sha256};
use crate::only_in_the_embedded_run;

/// A registry with a bit of everything, stopped.
struct World {
    server: Wharf,
    image: Image,
}

impl World {
    async fn new() -> Self {
        let mut server = Wharf::start();
        let mut client = server.client();
        let image = Image::small(1, "amd64", 2_000);
        let other = Image::small(2, "arm64", 2_000);
        image.push(&mut client, "team/app", "v1").await;
        other.push(&mut client, "team/app", "v2").await;
        other.push(&mut client, "team/app", "v1").await;
        image.push(&mut client, "team/app", "v1").await;
        client.put_manifest("team/app", "all", OCI_INDEX, Image::index(&[image.clone(), other])).await;
        image.push(&mut client, "team/copy", "v1").await;
        let gone = Image::small(3, "amd64", 2_000);
        gone.push(&mut client, "team/app", "gone").await;
        client.delete(&format!("/v2/team/app/manifests/{}", gone.digest())).await.expect(202);
        let location = client.begin_upload("team/app").await;
        client.append(&location, 0, &b"some bytes"[..]).await.expect(202);
        server.stop();
        offline(server.data(), &["--deep"]).is_clean();
        Self { server, image }
    }

    fn data(&self) -> &Path {
        self.server.data()
    }

    /// Changes rows as no transaction of the registry could.
    fn sql(&self, statements: &str) {
        if !self.server.is_on_postgres() {
            return self.server.tamper(&format!("pragma foreign_keys = off; {statements}"));
        }
        let statements = IN_POSTGRES.iter().fold(statements.to_owned(), |text, (from, to)| text.replace(from, to));
        self.server.tamper(&format!("set session_replication_role = replica; {statements}"));
    }
}

/// Functions on bytes have other names there.
const IN_POSTGRES: [(&str, &str); 3] = [
    ("cast(body || x'20' as blob)", "body || '\\x20'::bytea"),
    ("cast(substr(body, 1, length(body) - 1) as blob)", "substr(body, 1, length(body) - 1)"),
    (
        "cast(replace(cast(body as text), 'layers', 'lairs') as blob)",
        "convert_to(replace(convert_from(body, 'UTF8'), 'layers', 'lairs'), 'UTF8')",
    ),
];

/// What is done to the rows, the class it is found in, whether a check repairs it, and what takes it back otherwise.
const PLANTS: [(&str, &str, bool, &str); 15] = [
    ("update manifests set artifact_type = 'x/y' where id = 1", "I-04", true, ""),
    ("update manifests set annotations = '{\"a\":\"b\"}' where id = 1", "I-04", true, ""),
    ("update manifests set subject_digest = config_digest where id = 1", "I-04", true, ""),
    ("update manifests set config_digest = null where id = 1", "I-04", true, ""),
    ("delete from manifest_blobs where rowid_of_first", "I-04", true, ""),
    (
        "insert into manifest_blobs select 2, min(blob_id), 1 from manifest_blobs where manifest_id = 1",
        "I-04",
        true,
        "",
    ),
    (
        "delete from manifest_children where child_digest = (select digest from manifests where id = 1)",
        "I-04",
        true,
        "",
    ),
    ("update blobs set state = 'deleting', delete_after_us = 9000000000000000 where id = 1", "I-06", true, ""),
    (
        "update tags set manifest_id = (select id from manifests where repository_id = 2) where name = 'v2'",
        "I-08",
        false,
        "update tags set manifest_id = 2 where name = 'v2'",
    ),
    (
        "update tags set version = version + 1 where name = 'v2'",
        "I-15",
        false,
        "update tags set version = version - 1 where name = 'v2'",
    ),
    (
        "update tag_history set from_digest = 'sha256:00' where name = 'v1' and version = 2",
        "I-15",
        false,
        "update tag_history set from_digest = (select digest from manifests where id = 1) where name = 'v1' and version = 2",
    ),
    (
        "update deleted_manifests set body = cast(body || x'20' as blob)",
        "I-18",
        false,
        "update deleted_manifests set body = cast(substr(body, 1, length(body) - 1) as blob)",
    ),
    (
        "insert into gc_removals values ('../../etc/passwd', null, 'unreferenced', 0, 0)",
        "I-10",
        false,
        "delete from gc_removals",
    ),
    (
        "insert into policy_rules values ('r', 1, 1, '{\"effect\":\"maybe\"}', '', 1, 0, 'x', 0, 'x')",
        "I-21",
        false,
        "delete from policy_rules",
    ),
    ("update meta set store_id = store_id", "", false, ""),
];

/// What the constraints of a sound database would not have let in.
const BEYOND_CONSTRAINTS: [(&str, &str, bool, &str); 2] = [
    (
        "insert into manifest_blobs values (999, 1, 1)",
        "I-19",
        false,
        "delete from manifest_blobs where manifest_id = 999",
    ),
    (
        "insert into blobs (digest, size_bytes, state, created_at_us) values ('sha256:short', 1, 'live', 0)",
        "I-19",
        false,
        "delete from blobs where digest = 'sha256:short'",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft08_rows_that_contradict_each_other_are_found_and_repaired() {
    are_found_and_repaired(&PLANTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft08_rows_that_no_constraint_allows_are_found() {
    only_in_the_embedded_run!("PostgreSQL is trusted with its own constraints");
    are_found_and_repaired(&BEYOND_CONSTRAINTS).await;
}

async fn are_found_and_repaired(plants: &[(&str, &str, bool, &str)]) {
    let world = World::new().await;
    for &(plant, class, is_repaired, back) in plants {
        let plant = plant.replace(
            "where rowid_of_first",
            "where manifest_id = 1 and blob_id = (select min(blob_id) from manifest_blobs where manifest_id = 1)",
        );
        world.sql(&plant);
        let found = offline(world.data(), &[]);
        if class.is_empty() {
            found.is_clean();
            continue;
        }
        assert!(found.counts().keys().eq([class]), "{plant}: {found:#?}");
        assert_eq!(found.exit, 8, "{plant}");
        if is_repaired {
            let dry = offline(world.data(), &["--repair", class, "--dry-run"]);
            assert_eq!((dry.exit, dry.counts()), (8, found.counts()), "{plant}: {dry:#?}");
            offline(world.data(), &["--repair", class]).is_clean();
        } else {
            world.sql(back);
        }
        offline(world.data(), &["--deep"]).is_clean();
    }
}

/// Repairs are recorded under the name of whoever asked for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_leaves_a_record() {
    let mut world = World::new().await;
    world.sql("update manifests set artifact_type = 'x/y' where id = 1");
    world.server.restart();
    online(&world.server, &["--repair", "I-04"]).is_clean();
    let records = world.server.client().get("/api/v1/audit?action=manifest.mend").await.expect(200).json();
    assert_eq!(records["items"][0]["target"], world.image.digest(), "{records:#}");
    assert_eq!(records["items"][0]["repository"], "team/app", "{records:#}");
}

/// A manifest whose bytes rotted is a 500, and heals by the same push.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft09_a_damaged_manifest_row_heals_by_the_same_push() {
    let mut world = World::new().await;
    world.sql("update manifests set body = cast(replace(cast(body as text), 'layers', 'lairs') as blob), artifact_type = 'x' where id = 1");
    let found = offline(world.data(), &[]);
    found.finds(&[("I-03", 1)]);
    assert_eq!(found.of("I-03")[0]["affected"], json!(["team/app:v1"]), "{found:#?}");
    world.server.restart();
    let mut client = world.server.client();
    let target = format!("/v2/team/app/manifests/{}", world.image.digest());
    for reference in [&target[..], "/v2/team/app/manifests/v1"] {
        client.get(reference).await.expect(500);
    }
    put_manifest(&mut client, "team/app", "v1", &world.image).await.expect(201);
    assert_eq!(client.get(&target).await.expect(200).body, world.image.manifest);
    online(&world.server, &["--deep"]).is_clean();
}

/// Content that was never complete is nothing to complain of; what its session promises and does not have is a note.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_bytes_are_gone_is_a_note() {
    only_in_the_embedded_run!("changes the file that an upload's bytes are in");
    let world = World::new().await;
    let staged = std::fs::read_dir(world.data().join("uploads")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&staged, b"same bytes").unwrap();
    let fast = offline(world.data(), &[]);
    assert!(fast.of("I-11").is_empty(), "{fast:#?}");
    for plant in [&b"same bytes"[..], b"some"] {
        std::fs::write(&staged, plant).unwrap();
        let found = offline(world.data(), &["--deep"]);
        found.is_clean();
        assert_eq!(found.of("I-11")[0]["severity"], "note", "{found:#?}");
    }
    offline(world.data(), &["--deep", "--repair", "I-11"]).is_clean();
    let after = offline(world.data(), &["--deep"]);
    assert_eq!(after.found["notes"], 1, "it ends when the registry runs: {after:#?}");
}

/// A child that an index lists and that was deleted is a note: deleting it is allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_child_is_a_note() {
    let mut world = World::new().await;
    world.server.restart();
    let mut client = world.server.client();
    client.delete(&format!("/v2/team/app/manifests/{}", world.image.digest())).await.expect(202);
    let found = online(&world.server, &[]);
    found.is_clean();
    assert_eq!(found.of("I-09").len(), 1, "{found:#?}");
    assert!(found.of("I-09")[0]["problem"].as_str().unwrap().contains(&world.image.digest()), "{found:#?}");
    assert!(found.of("I-09")[0]["affected"] == json!(["team/app:all"]), "{found:#?}");
    let _ = sha256(b"");
}
