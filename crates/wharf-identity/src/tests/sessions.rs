//! Sessions of the web pages.

use std::time::Duration;

use wharf_base::{Clock as _, Secret};
use wharf_policy::Engine;
use wharf_testkit::{FakeMcias, Fault};

use super::world::{PASSWORD, World};
use crate::{AuthError, Config, Configs, NewToken, Visitor, mcias};

const MINUTE: Duration = Duration::from_secs(60);

impl World {
    async fn sign_in(&self, name: &str, password: &str) -> Result<Secret<String>, AuthError> {
        self.identity.sign_in(name, &password.into(), &self.origin()).await.map(|session| session.secret)
    }

    async fn visitor(&self, secret: &Secret<String>) -> Option<Visitor> {
        self.identity.visitor(secret, &self.origin()).await.expect("an answer")
    }
}

#[tokio::test]
async fn s038_a_session_is_its_owners_until_it_is_unused_or_old() {
    let world = World::new().await;
    world.human("alice", &["dev"]).await;
    let secret = world.sign_in("alice", PASSWORD).await.expect("a session");
    let visitor = world.visitor(&secret).await.expect("alice");
    assert_eq!(visitor.asker.principal.name(), "alice");
    assert!(visitor.asker.principal.has_role("dev"));
    assert!(world.visitor(&Secret::from("0".repeat(64))).await.is_none());
    assert!(world.visitor(&Secret::from("")).await.is_none());

    // Used every 29 minutes it lasts twelve hours.
    for _ in 0..24 {
        world.clock.advance(29 * MINUTE);
        assert!(world.visitor(&secret).await.is_some(), "{}", world.clock.now());
    }
    world.clock.advance(29 * MINUTE);
    assert!(world.visitor(&secret).await.is_none(), "twelve hours are over");

    let unused = world.sign_in("alice", PASSWORD).await.expect("a session");
    world.clock.advance(30 * MINUTE);
    assert!(world.visitor(&unused).await.is_none());
    world.clock.advance(MINUTE);
    world.identity.forget_sessions(world.clock.now()).await.expect("done");
    assert!(world.meta.sessions_of("alice", 10).await.expect("an answer").is_empty(), "what is over is forgotten");
}

#[tokio::test]
async fn s038_every_sign_in_has_a_secret_of_its_own_and_the_oldest_make_room() {
    let auth = Config { sessions_per_account: 2, ..Config::default() };
    let world = World::with(Configs { auth, ..Configs::default() }).await;
    world.human("alice", &[]).await;
    let mut secrets = Vec::new();
    for _ in 0..3 {
        world.clock.advance(MINUTE);
        secrets.push(world.sign_in("alice", PASSWORD).await.expect("a session"));
    }
    assert!(world.visitor(&secrets[0]).await.is_none());
    let (second, third) =
        (world.visitor(&secrets[1]).await.expect("alice"), world.visitor(&secrets[2]).await.expect("alice"));
    assert_ne!(second.form_token, third.form_token);
    world.identity.sign_out(&second).await.expect("done");
    assert!(world.visitor(&secrets[1]).await.is_none());
    assert!(world.visitor(&secrets[2]).await.is_some());
    world.sign_in("alice", PASSWORD).await.expect("a session");
    let proof = Engine::with_defaults().authorize(&third.asker, ()).expect("alice may see her own");
    assert_eq!(world.identity.own_sessions(&proof).await.expect("an answer").len(), 2);
    world.identity.sign_out_everywhere(&third).await.expect("done");
    assert!(world.visitor(&secrets[2]).await.is_none());
    assert!(world.identity.own_sessions(&proof).await.expect("an answer").is_empty());
}

#[tokio::test]
async fn s038_a_change_of_the_account_ends_its_sessions() {
    let world = World::new().await;
    world.human("alice", &[]).await;
    let secret = world.sign_in("alice", PASSWORD).await.expect("a session");
    world.clock.advance(MINUTE);
    world.change("alice", Some(&["dev"]), None).await;
    assert!(world.visitor(&secret).await.is_none(), "other roles want another session");
    let secret = world.sign_in("alice", PASSWORD).await.expect("a session");
    assert!(world.visitor(&secret).await.is_some());
    world.clock.advance(MINUTE);
    world.identity.set_password(&world.proof(), "alice", "another-password".into()).await.expect("a change");
    assert!(world.visitor(&secret).await.is_none(), "another password");
    let secret = world.sign_in("alice", "another-password").await.expect("a session");
    world.clock.advance(MINUTE);
    world.change("alice", None, Some(false)).await;
    assert!(world.visitor(&secret).await.is_none(), "disabled");
    assert!(matches!(world.sign_in("alice", "another-password").await, Err(AuthError::WrongCredentials)));
}

#[tokio::test]
async fn s090_a_session_of_the_single_sign_on_ends_with_its_account() {
    let server = FakeMcias::start().await;
    server.add_user("carol", PASSWORD, "human", &["dev"]);
    let certificate = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(certificate.path(), server.ca_pem()).expect("a certificate");
    let mcias = mcias::Config {
        url: Some(server.url()),
        ca_certificate: Some(certificate.path().to_owned()),
        ..mcias::Config::default()
    };
    let world = World::with(Configs { mcias, ..Configs::default() }).await;
    let secret = world.sign_in("carol", PASSWORD).await.expect("a session");
    let visitor = world.visitor(&secret).await.expect("carol");
    assert_eq!(visitor.asker.principal.name(), "mcias:carol");
    let kept = world.meta.session(&visitor.session).await.expect("an answer").expect("a session");
    assert!(kept.sealed_token.is_some());
    world.clock.advance(MINUTE);
    assert!(world.visitor(&secret).await.is_some(), "asked again, it is still so");
    server.revoke("carol");
    world.clock.advance(MINUTE);
    assert!(world.visitor(&secret).await.is_none(), "a revoked account is out");

    server.add_user("dave", PASSWORD, "human", &[]);
    let secret = world.sign_in("dave", PASSWORD).await.expect("a session");
    server.misbehave(Fault::Status(500));
    world.clock.advance(MINUTE);
    let asked = world.identity.visitor(&secret, &world.origin()).await;
    assert!(matches!(asked, Err(AuthError::Unavailable { .. })), "could not ask is neither yes nor no");
}

#[tokio::test]
async fn s024_nobody_signs_in_with_a_token() {
    let world = World::new().await;
    world.human("alice", &[]).await;
    world.robot("ci").await;
    for name in ["alice", "ci"] {
        let (_, token) = world.token(name, NewToken::default()).await;
        assert!(world.log_in(name, token.expose()).await.is_ok(), "it is a good token");
        assert!(matches!(world.sign_in(name, token.expose()).await, Err(AuthError::WrongCredentials)));
        assert!(world.visitor(&token).await.is_none());
    }
    assert!(matches!(world.sign_in("alice", "wrong").await, Err(AuthError::WrongCredentials)));
    assert!(matches!(world.sign_in("", "").await, Err(AuthError::WrongCredentials)));
    let secret = world.sign_in("alice", PASSWORD).await.expect("a session");
    assert!(world.authenticate(&secret, crate::Place::Registry).await.is_err(), "a session is no bearer token");
    assert!(world.log_in("alice", secret.expose()).await.is_err(), "and no password");
}
