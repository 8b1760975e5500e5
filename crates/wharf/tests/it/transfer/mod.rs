//! Moving in and out: `wharf import` from Debian's docker-registry, by its API and by its storage, `wharf import` and
//! `wharf export` of OCI image layouts that other tools read, and being killed in the middle of either.

mod distribution;
mod layouts;
mod registries;
mod unreliable;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::{Client, DebianRegistry, Image, OCI_INDEX, OCI_MANIFEST, Terminal, Wharf, sha256};

/// What the old registry has: an image in two tags, one for two platforms that shares a layer with it, a Docker manifest,
/// a signature as cosign names it, a manifest without a tag, and repositories in which nothing is left.
struct Old {
    registry: DebianRegistry,
    untagged: String,
}

/// Of a repository, tag and digest.
type Tags = BTreeMap<(String, String), String>;

const REPOSITORIES: [&str; 4] = ["base", "deep/er/name", "team/app", "team/multi"];

impl Old {
    async fn populated() -> Self {
        let registry = DebianRegistry::start();
        let mut client = registry.client();
        let app = Image::small(1, "amd64", 300_000);
        app.push(&mut client, "team/app", "1.0").await;
        client.put_manifest("team/app", "latest", OCI_MANIFEST, app.manifest.clone()).await;
        let signature = Image::small(9, "amd64", 500);
        let name = format!("{}.sig", app.digest().replace(':', "-"));
        signature.push(&mut client, "team/app", &name).await;
        let shared = Image::of(vec![crate::harness::layer("shared", b"shared"), tar(2, 200_000)], "amd64");
        let platforms = [shared, Image::of(vec![crate::harness::layer("shared", b"shared"), tar(3, 100_000)], "arm64")];
        for platform in &platforms {
            platform.push(&mut client, "team/multi", &platform.digest()).await;
        }
        client.put_manifest("team/multi", "v1", OCI_INDEX, Image::index(&platforms)).await;
        app.push(&mut client, "base", "3").await;
        push_docker_manifest(&mut client, "deep/er/name", "old").await;
        // Repositories that are listed and have nothing to copy.
        client.put_blob("only/blobs", &b"no manifest"[..]).await;
        let deleted = Image::small(6, "amd64", 1_000);
        deleted.push(&mut client, "was/deleted", "1").await;
        client.delete(&format!("/v2/was/deleted/manifests/{}", deleted.digest())).await.expect(202);
        let untagged = Image::small(5, "amd64", 1_000);
        untagged.push(&mut client, "base", &untagged.digest()).await;
        Self { registry, untagged: untagged.digest() }
    }
}

fn tar(seed: u64, size_bytes: usize) -> Vec<u8> {
    crate::harness::layer("data", &crate::harness::content(seed, size_bytes))
}

async fn push_docker_manifest(client: &mut Client, repository: &str, tag: &str) {
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
    let image = Image::small(4, "amd64", 50_000);
    for blob in image.blobs() {
        client.put_blob(repository, blob.clone()).await;
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": DOCKER,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json", "digest": sha256(&image.config),
            "size": image.config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": sha256(&image.layers[0]),
            "size": image.layers[0].len(),
        }],
    });
    client.put_manifest(repository, tag, DOCKER, manifest.to_string().into_bytes()).await;
}

/// All tags of `repositories` with their digests, asked for without the command line.
async fn tags(address: SocketAddr, repositories: &[&str]) -> Tags {
    let mut client = Client::new(address);
    let mut found = Tags::new();
    for repository in repositories {
        let list = client.get(&format!("/v2/{repository}/tags/list")).await.expect(200).json();
        for tag in list["tags"].as_array().unwrap() {
            let tag = tag.as_str().unwrap();
            let reply = manifest(&mut client, repository, tag).await;
            found.insert(((*repository).to_owned(), tag.to_owned()), sha256(&reply));
        }
    }
    found
}

async fn manifest(client: &mut Client, repository: &str, reference: &str) -> Vec<u8> {
    let kinds = [
        OCI_MANIFEST,
        OCI_INDEX,
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ];
    let request = crate::harness::Request::new("GET", format!("/v2/{repository}/manifests/{reference}"));
    client.send(request.header("Accept", kinds.join(", "))).await.expect(200).body.to_vec()
}

/// Nothing of the repository is tagged, though parts of it may have been copied.
async fn assert_untagged(address: SocketAddr, repository: &str) {
    let list = Client::new(address).get(&format!("/v2/{repository}/tags/list")).await;
    assert!(list.status == 404 || list.json()["tags"] == json!([]), "{list}");
}

/// Everything below what `tags` say is there, with equal digests: fetches and hashes all of it.
async fn assert_complete(address: SocketAddr, tags: &Tags) {
    let mut client = Client::new(address);
    for ((repository, tag), digest) in tags {
        let mut waiting = vec![digest.clone()];
        while let Some(digest) = waiting.pop() {
            let body = manifest(&mut client, repository, &digest).await;
            assert_eq!(sha256(&body), digest, "{repository}:{tag}");
            let body: Value = serde_json::from_slice(&body).unwrap();
            let named = |member: &str| {
                let items = body[member].as_array().cloned().unwrap_or_default();
                items.into_iter().map(|item| item["digest"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
            };
            waiting.extend(named("manifests"));
            let config = body["config"]["digest"].as_str().map(str::to_owned);
            for blob in named("layers").into_iter().chain(config) {
                let content = client.get(&format!("/v2/{repository}/blobs/{blob}")).await.expect(200).body;
                assert_eq!(sha256(&content), blob, "{repository}:{tag}");
            }
        }
    }
}

fn open_terminal() -> Terminal {
    Terminal::at(Wharf::start())
}

/// Runs an import or export, which must copy everything, and gives its report.
#[track_caller]
fn copied(terminal: &Terminal, args: &str) -> Value {
    let said = terminal.ok(&format!("{args} --server {} --json", terminal.url()), "");
    serde_json::from_str(&said).unwrap()
}

/// Runs an import that cannot copy everything; its report, and what it says to people.
#[track_caller]
fn partly_copied(terminal: &Terminal, args: &str) -> (Value, String) {
    let ran = terminal.run(&format!("{args} --server {} --json", terminal.url()), "");
    assert_eq!(ran.exit, 8, "wharf {args}\n{}\n{}", ran.out, ran.err);
    (serde_json::from_str(&ran.out).unwrap(), ran.err)
}
