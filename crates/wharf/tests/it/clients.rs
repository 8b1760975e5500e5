//! The clients that people use, against a running registry; what arrives is verified on the client's side.
//!
//! All content is made here, so nothing is fetched from anywhere else.

mod buildah;
mod crane;
mod helm;
mod oras;
mod skopeo;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::{Image, Wharf};

/// A registry, an image and a multi-platform image on disk, and room for what comes back.
struct Bench {
    server: Wharf,
    directory: TempDir,
    single_digest: String,
    multi_digest: String,
}

impl Bench {
    #[track_caller]
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a working directory");
        let single = Image::small(1, "amd64", 200_000);
        single.write_layout(&directory.path().join("single"));
        let platforms = [Image::small(2, "amd64", 100_000), Image::small(3, "arm64", 100_000)];
        let multi_digest = Image::write_multi_platform_layout(&platforms, &directory.path().join("multi"));
        Self { server: Wharf::start(), single_digest: single.digest(), multi_digest, directory }
    }

    /// `name` in the working directory.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The working directory.
    fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// `place` as a reference into the registry.
    fn at(&self, place: &str) -> String {
        format!("{}/{place}", self.server.address())
    }

    /// The digest that a tag names, asked for without any client; `None` if there is none.
    async fn digest(&self, repository: &str, reference: &str) -> Option<String> {
        let reply = self.server.client().head(&format!("/v2/{repository}/manifests/{reference}")).await;
        (reply.status == 200).then(|| reply.header("docker-content-digest").expect("a digest").to_owned())
    }

    /// The tags of a repository, asked for without any client.
    async fn tags(&self, repository: &str) -> Vec<String> {
        let reply = self.server.client().get(&format!("/v2/{repository}/tags/list")).await.expect(200);
        serde_json::from_value(reply.json()["tags"].clone()).expect("a list of tags")
    }
}

/// The digest of the one manifest in the image layout at `directory`.
pub fn layout_digest(directory: &Path) -> String {
    let text = std::fs::read_to_string(directory.join("index.json")).expect("an image layout");
    let index: serde_json::Value = serde_json::from_str(&text).expect("an index");
    index["manifests"][0]["digest"].as_str().expect("a digest").to_owned()
}
