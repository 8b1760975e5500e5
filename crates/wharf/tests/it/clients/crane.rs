use super::{Bench, layout_digest};
use crate::harness::Tool;

#[tokio::test]
async fn push_validate_copy_tag_list_pull_delete() {
    let bench = Bench::new();
    let crane = |args: &str| Tool::new("crane").args(args).inside(bench.directory());
    let (single, multi, copy) = (bench.at("crane/single"), bench.at("crane/multi"), bench.at("crane/copy"));

    crane(&format!("push single {single}:v1")).ok().await;
    crane(&format!("push multi {multi}:v1")).ok().await;
    assert_eq!(crane(&format!("digest {single}:v1")).ok().await, bench.single_digest);
    assert_eq!(crane(&format!("digest {multi}:v1")).ok().await, bench.multi_digest);
    // Pulls every layer and compares it with the digests of its compressed and its plain bytes.
    crane(&format!("validate --remote {single}:v1")).ok().await;
    crane(&format!("validate --remote {multi}:v1")).ok().await;

    crane(&format!("copy {multi}:v1 {copy}:v1")).ok().await;
    crane(&format!("tag {copy}:v1 v2")).ok().await;
    assert_eq!(crane(&format!("ls {copy}")).ok().await, "v1\nv2");
    assert_eq!(bench.digest("crane/copy", "v2").await.as_ref(), Some(&bench.multi_digest));
    let catalog = crane(&format!("catalog {}", bench.server.address())).ok().await;
    assert_eq!(catalog, "crane/copy\ncrane/multi\ncrane/single");

    crane(&format!("pull --format=oci {multi}:v1 pulled")).ok().await;
    assert_eq!(layout_digest(&bench.path("pulled")), bench.multi_digest);

    crane(&format!("delete {copy}@{}", bench.multi_digest)).ok().await;
    assert_eq!(crane(&format!("ls {copy}")).ok().await, "");
    crane(&format!("digest {copy}:v1")).fails().await;
    // F-01: a tag alone is not deleted.
    assert!(crane(&format!("delete {multi}:v1")).fails().await.contains("UNSUPPORTED"));
    crane(&format!("validate --remote {multi}:v1")).ok().await;
}
