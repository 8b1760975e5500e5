//! The pages, with a browser: Debian's Chromium, driven by the scripts in `tests/browser`, against a registry whose images a
//! client has pushed.
//!
//! `WHARF_UPDATE_PICTURES=1` puts the pictures that are taken on the way into `docs/images`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    ADMIN_PASSWORD, Admin, Client, Image, OCI_MANIFEST, Tool, Wharf, basic, content, layer, sha256, tools,
};
use crate::sign_in_with::SignOn;

const PASSWORD: &str = "canary-browser-password";

/// Markup and worse, as strangers write it wherever there is room (B-068).
const STRANGE: &str =
    "<script>stranger=1</script>\"><img src=x onerror=stranger=1>'-alert(1)-'{{7*7}}\u{202e}\u{1b}[31m";

/// A registry with images in it, and somebody who may see most of them.
struct World {
    server: Wharf,
    directory: TempDir,
    digest: String,
    markup: String,
}

impl World {
    async fn new() -> Self {
        let server = Wharf::builder().accounts().start();
        let directory = tempfile::tempdir().unwrap();
        let mut admin = Admin::of(&server);
        admin.human("alice", PASSWORD).await;
        admin.deny("alice", &["secret/**"]).await;
        admin.robot("ci", &["repository:team/**:pull"]).await;
        let mut alice = server.client().authorized(basic("alice", PASSWORD));
        let mut root = server.client().authorized(basic("admin", ADMIN_PASSWORD));

        let digest = push_with_crane(&server, directory.path()).await;
        attach(&mut alice).await;
        for number in 0..55 {
            Image::small(9, "amd64", 100).push(&mut alice, &format!("library/image-{number:02}"), "latest").await;
        }
        let web = Image::small(21, "arm64", 30_000);
        web.push(&mut alice, "team/web", "v1").await;
        Image::small(22, "amd64", 10).push(&mut root, "secret/app", "v1").await;
        push_chart(&mut alice).await;
        let markup = push_strange(&mut alice).await;
        let old = Image::small(23, "amd64", 2_000).push(&mut alice, "team/app", "old").await;
        alice.delete(&format!("/v2/team/app/manifests/{old}")).await.expect(202);
        have_a_past(&server);
        Self { server, directory, digest, markup }
    }

    async fn run(&self, script: &str) {
        let also = [("WHARF_DIGEST", self.digest.as_str()), ("WHARF_MARKUP", self.markup.as_str())];
        run(script, &self.server, self.directory.path(), &also).await;
    }
}

/// Runs a script of `tests/browser`, which says itself what is wrong.
async fn run(script: &str, server: &Wharf, directory: &Path, also: &[(&str, &str)]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pictures = match std::env::var_os("WHARF_UPDATE_PICTURES") {
        Some(_) => root.join("docs/images"),
        None => directory.join("pictures"),
    };
    let tool = Tool::new("node")
        .arg(root.join("tests/browser").join(script))
        .env("WHARF_URL", format!("http://{}", server.address()))
        .env("WHARF_ADMIN_PASSWORD", ADMIN_PASSWORD)
        .env("WHARF_PERSON_PASSWORD", PASSWORD)
        .env("WHARF_PICTURES", pictures)
        .env("WHARF_BROWSER_TOOLS", browser_tools())
        .env("CHROMIUM", tools::find("chromium"));
    let said = also.iter().fold(tool, |tool, (name, value)| tool.env(name, value)).ok().await;
    println!("{said}");
}

/// Where `scripts/install-test-tools` has put the packages of the scripts.
fn browser_tools() -> PathBuf {
    let tools = std::env::var_os("WHARF_TEST_TOOLS").map(PathBuf::from);
    let tools = tools.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/bin"));
    let packages = tools.join("../browser");
    assert!(
        packages.join("node_modules").is_dir(),
        "{} is not there; run scripts/install-test-tools",
        packages.display()
    );
    packages
}

/// What was stored on the days before, and what the largest repositories are.
fn have_a_past(server: &Wharf) {
    server.wait_for_log("there are 0 blobs in 0 repositories");
    let mut rows = Vec::new();
    for ago in 1..90_u64 {
        let bytes = (100 - ago) * 15_000 + (ago % 7) * 9_000;
        let unshared = bytes + bytes * (90 - ago) / 120;
        rows.push(format!(
            "(select max(day) from storage_samples) - {ago}, (select max(sampled_at_us) from storage_samples) - {ago} * 86400000000,
             {}, {}, {bytes}, {unshared}, {}",
            60 - ago / 3,
            900 - ago * 8,
            ago * 400
        ));
    }
    let columns = "day, sampled_at_us, repositories, blobs, bytes, unshared_bytes, condemned_bytes";
    let rows = rows.join(" union all select ");
    let largest = "insert into largest_repositories (rank, repository, blobs, bytes) values
                       (1, 'team/app', 12, 1150000), (2, 'team/web', 3, 310000), (3, 'library/image-00', 3, 1200)";
    let today = "update storage_samples set repositories = 60, blobs = 180, bytes = 1590000, unshared_bytes = 2800000
                  where day = (select max(day) from storage_samples)";
    let pulled =
        "update manifests set last_pulled_at_us = (select max(sampled_at_us) from storage_samples) - 7200000000
                   where id in (select manifest_id from tags where name in ('1.1', 'latest'))";
    server.tamper(&format!("insert into storage_samples ({columns}) select {rows}; {largest}; {today}; {pulled}"));
}

/// An image of a base that several share and of one layer of its own, as a builder would make it.
fn built(version: &str, architecture: &str, seed: u64) -> Image {
    let base = layer("base", &content(1, 400_000));
    let own = layer("app", &content(seed, 150_000));
    let image = Image::of(vec![base, own], architecture);
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config["created"] = json!("2027-01-31T12:00:00Z");
    config["config"] = json!({
        "User": "app", "WorkingDir": "/srv", "Entrypoint": ["/bin/app"], "Cmd": ["serve", "--port", "8080"],
        "Env": [format!("VERSION={version}"), "PATH=/usr/local/bin:/usr/bin:/bin"],
        "ExposedPorts": { "8080/tcp": {} },
        "Labels": {
            "org.opencontainers.image.source": "https://example.org/team/app",
            "org.opencontainers.image.version": version,
        },
    });
    config["history"] = json!([
        { "created_by": "FROM scratch", "empty_layer": true },
        { "created_by": "/bin/sh -c #(nop) ADD file:4fd1c9e1a0b25d5b6a1f in / " },
        { "created_by": "/bin/sh -c #(nop)  ENV PATH=/usr/local/bin:/usr/bin:/bin", "empty_layer": true },
        { "created_by": "RUN /bin/sh -c make install # buildkit" },
        { "created_by": "CMD [\"/bin/app\"]", "empty_layer": true },
    ]);
    with_config(image, &config, json!({ "org.opencontainers.image.title": format!("app {version}") }))
}

/// The same layers under another config.
fn with_config(image: Image, config: &Value, annotations: Value) -> Image {
    let bytes = config.to_string().into_bytes();
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["config"]["digest"] = json!(sha256(&bytes));
    manifest["config"]["size"] = json!(bytes.len());
    manifest["annotations"] = annotations;
    image.with_config(bytes).with_manifest(manifest.to_string().into_bytes())
}

/// `team/app`: two versions, a tag that was moved, and one image for two platforms. The digest of 1.0.
async fn push_with_crane(server: &Wharf, directory: &Path) -> String {
    let home = directory.join("crane");
    let crane = |args: String| Tool::new("crane").args(&args).env("DOCKER_CONFIG", &home).inside(directory);
    let registry = server.address();
    crane(format!("auth login {registry} -u alice -p {PASSWORD}")).ok().await;
    let (one, two) = (built("1.0", "amd64", 2), built("1.1", "amd64", 3));
    one.write_layout(&directory.join("one"));
    two.write_layout(&directory.join("two"));
    Image::write_multi_platform_layout(&[two.clone(), built("1.1", "arm64", 4)], &directory.join("both"));
    let at = format!("{registry}/team/app");
    crane(format!("push one {at}:1.0")).ok().await;
    crane(format!("push two {at}:1.1")).ok().await;
    crane(format!("push both {at}:latest")).ok().await;
    crane(format!("tag {at}:1.0 moving")).ok().await;
    crane(format!("push two {at}:moving")).ok().await;
    one.digest()
}

/// An SBOM of both versions, and a signature of 1.1.
async fn attach(client: &mut Client) {
    let (one, two) = (built("1.0", "amd64", 2), built("1.1", "amd64", 3));
    let spdx = |version: &str| {
        json!({
            "spdxVersion": "SPDX-2.3",
            "packages": [
                { "name": "libwharf", "versionInfo": version }, { "name": "zlib", "versionInfo": "1.3.1" },
                { "name": STRANGE, "versionInfo": STRANGE },
            ],
        })
        .to_string()
    };
    attach_one(client, &one, "application/spdx+json", "what is in it", spdx("1.0")).await;
    attach_one(client, &two, "application/spdx+json", "what is in it", spdx("1.1")).await;
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    attach_one(client, &two, bundle, "https://sigstore.dev/cosign/sign/v1", "{}".to_owned()).await;
}

async fn attach_one(client: &mut Client, subject: &Image, artifact_type: &str, about: &str, document: String) {
    let empty = client.put_blob("team/app", &b"{}"[..]).await;
    let size_bytes = document.len();
    let document = client.put_blob("team/app", document).await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": artifact_type,
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
        "layers": [{ "mediaType": artifact_type, "digest": document, "size": size_bytes }],
        "subject": { "mediaType": OCI_MANIFEST, "digest": subject.digest(), "size": subject.manifest.len() },
        "annotations": { "org.opencontainers.image.title": about },
    });
    let manifest = manifest.to_string();
    client.put_manifest("team/app", &sha256(manifest.as_bytes()), OCI_MANIFEST, manifest).await;
}

async fn push_chart(client: &mut Client) {
    let config = br#"{"name":"demo","version":"1.0.0"}"#;
    let digest = client.put_blob("charts/demo", &config[..]).await;
    let archive = client.put_blob("charts/demo", &b"a chart"[..]).await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": { "mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": digest, "size": config.len() },
        "layers": [{
            "mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": archive, "size": 7,
        }],
    });
    client.put_manifest("charts/demo", "1.0.0", OCI_MANIFEST, manifest.to_string()).await;
}

/// `team/evil`: markup in every field that there is. The digest of a blob that is a page.
async fn push_strange(client: &mut Client) -> String {
    for (tag, seed) in [("v1", 31), ("v2", 32)] {
        let image = Image::small(seed, "amd64", 1_000);
        let mut config: Value = serde_json::from_slice(&image.config).unwrap();
        config["author"] = json!(STRANGE);
        config["os"] = json!(STRANGE);
        config["config"] = json!({
            "User": STRANGE, "Env": [format!("{STRANGE}={STRANGE}{tag}")], "Cmd": [STRANGE],
            "Labels": {
                STRANGE: format!("{STRANGE}{tag}"), "link": "javascript:stranger=1", "data": "data:text/html,x",
                "good": "https://example.org/x",
            },
        });
        config["history"] = json!([{ "created_by": STRANGE }]);
        let annotations = json!({
            "org.opencontainers.image.title": STRANGE, "org.opencontainers.image.url": "javascript:stranger=1",
            STRANGE.replace('\u{1b}', ""): format!("{STRANGE}{tag}"),
        });
        with_config(image, &config, annotations).push(client, "team/evil", tag).await;
    }
    client.put_blob("team/evil", &b"<!doctype html><script>stranger=1</script>"[..]).await
}

#[tokio::test]
async fn people_use_the_pages() {
    World::new().await.run("pages.mjs").await;
}

#[tokio::test]
async fn somebody_looks_after_the_registry() {
    World::new().await.run("admin.mjs").await;
}

#[tokio::test]
async fn other_sites_get_nothing_from_a_browser_that_is_signed_in() {
    World::new().await.run("strangers.mjs").await;
}

#[tokio::test]
async fn s065_a_person_signs_in_with_another_provider_in_a_browser() {
    let world = SignOn::new().await;
    run("sign-on.mjs", &world.server, world.directory.path(), &[("WHARF_PROVIDER", &world.provider.url())]).await;
    assert_eq!(world.provider.exchanges(), 2);
}
