//! What is stored, from the command line: `wharf repo`, `wharf tag`, `wharf manifest`.

use serde_json::{Value, json};
use wharf_copy::{Document, Error, Login, Registry};
use wharf_oci::Reference;

use crate::harness::{Image, OCI_INDEX, OCI_MANIFEST, Terminal, Wharf, sha256};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn repositories_tags_and_manifests() {
    let terminal = Terminal::at(Wharf::start());
    let at = format!("--server {}", terminal.url());
    let mut client = terminal.server.client();
    let platforms = [Image::small(1, "amd64", 20_000), Image::small(2, "arm64", 10_000)];
    for platform in &platforms {
        platform.push(&mut client, "team/multi", &platform.digest()).await;
    }
    let multi = client.put_manifest("team/multi", "v1", OCI_INDEX, Image::index(&platforms)).await;
    let app = Image::small(3, "amd64", 2_000);
    app.push(&mut client, "team/app", "1.0").await;
    app.push(&mut client, "other", "1.0").await;

    assert_eq!(terminal.ok(&format!("repo ls --quiet {at}"), ""), "other\nteam/app\nteam/multi\n");
    assert_eq!(
        json(&terminal.ok(&format!("repo ls 'team/*' --json {at}"), "")),
        json!([{ "name": "team/app" }, { "name": "team/multi" }])
    );
    assert_eq!(
        json(&terminal.ok(&format!("repo show team/app --json {at}"), "")),
        json!({ "name": "team/app", "tags": 1, "deleted": 0 })
    );
    terminal.fails(&format!("repo show nothing/here {at}"), 9, "nothing/here is not there");

    let tags = json(&terminal.ok(&format!("tag ls team/multi --json {at}"), ""));
    assert_eq!(tags[0]["digest"], multi);
    assert_eq!((&tags[0]["kind"], &tags[0]["platforms"]), (&json!("index"), &json!(["linux/amd64", "linux/arm64"])));
    let shown = terminal.ok(&format!("tag show team/app:1.0 {at}"), "");
    let size = app.blobs().map(Vec::len).sum::<usize>();
    assert!(shown.contains(&app.digest()) && shown.contains("image"), "{shown}");
    assert_eq!(json(&terminal.ok(&format!("tag show team/app:1.0 --json {at}"), ""))["size_bytes"], size);
    terminal.fails(&format!("tag show team/app {at}"), 2, "is neither REPOSITORY:TAG nor REPOSITORY@DIGEST");
    terminal.fails(&format!("tag show team/app:9 {at}"), 9, "team/app:9 is not there");

    terminal.ok(&format!("tag set team/app:stable 1.0 {at}"), "");
    terminal.ok(&format!("tag set team/app:pinned {} {at}", app.digest()), "");
    assert_eq!(terminal.ok(&format!("tag ls team/app --quiet {at}"), ""), "1.0\npinned\nstable\n");
    assert_eq!(terminal.ok(&format!("tag ls team/app 'p*' --quiet {at}"), ""), "pinned\n");
    let ran = terminal.run(&format!("tag ls team/app --limit 1 {at}"), "");
    assert!(ran.err.contains("2 more tags are not shown"), "{ran:?}");
    terminal.fails(&format!("tag set team/app:stable 9 {at}"), 9, "team/app:9 is not there");
    terminal.fails(&format!("tag delete team/app:stable {at}"), 9, "wharf manifest delete team/app@sha256:");

    // The bytes as they are, or what they mean.
    assert_eq!(terminal.ok(&format!("manifest show team/app:1.0 --json {at}"), "").as_bytes(), app.manifest);
    assert_eq!(terminal.ok(&format!("manifest show team/app:1.0 --quiet {at}"), ""), format!("{}\n", app.digest()));
    let shown = terminal.ok(&format!("manifest show team/app:1.0 {at}"), "");
    for part in app.digests() {
        assert!(shown.contains(part), "{shown}");
    }
    assert!(terminal.ok(&format!("manifest show team/multi@{multi} {at}"), "").contains("linux/arm64"));

    client.put_blob("team/app", &b"{}"[..]).await;
    let empty = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2 });
    let sbom = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.example.sbom", "config": empty,
        "layers": [empty], "annotations": { "made.by": "us\u{1b}[31m" },
        "subject": { "mediaType": OCI_MANIFEST, "digest": app.digest(), "size": app.manifest.len() },
    });
    let sbom = sbom.to_string().into_bytes();
    client.put_manifest("team/app", &sha256(&sbom), OCI_MANIFEST, sbom.clone()).await;
    let listed = terminal.ok(&format!("manifest referrers team/app:1.0 {at}"), "");
    assert!(listed.contains(&sha256(&sbom)) && listed.contains("application/vnd.example.sbom"), "{listed}");
    assert!(listed.contains("made.by=us\\u{1b}[31m"), "what a terminal would obey is shown: {listed}");

    // Another manifest, to which the tag points; everything else in it is as it was.
    let annotate = format!("manifest annotate team/app:1.0 org.example.team=blue org.example.note=x=y --json {at}");
    let done = json(&terminal.ok(&annotate, ""));
    assert_eq!(done["before"], app.digest());
    let body = client.get("/v2/team/app/manifests/1.0").await.expect(200).json();
    assert_eq!(body["annotations"], json!({ "org.example.team": "blue", "org.example.note": "x=y" }));
    let mut without = body.clone();
    without.as_object_mut().unwrap().remove("annotations");
    assert_eq!(without, json(std::str::from_utf8(&app.manifest).unwrap()));
    terminal.ok(&format!("manifest annotate team/app:1.0 --remove org.example.team {at}"), "");
    let body = client.get("/v2/team/app/manifests/1.0").await.expect(200).json();
    assert_eq!(body["annotations"], json!({ "org.example.note": "x=y" }));
    terminal.fails(&format!("manifest annotate team/app:1.0 {at}"), 2, "KEY=VALUE");
    moved_meanwhile(&terminal, &app).await;

    terminal.fails(&format!("manifest delete team/app:stable {at}"), 2, "name the manifest by its digest");
    terminal.ok(&format!("manifest delete team/app@{} {at}", app.digest()), "");
    assert_eq!(terminal.ok(&format!("tag ls team/app --quiet {at}"), ""), "1.0\n", "its tags went along");
    assert!(terminal.ok(&format!("manifest deleted team/app {at}"), "").contains(&app.digest()));
    terminal.ok(&format!("restore team/app@{} {at}", app.digest()), "");
    assert_eq!(terminal.ok(&format!("tag ls team/app --quiet {at}"), ""), "1.0\npinned\nstable\n");
    terminal.fails(&format!("manifest delete team/app@sha256:{} {at}", "0".repeat(64)), 9, "is not there");
}

/// A tag that is not where it was when somebody looked is left alone.
async fn moved_meanwhile(terminal: &Terminal, app: &Image) {
    let server = Registry::new(terminal.url().parse().unwrap(), Login::Nobody, false, None).unwrap();
    let (repository, tag) = ("team/app".parse().unwrap(), "1.0".parse().unwrap());
    let reference = Reference::Tag(tag);
    let before = server.document(&repository, &reference).await.unwrap();
    let other = Document::new(app.digest().parse().unwrap(), None, app.manifest.clone().into()).unwrap();
    let refused = server.push(&repository, &reference, &other, OCI_MANIFEST, Some(&other.digest)).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { status: 412, .. }), "{refused}");
    assert_eq!(server.document(&repository, &reference).await.unwrap().digest, before.digest);
}
