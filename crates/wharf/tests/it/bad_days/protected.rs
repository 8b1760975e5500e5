//! Write protection (R-002, FT-06): writes are refused and say why, reads go on, and a probe that succeeds ends it.

use std::os::unix::fs::PermissionsExt as _;

use super::sync::Switch;
use super::{pulls, refused_for_now, report, wait_for_writes};
use crate::harness::{Client, Disk, DiskKind, Image, OCI_MANIFEST, Request, Wharf, content, sha256, with_digest};
use crate::only_in_the_embedded_run;

/// Every kind of write is refused with 503 and `words`; reading goes on.
pub(super) async fn takes_no_writes(client: &mut Client, image: &Image, words: &str) {
    let begin = Request::new("POST", "/v2/t/a/blobs/uploads/").body("");
    refused_for_now(client.send(begin).await, 503, words);
    let push = Request::new("PUT", "/v2/t/a/manifests/v9").header("Content-Type", OCI_MANIFEST);
    refused_for_now(client.send(push.body(image.manifest.clone())).await, 503, words);
    refused_for_now(client.delete(&format!("/v2/t/a/manifests/{}", image.digest())).await, 503, words);
    let run = Request::new("POST", "/api/v1/gc/run").header("Content-Type", "application/json").body("{}");
    let run = client.send(run).await.expect(503);
    assert!(run.has("retry-after") && run.json()["detail"].as_str().unwrap().contains(words), "{run}");
    pulls(client, "t/a", image).await;
    assert_eq!(client.get("/readyz").await.expect(200).body, b"ready\n");
}

#[tokio::test]
async fn r002_three_failed_syncs_protect_until_a_probe_succeeds() {
    only_in_the_embedded_run!("fails the syncs of files");
    let broken = Switch::of("store.sync");
    let mut server = broken.wired_to(Wharf::builder()).start();
    let mut client = server.client();
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "t/a", "v1").await;

    broken.on();
    let blob = content(2, 1_000);
    for _ in 0..3 {
        let location = client.begin_upload("t/a").await;
        refused_for_now(client.finish_upload(&location, &sha256(&blob), blob.clone()).await, 503, "try again");
    }
    takes_no_writes(&mut client, &image, "its disk does not keep what is written to it").await;
    let said = report(&mut client).await;
    assert_eq!((&said["writes"], &said["ready"]), (&"refused".into(), &true.into()), "{said:#}");
    assert!(said["trouble"]["remedy"].as_str().unwrap().starts_with("look at the disk"), "{said:#}");
    server.wait_for_log("the registry takes no writes from now on: its disk does not keep what is written to it");

    broken.off();
    wait_for_writes(&mut client, "taken").await;
    server.wait_for_log("the registry takes writes again");
    Image::small(3, "amd64", 5_000).push(&mut client, "t/a", "v2").await;
    server.stop();
}

/// Two are an accident.
#[tokio::test]
async fn r002_one_failed_sync_costs_that_upload_and_nothing_else() {
    only_in_the_embedded_run!("fails the syncs of files");
    let broken = Switch::of("store.sync");
    let server = broken.wired_to(Wharf::builder()).start();
    let mut client = server.client();
    let blob = content(1, 1_000);
    for _ in 0..2 {
        let location = client.begin_upload("t/a").await;
        let appended = client.append(&location, 0, blob.clone()).await.expect(202);
        let location = appended.header("location").unwrap();
        broken.on();
        refused_for_now(client.finish_upload(location, &sha256(&blob), "").await, 503, "try again");
        broken.off();
        // Its bytes may be lost, and a second sync could not tell.
        client.finish_upload(location, &sha256(&blob), "").await.expect(404);
    }
    client.put_blob("t/a", blob).await;
    assert_eq!(report(&mut client).await["writes"], "taken");
}

#[tokio::test]
async fn ft06_a_file_system_that_becomes_read_only() {
    only_in_the_embedded_run!("makes a file system read-only");
    let disk = Disk::new(DiskKind::Careful, 64);
    let server = Wharf::builder().data_at(&disk.path()).start();
    let mut client = server.client();
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "t/a", "v1").await;
    let location = client.begin_upload("t/a").await;

    disk.damage();
    // Whatever is the first to meet it: the bytes of an upload, or the database.
    let reply = client.finish_upload(&location, &sha256(b"late"), "late").await;
    assert_eq!(reply.status, 503, "{reply}");
    wait_for_writes(&mut client, "refused").await;
    takes_no_writes(&mut client, &image, "its file system has become read-only").await;
}

#[tokio::test]
async fn ft06_the_database_is_the_first_to_meet_a_read_only_file_system() {
    only_in_the_embedded_run!("makes a file system read-only");
    let disk = Disk::new(DiskKind::Careful, 64);
    let server = Wharf::builder().data_at(&disk.path()).start();
    let mut client = server.client();
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "t/a", "v1").await;
    disk.damage();
    let push = Request::new("PUT", "/v2/t/a/manifests/v2").header("Content-Type", OCI_MANIFEST);
    client.send(push.body(image.manifest.clone())).await.expect(503);
    wait_for_writes(&mut client, "refused").await;
    takes_no_writes(&mut client, &image, "its file system has become read-only").await;
}

/// It can still be written to then, and nobody would find again what is written there.
#[tokio::test]
async fn ft06_a_data_directory_that_is_moved_away_and_comes_back() {
    only_in_the_embedded_run!("moves the data directory away, or its permissions");
    let place = tempfile::tempdir().unwrap();
    let (data, elsewhere) = (place.path().join("data"), place.path().join("elsewhere"));
    let mut server = Wharf::builder().data_at(&data).start();
    let mut client = server.client();
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "t/a", "v1").await;

    std::fs::rename(&data, &elsewhere).unwrap();
    wait_for_writes(&mut client, "refused").await;
    takes_no_writes(&mut client, &image, "its data directory is not there any more").await;
    std::fs::rename(&elsewhere, &data).unwrap();
    wait_for_writes(&mut client, "taken").await;
    Image::small(2, "amd64", 5_000).push(&mut client, "t/a", "v2").await;
    server.stop();
}

/// As somebody else than root, who may write everywhere.
#[tokio::test]
async fn ft06_permissions_that_are_taken_away_and_given_back() {
    only_in_the_embedded_run!("moves the data directory away, or its permissions");
    const NOBODY: u32 = 65_534;
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let data = place.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::os::unix::fs::chown(&data, Some(NOBODY), Some(NOBODY)).expect("this test needs to run as root");
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(Into::into);
    let mut server = Wharf::builder().data_at(&data).under(as_nobody).start();
    let mut client = server.client();
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "t/a", "v1").await;
    let location = client.begin_upload("t/a").await;

    let uploads = data.join("uploads");
    std::fs::set_permissions(&uploads, std::fs::Permissions::from_mode(0o500)).unwrap();
    refused_for_now(client.finish_upload(&location, &sha256(b"late"), "late").await, 503, "try again");
    wait_for_writes(&mut client, "refused").await;
    takes_no_writes(&mut client, &image, "it may not write to its data directory or bucket any more").await;
    std::fs::set_permissions(&uploads, std::fs::Permissions::from_mode(0o700)).unwrap();
    wait_for_writes(&mut client, "taken").await;
    client.finish_upload(&location, &sha256(b"late"), "late").await.expect(201);
    server.stop();
}

/// Where the bytes of an upload would go lies something else: the upload ends, and what lies there goes with it.
#[tokio::test]
async fn an_upload_whose_place_is_taken_ends() {
    only_in_the_embedded_run!("changes the file that an upload's bytes are in");
    let server = Wharf::start();
    let mut client = server.client();
    for method in ["PATCH", "PUT"] {
        let location = client.begin_upload("t/a").await;
        let id = location.rsplit('/').next().unwrap().to_owned();
        let place = server.data().join("uploads").join(&id);
        let made = std::process::Command::new("mkfifo").arg(&place).status().expect("mkfifo");
        assert!(made.success());
        let target = if method == "PUT" { with_digest(&location, &sha256(b"bytes")) } else { location.clone() };
        let reply = client.send(Request::new(method, target).body("bytes")).await.expect(404);
        assert_eq!(reply.code(), "BLOB_UPLOAD_UNKNOWN");
        assert!(!place.exists(), "{method}");
        client.get(&location).await.expect(404);
    }
    client.put_blob("t/a", "bytes").await;
}

/// S-075: what is wrong with the disk is nobody's business on the network.
#[tokio::test]
async fn b122_details_are_for_whoever_asks_from_this_machine() {
    let server = Wharf::start();
    let mut client = server.client();
    assert_eq!(report(&mut client).await["writes"], "taken");
    let by_proxy = Request::new("GET", "/readyz?verbose").header("X-Forwarded-For", "203.0.113.9");
    assert_eq!(client.send(by_proxy).await.expect(200).body, b"ready\n");
}
