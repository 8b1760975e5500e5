//! Every route, asked as everybody (S-002, S-007): the answers stand in `matrix.txt`, and a change there is a change of who
//! may do what.
//!
//! `WHARF_UPDATE_MATRIX=1` writes the file anew.

use std::fmt::Write as _;

use serde_json::{Value, json};
use wharf_http::{RouteInfo, routes};

use crate::harness::{ADMIN_PASSWORD, Admin, Client, Forge, Reply, Request, Wharf, basic, bearer_payload};

const PASSWORD: &str = "canary-password";

/// Somebody: a column's name, what is sent, and on which repository.
struct Persona {
    name: &'static str,
    authorization: Option<String>,
    repository: &'static str,
    /// What a browser holds that has signed in, and what its forms carry.
    session: Option<Session>,
}

#[derive(Clone)]
struct Session {
    cookie: String,
    form_token: String,
}

impl Persona {
    fn new(name: &'static str, authorization: impl Into<Option<String>>) -> Self {
        Self { name, authorization: authorization.into(), repository: "alpha/app", session: None }
    }

    fn signed_in(self, session: &Session) -> Self {
        Self { session: Some(session.clone()), ..self }
    }
}

/// Signs in as a browser does.
async fn sign_in(server: &Wharf, username: &str, password: &str) -> Session {
    let mut client = server.client();
    let form = Request::new("POST", "/login").header("Sec-Fetch-Site", "same-origin").header("Content-Type", FORM);
    let reply = client.send(form.body(format!("username={username}&password={password}"))).await.expect(303);
    let cookie = reply.header("set-cookie").expect("a cookie").split(';').next().expect("a pair").to_owned();
    let page = client.send(Request::new("GET", "/").header("Cookie", &cookie)).await.expect(200);
    let html = String::from_utf8_lossy(&page.body).into_owned();
    let (_, rest) = html.split_once("name=\"form_token\" value=\"").expect("a form");
    Session { cookie, form_token: rest.split('"').next().expect("a value").to_owned() }
}

const FORM: &str = "application/x-www-form-urlencoded";

async fn personas(server: &Wharf) -> Vec<Persona> {
    let mut admin = Admin::of(server);
    admin.human("alice", PASSWORD).await;
    admin.human("gone", PASSWORD).await;
    admin.human("other", PASSWORD).await;
    admin.deny("other", &["alpha/**"]).await;
    let no_rule = admin.robot("no-rule", &[]).await;
    let with_rule = admin.robot("with-rule", &[]).await;
    admin.allow("with-rule", &["registry:pull", "registry:push"], &["alpha/**"]).await;
    let narrow = admin.token("alice", &["repository:alpha/app:pull"]).await;
    let public = json!({
        "effect": "allow", "account_types": ["anonymous"], "actions": ["registry:pull"], "repositories": ["pub/*"],
    });
    admin.rule(public).await;

    let mut alice = server.client().authorized(basic("alice", PASSWORD));
    let full = alice.fetch_token(&["repository:alpha/app:pull,push,delete", "registry:catalog:*"]).await;
    let pulls = alice.fetch_token(&["repository:alpha/app:pull"]).await;
    let elsewhere = alice.fetch_token(&["repository:alpha/other:pull,push,delete"]).await;
    let of_gone = server.client().authorized(basic("gone", PASSWORD)).fetch_token(&["repository:alpha/app:pull"]).await;
    let [of_human, of_denied, of_admin, was_gone] = [
        sign_in(server, "alice", PASSWORD).await,
        sign_in(server, "other", PASSWORD).await,
        sign_in(server, "admin", ADMIN_PASSWORD).await,
        sign_in(server, "gone", PASSWORD).await,
    ];
    admin.send("PATCH", "/accounts/gone", &json!({ "enabled": false })).await.expect(200);

    let forge = Forge::of(server);
    let changed = |changes: &[(&str, Value)]| {
        let mut claims = bearer_payload(&full);
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        claims
    };
    let exp = bearer_payload(&full)["exp"].as_i64().unwrap();
    let expired = changed(&[("exp", json!(exp - 400)), ("iat", json!(exp - 700)), ("nbf", json!(exp - 700))]);
    let bearer = |token: &str| format!("Bearer {token}");
    vec![
        Persona::new("nobody", None),
        Persona { repository: "pub/img", ..Persona::new("nobody, public", None) },
        Persona::new("wrong password", basic("alice", "wrong")),
        Persona::new("garbage token", bearer("garbage")),
        Persona::new("expired token", bearer(&forge.sign(&expired))),
        Persona::new("other audience", bearer(&forge.sign(&changed(&[("aud", json!("elsewhere"))])))),
        Persona::new("forged token", bearer(&Forge::stranger(&forge.kid).sign(&changed(&[])))),
        Persona::new("human", basic("alice", PASSWORD)),
        Persona::new("human, token", bearer(&full)),
        Persona::new("human, pull token", bearer(&pulls)),
        Persona::new("human, token elsewhere", bearer(&elsewhere)),
        Persona::new("human, narrow API token", bearer(&narrow)),
        Persona::new("human, denied", basic("other", PASSWORD)),
        Persona::new("disabled", basic("gone", PASSWORD)),
        Persona::new("disabled, token", bearer(&of_gone)),
        Persona::new("robot", basic("no-rule", &no_rule)),
        Persona::new("robot with rule", basic("with-rule", &with_rule)),
        Persona::new("robot of another", basic("no-rule", &with_rule)),
        Persona::new("admin", basic("admin", ADMIN_PASSWORD)),
        Persona::new("human, signed in", None).signed_in(&of_human),
        Persona::new("human, denied, signed in", None).signed_in(&of_denied),
        Persona::new("disabled, signed in", None).signed_in(&was_gone),
        Persona::new("human, signed in, form of another", None)
            .signed_in(&Session { form_token: of_admin.form_token.clone(), ..of_human }),
        Persona::new("admin, signed in", None).signed_in(&of_admin),
    ]
}

fn is_page(route: &RouteInfo) -> bool {
    !route.path.starts_with("/v2/") && !route.path.starts_with("/api/")
}

/// A request for the route. What it is about does not exist, so whoever is let through is told that.
fn request(route: &RouteInfo, repository: &str) -> Request {
    let path = route
        .path
        .replace("{name}", if route.path.starts_with("/v2/") { repository } else { "not-there" })
        .replace("{digest}", &format!("sha256:{}", "0".repeat(64)))
        .replace("{session}", "01a20d6b-5871-7dc9-8308-9d294c9c90fa")
        .replace("{reference}", &format!("sha256:{}", "0".repeat(64)))
        .replace("{id}", "01a20d6b-5871-7dc9-8308-9d294c9c90fa");
    let path = match route.action.map(|action| action.as_str()) {
        Some("registry:pull" | "registry:push" | "registry:delete") if !route.path.starts_with("/v2/") => {
            format!("{path}?repository={repository}&tag=not-there&reference=not-there")
        }
        _ => path,
    };
    let method: &'static str = route.method.clone().leak();
    let request = Request::new(method, path);
    match method {
        "GET" | "HEAD" | "DELETE" => request,
        _ if is_page(route) => request.header("Sec-Fetch-Site", "same-origin").header("Content-Type", FORM),
        _ if route.path.starts_with("/api/") => request.header("Content-Type", "application/json").body("{}"),
        _ => request.body(""),
    }
}

/// The answer in a cell: the status, and `s` where another token may help.
fn cell(reply: &Reply) -> String {
    let challenge = reply.header("www-authenticate").unwrap_or_default();
    let more = if challenge.contains("insufficient_scope") { "s" } else { "" };
    format!("{}{more}", reply.status)
}

async fn ask(client: &mut Client, route: &RouteInfo, persona: &Persona) -> Reply {
    let mut request = request(route, persona.repository);
    if let Some(authorization) = &persona.authorization {
        request = request.header("Authorization", authorization);
    }
    if let Some(session) = &persona.session {
        request = request.header("Cookie", &session.cookie);
    }
    if is_page(route) && route.method == "POST" {
        let form_token = persona.session.as_ref().map_or("", |session| session.form_token.as_str());
        request = request.body(format!("form_token={form_token}&tag=not-there"));
    }
    client.send(request).await
}

#[tokio::test]
async fn s002_every_route_answers_everybody_as_the_matrix_says() {
    let server = Wharf::builder().accounts();
    let server = server.set("auth.failures_per_account", "100000").set("auth.failures_per_source", "100000").start();
    let everybody = personas(&server).await;
    let mut table = String::new();
    for (number, persona) in everybody.iter().enumerate() {
        writeln!(table, "{number:>2} {}", persona.name).unwrap();
    }
    let routes = routes();
    for route in &routes {
        let action = route.action.map_or("(token service)", |action| action.as_str());
        writeln!(table, "\n{} {} {action}", route.method, route.path).unwrap();
        for (number, persona) in everybody.iter().enumerate() {
            // The routes behind it are asked by the same sessions, so only a form that does not fit is sent here.
            let would_end = route.path.starts_with("/logout") && persona.session.is_some();
            if would_end && !persona.name.ends_with("form of another") {
                continue;
            }
            let reply = ask(&mut server.client(), route, persona).await;
            check(route, persona, &reply);
            write!(table, "{}{number}:{}", if number == 0 { "" } else { " " }, cell(&reply)).unwrap();
        }
        table.push('\n');
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/matrix.txt");
    if std::env::var_os("WHARF_UPDATE_MATRIX").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (found, expected) in table.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(table, expected);
}

/// What must hold whatever the table says.
fn check(route: &RouteInfo, persona: &Persona, reply: &Reply) {
    let told = format!("{} {} as {}\n{reply}", route.method, route.path, persona.name);
    assert!(reply.status < 500, "{told}");
    if is_page(route) {
        check_page(route, persona, reply, &told);
        return;
    }
    let is_v2 = route.path.starts_with("/v2/");
    let has_bad_credentials = matches!(
        persona.name,
        "wrong password"
            | "garbage token"
            | "expired token"
            | "other audience"
            | "forged token"
            | "disabled"
            | "disabled, token"
            | "robot of another"
    );
    if has_bad_credentials && route.path != "/v2/token" {
        assert_eq!(reply.status, 401, "bad credentials are never anonymous: {told}");
    }
    if reply.status == 401 {
        let challenge = reply.header("www-authenticate").unwrap_or_default();
        let is_bearer = is_v2 && route.path != "/v2/token";
        assert!(challenge.starts_with(if is_bearer { "Bearer realm=" } else { "Basic realm=" }), "{told}");
        if is_bearer && persona.authorization.is_none() {
            assert!(!challenge.contains("error="), "{told}");
        }
    }
    if !is_v2 && persona.name.ends_with("token") && !persona.name.contains("API") {
        assert_eq!(reply.status, 401, "our bearer tokens are for content: {told}");
    }
    // A route of the administration API has no other way in than its action.
    let is_for_admins = route.action.is_some_and(|action| {
        matches!(
            action.as_str(),
            "policy:manage" | "account:manage" | "audit:read" | "gc:manage" | "check:manage" | "backup:create"
        )
    });
    if is_for_admins && persona.name != "admin" {
        assert!(matches!(reply.status, 401 | 403), "{told}");
    }
}

/// A page knows whoever asks by a session alone (S-039), and lets nobody in whom policy does not.
fn check_page(route: &RouteInfo, persona: &Persona, reply: &Reply, told: &str) {
    assert_eq!(reply.header("www-authenticate"), None, "no browser asks for a password by itself: {told}");
    assert_eq!(reply.header("x-frame-options"), Some("DENY"), "{told}");
    let is_open = route.action.is_some_and(|action| action.as_str() == "registry:version_check");
    let is_public = persona.repository == "pub/img" && route.action.is_some_and(|a| a.as_str() == "registry:pull");
    let is_nobody = persona.session.is_none() || persona.name.starts_with("disabled");
    if is_nobody && !is_open && !is_public {
        assert_eq!(reply.status, 303, "{told}");
        assert!(reply.header("location").unwrap_or_default().starts_with("/login?next="), "{told}");
    }
    if persona.name.ends_with("form of another") && route.method == "POST" && route.path != "/login" {
        assert_eq!(reply.status, 403, "{told}");
    }
    let is_for_admins = route
        .action
        .is_some_and(|action| !action.as_str().starts_with("registry:") && action.as_str() != "account:self");
    if is_for_admins && persona.name != "admin, signed in" {
        assert!(matches!(reply.status, 303 | 403), "{told}");
    }
}

/// S-006, S-011: what one may not pull and what is not there are one answer, byte for byte.
#[tokio::test]
async fn s006_a_forbidden_repository_and_one_that_is_not_there_answer_alike() {
    let server = Wharf::with_accounts();
    let mut admin = Admin::of(&server);
    admin.human("alice", PASSWORD).await;
    let robot = admin.robot("ci", &[]).await;
    admin.allow("ci", &["registry:pull", "registry:push"], &["alpha/**"]).await;
    let mut alice = server.client().authorized(basic("alice", PASSWORD));
    let secret = alice.put_blob("beta/secret", &b"what nobody may know"[..]).await;
    let mut ci = server.client().authorized(basic("ci", &robot));
    ci.put_blob("alpha/app", &b"own"[..]).await;

    let shape = |reply: Reply| {
        let mut headers: Vec<_> = reply
            .headers
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        headers.sort();
        let body = String::from_utf8_lossy(&reply.body).replace("beta/secret", "NAME").replace("beta/absent", "NAME");
        format!("{} {headers:?} {body}", reply.status).replace("beta/secret", "NAME").replace("beta/absent", "NAME")
    };
    for path in ["manifests/v1", "tags/list", &format!("blobs/{secret}"), &format!("referrers/{secret}")] {
        let existing = shape(ci.get(&format!("/v2/beta/secret/{path}")).await);
        let absent = shape(ci.get(&format!("/v2/beta/absent/{path}")).await);
        assert_eq!(existing, absent, "{path}");
        assert!(existing.starts_with("403"), "{existing}");
    }
    // S-012: a mount of what one may not pull is an ordinary upload, and says nothing.
    let mount = |from: &str, digest: &str| {
        Request::new("POST", format!("/v2/alpha/app/blobs/uploads/?mount={digest}&from={from}")).body("")
    };
    ci.send(mount("beta/secret", &secret)).await.expect(202);
    ci.send(mount("beta/absent", &secret)).await.expect(202);
    ci.send(Request::new("POST", format!("/v2/alpha/app/blobs/uploads/?mount={secret}")).body("")).await.expect(202);
    ci.get(&format!("/v2/alpha/app/blobs/{secret}")).await.expect(404);
}

/// S-018: the catalog shows what one may pull.
#[tokio::test]
async fn s018_the_catalog_shows_only_what_one_may_pull() {
    let server = Wharf::with_accounts();
    let mut admin = Admin::of(&server);
    admin.human("alice", PASSWORD).await;
    let mut root = server.client().authorized(basic("admin", ADMIN_PASSWORD));
    let image = crate::harness::Image::small(1, "amd64", 1_000);
    for name in ["a/one", "b/two", "c/three", "d/four"] {
        image.push(&mut root, name, "v1").await;
    }
    admin.deny("alice", &["b/**"]).await;
    admin.deny("alice", &["d/*"]).await;
    let mut alice = server.client().authorized(basic("alice", PASSWORD));
    assert_eq!(alice.get("/v2/_catalog").await.expect(200).json(), json!({ "repositories": ["a/one", "c/three"] }));
    let first = alice.get("/v2/_catalog?n=1").await.expect(200);
    assert_eq!(first.json(), json!({ "repositories": ["a/one"] }));
    assert_eq!(first.header("link"), Some("</v2/_catalog?n=1&last=a%2Fone>; rel=\"next\""));
    let second = alice.get("/v2/_catalog?n=1&last=a/one").await.expect(200);
    assert_eq!(second.json(), json!({ "repositories": ["c/three"] }));
    assert_eq!(second.header("link"), None, "what is behind it is not for alice");
}
