//! FT-08: things that were planted in the data directory, what is answered over the wire, and what the check says.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{FileType, Mode};

use super::{Outcome, offline, online, put_manifest};
use crate::harness::{Client, Image, Kept, Wharf, flip_on_disk, serve_expecting_failure, sha256};
use crate::only_in_the_embedded_run;

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
        self.server.kept().file(&self.layer)
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

    /// The only file in quarantine, or the object that a note there is about, is as it was.
    fn flips_back_what_is_aside(&self, bit: u64) {
        if self.server.kept().is_in_a_bucket() {
            self.server.kept().flip_bit(&self.layer, bit);
            return;
        }
        let moved = fs::read_dir(self.server.data().join("quarantine")).unwrap().next().unwrap().unwrap().path();
        assert!(moved.file_name().unwrap().to_str().unwrap().starts_with(&self.layer[7..]), "{}", moved.display());
        flip_on_disk(&moved, bit);
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

/// Puts something in the place of a blob, whose size in bytes it is told.
type Plant = fn(&Kept<'_>, &str, usize);

/// Bytes in the place of those of a blob, and which class a fast and a deep check find them in.
const BYTES: [(&str, Option<&str>, &str, Plant); 5] = [
    ("missing", Some("I-01"), "I-01", |_, _, _| {}),
    ("empty", Some("I-01"), "I-01", |kept, layer, _| kept.write(layer, b"")),
    ("one byte short", Some("I-01"), "I-01", |kept, layer, size| kept.write(layer, &vec![0; size - 1])),
    ("longer", Some("I-01"), "I-01", |kept, layer, size| kept.write(layer, &vec![0; size + 20_000])),
    ("others' bytes", None, "I-02", |kept, layer, size| kept.write(layer, &vec![7; size])),
];

/// What else can stand in the place of a file.
const FILES: [(&str, Option<&str>, &str, Plant); 4] = [
    ("directory", Some("I-01"), "I-01", |kept, layer, _| fs::create_dir(kept.file(layer)).unwrap()),
    ("link to a file", Some("I-01"), "I-01", |kept, layer, _| {
        let path = kept.file(layer);
        fs::write(path.with_extension("target"), b"target").unwrap();
        symlink(path.with_extension("target"), path).unwrap();
    }),
    ("dangling link", Some("I-01"), "I-01", |kept, layer, _| symlink("nowhere", kept.file(layer)).unwrap()),
    ("fifo", Some("I-01"), "I-01", |kept, layer, _| fifo(&kept.file(layer))),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft08_other_bytes_in_a_blobs_place_are_found_never_served_and_healed() {
    are_found_never_served_and_healed(&BYTES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft08_what_is_in_a_files_place_is_found_never_served_and_healed() {
    only_in_the_embedded_run!("plants links, pipes and directories where files with content are");
    are_found_never_served_and_healed(&FILES).await;
}

async fn are_found_never_served_and_healed(plants: &[(&str, Option<&str>, &str, Plant)]) {
    let mut world = World::new().await;
    let layer = world.layer.clone();
    for &(what, fast, deep, plant) in plants {
        let kept = world.server.kept();
        let size = kept.read(&layer).expect("the layer").len();
        kept.remove(&layer);
        plant(&kept, &layer, size);

        let extra = if what == "link to a file" { 1 } else { 0 };
        let found = online(&world.server, &[]);
        let classes = |class: Option<&str>| found_classes(class, extra);
        assert_eq!(counts(&found), classes(fast), "{what}: {found:#?}");
        let found = online(&world.server, &["--deep"]);
        assert_eq!(counts(&found), classes(Some(deep)), "{what}: {found:#?}");
        assert_eq!(found.of(deep)[0]["subject"], layer, "{what}");
        let _ = fs::remove_file(kept.file(&layer).with_extension("target"));

        // A reader notices by itself, and every second time nobody reads before somebody repairs.
        let aside_before = kept.set_aside();
        if what.len() % 2 == 0 {
            let dry = online(&world.server, &["--deep", "--repair", deep, "--dry-run"]);
            assert_eq!((dry.exit, kept.set_aside()), (8, aside_before), "{what}: {dry:#?}");
            let repaired = online(&world.server, &["--deep", "--repair", deep]);
            repaired.is_clean();
            assert_eq!(repaired.found["repaired"], 1, "{what}");
        }
        world.is_set_aside(what).await;
        assert!(fs::symlink_metadata(world.file()).is_err(), "{what}: it is out of the way");
        let moved = usize::from(what != "missing");
        assert_eq!(world.server.kept().set_aside(), aside_before + moved, "{what}: it is kept");
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
    server.kept().write(&one, &second);
    server.kept().write(&two, &first);
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
    only_in_the_embedded_run!("plants files in the data directory, and opens their modes");
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
    only_in_the_embedded_run!("damages the file of the embedded database");
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
    only_in_the_embedded_run!("cuts the log of the embedded database");
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
    let layer = world.layer.clone();
    world.server.kept().flip_bit(&layer, 77);
    world.is_set_aside("flipped").await;
    let repaired = online(&world.server, &["--repair", "I-05"]);
    repaired.finds(&[("I-05", 1)]);
    world.flips_back_what_is_aside(77);
    online(&world.server, &["--repair", "I-05"]).is_clean();
    let reply = world.client.get(&format!("/v2/team/app/blobs/{layer}")).await.expect(200);
    assert_eq!(reply.body, world.image.layers[0]);
    online(&world.server, &["--deep"]).is_clean();
}

/// With a disk that was away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_and_comes_back_by_itself_is_served_again() {
    only_in_the_embedded_run!(
        "takes a file away and puts it back; no row says any more which object would be looked for"
    );
    let mut world = World::new().await;
    let layer = world.layer.clone();
    let elsewhere = world.server.kept().read(&layer).unwrap();
    world.server.kept().remove(&layer);
    world.is_set_aside("away").await;
    world.server.kept().write(&layer, &elsewhere);
    online(&world.server, &["--repair", "I-05"]).is_clean();
    world.client.get(&format!("/v2/team/app/blobs/{layer}")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_some_repositories_looks_at_theirs_alone() {
    let world = World::new().await;
    world.server.kept().flip_bit(&world.layer, 5);
    fs::write(world.server.data().join("notes"), b"").unwrap();
    online(&world.server, &["--deep", "--repo", "team/other"]).is_clean();
    let found = online(&world.server, &["--deep", "--repo", "team/a*"]);
    found.finds(&[("I-02", 1)]);
    assert_eq!(found.found["totals"]["blobs"], 2, "{found:#?}");
}
