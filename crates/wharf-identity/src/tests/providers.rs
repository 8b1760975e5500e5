//! What every provider says, whatever it is: right, wrong, not mine, and "could not find out", which is none of these.

use std::sync::Arc;

use serde_json::json;
use wharf_base::{Clock, ManualClock, Secret, SystemRng};
use wharf_testkit::{FakeMcias, FakeOidc, Fault, SigningKind};

use super::world::{PASSWORD, World};
use crate::directory::Directory;
use crate::local::{Local, Tokens};
use crate::mcias::{self, McIas, McIasProvider};
use crate::oidc::{self, Issuer, JwtAlgorithm, Oidc, Trust};
use crate::provider::{Attempt, Provider, Verdict};
use crate::{AuthError, NewToken};

/// One provider, and attempts whose answers are known.
struct Examined {
    provider: Arc<dyn Provider>,
    right: (String, Secret<String>, &'static str),
    wrong: Vec<(String, Secret<String>)>,
    not_mine: Vec<(String, Secret<String>)>,
}

async fn examine(world: &World, examined: Examined) {
    let told = examined.provider.name();
    let origin = world.origin();
    let ask = async |username: &str, password: &Secret<String>| {
        examined.provider.verify(&Attempt { username, password, origin: &origin }).await
    };
    let (username, password, name) = &examined.right;
    // Again: what was right is right, remembered or not.
    for _ in 0..2 {
        let Ok(Verdict::Right(login)) = ask(username, password).await else { panic!("{told}: {username} is right") };
        assert_eq!(login.principal.name(), *name, "{told}");
    }
    for (username, password) in &examined.wrong {
        assert!(matches!(ask(username, password).await, Ok(Verdict::Wrong)), "{told}: {username}");
    }
    for (username, password) in &examined.not_mine {
        assert!(matches!(ask(username, password).await, Ok(Verdict::NotMine)), "{told}: {username}");
    }
}

fn pair(username: &str, password: &str) -> (String, Secret<String>) {
    (username.to_owned(), password.into())
}

#[tokio::test]
async fn local_accounts() {
    let world = World::new().await;
    world.human("alice", &[]).await;
    world.robot("ci").await;
    let provider = Arc::new(Local {
        directory: Arc::new(Directory::new(Arc::clone(&world.meta))),
        passwords: Arc::clone(&world.identity.passwords),
        meta: Arc::clone(&world.meta),
        rng: Arc::new(SystemRng),
    });
    let right = ("alice".to_owned(), PASSWORD.into(), "alice");
    let wrong = vec![pair("alice", "another password"), pair("ci", PASSWORD), pair("alice", "")];
    let not_mine = vec![pair("nobody", PASSWORD), pair("Alice", PASSWORD), pair("", PASSWORD)];
    examine(&world, Examined { provider, right, wrong, not_mine }).await;
}

#[tokio::test]
async fn api_tokens() {
    let world = World::new().await;
    world.robot("ci").await;
    let (_, secret) = world.token("ci", NewToken::default()).await;
    let directory = Arc::new(Directory::new(Arc::clone(&world.meta)));
    let provider = Arc::new(Tokens { directory, clock: Arc::clone(&world.clock) as Arc<dyn Clock> });
    let wrong = vec![
        pair("other", secret.expose()),
        pair("ci", "wharf_nonsense"),
        pair("ci", &format!("{}x", secret.expose())),
    ];
    let right = ("ci".to_owned(), secret, "ci");
    let not_mine = vec![pair("ci", PASSWORD), pair("ci", "")];
    examine(&world, Examined { provider, right, wrong, not_mine }).await;
}

#[tokio::test]
async fn single_sign_on() {
    let world = World::new().await;
    let server = FakeMcias::start().await;
    server.add_user("carol", PASSWORD, "human", &[]);
    let certificate = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(certificate.path(), server.ca_pem()).expect("writing");
    let config = mcias::Config {
        url: Some(server.url()),
        ca_certificate: Some(certificate.path().to_owned()),
        ..mcias::Config::default()
    };
    let clock: Arc<dyn Clock> = Arc::clone(&world.clock) as Arc<dyn Clock>;
    let mcias = Arc::new(McIas::new(&config, Arc::clone(&clock)).expect("a client").expect("a URL"));
    let provider: Arc<dyn Provider> = Arc::new(McIasProvider::new(mcias, clock, &SystemRng));
    let right = ("carol".to_owned(), PASSWORD.into(), "mcias:carol");
    let wrong = vec![pair("carol", "another password"), pair("nobody", PASSWORD)];
    examine(&world, Examined { provider: Arc::clone(&provider), right, wrong, not_mine: Vec::new() }).await;
    server.misbehave(Fault::HangUp);
    let origin = world.origin();
    let password: Secret<String> = "a third password".into();
    let found = provider.verify(&Attempt { username: "carol", password: &password, origin: &origin }).await;
    assert!(matches!(found, Err(AuthError::Unavailable { .. })), "{found:?}");
}

#[tokio::test]
async fn workload_identity() {
    let world = World::new().await;
    let issuer = FakeOidc::start(SigningKind::Ed25519).await;
    let certificate = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(certificate.path(), issuer.ca_pem()).expect("writing");
    let config = oidc::Config {
        audience: Some("registry.example.org".to_owned()),
        issuers: vec![Issuer {
            issuer: issuer.url(),
            ca_certificate: Some(certificate.path().to_owned()),
            algorithms: vec![JwtAlgorithm::EdDSA],
            trust: vec![Trust {
                claims: [("project_id".to_owned(), "7".to_owned())].into(),
                subject: "job".to_owned(),
                roles: Vec::new(),
            }],
            sign_in: None,
        }],
    };
    let clock: Arc<ManualClock> = Arc::clone(&world.clock);
    let oidc = Oidc::new(&config, clock as Arc<dyn Clock>).expect("issuers").expect("an audience");
    let provider: Arc<dyn Provider> = Arc::new(oidc);
    let now = world.clock.now().as_micros() / 1_000_000;
    let token = |audience: &str| {
        issuer.mint(&json!({
            "iss": issuer.url(), "aud": audience, "sub": "s", "iat": now, "exp": now + 600, "project_id": "7",
        }))
    };
    let right = ("whoever".to_owned(), Secret::from(token("registry.example.org")), "oidc:job");
    let wrong = vec![pair("whoever", &token("elsewhere"))];
    let not_mine = vec![pair("whoever", PASSWORD), pair("whoever", "a.b.c"), pair("whoever", "")];
    examine(&world, Examined { provider, right, wrong, not_mine }).await;
}
