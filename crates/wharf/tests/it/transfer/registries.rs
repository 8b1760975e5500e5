//! From registry to registry.

use serde_json::json;

use super::{Old, REPOSITORIES, assert_complete, copied, manifest, open_terminal, partly_copied, tags};
use crate::harness::{ADMIN_PASSWORD, DebianRegistry, Gate, Image, OCI_MANIFEST, Terminal, Tool, Wharf, basic, sha256};

#[tokio::test]
async fn a_debian_registry_moves_in_by_its_api_and_again_after_a_kill() {
    let old = Old::populated().await;
    let expected = tags(old.registry.address(), &REPOSITORIES).await;
    assert_eq!(expected.len(), 6);
    let terminal = open_terminal();
    let source = format!("http://{}", old.registry.address());

    // Killed when a third of the bytes has been sent.
    let gate = Gate::before(terminal.server.address(), 200_000);
    let import = format!("import {source} --jobs 1 --server http://{}", gate.address());
    let mut killed = terminal.command(&import).spawn().unwrap();
    gate.wait_until_closed();
    killed.kill().unwrap();
    assert!(!killed.wait().unwrap().success());

    // What was whole by then is not copied again.
    let report = copied(&terminal, &format!("import {source}"));
    assert_eq!(report["tags"], 6, "{report}");
    assert!(report["blobs_there"].as_u64() > Some(0) || report["manifests_there"].as_u64() > Some(0), "{report}");
    assert_eq!(tags(terminal.server.address(), &REPOSITORIES).await, expected);
    assert_complete(terminal.server.address(), &expected).await;

    // And a third time there is nothing to do.
    let report = copied(&terminal, &format!("import {source}"));
    let none = json!({
        "tags": 6, "manifests_copied": 0, "manifests_there": 6, "blobs_copied": 0, "bytes_copied": 0, "blobs_mounted": 0,
        "blobs_there": 0, "problems": [], "problems_total": 0,
    });
    assert_eq!(report, none);
    let validated = Tool::new("crane").args(&format!("validate --remote {}/team/multi:v1", terminal.server.address()));
    assert!(validated.ok().await.contains("PASS"));
}

#[tokio::test]
async fn names_are_chosen_and_changed() {
    let old = Old::populated().await;
    let terminal = open_terminal();
    let source = old.registry.address();
    let mut client = terminal.server.client();

    copied(&terminal, &format!("import http://{source} --repository 'team/*' --tag '[0-9]*' --into archive/2027"));
    let listed = client.get("/v2/_catalog").await.expect(200).json();
    assert_eq!(listed["repositories"], json!(["archive/2027/team/app"]));
    let listed = client.get("/v2/archive/2027/team/app/tags/list").await.expect(200).json();
    // The signature is a companion of what was chosen.
    let app = sha256(&manifest(&mut old.registry.client(), "team/app", "1.0").await);
    assert_eq!(listed["tags"], json!(["1.0", format!("{}.sig", app.replace(':', "-"))]));

    copied(&terminal, &format!("import {source}/team/multi:v1 --as tools/multi --no-referrers"));
    let multi = manifest(&mut old.registry.client(), "team/multi", "v1").await;
    assert_eq!(manifest(&mut client, "tools/multi", "v1").await, multi);
    copied(&terminal, &format!("import {source}/base@{} --as by/digest", old.untagged));
    assert_eq!(sha256(&manifest(&mut client, "by/digest", &old.untagged).await), old.untagged);

    let at = format!("--server {}", terminal.url());
    terminal.fails(
        &format!("import http://{source} --as one/name {at}"),
        2,
        "--as is for one repository, and there are 6",
    );
    copied(&terminal, &format!("import http://{source} --repository base --as one/name"));
    assert_eq!(sha256(&manifest(&mut client, "one/name", "3").await), app);
    terminal.fails(&format!("import http://{source}/base --repository x {at}"), 2, "the source names one already");
    terminal.fails(&format!("import http://{source} --tag '[' {at}"), 2, "is not a pattern");
    let (report, said) = partly_copied(&terminal, &format!("import {source}/base:9"));
    assert_eq!(report["problems"], json!([{ "what": "base:9", "why": "base:9 is not there" }]));
    assert!(said.contains("not copied: base:9: base:9 is not there"), "{said}");
    assert!(said.contains("error: one thing could not be copied"), "{said}");
    let (report, _) = partly_copied(&terminal, &format!("import {source}/nothing/here"));
    assert_eq!(report["problems"][0]["why"], "nothing/here is not there");
}

#[tokio::test]
async fn what_is_damaged_at_the_source_is_named_and_the_rest_is_copied() {
    let old = Old::populated().await;
    let terminal = open_terminal();
    // The registry serves whatever lies there.
    let image = Image::small(4, "amd64", 50_000);
    let layer = sha256(&image.layers[0]);
    let mut content = std::fs::read(old.registry.content(&layer)).unwrap();
    content[100] ^= 1;
    std::fs::write(old.registry.content(&layer), content).unwrap();

    let (report, said) = partly_copied(&terminal, &format!("import http://{}", old.registry.address()));
    assert_eq!(report["problems_total"], 1, "{report}");
    assert_eq!(report["problems"][0]["what"], "deep/er/name:old");
    assert!(
        report["problems"][0]["why"].as_str().unwrap().starts_with(&format!("{layer}: the content that arrived is"))
    );
    assert!(said.contains("hint: mend them at the source"), "{said}");
    assert_eq!(report["tags"], 5);
    super::assert_untagged(terminal.server.address(), "deep/er/name").await;
    terminal.server.client().get(&format!("/v2/deep/er/name/blobs/{layer}")).await.expect(404);
    let kept = ["base", "team/app", "team/multi"];
    let expected = tags(old.registry.address(), &kept).await;
    assert_eq!(tags(terminal.server.address(), &kept).await, expected);
}

/// Tokens that the source gives out for a name and a password, and what refers to an image.
#[tokio::test]
async fn one_wharf_moves_into_another_with_what_refers_to_its_images() {
    let source = Wharf::with_accounts();
    let mut old = source.client().authorized(basic("admin", ADMIN_PASSWORD));
    let image = Image::small(1, "amd64", 10_000);
    image.push(&mut old, "team/app", "1.0").await;
    old.put_blob("team/app", &b"{}"[..]).await;
    let sbom = referrer("application/vnd.example.sbom", OCI_MANIFEST, image.digest(), image.manifest.len());
    let sbom_digest = sha256(&sbom);
    old.put_manifest("team/app", &sbom_digest, OCI_MANIFEST, sbom.clone()).await;
    // A signature of the SBOM.
    let signature = referrer("application/vnd.example.signature", OCI_MANIFEST, sbom_digest.clone(), sbom.len());
    old.put_manifest("team/app", &sha256(&signature), OCI_MANIFEST, signature.clone()).await;

    let terminal = Terminal::new();
    terminal.login();
    let import = format!("import http://{} --source-username admin", source.address());
    let ran = terminal.run_with(&format!("{import} --json"), "", &[("WHARF_SOURCE_PASSWORD", ADMIN_PASSWORD)]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    let mut new = terminal.server.client().authorized(basic("admin", ADMIN_PASSWORD));
    for (subject, expected) in [(image.digest(), &sbom), (sbom_digest.clone(), &signature)] {
        let list = new.get(&format!("/v2/team/app/referrers/{subject}")).await.expect(200).json();
        assert_eq!(list["manifests"][0]["digest"], sha256(expected), "{list}");
        assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
    }
    // Signed afterwards: the image is there, and its new referrer is found all the same.
    let later = referrer("application/vnd.example.later", OCI_MANIFEST, image.digest(), image.manifest.len());
    old.put_manifest("team/app", &sha256(&later), OCI_MANIFEST, later.clone()).await;
    terminal.ok(&format!("{import} --source-password-stdin"), ADMIN_PASSWORD);
    manifest(&mut new, "team/app", &sha256(&later)).await;

    let ran = terminal.run_with(&import, "", &[("WHARF_SOURCE_PASSWORD", "canary-wrong-password")]);
    assert_eq!(ran.exit, 6, "{ran:?}");
    assert!(!format!("{ran:?}").contains("canary-wrong-password"), "{ran:?}");
    let ran = terminal.run(&format!("import http://{}/team/app", source.address()), "");
    assert_eq!(ran.exit, 8, "nobody may not pull there: {ran:?}");
    assert!(ran.err.contains("not copied: team/app"), "{ran:?}");
    terminal.ok("logout", "");
    terminal.fails(&format!("{import} --server {}", terminal.url()), 6, "hint: run `wharf login http://127.0.0.1");
}

fn referrer(kind: &str, of_type: &str, subject: String, size_bytes: usize) -> Vec<u8> {
    let empty = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2 });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind, "config": empty, "layers": [empty],
        "subject": { "mediaType": of_type, "digest": subject, "size": size_bytes },
    });
    manifest.to_string().into_bytes()
}

/// Registries that want name and password themselves.
#[tokio::test]
async fn a_source_may_want_a_password_on_every_request() {
    // bcrypt of `canary-source-password`.
    const HTPASSWD: &str = "mover:$2b$05$NiHE6l0IY2SerRGR7KIK2uUCXjqq3kR0Y.US3FuP8qfdBxXOJA1Xa\n";
    let passwords = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(passwords.path(), HTPASSWD).unwrap();
    let auth = format!("auth: {{htpasswd: {{realm: old, path: {}}}}}\n", passwords.path().display());
    let registry = DebianRegistry::start_with(&auth);
    let mut client = registry.client().authorized(basic("mover", "canary-source-password"));
    Image::small(1, "amd64", 10_000).push(&mut client, "team/app", "1.0").await;

    let terminal = open_terminal();
    let import = format!("import http://{} --source-username mover --server {}", registry.address(), terminal.url());
    let ran = terminal.run_with(&import, "", &[("WHARF_SOURCE_PASSWORD", "canary-source-password")]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    manifest(&mut terminal.server.client(), "team/app", "1.0").await;
    let ran = terminal.run_with(&import, "", &[("WHARF_SOURCE_PASSWORD", "canary-wrong-password")]);
    assert_eq!(ran.exit, 6, "{ran:?}");
    assert!(!ran.err.contains("canary") && ran.err.contains("hint: say who you are at the source"), "{ran:?}");
}

#[tokio::test]
async fn a_source_that_is_not_there_says_what_to_look_at() {
    let terminal = open_terminal();
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let at = format!("--server {}", terminal.url());
    terminal.fails(&format!("import http://{nowhere}/team/app:1 --jobs 1 {at}"), 10, "hint: see that the server runs");
    terminal.fails(&format!("import nothing-of-the-kind {at}"), 2, "neither a file that is there nor a registry");
    terminal.fails(&format!("import http://registry.example.org {at}"), 2, "say --source-plain-http");
}
