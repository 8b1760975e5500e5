//! People who sign in to the pages with another provider (S-065), against a stand-in that speaks the real wire format over real
//! TLS and takes nothing that a strict one would refuse.

use serde_json::json;
use tempfile::TempDir;
use wharf_testkit::{FakeOidc, Fault, SigningKind};

use crate::harness::{Admin, Reply, Request, Wharf};

/// A registry whose pages people sign in to with a stand-in for their provider.
pub struct SignOn {
    pub provider: FakeOidc,
    pub server: Wharf,
    pub directory: TempDir,
}

const CLIENT_SECRET: &str = "canary-client-secret";

impl SignOn {
    pub async fn new() -> Self {
        let provider = FakeOidc::start(SigningKind::P256).await;
        let directory = tempfile::tempdir().unwrap();
        let server = signing_in_with(&provider, &directory);
        provider.register("wharf", CLIENT_SECRET, &format!("http://{}/login/back/example", server.address()));
        provider.person(json!({ "sub": "17", "preferred_username": "dora", "groups": ["staff", "platform"] }));
        Self { provider, server, directory }
    }

    /// What a browser is sent to the provider with: the cookie, and the address.
    async fn leave(&self) -> (String, String) {
        let reply = self.server.client().get("/login/with?provider=example&next=/repositories?q=a").await.expect(303);
        let cookie = reply.header("set-cookie").expect("a cookie").to_owned();
        assert!(cookie.starts_with("wharf-sign-in=") && cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
        let to = reply.header("location").unwrap().to_owned();
        assert!(to.starts_with(&format!("{}/authorize?", self.provider.url())), "{to}");
        (cookie.split(';').next().unwrap().to_owned(), to)
    }

    /// What the registry says to a browser that comes back to `address` with `cookie`.
    async fn come_back(&self, address: &str, cookie: &str) -> Reply {
        let path = address.split_once(&self.server.address().to_string()).map_or(address, |(_, path)| path);
        let request = Request::new("GET", path).header("Accept", "text/html").header("Cookie", cookie);
        self.server.client().send(request).await
    }

    /// The same, refused: nobody is signed in by it.
    async fn refused(&self, address: &str, cookie: &str, status: u16, says: &str) {
        let reply = self.come_back(address, cookie).await.expect(status);
        let page = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(page.contains(says), "{page}");
        assert!(!reply.has("set-cookie"), "{reply}");
        assert_eq!(self.server.look("select cast(count(*) as text) from sessions"), [["0"]]);
    }
}

fn signing_in_with(provider: &FakeOidc, directory: &TempDir) -> Wharf {
    let (ca, secret) = (directory.path().join("provider-ca.pem"), directory.path().join("client-secret"));
    std::fs::write(&ca, provider.ca_pem()).unwrap();
    std::fs::write(&secret, format!("{CLIENT_SECRET}\n")).unwrap();
    let config = format!(
        r#"
[[oidc.issuers]]
issuer = "{}"
ca_certificate = "{}"

[oidc.issuers.sign_in]
id = "example"
name = "Example ID"
client_id = "wharf"
client_secret_file = "{}"

[[oidc.issuers.sign_in.people]]
claims = {{ groups = "platform" }}
subject = "{{preferred_username}}"
roles = ["dev"]
"#,
        provider.url(),
        ca.display(),
        secret.display()
    );
    let path = directory.path().join("wharf.toml");
    std::fs::write(&path, config).unwrap();
    Wharf::builder().accounts().arg("--config").arg(path).start()
}

#[tokio::test]
async fn s065_a_person_signs_in_with_another_provider() {
    let mut world = SignOn::new().await;
    let page = world.server.client().get("/login").await.expect(200);
    let page = String::from_utf8_lossy(&page.body).into_owned();
    assert!(
        page.contains(r#"<a class="button" href="/login/with?provider=example&#38;next=/">Example ID</a>"#),
        "{page}"
    );
    let (cookie, to) = world.leave().await;
    let back = world.provider.consent(&to);
    let reply = world.come_back(&back, &cookie).await.expect(303);
    assert_eq!(reply.header("location"), Some("/repositories?q=a"));
    let cookies: Vec<_> = reply.all("set-cookie").collect();
    assert!(cookies.iter().any(|cookie| cookie.starts_with("wharf-sign-in=;")), "{cookies:?}");
    let session = cookies.iter().find(|cookie| cookie.starts_with("wharf-session=")).expect("a session");
    let session = session.split(';').next().unwrap().to_owned();
    let asking = Request::new("GET", "/").header("Accept", "text/html").header("Cookie", &session);
    let page = world.server.client().send(asking).await.expect(200);
    assert!(String::from_utf8_lossy(&page.body).contains("oidc:dora"), "{page}");
    let kept = world.server.look("select principal, provider, account_type, roles from sessions");
    assert_eq!(kept, [["oidc:dora", "oidc", "human", r#"["dev"]"#]]);
    assert_eq!(world.server.look("select cast(count(*) as text) from sign_ins"), [["0"]]);

    // Whoever has the address of the way back has nothing: it is of this browser and of one time (B-103, replay).
    world.refused_again(&back, &cookie).await;
    // What is recorded of sign-ins waits in a queue, which the end of a process writes down.
    let text = world.server.log_text();
    world.server.restart();
    let mut audit = Admin::of(&world.server).client;
    let log = audit.get("/api/v1/audit?principal=oidc:dora&action=login").await.expect(200).json();
    assert_eq!(log["items"][0]["detail"], json!({ "with": "oidc sign-in" }));
    for secret in ["canary-client-secret", "canary-code", cookie.split('=').nth(1).unwrap()] {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
}

impl SignOn {
    async fn refused_again(&self, back: &str, cookie: &str) {
        let exchanges = self.provider.exchanges();
        let reply = self.come_back(back, cookie).await.expect(400);
        assert!(String::from_utf8_lossy(&reply.body).contains("This sign-in is over"), "{reply}");
        assert_eq!(self.provider.exchanges(), exchanges);
        assert_eq!(self.server.look("select cast(count(*) as text) from sessions"), [["1"]]);
    }
}

/// Each value that ties the way back to the way there: missing, changed, or of somebody else.
#[tokio::test]
async fn s065_what_does_not_belong_together_signs_nobody_in() {
    let world = SignOn::new().await;
    let stale = "This sign-in is over, or was begun in another browser";
    let (cookie, to) = world.leave().await;
    let back = world.provider.consent(&to);
    let (other_cookie, other_to) = world.leave().await;
    let other_back = world.provider.consent(&other_to);
    world.refused(&back, "nothing=1", 400, stale).await;
    world.refused(&back, &other_cookie, 400, stale).await;
    world.refused(&other_back, &cookie, 400, stale).await;
    let without = |name: &str| {
        let (path, query) = back.split_once('?').unwrap();
        let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with(&format!("{name}="))).collect();
        format!("{path}?{}", kept.join("&"))
    };
    world.refused(&without("state"), &cookie, 400, stale).await;
    assert_eq!(world.provider.exchanges(), 0, "no code was given to anybody");
    // None of these has ended what the browser had begun.
    world.come_back(&back, &cookie).await.expect(303);
}

/// The provider names itself on the way back; a code goes to nobody but the provider that gave it (mix-up).
#[tokio::test]
async fn s065_an_answer_of_another_provider_is_not_taken() {
    let other = "The answer is of another provider";
    for change in [
        |back: String| back.split("&iss=").next().unwrap().to_owned(),
        |back: String| format!("{}&iss=https%3A%2F%2Fevil.example", back.split("&iss=").next().unwrap()),
    ] {
        let world = SignOn::new().await;
        let (cookie, to) = world.leave().await;
        let back = change(world.provider.consent(&to));
        world.refused(&back, &cookie, 400, other).await;
        assert_eq!(world.provider.exchanges(), 0, "the code was not given to anybody");
    }
    let world = SignOn::new().await;
    let (cookie, to) = world.leave().await;
    let back = world.provider.consent(&to).replace("/login/back/example", "/login/back/another");
    world.refused(&back, &cookie, 400, other).await;
}

/// An ID token that is not what it must be: each of its claims that matters.
#[tokio::test]
async fn s065_an_id_token_of_somebody_else_signs_nobody_in() {
    let good = json!({ "sub": "17", "preferred_username": "dora", "groups": ["platform"] });
    let not_valid = "The answer of Example ID is not valid";
    let not_let_in = "Example ID knows you, and this registry does not let you in";
    for (claim, value, status, says) in [
        ("nonce", json!("of another sign-in, and long enough to be one"), 502, not_valid),
        ("nonce", json!(null), 502, not_valid),
        ("aud", json!("another-client"), 502, not_valid),
        ("aud", json!(["wharf", "another-client"]), 502, not_valid),
        ("azp", json!("another-client"), 502, not_valid),
        ("iss", json!("https://evil.example"), 502, not_valid),
        ("exp", json!(1), 502, not_valid),
        ("groups", json!(["staff"]), 403, not_let_in),
        ("preferred_username", json!("two words"), 403, not_let_in),
        ("preferred_username", json!(null), 403, not_let_in),
    ] {
        let world = SignOn::new().await;
        let mut person = good.clone();
        person[claim] = value.clone();
        world.provider.person(person);
        let (cookie, to) = world.leave().await;
        let back = world.provider.consent(&to);
        println!("{claim}: {value}");
        world.refused(&back, &cookie, status, says).await;
    }
}

/// A provider that refuses, that is down, that does not know the code.
#[tokio::test]
async fn s033_a_provider_that_does_not_answer_signs_nobody_in() {
    let world = SignOn::new().await;
    let (cookie, to) = world.leave().await;
    let back = world.provider.consent(&to);
    let (path, query) = back.split_once("?code=canary-code-1&").unwrap();
    world.refused(&format!("{path}?error=access_denied&{query}"), &cookie, 403, "Example ID did not sign you in").await;

    let (cookie, to) = world.leave().await;
    let back = world.provider.consent(&to).replace("canary-code-2", "canary-code-of-nobody");
    world.refused(&back, &cookie, 502, "The answer of Example ID is not valid").await;

    let (cookie, to) = world.leave().await;
    let back = world.provider.consent(&to);
    for fault in [Fault::HangUp, Fault::Status(500)] {
        world.provider.misbehave(fault);
        let reply = world.come_back(&back, &cookie).await;
        assert!(matches!(reply.status, 503 | 400), "{reply}");
        assert!(!reply.has("set-cookie"), "{reply}");
    }
    // Somebody who begins while nothing is known of the provider is told so, and signs in as before when it is there again.
    let world = SignOn::new().await;
    world.provider.misbehave(Fault::HangUp);
    let reply = world.server.client().get("/login/with?provider=example").await.expect(503);
    assert!(reply.has("retry-after") || String::from_utf8_lossy(&reply.body).contains("does not answer"), "{reply}");
    world.provider.misbehave(Fault::None);
    let (cookie, to) = world.leave().await;
    world.come_back(&world.provider.consent(&to), &cookie).await.expect(303);
    world.server.client().get("/login/with?provider=nobody").await.expect(404);
    drop(world.directory);
}
