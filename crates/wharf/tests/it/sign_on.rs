//! Single sign-on and workload identity, with the clients that people use, against stand-ins that speak the real wire
//! format over real TLS.

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use wharf_testkit::{FakeMcias, FakeOidc, Fault, SigningKind};

use crate::harness::{Admin, Image, Request, Tool, Wharf, basic, bearer_payload};

const PASSWORD: &str = "canary-sso-password";

/// A registry that asks a stand-in for MCIAS, and an image on disk.
struct World {
    mcias: FakeMcias,
    server: Wharf,
    directory: TempDir,
    digest: String,
}

impl World {
    async fn new() -> Self {
        let mcias = FakeMcias::start().await;
        mcias.add_user("carol", PASSWORD, "human", &["dev"]);
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, mcias.ca_pem()).unwrap();
        let server = Wharf::builder().accounts().set("mcias.url", &mcias.url());
        let server = server.set("mcias.ca_certificate", ca.to_str().unwrap()).start();
        let image = Image::small(1, "amd64", 50_000);
        image.write_layout(&directory.path().join("image"));
        Self { mcias, server, directory, digest: image.digest() }
    }

    fn at(&self, place: &str) -> String {
        format!("{}/{place}", self.server.address())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn tool(&self, name: &str) -> Tool {
        let auth = self.path(&format!("{name}-auth.json"));
        Tool::new(name)
            .env("REGISTRY_AUTH_FILE", &auth)
            .env("DOCKER_CONFIG", self.path(name))
            .inside(self.directory.path())
    }

    async fn is_there(&self, repository: &str) -> bool {
        let mut carol = self.server.client().authorized(basic("carol", PASSWORD));
        let reply = carol.head(&format!("/v2/{repository}/manifests/v1")).await;
        reply.status == 200 && reply.header("docker-content-digest") == Some(&self.digest)
    }
}

#[tokio::test]
async fn f12_f14_skopeo_logs_in_through_mcias_and_copies() {
    let world = World::new().await;
    let registry = world.server.address().to_string();
    let skopeo = || world.tool("skopeo").arg("--insecure-policy");
    let wrong = skopeo().args(&format!("login --tls-verify=false -u carol -p wrong-password {registry}")).fails().await;
    assert!(wrong.contains("invalid username/password") || wrong.contains("unauthorized"), "{wrong}");
    skopeo().args(&format!("login --tls-verify=false -u carol -p {PASSWORD} {registry}")).ok().await;
    let place = world.at("team/skopeo:v1");
    let copy = "copy --preserve-digests --src-tls-verify=false --dest-tls-verify=false";
    skopeo().args(&format!("{copy} oci:image:latest docker://{place}")).ok().await;
    assert!(world.is_there("team/skopeo").await);
    skopeo().args(&format!("{copy} docker://{place} oci:back:latest")).ok().await;
}

#[tokio::test]
async fn f12_f14_buildah_logs_in_through_mcias_and_pulls() {
    let world = World::new().await;
    let registry = world.server.address().to_string();
    let buildah = || world.tool("buildah");
    buildah().args(&format!("login --tls-verify=false -u carol -p {PASSWORD} {registry}")).ok().await;
    assert_eq!(buildah().args(&format!("login --get-login {registry}")).ok().await, "carol");
    assert!(world.mcias.logins() >= 1);
}

#[tokio::test]
async fn f12_f14_podman_logs_in_through_mcias() {
    let world = World::new().await;
    let registry = world.server.address().to_string();
    let podman = || world.tool("podman");
    podman().args(&format!("login --tls-verify=false -u carol -p wrong-password {registry}")).fails().await;
    podman().args(&format!("login --tls-verify=false -u carol -p {PASSWORD} {registry}")).ok().await;
    assert_eq!(podman().args(&format!("login --get-login {registry}")).ok().await, "carol");
}

#[tokio::test]
async fn f12_f14_crane_logs_in_through_mcias_and_pushes() {
    let world = World::new().await;
    let registry = world.server.address().to_string();
    let crane = || world.tool("crane");
    crane().args(&format!("auth login {registry} --insecure -u carol -p {PASSWORD}")).ok().await;
    crane().args(&format!("push --insecure image {}", world.at("team/crane:v1"))).ok().await;
    assert!(world.is_there("team/crane").await);
    assert_eq!(crane().args(&format!("digest --insecure {}", world.at("team/crane:v1"))).ok().await, world.digest);
    let wrong = crane().args(&format!("auth login {registry} --insecure -u carol -p nonsense")).ok().await;
    assert_eq!(wrong, "", "crane does not ask when it logs in");
    crane().args(&format!("digest --insecure {}", world.at("team/crane:v1"))).fails().await;
}

#[tokio::test]
async fn f12_f14_oras_logs_in_through_mcias_and_pushes() {
    let world = World::new().await;
    let registry = world.server.address().to_string();
    let oras = || world.tool("oras");
    oras().args(&format!("login --plain-http -u carol -p {PASSWORD} {registry}")).ok().await;
    oras().args(&format!("cp --from-oci-layout image:latest --to-plain-http {}", world.at("team/oras:v1"))).ok().await;
    assert!(world.is_there("team/oras").await);
    oras().args(&format!("login --plain-http -u carol -p nonsense {registry}")).fails().await;
}

#[tokio::test]
async fn f12_f14_the_bearer_token_is_that_of_mcias_and_is_validated_once() {
    let world = World::new().await;
    let mut carol = world.server.client().authorized(basic("carol", PASSWORD));
    let reply = carol.get("/v2/token?scope=repository:team/app:pull").await.expect(200).json();
    let token = reply["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("canary-mcias-token-"), "{token}");
    assert!(reply["expires_in"].as_u64().unwrap() > 60);
    let asked = world.mcias.validations();
    let asking = (0..64).map(|_| {
        let mut client = world.server.client().authorized(format!("Bearer {token}"));
        tokio::spawn(async move { client.get("/v2/").await.status })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), 200);
    }
    assert_eq!(world.mcias.validations(), asked, "it was validated when it was issued, less than 30 s ago");
    let mut client = world.server.client().authorized("Bearer canary-of-another-kind");
    client.get("/v2/").await.expect(401);
    assert_eq!(world.mcias.validations(), asked + 1);

    // Roles and policy are live: the token says nothing of rights.
    Admin::of(&world.server).deny("mcias:carol", &["team/secret"]).await;
    let mut client = world.server.client().authorized(format!("Bearer {token}"));
    client.get("/v2/team/secret/tags/list").await.expect(403);
    client.get("/v2/team/app/tags/list").await.expect(404);
    let me = client.get("/api/v1/me").await.expect(200).json();
    assert_eq!(me["name"], "mcias:carol");
    assert_eq!(me["roles"], json!(["dev"]));
}

#[tokio::test]
async fn s033_without_mcias_nobody_new_is_let_in_and_it_says_so() {
    let world = World::new().await;
    let mut carol = world.server.client().authorized(basic("carol", PASSWORD));
    let token = carol.fetch_token(&[]).await;
    world.mcias.misbehave(Fault::HangUp);
    let mut dave = world.server.client().authorized(basic("dave", "another password"));
    for target in ["/v2/", "/v2/token", "/api/v1/me"] {
        let reply = dave.get(target).await.expect(503);
        assert!(reply.has("retry-after"), "{reply}");
        assert!(String::from_utf8_lossy(&reply.body).contains("MCIAS does not answer"), "{reply}");
    }
    let mut known = world.server.client().authorized(format!("Bearer {token}"));
    known.get("/v2/").await.expect(200);
    Admin::of(&world.server).client.get("/api/v1/me").await.expect(200);
    world.mcias.misbehave(Fault::None);
    carol.get("/v2/").await.expect(200);
    dave.get("/v2/").await.expect(401);
}

/// A registry that trusts one issuer, for one repository of the issuer's.
async fn trusting(issuer: &FakeOidc, directory: &TempDir) -> Wharf {
    let ca = directory.path().join("issuer-ca.pem");
    std::fs::write(&ca, issuer.ca_pem()).unwrap();
    let config = format!(
        r#"
[oidc]
audience = "registry.example.org"

[[oidc.issuers]]
issuer = "{}"
ca_certificate = "{}"

[[oidc.issuers.trust]]
claims = {{ repository_id = "42", ref = "refs/heads/main" }}
subject = "{{repository}}"
roles = ["ci"]
"#,
        issuer.url(),
        ca.display()
    );
    let path = directory.path().join("wharf.toml");
    std::fs::write(&path, config).unwrap();
    Wharf::builder().accounts().arg("--config").arg(path).start()
}

fn claims(issuer: &FakeOidc) -> serde_json::Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    json!({
        "iss": issuer.url(), "aud": "registry.example.org", "sub": "repo:team/app:ref:refs/heads/main", "iat": now,
        "nbf": now, "exp": now + 600, "repository": "team/app", "repository_id": "42", "ref": "refs/heads/main",
    })
}

#[tokio::test]
async fn s034_a_job_pushes_to_its_own_repository_and_nowhere_else() {
    let issuer = FakeOidc::start(SigningKind::Rsa).await;
    let directory = tempfile::tempdir().unwrap();
    let server = trusting(&issuer, &directory).await;
    let mut admin = Admin::of(&server);
    admin.allow("oidc:team/app", &["registry:pull", "registry:push"], &["team/app"]).await;
    let image = Image::small(1, "amd64", 50_000);
    image.write_layout(&directory.path().join("image"));

    let token = issuer.mint(&claims(&issuer));
    let skopeo = |place: &str, token: &str| {
        let copy = "copy --preserve-digests --dest-tls-verify=false oci:image:latest";
        let place = format!("docker://{}/{place}", server.address());
        Tool::new("skopeo")
            .arg("--insecure-policy")
            .args(copy)
            .args(&format!("--dest-creds job:{token} {place}"))
            .inside(directory.path())
    };
    skopeo("team/app:v1", &token).ok().await;
    skopeo("team/other:v1", &token).fails().await;
    let bearer =
        server.client().authorized(basic("job", &token)).fetch_token(&["repository:team/app:pull,push,delete"]).await;
    let said = bearer_payload(&bearer);
    assert_eq!(said["sub"], "team/app");
    assert_eq!(said["access"][0]["actions"], json!(["pull", "push"]));
    let mut job = server.client().authorized(format!("Bearer {bearer}"));
    let head = job.head("/v2/team/app/manifests/v1").await.expect(200);
    assert_eq!(head.header("docker-content-digest"), Some(image.digest().as_str()));
    job.delete(&format!("/v2/team/app/manifests/{}", image.digest())).await.expect(401);

    // The token itself is good for the exchange and nothing else (S-024).
    server.client().authorized(format!("Bearer {token}")).get("/v2/").await.expect(401);
    let mut fork = claims(&issuer);
    fork["ref"] = json!("refs/pull/1/merge");
    server.client().authorized(basic("job", &issuer.mint(&fork))).get("/v2/token").await.expect(401);
    let mut other = claims(&issuer);
    other["aud"] = json!("sts.amazonaws.com");
    server.client().authorized(basic("job", &issuer.mint(&other))).get("/v2/token").await.expect(401);
}

/// S-073: whatever is asked of it, no secret of this run is in any line that the server writes, at trace level too.
#[tokio::test]
async fn s073_no_log_line_holds_a_secret() {
    let mcias = FakeMcias::start().await;
    mcias.add_user("carol", PASSWORD, "human", &[]);
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, mcias.ca_pem()).unwrap();
    let server = Wharf::builder().accounts().set("log.level", "trace").set("mcias.url", &mcias.url());
    let server = server.set("mcias.ca_certificate", ca.to_str().unwrap()).start();

    let mut admin = Admin::of(&server);
    admin.human("alice", "canary-alice-password").await;
    let robot = admin.robot("ci", &[]).await;
    let mut alice = server.client().authorized(basic("alice", "canary-alice-password"));
    let bearer = alice.fetch_token(&["repository:a/b:pull,push"]).await;
    alice.put_blob("a/b", &b"content"[..]).await;
    let form = "grant_type=password&username=alice&password=canary-alice-password&access_type=offline";
    let form = Request::new("POST", "/v2/token").header("Content-Type", "application/x-www-form-urlencoded").body(form);
    let offline = server.client().send(form).await.expect(200).json();
    let refresh = offline["refresh_token"].as_str().unwrap().to_owned();
    let mut carol = server.client().authorized(basic("carol", PASSWORD));
    let sso = carol.fetch_token(&[]).await;
    for authorization in [
        format!("Bearer {bearer}"),
        format!("Bearer {sso}"),
        basic("ci", &robot),
        format!("Bearer {robot}"),
        basic("alice", "canary-wrong-password"),
        "Bearer canary-garbage".to_owned(),
        "Digest canary-digest".to_owned(),
    ] {
        let mut client = server.client().authorized(authorization);
        client.get("/v2/").await;
        client.get("/api/v1/me").await;
    }
    server.client().get("/v2/token?account=x&password=canary-in-the-query").await;
    let change = json!({ "current": "canary-alice-password", "new": "canary-new-password" });
    let change =
        Request::new("PUT", "/api/v1/me/password").header("Content-Type", "application/json").body(change.to_string());
    alice.send(change).await.expect(204);
    server.wait_for_log("PUT /api/v1/me/password");

    let log = server.log_text();
    assert!(log.contains("TRACE"), "the log is at trace level");
    let secrets = [bearer.as_str(), refresh.as_str(), robot.as_str(), sso.as_str(), "canary", "argon2id"];
    for line in log.lines() {
        for secret in secrets {
            assert!(!line.contains(secret), "{secret} is in the log: {line}");
        }
        let encoded = basic("alice", "canary-alice-password");
        assert!(!line.contains(&encoded[6..20]), "Basic credentials are in the log: {line}");
    }
    let mut root = Admin::of(&server);
    let audit = root.client.get("/api/v1/audit?limit=1000").await.expect(200);
    assert!(!String::from_utf8_lossy(&audit.body).contains("canary"), "{audit}");
}

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
    async fn come_back(&self, address: &str, cookie: &str) -> crate::harness::Reply {
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
