//! The official conformance suite in every mode that needs no account.
//!
//! Its exit code is not enough: a set-up error exits with 0, and a skipped feature is no failure. So each mode starts
//! from an empty results directory and says, for every entry of `results.yaml`, which status is expected.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_yaml_ng::Value;

use crate::harness::{Authority, Cluster, Image, OCI_MANIFEST, Tool, Wharf};

/// Every entry of `apis:` and its status when everything is supported and tried.
const APIS: [&str; 28] = [
    "Blob anonymous mount",
    "Blob chunked",
    "Blob delete",
    "Blob delete atomic",
    "Blob get",
    "Blob get range",
    "Blob head",
    "Blob mount",
    "Blob post only",
    "Blob post put",
    "Blob push",
    "Blob streaming",
    "Blob upload cancel",
    "Manifest delete",
    "Manifest delete atomic",
    "Manifest get by digest",
    "Manifest get by tag",
    "Manifest head by digest",
    "Manifest head by tag",
    "Manifest put by digest",
    "Manifest put by tag",
    "Manifest put with subject",
    "Manifest put with tag params",
    "Ping",
    "Referrers",
    "Tag delete",
    "Tag delete atomic",
    "Tag listing",
];

/// Every entry of `data:`.
const DATA: [&str; 24] = [
    "Artifact",
    "Artifact Index",
    "Artifact without Layers",
    "Artifacts with Subject",
    "Bad Digest Image",
    "Blobs sha256",
    "Blobs sha512",
    "Custom Fields",
    "Data Field",
    "Digest Algorithm sha512",
    "Empty Index",
    "Image",
    "Image Uncompressed",
    "Image with Large Manifest",
    "Index",
    "Index with Subject",
    "Invalid Manifest Digest",
    "Missing Subject",
    "Nested Index",
    "No Layers",
    "Non-distributable Layers",
    "Sparse Manifests",
    "Tag Param",
    "Tag Param sha512",
];

/// What the stable versions of the specification do not have.
const NEWER_THAN_1_1: [&str; 5] =
    ["Blob upload cancel", "Manifest put with tag params", "Sparse Manifests", "Tag Param", "Tag Param sha512"];

#[tokio::test]
async fn version_1_1() {
    let server = Wharf::start();
    let results = Suite::new(&server, "1.1").run().await;
    results.assert(&Expected::all_pass().but("Skip", &TAG_DELETE).but("Disabled", &NEWER_THAN_1_1));
}

#[tokio::test]
async fn version_1_0() {
    let server = Wharf::start();
    let results = Suite::new(&server, "1.0").run().await;
    results.assert(
        &Expected::all_pass()
            .but("Skip", &TAG_DELETE)
            .but("Disabled", &NEWER_THAN_1_1)
            .but("Disabled", &["Blob anonymous mount", "Referrers"]),
    );
}

#[tokio::test]
async fn version_dev() {
    let server = Wharf::start();
    let results = Suite::new(&server, "dev").run().await;
    results.assert(&Expected::all_pass().but("Skip", &TAG_DELETE).but("Disabled", &["Sparse Manifests"]));
}

#[tokio::test]
async fn version_dev_with_every_feature_on_passes_everything() {
    let server = Wharf::builder()
        .set("registry.delete_tags", "true")
        .set("registry.allow_missing_layers", "true")
        .set("registry.allow_missing_children", "true")
        .start();
    let results = Suite::new(&server, "dev").env("OCI_DATA_SPARSE", "true").run().await;
    results.assert(&Expected::all_pass());
}

/// Each request goes to another replica than the one before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_are_one_registry_that_passes_everything() {
    let cluster = Cluster::with(3, |_, builder| {
        builder
            .set("registry.delete_tags", "true")
            .set("registry.allow_missing_layers", "true")
            .set("registry.allow_missing_children", "true")
    })
    .await;
    let suite = Suite::at(cluster.balancer.address(), "dev").env("OCI_DATA_SPARSE", "true");
    suite.run().await.assert(&Expected::all_pass());
    let served = cluster.balancer.served();
    for number in 0..3 {
        let count = served.iter().filter(|(by, _)| *by == number).count();
        assert!(count > 100, "replica {number} has answered {count} of {} requests", served.len());
    }
}

#[tokio::test]
async fn version_dev_over_tls_and_http_2() {
    let authority = Authority::new();
    let files = tempfile::tempdir().unwrap();
    authority.issue().write(files.path());
    let trusted = files.path().join("authority.pem");
    std::fs::write(&trusted, authority.pem()).unwrap();
    let server = Wharf::builder().tls(files.path()).start();
    let suite = Suite::new(&server, "dev").env("OCI_TLS", "enabled").env("SSL_CERT_FILE", trusted.to_str().unwrap());
    let results = suite.run().await;
    results.assert(&Expected::all_pass().but("Skip", &TAG_DELETE).but("Disabled", &["Sparse Manifests"]));
}

#[tokio::test]
async fn a_read_only_registry_with_content() {
    let mut server = Wharf::start();
    let image = Image::small(1, "amd64", 4096);
    let referrer = referrer_of(&image);
    let mut client = server.client();
    image.push(&mut client, REPOSITORY, "v1").await;
    referrer.push(&mut client, REPOSITORY, "signature").await;

    server.restart_with(|builder| builder.set("registry.read_only", "true"));
    let mut client = server.client();
    let refused = client.delete(&format!("/v2/{REPOSITORY}/manifests/{}", image.digest())).await;
    assert_eq!(refused.expect(405).code(), "UNSUPPORTED");

    // The suite looks for this header on answers that it kept, and keeps none of content that it was not given, so in
    // this mode it always says that the header is missing. Its look is turned off and this is ours.
    for reference in ["v1", &*image.digest()] {
        let head = client.head(&format!("/v2/{REPOSITORY}/manifests/{reference}")).await.expect(200);
        assert_eq!(head.header("docker-content-digest"), Some(&*image.digest()), "{head}");
    }

    let blobs: Vec<_> = image.blobs().map(|blob| crate::harness::sha256(blob)).collect();
    let suite = Suite::new(&server, "dev")
        .env("OCI_API_PUSH", "false")
        .env("OCI_API_MANIFESTS_DIGEST_HEADER", "false")
        .env("OCI_RO_DATA_TAGS", "v1 signature")
        .env("OCI_RO_DATA_MANIFESTS", &format!("{} {}", image.digest(), referrer.digest()))
        .env("OCI_RO_DATA_BLOBS", &blobs.join(" "))
        .env("OCI_RO_DATA_REFERRERS", &image.digest());
    suite.run_read_only().await.assert(&Expected::read_only());
}

/// Off by default (F-01), which the suite counts as a feature that is not there.
const TAG_DELETE: [&str; 2] = ["Tag delete", "Tag delete atomic"];

/// The suite's first repository unless it is told another.
const REPOSITORY: &str = "conformance/repo1";

/// An artifact whose subject is `image`.
fn referrer_of(image: &Image) -> Image {
    let referrer = Image::small(2, "amd64", 512);
    let mut manifest: serde_json::Value = serde_json::from_slice(&referrer.manifest).unwrap();
    manifest["subject"] =
        serde_json::json!({ "mediaType": OCI_MANIFEST, "digest": image.digest(), "size": image.manifest.len() });
    referrer.with_manifest(manifest.to_string().into_bytes())
}

/// One run of the suite.
struct Suite {
    tool: Tool,
    results: tempfile::TempDir,
}

impl Suite {
    #[track_caller]
    fn new(server: &Wharf, version: &str) -> Self {
        Self::at(server.address(), version)
    }

    fn at(address: SocketAddr, version: &str) -> Self {
        let results = tempfile::tempdir().unwrap();
        let tool = Tool::new("conformance")
            .env("OCI_REGISTRY", address.to_string())
            .env("OCI_TLS", "disabled")
            .env("OCI_VERSION", version)
            .env("OCI_RESULTS_DIR", results.path());
        Self { tool, results }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.tool = self.tool.env(name, value);
        self
    }

    /// Runs the suite and reads what it wrote.
    async fn run(self) -> Results {
        let file = self.results.path().join("results.yaml");
        assert!(!file.exists(), "the results directory is fresh");
        let ran = self.tool.run().await;
        let output = failures(&ran.stdout) + &ran.stderr;
        Results::read(&file, output)
    }

    /// As [`run`](Self::run), for the mode in which this version of the suite panics while it writes `results.yaml`: it
    /// notes a status for data that it was told not to generate, and then asks that data for its name. The report on
    /// its standard output, written before, has the same statuses. That the file is empty is asserted, so that a
    /// mended suite is noticed.
    async fn run_read_only(self) -> Results {
        let file = self.results.path().join("results.yaml");
        let ran = self.tool.run().await;
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(written, "", "this version of the suite writes results.yaml; read that instead");
        Results::of_report(&ran.stdout, failures(&ran.stdout) + &ran.stderr)
    }
}

/// The lines of the suite's report that tell what went wrong, each with the test it belongs to.
fn failures(report: &str) -> String {
    let tree = report.split("\nConfiguration:").next().unwrap_or(report);
    let bad =
        |line: &&str| line.ends_with(": FAIL") || line.ends_with(": Error") || line.trim_start().starts_with("- ");
    tree.lines().filter(bad).fold(String::new(), |text, line| text + line + "\n")
}

/// The statuses of one run.
struct Results {
    statuses: BTreeMap<String, String>,
    output: String,
}

impl Results {
    fn read(file: &Path, output: String) -> Self {
        let text = std::fs::read_to_string(file);
        let text = text.unwrap_or_else(|error| panic!("the suite wrote no results.yaml ({error})\n{output}"));
        let results: Value = serde_yaml_ng::from_str(&text).unwrap();
        let mut statuses = BTreeMap::new();
        for section in ["apis", "data"] {
            for (name, status) in results[section].as_mapping().expect(section) {
                statuses.insert(name.as_str().unwrap().to_owned(), status.as_str().unwrap().to_owned());
            }
        }
        Self { statuses, output }
    }

    /// The lines `  Name....: Status` of the report's two tables.
    fn of_report(report: &str, output: String) -> Self {
        let tables = report.split_once("\nAPI conformance:\n").map(|(_, tables)| tables);
        let tables = tables.unwrap_or_else(|| panic!("the suite reported nothing\n{report}\n{output}"));
        let entries = tables.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(':'));
        let statuses = entries
            .map(|(name, status)| (name.trim_end_matches('.').to_owned(), status.trim().to_owned()))
            .filter(|(_, status)| status != "Unknown" && status != "Disabled")
            .collect();
        Self { statuses, output }
    }

    /// Exactly the expected entries with exactly the expected statuses.
    #[track_caller]
    fn assert(&self, expected: &Expected) {
        let names = self.statuses.keys().chain(expected.0.keys());
        let mut differences: Vec<_> = names
            .filter(|name| self.statuses.get(*name).map(String::as_str) != expected.0.get(name.as_str()).copied())
            .map(|name| {
                let (found, wanted) = (self.statuses.get(name), expected.0.get(name.as_str()));
                format!("{name}: {}, expected {}", found.map_or("absent", String::as_str), wanted.unwrap_or(&"absent"))
            })
            .collect();
        differences.sort();
        differences.dedup();
        assert!(differences.is_empty(), "{}\n\n{}", differences.join("\n"), self.output);
    }
}

/// The status that each entry must have.
struct Expected(BTreeMap<String, &'static str>);

impl Expected {
    fn all_pass() -> Self {
        Self(APIS.iter().chain(&DATA).map(|name| ((*name).to_owned(), "Pass")).collect())
    }

    fn but(mut self, status: &'static str, names: &[&str]) -> Self {
        for name in names {
            let entry = self.0.get_mut(*name).unwrap_or_else(|| panic!("{name} is an entry"));
            *entry = status;
        }
        self
    }

    /// Pulling is tried on what is there, pushing is off, and deleting is refused.
    fn read_only() -> Self {
        let pass = [
            "Blob get",
            "Blob head",
            "Invalid Manifest Digest",
            "Manifest get by digest",
            "Manifest get by tag",
            "Manifest head by digest",
            "Manifest head by tag",
            "Ping",
            "Read Only Inputs",
            "Referrers",
            "Tag listing",
        ];
        let skip = ["Blob delete", "Blob delete atomic", "Manifest delete", "Manifest delete atomic"];
        let statuses = pass.iter().map(|name| (*name, "Pass")).chain(skip.iter().map(|name| (*name, "Skip")));
        Self(statuses.map(|(name, status)| (name.to_owned(), status)).collect())
    }
}
