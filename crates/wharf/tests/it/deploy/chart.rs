//! The Helm chart: linted, and what it makes of the examples stands beside it.

use super::{compare, file, wharf};
use crate::harness::Tool;

fn helm(words: &str) -> Tool {
    Tool::new("helm").args(words).inside(&file("deploy/helm"))
}

#[tokio::test]
async fn the_chart_makes_what_stands_beside_its_examples() {
    let version = format!("\nappVersion: {}\n", env!("CARGO_PKG_VERSION"));
    assert!(super::read("deploy/helm/wharf/Chart.yaml").contains(&version), "the chart is for another version");
    for example in ["single", "replicas"] {
        helm(&format!("lint --strict wharf --values values/{example}.yaml")).ok().await;
        let made = helm(&format!("template registry wharf --kube-version 1.31.0 --values values/{example}.yaml")).ok();
        compare(&format!("deploy/helm/values/{example}.expected.yaml"), &(made.await + "\n"));
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_reason() {
    for (values, reason) in [
        ("", "/image/repository"),
        ("image.repository=x,replicas=2", "more than one needs postgres.urlSecret.name and s3.url"),
        ("image.repository=x,replicas=2,s3.url=s3://b", "more than one needs postgres.urlSecret.name and s3.url"),
        ("image.repository=x,replica=2", "additional properties 'replica' not allowed"),
        ("image.repository=x,ingress.enabled=true", "/ingress/host"),
    ] {
        let said = helm("template registry wharf --kube-version 1.31.0 --set").arg(values).fails().await;
        assert!(said.contains(reason), "{values}: {said}");
    }
}

/// The configuration of the chart is one that Wharf takes: what it names are keys that there are.
#[tokio::test]
async fn the_environment_of_the_chart_is_valid() {
    for example in ["single", "replicas"] {
        let text = super::read(&format!("deploy/helm/values/{example}.expected.yaml"));
        let documents: Vec<serde_json::Value> = serde_yaml_ng::Deserializer::from_str(&text)
            .map(|document| serde::Deserialize::deserialize(document).unwrap())
            .collect();
        let node = documents.iter().find(|one| one["spec"]["template"].is_object()).unwrap();
        let pod = &node["spec"]["template"]["spec"];
        // A service named `wharf` puts more into it otherwise (WHARF_PORT).
        assert_eq!(pod["enableServiceLinks"], false);
        let variables: Vec<(&str, &str)> = pod["containers"][0]["env"]
            .as_array()
            .unwrap()
            .iter()
            .map(|variable| {
                let name = variable["name"].as_str().unwrap();
                let secret = if name == "WHARF_METADATA__URL" { "postgres://wharf:secret@db/wharf" } else { "secret" };
                (name, variable["value"].as_str().unwrap_or(secret))
            })
            .collect();
        let said = wharf(&variables).args("config check").ok().await;
        // The first password is none of the configuration's.
        for (name, _) in variables.iter().filter(|(name, _)| *name != "WHARF_ADMIN_PASSWORD") {
            assert!(said.contains(name), "{name} is not read: {said}");
        }
        let toml = documents.iter().find_map(|one| one["data"]["wharf.toml"].as_str()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("wharf.toml"), toml).unwrap();
        wharf(&[]).args("config check --config wharf.toml").inside(directory.path()).ok().await;
    }
}
