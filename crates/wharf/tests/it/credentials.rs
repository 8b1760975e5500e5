//! Bad input about who asks and what for: the cases of the corpus that need accounts (B-044, B-063, B-083 … B-088, B-097,
//! B-098, B-101, B-104), and what a denial looks like (F-09).

use serde_json::{Value, json};

use crate::harness::{Admin, Client, Request, Wharf, basic, bearer_payload};

const PASSWORD: &str = "canary-password";

/// `a` may do everything but with beta/secret; what is in that, only the administrator knows.
async fn world() -> (Wharf, Client) {
    let server = Wharf::with_accounts();
    let mut admin = Admin::of(&server);
    admin.human("a", PASSWORD).await;
    admin.human("c", PASSWORD).await;
    admin.deny("a", &["beta/**"]).await;
    let client = server.client().authorized(basic("a", PASSWORD));
    (server, client)
}

/// The access of a token for `query`, one text a line.
async fn access(client: &mut Client, query: &str) -> Vec<String> {
    let reply = client.get(&format!("/v2/token?{query}")).await.expect(200);
    let claims = bearer_payload(reply.json()["token"].as_str().unwrap());
    let line = |line: &Value| {
        let actions: Vec<&str> =
            line["actions"].as_array().unwrap().iter().map(|action| action.as_str().unwrap()).collect();
        format!("{}:{}:{}", line["type"].as_str().unwrap(), line["name"].as_str().unwrap(), actions.join(","))
    };
    claims["access"].as_array().unwrap().iter().map(line).collect()
}

#[tokio::test]
async fn f09_a_denial_is_denied_with_403_and_told_to_the_audit_log() {
    let (server, mut a) = world().await;
    let reply = a.get("/v2/beta/secret/tags/list").await.expect(403);
    assert_eq!(reply.code(), "DENIED");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert!(!reply.has("www-authenticate"), "no token would help");
    for _ in 0..9 {
        a.get("/v2/beta/secret/tags/list").await.expect(403);
    }
    let mut admin = Admin::of(&server);
    // Records of denials wait in a queue until the next batch; a log line of a seal says that one was written.
    server.wait_for_log("the audit log is sealed");
    let begun = std::time::Instant::now();
    let found = loop {
        let found = admin.client.get("/api/v1/audit?action=denied").await.expect(200).json();
        if !found["items"].as_array().unwrap().is_empty() {
            break found;
        }
        assert!(begun.elapsed() < crate::harness::PATIENCE, "the denial is not in the audit log");
    };
    let records = found["items"].as_array().unwrap();
    assert_eq!(records.len(), 1, "ten denials in a minute are one record and, later, a count: {found}");
    let record = &records[0];
    assert_eq!(record["principal"], "a");
    assert_eq!(record["repository"], "beta/secret");
    assert_eq!(record["target"], "registry:pull");
    assert_eq!(record["outcome"], "denied");
    assert_eq!(record["source"], "127.0.0.1");
    assert!(record["rule"].is_string(), "the rule that denies: {record}");
}

#[tokio::test]
async fn b083_b084_a_token_holds_what_is_asked_and_allowed_and_nothing_else() {
    let (_server, mut a) = world().await;
    for (query, expected) in [
        ("scope=repository:alpha/app:*", &["repository:alpha/app:pull,push,delete"][..]),
        ("scope=repository:alpha/app:pull,push,delete,admin", &["repository:alpha/app:pull,push,delete"]),
        ("scope=repository:alpha/app:PULL", &["repository:alpha/app:"]),
        ("scope=repository:../beta:pull", &[]),
        ("scope=repository:beta/secret:pull,push", &["repository:beta/secret:"]),
        ("scope=repository:beta/absent:pull,push", &["repository:beta/absent:"]),
        ("scope=repository(plugin):alpha/app:pull", &["repository:alpha/app:pull"]),
        ("scope=registry:catalog:*", &["registry:catalog:*"]),
        ("scope=registry:other:*", &[]),
        ("", &[]),
    ] {
        assert_eq!(access(&mut a, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn b085_b086_b087_what_the_token_service_does_not_take() {
    let (server, mut a) = world().await;
    let many = vec!["repository:a:pull"; 17].join("%20");
    for query in [
        format!("scope={many}"),
        format!("scope={}", "x".repeat(20 << 10)),
        "scope=repository:a:pull%0d%0aX:y".to_owned(),
        "service=elsewhere".to_owned(),
    ] {
        let reply = a.get(&format!("/v2/token?{query}")).await.expect(400);
        assert!(reply.json()["errors"].is_array(), "{reply}");
    }
    a.get("/v2/token?service=wharf&service=elsewhere").await.expect(200);
    a.get("/v2/token?service=").await.expect(200);
    let token = a.fetch_token(&[]).await;
    server.client().authorized(format!("Bearer {token}")).get("/v2/token").await.expect(401);
    let with_cookie = Request::new("GET", "/v2/token?scope=repository:alpha/app:pull").header("Cookie", "session=x");
    let reply = server.client().send(with_cookie).await.expect(200);
    assert_eq!(bearer_payload(reply.json()["token"].as_str().unwrap())["sub"], "", "a cookie is nobody");
}

#[tokio::test]
async fn b088_credentials_that_are_none() {
    let (server, _) = world().await;
    let huge = format!("Basic {}", "A".repeat(40 << 10));
    for (authorization, statuses) in [
        ("Basic bm9jb2xvbg==", &[401][..]),
        ("Basic ???", &[401]),
        ("Basic YQBiOmM=", &[401]),
        ("Basic", &[401]),
        ("Digest x=y", &[401]),
        (&huge, &[401, 431]),
    ] {
        let reply = server.client().authorized(authorization).get("/v2/").await;
        assert!(statuses.contains(&reply.status), "{authorization:.40}: {reply}");
    }
    let long = "p".repeat(12 << 10);
    server.client().authorized(basic("a", &long)).get("/v2/").await.expect(401);
    server.client().authorized(basic(&"u".repeat(10 << 10), "p")).get("/v2/").await.expect(401);
    let form = format!("grant_type=password&username=a&password={}", "p".repeat(70 << 10));
    let form = Request::new("POST", "/v2/token").header("Content-Type", "application/x-www-form-urlencoded").body(form);
    server.client().send(form).await.expect(413);
}

#[tokio::test]
async fn b097_b098_wrong_is_wrong_in_one_way_and_has_a_limit() {
    let (server, _) = world().await;
    let mut answers = Vec::new();
    for (name, password) in [("a", "wrong"), ("nobody", PASSWORD), ("", PASSWORD)] {
        let reply = server.client().authorized(basic(name, password)).get("/v2/token").await.expect(401);
        answers.push(reply.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "one answer for all");
    for target in ["/v2/token", "/v2/", "/api/v1/me"] {
        // The limit lets one more through every ten seconds, which a slow machine may take for these.
        let mut tries = 0;
        let reply = loop {
            let reply = server.client().authorized(basic("a", "wrong")).get(target).await;
            tries += 1;
            if reply.status == 429 {
                break reply;
            }
            assert!(reply.status == 401 && tries < 40, "try {tries}: {reply}");
        };
        assert!(reply.has("retry-after"), "{reply}");
    }
    server.client().authorized(basic("c", PASSWORD)).get("/v2/").await.expect(200);
}

#[tokio::test]
async fn b044_a_session_is_of_no_use_to_anybody_else() {
    let (server, mut a) = world().await;
    let location = a.begin_upload("alpha/app").await;
    let mut c = server.client().authorized(basic("c", PASSWORD));
    let digest = format!("sha256:{}", "0".repeat(64));
    for (method, target) in [
        ("GET", location.clone()),
        ("PATCH", location.clone()),
        ("PUT", format!("{location}?digest={digest}")),
        ("DELETE", location.clone()),
        ("GET", location.replace("alpha/app", "alpha/other")),
    ] {
        let reply = c.send(Request::new(method, &target).body("")).await.expect(404);
        assert_eq!(reply.code(), "BLOB_UPLOAD_UNKNOWN", "{method} {target}");
    }
    a.get(&location).await.expect(204);
}

#[tokio::test]
async fn b063_a_layer_of_a_repository_that_one_may_not_pull_is_not_there() {
    let (server, mut a) = world().await;
    let mut c = server.client().authorized(basic("c", PASSWORD));
    let layer = c.put_blob("beta/secret", &b"what nobody may know"[..]).await;
    let config = a.put_blob("alpha/app", &b"{}"[..]).await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": crate::harness::OCI_MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2 },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 20 }],
    });
    let put = Request::new("PUT", "/v2/alpha/app/manifests/v1").header("Content-Type", crate::harness::OCI_MANIFEST);
    let reply = a.send(put.body(manifest.to_string())).await.expect(400);
    assert_eq!(reply.code(), "MANIFEST_BLOB_UNKNOWN");
    a.get(&format!("/v2/alpha/app/blobs/{layer}")).await.expect(404);
}

#[tokio::test]
async fn b101_b104_the_administration_takes_nothing_it_does_not_know_and_nothing_from_another_site() {
    let (server, _) = world().await;
    let mut admin = Admin::of(&server);
    for body in [
        r#"{"name":"x","password":"twelve-bytes-and-more","is_admin":true}"#,
        r#"{"name":"x","password":"twelve-bytes-and-more","id":"other"}"#,
        r#"{"name":"x","name":"admin","password":"twelve-bytes-and-more"}"#,
        r#"{"name":"x","password":"short"}"#,
        r#"{"name":"x:y","password":"twelve-bytes-and-more"}"#,
        r#"{"name":"x","password":"twelve-bytes-and-more","roles":["a b"]}"#,
        r#"{"name":"x","account_type":"root"}"#,
        "[]",
        "",
        "{\"name\":",
    ] {
        let post =
            Request::new("POST", "/api/v1/accounts").header("Content-Type", "application/json").body(body.to_owned());
        let reply = admin.client.send(post).await.expect(400);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{body}");
        let problem = reply.json();
        assert_eq!((&problem["status"], &problem["title"]), (&json!(400), &json!("Bad Request")), "{problem}");
        assert_eq!(problem["request_id"].as_str(), reply.header("x-request-id"));
    }
    let form = Request::new("POST", "/api/v1/accounts").header("Content-Type", "application/x-www-form-urlencoded");
    admin.client.send(form.body("name=x")).await.expect(415);
    for site in ["cross-site", "same-site"] {
        let post = Request::new("DELETE", "/api/v1/accounts/c").header("Sec-Fetch-Site", site);
        admin.client.send(post).await.expect(403);
    }
    let huge = format!(r#"{{"name":"{}"}}"#, "x".repeat(70 << 10));
    let post = Request::new("POST", "/api/v1/accounts").header("Content-Type", "application/json").body(huge);
    admin.client.send(post).await.expect(413);
    admin.client.get("/api/v1/accounts?limit=0").await.expect(400);
    admin.client.get("/api/v1/accounts?limit=1001").await.expect(400);
    admin.client.get("/api/v1/audit?since=yesterday").await.expect(400);
    admin.client.get("/api/v1/nothing").await.expect(404);
    let reply = admin.client.send(Request::new("PUT", "/api/v1/accounts").body("")).await.expect(405);
    assert_eq!(reply.header("allow"), Some("GET, POST"));
    let names = admin.client.get("/api/v1/accounts").await.expect(200).json();
    let names: Vec<&str> =
        names["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "admin", "c"], "nothing was changed");
}

/// S-037: nobody gives what they do not have.
#[tokio::test]
async fn s037_who_may_manage_some_cannot_make_himself_more() {
    let (server, _) = world().await;
    let mut admin = Admin::of(&server);
    admin.rule(json!({ "effect": "allow", "subjects": ["c"], "actions": ["account:manage", "policy:manage"] })).await;
    let mut c = Admin { client: server.client().authorized(basic("c", PASSWORD)) };
    let make =
        |name: &str, roles: &[&str]| json!({ "name": name, "password": "twelve-bytes-and-more", "roles": roles });
    c.send("POST", "/accounts", &make("d", &[])).await.expect(201);
    c.send("POST", "/accounts", &make("e", &["admin"])).await.expect(403);
    c.send("PATCH", "/accounts/c", &json!({ "roles": ["admin"] })).await.expect(403);
    c.send("PUT", "/accounts/admin/password", &json!({ "password": "twelve-bytes-and-more" })).await.expect(403);
    c.send("POST", "/accounts/admin/tokens", &json!({})).await.expect(403);
    c.send("PATCH", "/accounts/admin", &json!({ "enabled": false })).await.expect(403);
    let rule = |effect: &str, action: &str| json!({ "effect": effect, "subjects": ["c"], "actions": [action] });
    c.send("POST", "/policy/rules", &rule("allow", "audit:read")).await.expect(403);
    c.send("POST", "/policy/rules", &json!({ "effect": "allow", "subjects": ["c"] })).await.expect(403);
    c.send("POST", "/policy/rules", &rule("allow", "registry:delete")).await.expect(201);
    c.send("POST", "/policy/rules", &rule("deny", "policy:manage")).await.expect(409);
    let robot = json!({ "name": "r", "account_type": "system", "roles": ["admin"] });
    admin.send("POST", "/accounts", &robot).await.expect(400);
}

/// Each check of a password takes 19 MiB for a moment, now on this thread and now on that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s028_what_a_check_of_a_password_takes_is_given_back() {
    const MIB: u64 = 1 << 20;
    let server = Wharf::with_accounts();
    let mut admin = Admin::of(&server);
    let names: Vec<String> = (0..24).map(|number| format!("human-{number}")).collect();
    for name in &names {
        admin.human(name, PASSWORD).await;
    }
    let idle_bytes = server.memory().anonymous_bytes;
    for some in names.chunks(4) {
        // Others keep threads busy that wait for the disk, so that it is another thread each time.
        let logins = some.iter().map(|name| {
            let mut client = server.client().authorized(basic(name, PASSWORD));
            tokio::spawn(async move {
                client.get("/v2/").await.expect(200);
                client.put_blob("a/b", vec![1; 2 << 20]).await;
            })
        });
        for login in logins.collect::<Vec<_>>() {
            login.await.unwrap();
        }
    }
    let grown_bytes = server.memory().anonymous_bytes.saturating_sub(idle_bytes);
    println!("{} MiB idle, {} MiB more afterwards", idle_bytes / MIB, grown_bytes / MIB);
    assert!(idle_bytes + grown_bytes < 60 * MIB, "{} MiB more than {}", grown_bytes / MIB, idle_bytes / MIB);
}
