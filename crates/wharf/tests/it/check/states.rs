//! FT-08: things that were planted in the data directory, what is answered over the wire, and what the check says.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{FileType, Mode};

use super::{Outcome, file_of, flip_bit, offline, online, put_manifest, set_aside};
use crate::harness::{Client, Image, Wharf, serve_expecting_failure, sha256};

/// A server with one image, and the digest of its layer.
struct World {
    server: Wharf,
    client: Client,
    image: Image,
    layer: String,
}

impl World {
    async fn new() -> Self {
        // Every read shows what lies on the disk.
        let server = Wharf::builder().set("storage.remembered", "0").start();
        let mut client = server.client();
        let image = Image::small(1, "amd64", 5_000);
        image.push(&mut client, "team/app", "v1").await;
        Image::small(2, "amd64", 5_000).push(&mut client, "team/other", "v1").await;
        online(&server, &["--deep"]).is_clean();
        let layer = sha256(&image.layers[0]);
        Self { server, client, image, layer }
    }

    fn file(&self) -> std::path::PathBuf {
        file_of(self.server.data(), &self.layer)
    }

    /// The layer is not served; everything says why; others are served.
    async fn is_set_aside(&mut self, what: &str) {
        let target = format!("/v2/team/app/blobs/{}", self.layer);
        for method in ["GET", "HEAD"] {
            let reply = self.client.send(crate::harness::Request::new(method, &target)).await;
            assert_eq!(reply.status, 404, "{what}: {method} {reply}");
            let warning = reply.header("warning").unwrap_or_else(|| panic!("{what}: {method} {reply}"));
            assert!(warning.starts_with("299 - \""), "{what}: {warning}");
        }
        let reply = self.client.get(&target).await;
        assert_eq!(reply.json()["errors"][0]["code"], "BLOB_UNKNOWN", "{what}: {reply}");
        let refused = put_manifest(&mut self.client, "team/app", "v2", &self.image).await.expect(400);
        assert_eq!(refused.json()["errors"][0]["code"], "MANIFEST_BLOB_UNKNOWN", "{what}: {refused}");
        let from_other = self.client.get(&format!("/v2/team/other/blobs/{}", self.layer)).await;
        assert_eq!((from_other.status, from_other.header("warning")), (404, None), "{what}: nobody else is told");
        let found = online(&self.server, &[]);
        found.finds(&[("I-05", 1)]);
        assert_eq!(found.of("I-05")[0]["affected"], serde_json::json!(["team/app:v1"]), "{what}: {found:#?}");
    }

    /// The same bytes pushed again bring everything back.
    async fn heals(&mut self, what: &str) {
        self.client.put_blob("team/new", self.image.layers[0].clone()).await;
        let target = format!("/v2/team/app/blobs/{}", self.layer);
        let reply = self.client.get(&target).await.expect(200);
        assert_eq!(reply.body, self.image.layers[0], "{what}: the association of the first repository is there still");
        put_manifest(&mut self.client, "team/app", "v1", &self.image).await.expect(201);
        online(&self.server, &["--deep"]).is_clean();
    }
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

type Plant = fn(&Path);

/// What was planted in the place of a blob, and which class a fast and a deep check find it in.
const PLANTS: [(&str, Option<&str>, &str, Plant); 9] = [
    ("missing", Some("I-01"), "I-01", |_| {}),
    ("empty", Some("I-01"), "I-01", |path| fs::write(path, b"").unwrap()),
    ("one byte short", Some("I-01"), "I-01", |path| fs::write(path, vec![0; 6_655]).unwrap()),
    ("longer", Some("I-01"), "I-01", |path| fs::write(path, vec![0; 20_000]).unwrap()),
    ("directory", Some("I-01"), "I-01", |path| fs::create_dir(path).unwrap()),
    ("link to a file", Some("I-01"), "I-01", |path| {
        fs::write(path.with_extension("target"), b"target").unwrap();
        symlink(path.with_extension("target"), path).unwrap();
    }),
    ("dangling link", Some("I-01"), "I-01", |path| symlink("nowhere", path).unwrap()),
    ("fifo", Some("I-01"), "I-01", fifo),
    ("others' bytes", None, "I-02", |_| {}),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft08_what_is_in_a_blobs_place_is_found_never_served_and_healed() {
    let mut world = World::new().await;
    for (what, fast, deep, plant) in PLANTS {
        let file = world.file();
        let right = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        if what == "others' bytes" {
            fs::write(&file, vec![7; right.len()]).unwrap();
        } else {
            plant(&file);
        }
        fs::set_permissions(file.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
        let _ = fs::set_permissions(&file, fs::Permissions::from_mode(0o600));

        let extra = if what == "link to a file" { 1 } else { 0 };
        let found = online(&world.server, &[]);
        let classes = |class: Option<&str>| found_classes(class, extra);
        assert_eq!(counts(&found), classes(fast), "{what}: {found:#?}");
        let found = online(&world.server, &["--deep"]);
        assert_eq!(counts(&found), classes(Some(deep)), "{what}: {found:#?}");
        assert_eq!(found.of(deep)[0]["subject"], world.layer, "{what}");
        let _ = fs::remove_file(file.with_extension("target"));

        // A reader notices by itself, and every second time nobody reads before somebody repairs.
        let aside_before = set_aside(world.server.data());
        if what.len() % 2 == 0 {
            let dry = online(&world.server, &["--deep", "--repair", deep, "--dry-run"]);
            assert_eq!((dry.exit, set_aside(world.server.data())), (8, aside_before), "{what}: {dry:#?}");
            let repaired = online(&world.server, &["--deep", "--repair", deep]);
            repaired.is_clean();
            assert_eq!(repaired.found["repaired"], 1, "{what}");
        }
        world.is_set_aside(what).await;
        assert!(fs::symlink_metadata(&file).is_err(), "{what}: it is out of the way");
        let moved = usize::from(what != "missing");
        assert_eq!(set_aside(world.server.data()), aside_before + moved, "{what}: it is kept");
        world.heals(what).await;
    }
}

fn counts(found: &Outcome) -> Vec<(String, u64)> {
    found.counts().into_iter().collect()
}

fn found_classes(class: Option<&str>, foreign: u64) -> Vec<(String, u64)> {
    let mut classes: Vec<(String, u64)> = class.iter().map(|class| ((*class).to_owned(), 1)).collect();
    if foreign > 0 {
        classes.push(("I-13".to_owned(), foreign));
    }
    classes
}

/// Two files that changed places are both wrong, though each is intact.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft08_swapped_content_is_found() {
    let server = Wharf::start();
    let mut client = server.client();
    let (first, second) = (vec![1; 3_000], vec![2; 3_000]);
    let one = client.put_blob("a/b", first.clone()).await;
    let two = client.put_blob("a/b", second.clone()).await;
    fs::write(file_of(server.data(), &one), &second).unwrap();
    fs::write(file_of(server.data(), &two), &first).unwrap();
    online(&server, &[]).is_clean();
    online(&server, &["--deep"]).finds(&[("I-02", 2)]);
    for (digest, bytes) in [(&one, first), (&two, second)] {
        client.get(&format!("/v2/a/b/blobs/{digest}")).await.expect(404);
        client.put_blob("a/b", bytes).await;
    }
    online(&server, &["--deep"]).is_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft08_foreign_files_and_open_modes_are_named_and_left_alone() {
    let world = World::new().await;
    let data = world.server.data();
    let foreign = ["notes.txt", "uploads/notes", "layers/notes", "layers/sha256/zz", "layers/sha256/00/notes"];
    for path in foreign {
        fs::write(data.join(path), b"mine").unwrap();
    }
    fs::create_dir(data.join("layers/md5")).unwrap();
    let found = online(&world.server, &[]);
    found.finds(&[("I-13", 6)]);
    let mut named: Vec<_> = found.of("I-13").iter().map(|f| f["subject"].as_str().unwrap().to_owned()).collect();
    named.sort();
    let mut expected = foreign.map(str::to_owned).to_vec();
    expected.push("layers/md5".to_owned());
    expected.sort();
    assert_eq!(named, expected);
    for path in foreign {
        assert_eq!(fs::read(data.join(path)).unwrap(), b"mine");
        fs::remove_file(data.join(path)).unwrap();
    }
    fs::remove_dir(data.join("layers/md5")).unwrap();

    fs::set_permissions(world.file(), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(data.join("uploads"), fs::Permissions::from_mode(0o755)).unwrap();
    let found = online(&world.server, &[]);
    found.finds(&[("I-13", 2)]);
    fs::set_permissions(world.file(), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(data.join("uploads"), fs::Permissions::from_mode(0o700)).unwrap();
    online(&world.server, &[]).is_clean();
}

/// What cannot be checked is not said to be clean, and nothing is touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft08_a_database_that_cannot_be_used_is_no_clean_one() {
    let mut world = World::new().await;
    let data = world.server.data().to_owned();
    let in_use = offline(&data, &[]);
    assert_eq!(in_use.exit, 3, "{in_use:#?}");
    assert!(in_use.err.contains("wharf check --server"), "{in_use:#?}");
    world.server.stop();
    offline(&data, &["--deep"]).is_clean();

    let database = data.join("wharf.db");
    let right = fs::read(&database).unwrap();
    fs::write(&database, &right[..right.len() - 4_096]).unwrap();
    assert_eq!(offline(&data, &[]).exit, 4, "truncated");
    assert!(!serve_expecting_failure(&data).status.success());
    assert_eq!(fs::read(&database).unwrap(), right[..right.len() - 4_096], "untouched");
    fs::write(&database, b"").unwrap();
    assert_eq!(offline(&data, &[]).exit, 4, "empty");
    fs::remove_file(&database).unwrap();
    assert_eq!(offline(&data, &[]).exit, 4, "gone");
    assert!(!database.exists(), "a check makes no database");
    fs::write(&database, &right).unwrap();
    let id = fs::read_to_string(data.join("wharf.id")).unwrap();
    fs::write(data.join("wharf.id"), id.replace("store 0", "store 1")).unwrap();
    assert_eq!(offline(&data, &[]).exit, 4, "another store's");
    fs::write(data.join("wharf.id"), id).unwrap();
    offline(&data, &["--deep"]).is_clean();
    assert_eq!(offline(&data.join("layers"), &[]).exit, 2, "not a data directory");
    assert_eq!(offline(&data, &["--repair", "I-19"]).exit, 2, "not repairable by a check");
    assert_eq!(offline(&data, &["--repair", "I-99"]).exit, 2, "no such class");
    assert_eq!(offline(&data, &["--repo", "[a"]).exit, 2, "no pattern");
}

/// A log that breaks off in the middle: what SQLite makes of it is either whole, or found to contradict itself. It is never
/// called clean while the registry would not serve what its own rows promise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft08_half_a_log_is_whole_or_found() {
    let mut world = World::new().await;
    world.server.kill9();
    let data = world.server.data().to_owned();
    let log = data.join("wharf.db-wal");
    let (whole, database) = (fs::read(&log).unwrap(), fs::read(data.join("wharf.db")).unwrap());
    let plant = |bytes: usize| {
        fs::write(data.join("wharf.db"), &database).unwrap();
        fs::write(&log, &whole[..bytes]).unwrap();
        let _ = fs::remove_file(data.join("wharf.db-shm"));
    };
    for tenths in [9, 7, 5, 3, 1] {
        plant(whole.len() * tenths / 10);
        let found = offline(&data, &["--deep"]);
        match found.exit {
            0 => found.is_clean(),
            // Checkpoints had moved what came later into the file, so that an earlier log contradicts it; perhaps it cannot
            // even be opened.
            exit => assert!([4, 8].contains(&exit), "{found:#?}"),
        }
    }
    plant(whole.len());
    world.server.restart();
    online(&world.server, &["--deep"]).is_clean();
}

/// What was set aside is looked at again on request: it may have been the controller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_set_aside_and_reads_well_comes_back() {
    let mut world = World::new().await;
    let file = world.file();
    flip_bit(&file, 77);
    world.is_set_aside("flipped").await;
    let repaired = online(&world.server, &["--repair", "I-05"]);
    repaired.finds(&[("I-05", 1)]);
    let quarantine = world.server.data().join("quarantine");
    let moved = fs::read_dir(&quarantine).unwrap().next().unwrap().unwrap().path();
    assert!(moved.file_name().unwrap().to_str().unwrap().starts_with(file.file_name().unwrap().to_str().unwrap()));
    flip_bit(&moved, 77);
    online(&world.server, &["--repair", "I-05"]).is_clean();
    let reply = world.client.get(&format!("/v2/team/app/blobs/{}", world.layer)).await.expect(200);
    assert_eq!(reply.body, world.image.layers[0]);
    online(&world.server, &["--deep"]).is_clean();

    // A file that comes back by itself, with a disk that was away.
    let elsewhere = world.server.data().join("uploads/../../elsewhere-").with_extension(std::process::id().to_string());
    fs::rename(&file, &elsewhere).unwrap();
    world.is_set_aside("away").await;
    fs::rename(&elsewhere, &file).unwrap();
    online(&world.server, &["--repair", "I-05"]).is_clean();
    world.client.get(&format!("/v2/team/app/blobs/{}", world.layer)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_some_repositories_looks_at_theirs_alone() {
    let world = World::new().await;
    flip_bit(&world.file(), 5);
    fs::write(world.server.data().join("notes"), b"").unwrap();
    online(&world.server, &["--deep", "--repo", "team/other"]).is_clean();
    let found = online(&world.server, &["--deep", "--repo", "team/a*"]);
    found.finds(&[("I-02", 1)]);
    assert_eq!(found.found["totals"]["blobs"], 2, "{found:#?}");
}
