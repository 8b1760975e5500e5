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
