use super::Bench;
use crate::harness::Tool;

#[tokio::test]
async fn build_push_forget_pull_and_look_inside() {
    let bench = Bench::new();
    let (root, state) = (bench.path("root"), bench.path("state"));
    let buildah = |args: &str| {
        let tool = Tool::new("buildah").args("--storage-driver vfs --root").arg(&root).arg("--runroot").arg(&state);
        tool.args(args).inside(bench.directory())
    };
    let image = bench.at("buildah/built:v1");
    std::fs::write(bench.path("greeting.txt"), "ahoy").unwrap();

    let container = buildah("from scratch").ok().await;
    buildah(&format!("copy {container} greeting.txt /greeting.txt")).ok().await;
    buildah(&format!("commit {container} built")).ok().await;
    buildah(&format!("push --tls-verify=false --digestfile digest built docker://{image}")).ok().await;
    let pushed = std::fs::read_to_string(bench.path("digest")).unwrap();
    assert_eq!(bench.digest("buildah/built", "v1").await, Some(pushed.clone()));

    buildah("rm --all").ok().await;
    buildah("rmi --all --force").ok().await;
    let container = buildah(&format!("from --tls-verify=false docker://{image}")).ok().await;
    let container = container.lines().last().expect("a container").to_owned();
    let mounted = buildah(&format!("mount {container}")).ok().await;
    assert_eq!(std::fs::read_to_string(format!("{mounted}/greeting.txt")).unwrap(), "ahoy");
    let digests = buildah("images --digests --noheading").ok().await;
    assert!(digests.contains(&pushed), "{digests}");
    buildah("rm --all").ok().await;
}
