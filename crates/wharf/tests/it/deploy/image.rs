//! The container image: the same twice, pushed into a Wharf, started from what comes back.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::file;
use crate::clients::layout_digest;
use crate::harness::{Tool, Wharf, binary, tools};

/// Kills the process with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn make(out: &Path) -> String {
    Tool::new("env").arg(file("scripts/image")).arg(binary()).arg(out).ok().await
}

fn blob(layout: &Path, descriptor: &Value) -> std::path::PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// What a runtime would make of the image, as far as files go.
async fn unpack(layout: &Path, into: &Path) {
    std::fs::create_dir(into).unwrap();
    let manifest = json(&blob(layout, &json(&layout.join("index.json"))["manifests"][0]));
    for layer in manifest["layers"].as_array().unwrap() {
        let archive = blob(layout, layer);
        Tool::new("tar")
            .args("--extract --gzip --preserve-permissions --numeric-owner --file")
            .arg(archive)
            .inside(into)
            .ok()
            .await;
    }
}

#[tokio::test]
async fn the_same_binary_makes_the_same_image() {
    let place = TempDir::new().unwrap();
    let (one, two) = (place.path().join("one"), place.path().join("two.tar"));
    let digest = make(&one).await;
    assert_eq!(make(&two).await, digest);
    assert_eq!(layout_digest(&one), digest);
    std::fs::create_dir(place.path().join("unpacked")).unwrap();
    Tool::new("tar").args("--extract --file").arg(&two).inside(&place.path().join("unpacked")).ok().await;
    Tool::new("diff").args("--recursive one unpacked").inside(place.path()).ok().await;

    let said = Tool::new("env").arg(file("scripts/image")).arg(binary()).arg(&one).fails().await;
    assert!(said.contains("is there already"), "{said}");
}

#[tokio::test]
async fn an_image_goes_through_a_registry_and_is_one() {
    let place = TempDir::new().unwrap();
    let digest = make(&place.path().join("made")).await;
    let server = Wharf::start();
    let at = format!("{}/images/wharf", server.address());
    let run = |name: &str, words: &str| Tool::new(name).args(words).inside(place.path());
    run("crane", &format!("push made {at}:crane")).ok().await;
    run("crane", &format!("validate --remote {at}:crane")).ok().await;
    run("skopeo", &format!("copy --insecure-policy --dest-tls-verify=false oci:made docker://{at}:skopeo")).ok().await;
    assert_eq!(run("crane", &format!("digest {at}:skopeo")).ok().await, digest);
    run("skopeo", &format!("copy --insecure-policy --src-tls-verify=false docker://{at}:crane oci:pulled")).ok().await;
    assert_eq!(layout_digest(&place.path().join("pulled")), digest);

    // A runtime that needs no engine has it run as the user that the image names.
    let store = |words: &str| {
        run("buildah", "--storage-driver vfs")
            .arg("--root")
            .arg(place.path().join("root"))
            .arg("--runroot")
            .arg(place.path().join("run"))
            .args(words)
    };
    store("from --pull-never --name wharf oci:pulled").ok().await;
    let said = store("run --isolation chroot wharf /usr/bin/wharf config show").ok().await;
    assert!(said.contains("data = \"/data\" # from WHARF_DATA"), "{said}");

    // Without shell and without root, as in a container, it serves.
    let tree = place.path().join("tree");
    unpack(&place.path().join("pulled"), &tree).await;
    let mut command = Command::new(tools::find("chroot"));
    command.arg("--userspec=10001:10001").arg(&tree).args(["/usr/bin/wharf", "serve", "--open"]);
    command.args(["--listen", "127.0.0.1:0", "--data", "/data"]).stdout(Stdio::piped()).env_clear();
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let _running = Running(child);
    let ready = said.next().expect("it says that it is ready").unwrap();
    let address = ready.strip_prefix("Wharf is ready on http://").and_then(|rest| rest.split(',').next()).unwrap();
    run("crane", &format!("push made {address}/itself:1")).ok().await;
    run("crane", &format!("validate --remote {address}/itself:1")).ok().await;
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(tree.join("data/wharf.db")).unwrap());
    assert_eq!(owner, 10001);
}
