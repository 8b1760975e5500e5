use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use serde_json::Value;

use super::Bench;
use crate::harness::{Stripes, Tool};

#[tokio::test]
async fn push_attach_discover_copy_pull_delete() {
    let bench = Bench::new();
    let oras = |args: &str| Tool::new("oras").args(args).inside(bench.directory());
    let (artifact, multi, copy) = (bench.at("oras/artifact"), bench.at("oras/multi"), bench.at("oras/copy"));
    std::fs::write(bench.path("note.txt"), "a note").unwrap();
    std::fs::write(bench.path("sbom.json"), r#"{"packages":[]}"#).unwrap();

    let kind = "--artifact-type application/vnd.example.note";
    oras(&format!("push --plain-http --no-tty {kind} {artifact}:v1 note.txt:text/plain")).ok().await;
    oras(&format!("pull --plain-http --no-tty -o pulled {artifact}:v1")).ok().await;
    assert_eq!(std::fs::read_to_string(bench.path("pulled/note.txt")).unwrap(), "a note");

    oras(&format!("cp --no-tty --from-oci-layout multi:latest --to-plain-http {multi}:v1")).ok().await;
    assert_eq!(oras(&format!("resolve --plain-http {multi}:v1")).ok().await, bench.multi_digest);

    let kind = "application/vnd.example.sbom";
    let attach = format!("attach --plain-http --no-tty --artifact-type {kind} {multi}:v1 sbom.json:application/json");
    oras(&attach).ok().await;
    let found = referrers(&bench, &format!("{multi}:v1")).await;
    assert_eq!((found.len(), found[0]["artifactType"].as_str()), (1, Some(kind)), "{found:?}");
    // The referrers API was used: there is no fallback tag.
    assert_eq!(bench.tags("oras/multi").await, ["v1"]);

    oras(&format!("cp -r --no-tty --from-plain-http {multi}:v1 --to-plain-http {copy}:v1")).ok().await;
    assert_eq!(bench.digest("oras/copy", "v1").await.as_ref(), Some(&bench.multi_digest));
    let copied = referrers(&bench, &format!("{copy}:v1")).await;
    assert_eq!(copied[0]["digest"], found[0]["digest"]);

    let listed = oras(&format!("repo ls --plain-http {}", bench.server.address())).ok().await;
    assert_eq!(listed, "oras/artifact\noras/copy\noras/multi");
    let referrer = copied[0]["digest"].as_str().unwrap();
    oras(&format!("manifest delete --plain-http --force {copy}@{referrer}")).ok().await;
    assert!(referrers(&bench, &format!("{copy}:v1")).await.is_empty());
    oras(&format!("manifest delete --plain-http --force {copy}@{}", bench.multi_digest)).ok().await;
    assert_eq!(bench.digest("oras/copy", "v1").await, None);
}

/// oras hashes the file before it pushes and what it gets while it pulls; the last look, byte by byte, is ours.
#[tokio::test]
async fn a_layer_of_1_gib_goes_up_and_comes_down() {
    let bench = Bench::new();
    let oras = |args: &str| Tool::new("oras").args(args).inside(bench.directory());
    let layer = Stripes::new(7, 1 << 30);
    write_stripes(&bench.path("layer.bin"), &layer);
    let reference = format!("{}:v1", bench.at("oras/large"));
    oras(&format!("push --plain-http --no-tty {reference} layer.bin")).ok().await;
    let manifest = oras(&format!("manifest fetch --plain-http {reference}")).ok().await;
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["layers"][0]["digest"], layer.digest());
    assert_eq!(manifest["layers"][0]["size"], 1 << 30);
    std::fs::remove_file(bench.path("layer.bin")).unwrap();
    oras(&format!("pull --plain-http --no-tty -o large {reference}")).ok().await;
    let mut pulled = File::open(bench.path("large/layer.bin")).unwrap();
    assert_eq!(pulled.metadata().unwrap().len(), layer.size_bytes());
    let mut found = vec![0; Stripes::STRIPE_BYTES];
    for number in 0..layer.count() {
        pulled.read_exact(&mut found).unwrap();
        assert!(found == layer.stripe(number), "MiB {number} came back as it went up");
    }
}

fn write_stripes(path: &Path, layer: &Stripes) {
    let mut file = File::create(path).unwrap();
    for number in 0..layer.count() {
        file.write_all(&layer.stripe(number)).unwrap();
    }
}

async fn referrers(bench: &Bench, reference: &str) -> Vec<Value> {
    let found = Tool::new("oras").args(&format!("discover --plain-http --format json {reference}")).ok().await;
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["digest"], bench.multi_digest.as_str());
    found["referrers"].as_array().cloned().unwrap_or_default()
}
