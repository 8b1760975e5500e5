use super::Bench;
use crate::harness::Tool;

#[tokio::test]
async fn package_push_show_pull() {
    let bench = Bench::new();
    let helm = |args: &str| Tool::new("helm").args(args).inside(bench.directory());
    let charts = format!("oci://{}", bench.at("helm/charts"));
    std::fs::create_dir_all(bench.path("sail/templates")).unwrap();
    // The plus sign cannot stand in a tag; helm writes it as an underscore.
    std::fs::write(bench.path("sail/Chart.yaml"), "apiVersion: v2\nname: sail\nversion: 1.2.3+build\n").unwrap();
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: sail\n";
    std::fs::write(bench.path("sail/templates/map.yaml"), template).unwrap();

    helm("package sail").ok().await;
    helm(&format!("push sail-1.2.3+build.tgz {charts} --plain-http")).ok().await;
    assert_eq!(bench.tags("helm/charts/sail").await, ["1.2.3_build"]);

    let shown = helm(&format!("show chart {charts}/sail --version 1.2.3+build --plain-http")).ok().await;
    assert!(shown.contains("name: sail"), "{shown}");
    // Without a version helm lists the tags and takes the newest.
    std::fs::create_dir_all(bench.path("pulled")).unwrap();
    helm(&format!("pull {charts}/sail --plain-http --destination pulled")).ok().await;
    let (pushed, pulled) = (bench.path("sail-1.2.3+build.tgz"), bench.path("pulled/sail-1.2.3+build.tgz"));
    assert!(std::fs::read(pushed).unwrap() == std::fs::read(pulled).unwrap(), "the chart came back as it went");
}
