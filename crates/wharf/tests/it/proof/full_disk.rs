//! FT-05: the disk is full to the last byte, and has room again, without a restart.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;

use super::actor::{Actor, Cut, Fuse, Style};
use super::ledger::After;
use super::{GRACE, eager, settle, verify};
use crate::harness::{Disk, DiskKind, Request, content, sha256};

#[tokio::test]
async fn ft05_a_full_disk_is_said_and_survived() {
    let disk = Disk::new(DiskKind::Memory);
    let mut server = eager().data_at(&disk.path().join("data")).start();
    let mut actors = [Actor::new(5, 0, 1, &server.client(), GRACE)];
    let actor = &mut actors[0];
    actor.meet(&server.client(), &Fuse::endless());
    let image = std::sync::Arc::new(crate::harness::Image::small(1, "amd64", 50_000));
    actor.push_image(&image, Some("kept")).await.expect("a push while there is room");

    let filler = disk.path().join("filler");
    fill(&filler);
    // Announced, so that it is refused before it travels; the database may have found room in its log, or none.
    let blob = content(2, 200_000);
    let uploads = format!("/v2/{}/blobs/uploads/?digest={}", actor.ledger().repository(), sha256(&blob));
    actor.ledger().blob_attempted(&Bytes::from(blob.clone()));
    let reply = server.client().send(Request::new("POST", uploads).body(blob.clone())).await;
    assert!([503, 507].contains(&reply.status), "{reply}");
    assert!(!reply.code().is_empty(), "{reply}");
    actor.bear_failures(true);
    for seed in 10..30 {
        let pushed = actor.push_blob(&content(seed, 20_000).into(), Style::Monolithic).await;
        assert_eq!(pushed, Err(Cut::Failed), "there is no room for it");
    }
    actor.pull_image(&image).await.expect("reads go on");

    std::fs::remove_file(&filler).expect("making room");
    actor.bear_failures(false);
    actor.push_blob(&blob.into(), Style::Chunked).await.expect("a push after there is room again");
    actor.delete_manifest(&image.digest()).await.expect("a deletion after there is room again");
    actor.collect().await.expect("a server that runs");
    verify(&server, &mut actors, After::Fault).await;
    settle(&mut server, &mut actors).await;
    server.stop();
}

/// Writes until there is not a byte left.
fn fill(path: &Path) {
    let mut filler = File::create(path).expect("a file that fills the disk");
    for piece in [vec![0; 1 << 20], vec![0; 4096], vec![0; 1]] {
        while filler.write_all(&piece).is_ok() {}
    }
}
