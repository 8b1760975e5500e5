//! The administration API as programs see it: against its own document, and when requests are repeated or cross each other.

use std::path::Path;

use serde_json::json;

use crate::harness::{ADMIN_PASSWORD, Admin, Image, Request, Tool, Wharf, basic};

/// `WHARF_UPDATE_DOCS=1` writes the page anew.
#[test]
fn the_page_of_the_api_is_made_from_its_document() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let reference = wharf_http::api_reference();
    let begin = page.find("## accounts\n").unwrap_or(page.len());
    if std::env::var_os("WHARF_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{}{reference}", &page[..begin])).unwrap();
    } else {
        assert!(
            page[begin..] == reference,
            "docs/api.md is not as it would be; run this test with WHARF_UPDATE_DOCS=1"
        );
    }
}

/// Every operation of the document, with requests that fit it and requests that do not; schemathesis says itself what is wrong.
/// Seeded, and so many requests that it ends within a minute.
#[tokio::test]
async fn the_api_does_what_its_document_says() {
    // Wrong passwords are part of it, and thousands of them come from here.
    let server = Wharf::builder().accounts().set("auth.failures_per_account", "1000000");
    let server = server.set("auth.failures_per_source", "1000000").start();
    let mut admin = Admin::of(&server);
    admin.human("alice", "canary-alice-password").await;
    admin.robot("ci", &["repository:team/**:pull"]).await;
    admin.deny("alice", &["secret/**"]).await;
    let mut alice = server.client().authorized(basic("alice", "canary-alice-password"));
    let old = Image::small(1, "amd64", 1_000).push(&mut alice, "team/app", "1.4").await;
    Image::small(2, "amd64", 1_000).push(&mut alice, "team/app", "1.4").await;
    alice.delete(&format!("/v2/team/app/manifests/{old}")).await.expect(202);

    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/api/schemathesis.toml");
    let directory = tempfile::tempdir().unwrap();
    let origin = format!("http://{}", server.address());
    let said = Tool::new("schemathesis")
        .arg("--config-file")
        .arg(config)
        .args("run --phases examples,coverage,fuzzing,stateful --max-examples 15 --seed 1 --no-color --workers 1")
        .args("--generation-deterministic --suppress-health-check all --request-timeout 20")
        .args(&format!("--auth admin:{ADMIN_PASSWORD} --url {origin} {origin}/api/v1/openapi.json"))
        .inside(directory.path())
        .ok()
        .await;
    println!("{said}");
    let document = server.client().get("/api/v1/openapi.json").await.expect(200).json();
    let operations = document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len());
    // The document itself is what all of this was read from, and is not asked for again.
    let operations = operations.sum::<usize>() - 1;
    assert!(said.contains(&format!("Tested: {operations}\n")), "not every one of {operations} operations was tried");
    assert!(!server.log_text().contains("panicked"), "{}", server.log_text());
}

/// A change that is sent again with its key is answered as it was and carried out once; by the database, so a restart makes no
/// difference.
#[tokio::test]
async fn a_change_with_a_key_is_carried_out_once() {
    let mut server = Wharf::with_accounts();
    let post = |path: &str, key: &str, body: &serde_json::Value| {
        let request = Request::new("POST", format!("/api/v1{path}")).header("Content-Type", "application/json");
        request.header("Idempotency-Key", key).body(body.to_string())
    };
    let key = "6f1c2f3e-0b7d-4a61-9c33-6f5d1c0a9e11";
    let wish = json!({ "description": "builds", "scopes": ["repository:team/**:pull"] });
    let mut admin = Admin::of(&server).client;
    let first = admin.send(post("/me/tokens", key, &wish)).await.expect(201);
    let again = admin.send(post("/me/tokens", key, &wish)).await.expect(201);
    assert_eq!(first.json(), again.json(), "with the secret, which is asked for again because it never arrived");
    assert_eq!(again.header("content-type"), Some("application/json"));
    let secret = first.json()["secret"].as_str().unwrap().to_owned();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let kept = server.look(&format!("select {} from kept_answers", server.hex_of("answer")));
    assert!(kept.len() == 1 && kept[0][0].len() > 200 && !kept[0][0].contains(&hex), "sealed: {kept:?}");

    server.restart();
    let mut admin = Admin::of(&server).client;
    assert_eq!(admin.send(post("/me/tokens", key, &wish)).await.expect(201).json(), first.json());
    let tokens = admin.get("/api/v1/me/tokens").await.expect(200).json();
    assert_eq!(tokens["items"].as_array().unwrap().len(), 1, "{tokens}");

    // A key is of one request, and of one principal.
    let other = json!({ "description": "something else" });
    admin.send(post("/me/tokens", key, &other)).await.expect(422);
    admin.send(post("/accounts", key, &json!({ "name": "x" }))).await.expect(422);
    let mut setup = Admin::of(&server);
    setup.human("alice", "canary-alice-password").await;
    let mut alice = server.client().authorized(basic("alice", "canary-alice-password"));
    assert_ne!(alice.send(post("/me/tokens", key, &wish)).await.expect(201).json(), first.json());
    let problem = admin.send(post("/me/tokens", "short", &wish)).await.expect(400).json();
    assert_eq!(problem["field"], "Idempotency-Key");

    // What was refused has changed nothing: the same key is good for the next attempt.
    let rule = json!({ "effect": "allow", "repositories": ["["] });
    let fresh = "another-key-of-16-or-more";
    admin.send(post("/policy/rules", fresh, &rule)).await.expect(400);
    let rule = json!({ "effect": "allow", "roles": ["ci"], "repositories": ["team/**"] });
    let made = admin.send(post("/policy/rules", fresh, &rule)).await.expect(201);
    let told = admin.send(post("/policy/rules", fresh, &rule)).await.expect(201);
    assert_eq!((made.json(), made.header("etag")), (told.json(), told.header("etag")));
}

/// Of many who send the same at once one carries it out; the others hear the same or are asked to wait.
#[tokio::test]
async fn of_the_same_change_at_once_one_is_carried_out() {
    // A login counts as failed until it is known not to be.
    let server = Wharf::builder().accounts().set("auth.failures_per_account", "100").start();
    let authorization = basic("admin", ADMIN_PASSWORD);
    let asking = (0..16).map(|_| {
        let mut client = server.client().authorized(&authorization);
        tokio::spawn(async move {
            let request = Request::new("POST", "/api/v1/me/tokens").header("Content-Type", "application/json");
            client.send(request.header("Idempotency-Key", "one-key-for-all-of-them").body("{}")).await
        })
    });
    let mut ids = std::collections::BTreeSet::new();
    for asked in asking.collect::<Vec<_>>() {
        let reply = asked.await.unwrap();
        match reply.status {
            201 => _ = ids.insert(reply.json()["token"]["id"].as_str().unwrap().to_owned()),
            409 => assert!(reply.has("retry-after"), "{reply}"),
            other => panic!("{other}: {reply}"),
        }
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    let mut admin = Admin::of(&server).client;
    let tokens = admin.get("/api/v1/me/tokens").await.expect(200).json();
    assert_eq!(tokens["items"].as_array().unwrap().len(), 1, "{tokens}");
}

/// Two who change the same account: the second is told that it has changed since.
#[tokio::test]
async fn a_change_of_somebody_else_is_not_lost() {
    let server = Wharf::with_accounts();
    let mut admin = Admin::of(&server);
    admin.human("alice", "canary-alice-password").await;
    let mut client = admin.client;
    let read = client.get("/api/v1/accounts/alice").await.expect(200);
    let etag = read.header("etag").expect("an ETag").to_owned();
    let patch = |etag: &str, roles: &[&str]| {
        let request = Request::new("PATCH", "/api/v1/accounts/alice").header("Content-Type", "application/json");
        request.header("If-Match", etag).body(json!({ "roles": roles }).to_string())
    };
    let changed = client.send(patch(&etag, &["dev"])).await.expect(200);
    assert_ne!(changed.header("etag"), Some(etag.as_str()));
    let refused = client.send(patch(&etag, &["ops"])).await.expect(412).json();
    assert_eq!(refused["detail"], "the account was changed by somebody else meanwhile; read it again");
    let positional = Request::new("PATCH", "/api/v1/accounts/alice").header("Content-Type", "application/json");
    let refused = client.send(positional.body(r#"[["admin"], true]"#)).await.expect(400).json();
    assert_eq!(refused["detail"], "the body must be a JSON object");
    let delete = |etag: &str| Request::new("DELETE", "/api/v1/accounts/alice").header("If-Match", etag);
    client.send(delete(&etag)).await.expect(412);
    assert_eq!(client.get("/api/v1/accounts/alice").await.expect(200).json()["roles"], json!(["dev"]));
    client.send(delete("nonsense")).await.expect(400);
    client.send(delete(changed.header("etag").unwrap())).await.expect(204);
}
