//! A disk that does not keep what it took.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::harness::{Builder, Image, OCI_MANIFEST, Request, Wharf, content};
use crate::only_in_the_embedded_run;

/// A switch that makes a failpoint of the server fail.
pub struct Switch {
    directory: TempDir,
    name: &'static str,
}

impl Switch {
    pub fn of(name: &'static str) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), name }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("broken")
    }

    /// A server that has the switch.
    pub fn wired_to(&self, server: Builder) -> Builder {
        server.env("WHARF_FAILPOINT", format!("{}=fail:{}", self.name, self.file().display()))
    }

    pub fn on(&self) {
        std::fs::write(self.file(), "").unwrap();
    }

    pub fn off(&self) {
        std::fs::remove_file(self.file()).unwrap();
    }
}

#[tokio::test]
async fn r002_a_commit_that_cannot_be_synced_ends_the_process_and_a_start_recovers() {
    only_in_the_embedded_run!("fails the sync of the embedded database's log");
    let broken = Switch::of("meta.commit");
    let mut server = broken.wired_to(Wharf::builder()).start();
    let mut client = server.client();
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "t/a", "v1").await;
    // More than the sockets hold, so that the read is still under way when the disk breaks.
    let large = content(2, 48 << 20);
    let large_digest = client.put_blob("t/a", large.clone()).await;
    let mut reader = client.connect().await.unwrap();
    let pull = Request::new("GET", format!("/v2/t/a/blobs/{large_digest}"));
    reader.send(pull.head(&client.host()).as_bytes()).await.unwrap();
    reader.final_head().await.unwrap().expect(200);

    broken.on();
    let push = Request::new("PUT", "/v2/t/a/manifests/v2").header("Content-Type", OCI_MANIFEST);
    let refused = client.send(push.body(image.manifest.clone())).await.expect(503);
    assert_eq!(refused.code(), "UNAVAILABLE");
    assert_eq!(reader.exactly(large.len()).await.unwrap(), large, "the read that was under way");
    let ended = server.ended();
    let said = &ended.log;
    assert_eq!(ended.status.code(), Some(5), "{said}");
    assert!(said.contains("error: the disk did not keep a change of the metadata database"), "{said}");
    assert!(said.contains("hint: look at the disk"), "{said}");

    broken.off();
    server.restart();
    let mut client = server.client();
    assert_eq!(client.get("/v2/t/a/manifests/v1").await.expect(200).body, image.manifest);
    assert_eq!(client.get(&format!("/v2/t/a/blobs/{large_digest}")).await.expect(200).body, large);
    client.get("/v2/t/a/manifests/v2").await.expect(404);
    image.push(&mut client, "t/a", "v2").await;
    server.stop();
}
