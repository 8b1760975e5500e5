//! OCI image layouts: out, read by others, and in again.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{assert_complete, copied, manifest, open_terminal, partly_copied, tags};
use crate::harness::{Gate, Image, OCI_INDEX, OCI_MANIFEST, Terminal, Tool, sha256};

/// Two repositories: an image for two platforms with an SBOM of one of them, and an image with an SBOM.
async fn populated() -> Terminal {
    let terminal = open_terminal();
    let mut client = terminal.server.client();
    let platforms = [Image::small(1, "amd64", 200_000), Image::small(2, "arm64", 100_000)];
    for platform in &platforms {
        platform.push(&mut client, "team/multi", &platform.digest()).await;
    }
    client.put_manifest("team/multi", "v1", OCI_INDEX, Image::index(&platforms)).await;
    client.put_blob("team/multi", &b"{}"[..]).await;
    let sbom_of_platform = sbom(&platforms[0]);
    client.put_manifest("team/multi", &sha256(&sbom_of_platform), OCI_MANIFEST, sbom_of_platform).await;
    let app = Image::small(3, "amd64", 50_000);
    app.push(&mut client, "team/app", "v1").await;
    client.put_blob("team/app", &b"{}"[..]).await;
    client.put_manifest("team/app", &sha256(&sbom(&app)), OCI_MANIFEST, sbom(&app)).await;
    terminal
}

fn sbom(image: &Image) -> Vec<u8> {
    let empty = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2 });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.example.sbom", "config": empty,
        "layers": [empty],
        "subject": { "mediaType": OCI_MANIFEST, "digest": image.digest(), "size": image.manifest.len() },
    });
    manifest.to_string().into_bytes()
}

#[tokio::test]
async fn what_is_exported_is_read_by_others_and_comes_back_equal() {
    let terminal = populated().await;
    let expected = tags(terminal.server.address(), &["team/app", "team/multi"]).await;
    let skopeo = |args: &str| Tool::new("skopeo").arg("--insecure-policy").args(args).inside(terminal.home.path());

    let report = copied(&terminal, "export team/multi:v1 multi.tar");
    assert_eq!((&report["tags"], &report["manifests_copied"]), (&json!(1), &json!(4)), "{report}");
    copied(&terminal, "export team/multi team/app both");
    assert!(!terminal.path("multi.tar.partial").exists() && !terminal.path("both/.wharf-export").exists());
    let again = terminal.path("again.tar");
    copied(&terminal, &format!("export team/multi:v1 {}", again.display()));
    assert!(fs::read(&again).unwrap() == fs::read(terminal.path("multi.tar")).unwrap(), "the same gives the same");

    // skopeo verifies every digest that it copies.
    skopeo("copy --all --preserve-digests oci-archive:multi.tar:v1 dir:plain").ok().await;
    let multi = &expected[&("team/multi".to_owned(), "v1".to_owned())];
    assert_eq!(&sha256(&fs::read(terminal.path("plain/manifest.json")).unwrap()), multi);
    skopeo("copy --all --preserve-digests oci:both:team/multi:v1 dir:plain-again").ok().await;
    skopeo("copy --preserve-digests oci:both:team/app:v1 dir:single").ok().await;
    // crane pushes a layout of one image, oras finds an image with what refers to it.
    copied(&terminal, "export team/app:v1 app --no-referrers");
    let (there, app) = (terminal.server.address(), terminal.path("app"));
    Tool::new("crane").arg("push").arg(&app).arg(format!("{there}/by/crane:v1")).ok().await;
    let mut client = terminal.server.client();
    let pushed = sha256(&manifest(&mut client, "by/crane", "v1").await);
    assert_eq!(pushed, expected[&("team/app".to_owned(), "v1".to_owned())]);
    copied(&terminal, "export team/app:v1 app");
    let oras = Tool::new("oras").args("discover --format json --oci-layout app:v1").inside(terminal.home.path());
    let found: Value = serde_json::from_str(&oras.ok().await).unwrap();
    assert!(found.to_string().contains(&sha256(&sbom(&Image::small(3, "amd64", 50_000)))), "{found}");
    let platform = Image::small(1, "amd64", 200_000);

    // Into another registry: equal in every byte, with what refers to it.
    for source in ["both", "multi.tar"] {
        let other = open_terminal();
        let import = format!("import {}", terminal.path(source).display());
        let report = copied(&other, &import);
        let repositories: &[&str] = if source == "both" { &["team/app", "team/multi"] } else { &["team/multi"] };
        let there = tags(other.server.address(), repositories).await;
        assert!(there.iter().all(|(name, digest)| expected[name] == *digest) && !there.is_empty());
        assert_complete(other.server.address(), &there).await;
        let list = other
            .server
            .client()
            .get(&format!("/v2/team/multi/referrers/{}", platform.digest()))
            .await
            .expect(200)
            .json();
        assert_eq!(list["manifests"][0]["digest"], sha256(&sbom(&platform)), "{report}");
        let report = copied(&other, &import);
        assert_eq!((&report["blobs_copied"], &report["manifests_copied"]), (&json!(0), &json!(0)), "{report}");
    }
}

/// What others write does not say which repository it is.
#[tokio::test]
async fn a_layout_of_somebody_else_is_told_its_name() {
    let terminal = open_terminal();
    let image = Image::small(1, "amd64", 50_000);
    image.write_layout(&terminal.path("layout"));
    let at = format!("--server {}", terminal.url());
    terminal.fails(&format!("import layout {at}"), 2, "hint: name the repository with --as");
    copied(&terminal, "import layout --as team/app");
    assert_eq!(sha256(&manifest(&mut terminal.server.client(), "team/app", "latest").await), image.digest());
    let tar = Tool::new("tar").args("-cf foreign.tar -C layout .").inside(terminal.home.path());
    tar.ok().await;
    copied(&terminal, "import foreign.tar --as team/tar");
    assert_eq!(sha256(&manifest(&mut terminal.server.client(), "team/tar", "latest").await), image.digest());
    terminal.fails(&format!("export team/app:latest layout {at}"), 2, "was not exported by this command");
    terminal.fails(&format!("import {} {at}", terminal.home.path().display()), 2, "is no OCI image layout");
}

/// An export that dies leaves no layout, and the next one goes on.
#[tokio::test]
async fn an_export_is_whole_or_not_there() {
    let terminal = populated().await;
    for destination in ["whole.tar", "whole"] {
        // Requests for about half of it.
        let gate = Gate::before(terminal.server.address(), 1_200);
        let export = format!("export team/multi team/app {destination} --jobs 1 --server http://{}", gate.address());
        let mut killed = terminal.command(&export).spawn().unwrap();
        gate.wait_until_closed();
        let second = format!("export team/app {destination} --server {}", terminal.url());
        terminal.fails(&second, 2, "another process is exporting to");
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert!(!terminal.path("whole.tar").exists() && !terminal.path("whole/index.json").exists());
        copied(&terminal, &format!("export team/multi team/app {destination}"));
        let other = open_terminal();
        copied(&other, &format!("import {}", terminal.path(destination).display()));
        assert_complete(other.server.address(), &tags(other.server.address(), &["team/app", "team/multi"]).await).await;
        fs::remove_file(terminal.path("whole.tar")).unwrap_or_default();
    }
    // More of it later: what is there is not fetched again, and nothing is lost.
    let mut client = terminal.server.client();
    Image::small(7, "amd64", 10_000).push(&mut client, "team/app", "v2").await;
    let report = copied(&terminal, "export team/app:v2 whole");
    assert_eq!(report["blobs_copied"], 2, "{report}");
    let index: Value = serde_json::from_slice(&fs::read(terminal.path("whole/index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 5, "{index:#}");
    let (report, said) = partly_copied(&terminal, "export team/app:v9 team/app:v1 whole");
    assert_eq!(report["problems"][0]["what"], "team/app:v9", "{said}");
}

/// B-…: an archive of somebody else is read, never unpacked.
#[tokio::test]
async fn a_hostile_archive_is_refused() {
    let terminal = open_terminal();
    let image = Image::small(1, "amd64", 2_000);
    image.write_layout(&terminal.path("layout"));
    let victim = terminal.path("victim");
    fs::write(&victim, "unharmed").unwrap();
    let layer = image.layers[0].clone();
    let layer_path = format!("blobs/sha256/{}", sha256(&layer).replace("sha256:", ""));

    /// What is added to a sound archive.
    type Harm = dyn Fn(&mut Tar);
    let cases: [(&str, &Harm, &str); 7] = [
        ("climbing", &|tar| tar.file("blobs/../../victim", b"harm"), "its name leads elsewhere"),
        ("absolute", &|tar| tar.file("/etc/victim", b"harm"), "its name leads elsewhere"),
        ("symbolic", &|tar| tar.entry("blobs/sha256/link", b'2', b"", "../../victim"), "no links and no devices"),
        ("hard", &|tar| tar.entry("blobs/sha256/link", b'1', b"", "victim"), "no links and no devices"),
        ("device", &|tar| tar.entry("blobs/sha256/device", b'3', b"", ""), "no links and no devices"),
        ("twice", &|tar| tar.file("index.json", b"{}"), "it is there twice"),
        ("cut", &|tar| tar.0.extend(&Tar::header("blobs/sha256/cut", b'0', 1 << 40, "")), "the archive ends within it"),
    ];
    for (name, harm, says) in cases {
        let mut tar = Tar::of(&terminal.path("layout"));
        harm(&mut tar);
        tar.write(&terminal.path("hostile.tar"), name != "cut");
        let ran = terminal.run(&format!("import hostile.tar --as team/app --server {}", terminal.url()), "");
        assert_eq!(ran.exit, 8, "{name}: {ran:?}");
        assert!(ran.err.contains(says), "{name}: {ran:?}");
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "unharmed");

    // A blob that is not what its name says, an index that is not one, one that is too large, and no tar at all.
    let mut tar = Tar::of_but(&terminal.path("layout"), &layer_path);
    let mut wrong = layer;
    wrong[50] ^= 1;
    tar.file(&layer_path, &wrong);
    tar.write(&terminal.path("hostile.tar"), true);
    let (report, _) = partly_copied(&terminal, "import hostile.tar --as team/app");
    assert!(report["problems"][0]["why"].as_str().unwrap().contains("the content that arrived is"), "{report}");
    let at = format!("--server {}", terminal.url());
    for (index, says) in
        [(b"[]".to_vec(), "must be an object"), (vec![b' '; 5 << 20], "it has more than 4194304 bytes")]
    {
        let mut tar = Tar::of_but(&terminal.path("layout"), "index.json");
        tar.file("index.json", &index);
        tar.write(&terminal.path("hostile.tar"), true);
        terminal.fails(&format!("import hostile.tar --as team/app {at}"), 8, says);
    }
    fs::write(terminal.path("hostile.tar"), vec![b'x'; 5_000]).unwrap();
    terminal.fails(&format!("import hostile.tar --as team/app {at}"), 8, "it is no tar archive");
    super::assert_untagged(terminal.server.address(), "team/app").await;
}

/// An archive, byte by byte.
struct Tar(Vec<u8>);

impl Tar {
    fn of(layout: &Path) -> Self {
        Self::of_but(layout, "")
    }

    /// Of all files of a layout but one.
    fn of_but(layout: &Path, but: &str) -> Self {
        let mut tar = Self(Vec::new());
        let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap();
        let names = blobs.map(|blob| format!("blobs/sha256/{}", blob.unwrap().file_name().to_str().unwrap()));
        for name in names.chain(["oci-layout".to_owned(), "index.json".to_owned()]).filter(|name| name != but) {
            tar.file(&name, &fs::read(layout.join(&name)).unwrap());
        }
        tar
    }

    fn file(&mut self, name: &str, bytes: &[u8]) {
        self.entry(name, b'0', bytes, "");
    }

    fn entry(&mut self, name: &str, kind: u8, bytes: &[u8], link: &str) {
        self.0.extend(Self::header(name, kind, bytes.len() as u64, link));
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn header(name: &str, kind: u8, size_bytes: u64, link: &str) -> [u8; 512] {
        let mut header = [0; 512];
        let mut field = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        field(0, name.as_bytes());
        field(100, b"0000644\0");
        if size_bytes < 1 << 33 {
            field(124, format!("{size_bytes:011o}\0").as_bytes());
        } else {
            field(124, &[0x80]);
            field(128, &size_bytes.to_be_bytes());
        }
        field(148, b"        ");
        field(156, &[kind]);
        field(157, link.as_bytes());
        field(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }

    fn write(mut self, path: &Path, is_ended: bool) {
        if is_ended {
            self.0.extend([0; 1024]);
        }
        fs::write(path, self.0).unwrap();
    }
}
