//! A disk that fills up (R-006, FT-05).

use std::time::{Duration, Instant};

use rusqlite::Connection as Database;
use serde_json::json;

use super::{pulls, refused_for_now, report, wait_for_writes};
use crate::harness::{
    Builder, Client, Disk, DiskKind, Image, MIB, OCI_MANIFEST, PATIENCE, Request, Wharf, content, sha256,
};
use crate::only_in_the_embedded_run;

/// A server that collects at once what is deleted.
fn on(disk: &Disk) -> Builder {
    Wharf::builder()
        .data_at(&disk.path())
        .set("gc.grace", "1s")
        .set("gc.trash", "0s")
        .set("gc.interval", "1s")
        .set("gc.share_percent", "100")
}

/// Pushes images of 4 MiB until one is refused; those that were taken.
async fn fill(client: &mut Client) -> Vec<Image> {
    let mut images = Vec::new();
    for seed in 0.. {
        let image = Image::small(seed, "amd64", 4 << 20);
        for blob in image.blobs() {
            let begin = Request::new("POST", "/v2/t/a/blobs/uploads/").body("");
            let begun = client.send(begin).await;
            if begun.status == 507 {
                return images;
            }
            let location = begun.expect(202).header("location").unwrap().to_owned();
            let finished = client.finish_upload(&location, &sha256(blob), blob.clone()).await;
            if finished.status == 507 {
                return images;
            }
            finished.expect(201);
        }
        let tag = format!("v{seed}");
        client.put_manifest("t/a", &tag, OCI_MANIFEST, image.manifest.clone()).await;
        images.push(image);
    }
    unreachable!("a disk without end")
}

/// FT-05 with the defaults, on a disk of 64 MiB.
#[tokio::test]
async fn ft05_a_full_disk_refuses_uploads_and_everything_else_goes_on() {
    only_in_the_embedded_run!("fills a disk");
    let disk = Disk::new(DiskKind::Memory, 64);
    let mut server = on(&disk).start();
    let mut client = server.client();
    let images = fill(&mut client).await;
    assert!(images.len() > 8, "only {} images fit", images.len());
    // A tenth of a small disk is kept free, and the reserve is still there.
    assert!(disk.free_bytes() > 2 * MIB, "{} bytes are left", disk.free_bytes());
    assert!(disk.path().join("wharf.reserve").exists());

    // Somebody else takes more.
    let more = usize::try_from(disk.free_bytes() - 4 * MIB).unwrap();
    std::fs::write(disk.path().join("hog"), vec![0; more]).unwrap();
    wait_for_writes(&mut client, "deletions only").await;
    server.wait_for_log("the disk is nearly full");
    let begin = Request::new("POST", "/v2/t/a/blobs/uploads/").body("");
    refused_for_now(client.send(begin).await, 507, "disk is full");
    // Before the body is read: nothing of it is sent here.
    let whole = format!("/v2/t/a/blobs/uploads/?digest={}", sha256(b"x"));
    let request = Request::new("POST", whole).header("Content-Length", "1000000");
    let mut connection = client.connect().await.unwrap();
    connection.send(request.head(&client.host()).as_bytes()).await.unwrap();
    connection.reply(false).await.unwrap().expect(507);
    for image in &images {
        pulls(&mut client, "t/a", image).await;
    }
    let again = client.put_manifest("t/a", "another-tag", OCI_MANIFEST, images[0].manifest.clone()).await;
    assert_eq!(again, images[0].digest(), "what takes hardly any room is recorded");

    for image in &images[1..] {
        client.delete(&format!("/v2/t/a/manifests/{}", image.digest())).await.expect(202);
    }
    wait_for_writes(&mut client, "taken").await;
    server.wait_for_log("there is room on the disk again");
    Image::small(1_000, "amd64", 4 << 20).push(&mut client, "t/a", "new").await;
    pulls(&mut client, "t/a", &images[0]).await;
    server.stop();
}

/// FT-05: somebody else takes the last byte, and the database has no room to record a deletion.
#[tokio::test]
async fn ft05_the_reserve_lets_deletions_be_recorded_on_a_disk_without_a_byte() {
    only_in_the_embedded_run!("fills a disk");
    let disk = Disk::new(DiskKind::Memory, 64);
    let mut server = on(&disk).set("storage.min_free", "0").start();
    let mut client = server.client();
    let images: Vec<Image> = (0..4).map(|seed| Image::small(seed, "amd64", 4 << 20)).collect();
    for image in &images {
        image.push(&mut client, "t/a", "v").await;
    }
    let hog = disk.path().join("hog");
    let mut taken = std::fs::File::create(&hog).unwrap();
    let zeros = vec![0; 4096];
    while std::io::Write::write_all(&mut taken, &zeros).is_ok() {}
    assert_eq!(disk.free_bytes(), 0);
    // Until the log that is there has no room left for another change.
    let begun = Instant::now();
    for number in 0.. {
        let push = Request::new("PUT", format!("/v2/t/a/manifests/tag-{number}")).header("Content-Type", OCI_MANIFEST);
        let reply = client.send(push.body(images[0].manifest.clone())).await;
        if reply.status == 507 {
            refused_for_now(reply, 507, "disk is full");
            break;
        }
        reply.expect(201);
        assert!(begun.elapsed() < PATIENCE, "the database never runs out of room");
    }
    let deleted = client.delete(&format!("/v2/t/a/manifests/{}", images[1].digest())).await;
    deleted.expect(202);
    server.wait_for_log("what was set aside for it is given back");
    let said = report(&mut client).await;
    assert_eq!(said["writes"], "deletions only", "{said:#}");
    assert!(!disk.path().join("wharf.reserve").exists());
    let push = Request::new("PUT", "/v2/t/a/manifests/late").header("Content-Type", OCI_MANIFEST);
    refused_for_now(client.send(push.body(images[0].manifest.clone())).await, 507, "disk is full");
    for image in [&images[0], &images[2]] {
        pulls(&mut client, "t/a", image).await;
    }

    std::fs::remove_file(&hog).unwrap();
    wait_for_writes(&mut client, "taken").await;
    assert!(disk.path().join("wharf.reserve").exists(), "it is set aside again");
    Image::small(9, "amd64", 1 << 20).push(&mut client, "t/a", "new").await;
    client.get(&format!("/v2/t/a/manifests/{}", images[1].digest())).await.expect(404);
    server.stop();
}

/// `gc.pressure`: a disk that is nearly full takes what was condemned two hours ago, oldest first, and nothing else.
#[tokio::test]
async fn pressure_shortens_the_trash_period_and_no_other() {
    only_in_the_embedded_run!("fills a disk");
    let mut server = Wharf::builder()
        .set("gc.grace", "1s")
        .set("gc.trash", "24h")
        .set("gc.interval", "1s")
        .set("gc.share_percent", "100")
        .start();
    let mut client = server.client();
    let old = client.put_blob("t/a", content(1, 1_000)).await;
    let new = client.put_blob("t/a", content(2, 1_000)).await;
    let begun = Instant::now();
    while client.get("/api/v1/gc").await.expect(200).json()["backlog"]["condemned"] != 2 {
        assert!(begun.elapsed() < PATIENCE, "nothing is condemned");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop();
    // As if it had been condemned three hours ago.
    let database = Database::open(server.data().join("wharf.db")).unwrap();
    let moved = "update blobs set delete_after_us = delete_after_us - 3 * 3600 * 1000000 where digest = $1";
    assert_eq!(database.execute(moved, [&old]).unwrap(), 1);
    drop(database);

    let quick = |builder: Builder| builder.set("gc.interval", "1s").set("gc.share_percent", "100");
    // More than any disk has: the pressure is always on.
    server.restart_with(|builder| quick(builder).set("storage.min_free", "1 PiB").set("gc.pressure", "false"));
    let mut client = server.client();
    assert_eq!(report(&mut client).await["space"]["low"], true);
    let run = Request::new("POST", "/api/v1/gc/run").header("Content-Type", "application/json");
    let wanted = client.send(run.body(json!({}).to_string())).await.expect(202).json()["run"].clone();
    while client.get("/api/v1/gc").await.expect(200).json()["completed_runs"].as_u64() < wanted.as_u64() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.get("/api/v1/gc").await.json()["backlog"]["condemned"], 2, "pressure is off");

    server.restart_with(|builder| quick(builder).set("storage.min_free", "1 PiB"));
    let mut client = server.client();
    let begun = Instant::now();
    while client.get("/api/v1/gc").await.expect(200).json()["totals"]["removed"] != 1 {
        assert!(begun.elapsed() < PATIENCE, "nothing is removed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let hex = |digest: &str| digest.strip_prefix("sha256:").unwrap().to_owned();
    let file = |digest: &str| server.data().join("layers/sha256").join(&hex(digest)[..2]).join(hex(digest));
    assert!(!file(&old).exists() && file(&new).exists());
    assert_eq!(client.get("/api/v1/gc").await.json()["backlog"]["condemned"], 1);
}
