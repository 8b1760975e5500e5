use super::{Bench, layout_digest};
use crate::harness::{Tool, sha256};

#[tokio::test]
async fn copy_in_inspect_copy_out_delete() {
    let bench = Bench::new();
    let skopeo = |args: &str| Tool::new("skopeo").arg("--insecure-policy").args(args).inside(bench.directory());
    let copy = "copy --all --preserve-digests --src-tls-verify=false --dest-tls-verify=false";
    let docker = |place: &str| format!("docker://{}", bench.at(place));
    let (single, multi, again) = (docker("skopeo/single:v1"), docker("skopeo/multi:v1"), docker("skopeo/again:v1"));

    skopeo(&format!("{copy} oci:single:latest {single}")).ok().await;
    skopeo(&format!("{copy} oci:multi:latest {multi}")).ok().await;
    assert_eq!(bench.digest("skopeo/single", "v1").await.as_ref(), Some(&bench.single_digest));
    let raw = skopeo(&format!("inspect --tls-verify=false --raw {multi}")).run().await;
    assert_eq!(sha256(raw.stdout.as_bytes()), bench.multi_digest, "{}", raw.stderr);
    let tags = skopeo(&format!("list-tags --tls-verify=false {}", docker("skopeo/multi"))).ok().await;
    let tags: serde_json::Value = serde_json::from_str(&tags).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["v1"]));

    // Out to a plain directory and to a layout, each verified by skopeo blob for blob; then across repositories.
    skopeo(&format!("{copy} {multi} dir:plain")).ok().await;
    assert_eq!(sha256(&std::fs::read(bench.path("plain/manifest.json")).unwrap()), bench.multi_digest);
    skopeo(&format!("{copy} {single} oci:layout:latest")).ok().await;
    assert_eq!(layout_digest(&bench.path("layout")), bench.single_digest);
    skopeo(&format!("{copy} {multi} {again}")).ok().await;
    assert_eq!(bench.digest("skopeo/again", "v1").await.as_ref(), Some(&bench.multi_digest));

    skopeo(&format!("delete --tls-verify=false {again}")).ok().await;
    assert_eq!(bench.digest("skopeo/again", "v1").await, None);
    assert_eq!(bench.digest("skopeo/multi", "v1").await.as_ref(), Some(&bench.multi_digest));
}

/// As docker's own push does it: another manifest format and recompressed layers.
#[tokio::test]
async fn a_docker_schema_2_image() {
    let bench = Bench::new();
    let skopeo = |args: &str| Tool::new("skopeo").arg("--insecure-policy").args(args).inside(bench.directory());
    let place = format!("docker://{}", bench.at("skopeo/docker:v1"));
    let copy = "copy --src-tls-verify=false --dest-tls-verify=false";
    skopeo(&format!("{copy} --format v2s2 oci:single:latest {place}")).ok().await;
    let reply = bench.server.client().get("/v2/skopeo/docker/manifests/v1").await.expect(200);
    assert_eq!(reply.header("content-type"), Some("application/vnd.docker.distribution.manifest.v2+json"));
    skopeo(&format!("{copy} {place} dir:plain")).ok().await;
    assert!(std::fs::read(bench.path("plain/manifest.json")).unwrap() == reply.body);
}
