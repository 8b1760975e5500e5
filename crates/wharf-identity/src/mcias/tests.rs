use std::sync::Arc;
use std::time::Duration;

use wharf_base::{ManualClock, Secret, Timestamp};
use wharf_policy::AccountType;
use wharf_testkit::{FakeMcias, Fault, Tls};

use super::{Config, McIas};

const PASSWORD: &str = "canary-password-of-alice";

struct World {
    server: FakeMcias,
    mcias: McIas,
    clock: Arc<ManualClock>,
    _certificate: tempfile::NamedTempFile,
}

impl World {
    async fn new() -> Self {
        Self::with(FakeMcias::start().await, None)
    }

    /// `ca`: another authority than the server's own.
    fn with(server: FakeMcias, ca: Option<String>) -> Self {
        let certificate = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(certificate.path(), ca.unwrap_or_else(|| server.ca_pem())).expect("writing");
        let config = Config {
            url: Some(server.url()),
            ca_certificate: Some(certificate.path().to_owned()),
            ..Config::default()
        };
        assert_eq!(config.check(), [""; 0]);
        let now: Timestamp = "2027-01-31T12:00:00Z".parse().expect("a time");
        let clock = Arc::new(ManualClock::at(now));
        let mcias = McIas::new(&config, Arc::clone(&clock) as _).expect("a client").expect("a URL");
        server.add_user("alice", PASSWORD, "human", &["dev"]);
        Self { server, mcias, clock, _certificate: certificate }
    }

    async fn token(&self) -> Secret<String> {
        let login = self.mcias.login("alice", &PASSWORD.into()).await.expect("an answer");
        login.expect("alice may log in").token
    }

    /// `alice dev`, `nobody`, or `unavailable`.
    async fn whose(&self, token: &Secret<String>) -> String {
        match self.mcias.validate_token(token).await {
            Ok(Some(vouched)) => format!("{} {}", vouched.principal.subject(), vouched.principal.roles().join(",")),
            Ok(None) => "nobody".to_owned(),
            Err(_) => "unavailable".to_owned(),
        }
    }
}

#[tokio::test]
async fn f12_a_login_gives_a_token_and_a_validation_says_whose_it_is() {
    let world = World::new().await;
    let token = world.token().await;
    let vouched = world.mcias.validate_token(&token).await.expect("an answer").expect("alice's");
    assert_eq!(vouched.principal.name(), "mcias:alice");
    assert_eq!(vouched.principal.account_type(), AccountType::Human);
    assert_eq!(vouched.principal.roles(), ["dev"]);
    assert!(world.mcias.login("alice", &"wrong".into()).await.expect("an answer").is_none());
    assert!(world.mcias.login("nobody", &PASSWORD.into()).await.expect("an answer").is_none());
    assert_eq!(world.whose(&"something else".into()).await, "nobody");
}

#[tokio::test]
async fn f12_a_revoked_account_is_out_after_30_s_and_not_a_second_later() {
    let world = World::new().await;
    let token = world.token().await;
    assert_eq!(world.whose(&token).await, "alice dev");
    world.server.revoke("alice");
    world.clock.advance(Duration::from_millis(29_999));
    assert_eq!(world.whose(&token).await, "alice dev", "remembered for 30 s");
    assert_eq!(world.server.validations(), 1);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.whose(&token).await, "nobody");
    assert_eq!(world.server.validations(), 2);
}

#[tokio::test]
async fn s032_a_no_is_remembered_for_5_s() {
    let world = World::new().await;
    let token = world.token().await;
    world.server.revoke("alice");
    assert_eq!(world.whose(&token).await, "nobody");
    world.clock.advance(Duration::from_millis(4_999));
    assert_eq!(world.whose(&token).await, "nobody");
    assert_eq!(world.server.validations(), 1);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.whose(&token).await, "nobody");
    assert_eq!(world.server.validations(), 2);
}

#[tokio::test]
async fn s032_nothing_is_remembered_beyond_the_end_of_the_token() {
    let world = World::new().await;
    world.server.expire_at("2027-01-31T13:00:10.5+01:00");
    let token = world.token().await;
    assert_eq!(world.whose(&token).await, "alice dev");
    world.clock.advance(Duration::from_millis(10_499));
    assert_eq!(world.whose(&token).await, "alice dev");
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.whose(&token).await, "nobody");
}

#[tokio::test]
async fn s027_roles_are_replaced_and_not_collected() {
    let world = World::new().await;
    let token = world.token().await;
    world.server.set_roles("alice", &["admin", "ops", "not a role", ""]);
    assert_eq!(world.whose(&token).await, "alice admin,ops");
    world.server.set_roles("alice", &["ops"]);
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(world.whose(&token).await, "alice ops");
}

#[tokio::test]
async fn f12_of_64_requests_at_once_one_asks() {
    let world = Arc::new(World::new().await);
    let token = world.token().await;
    for expected in [1, 2] {
        let asking = (0..64).map(|_| {
            let (world, token) = (Arc::clone(&world), token.clone());
            tokio::spawn(async move { world.whose(&token).await })
        });
        let asking: Vec<_> = asking.collect();
        for asked in asking {
            assert_eq!(asked.await.expect("an answer"), "alice dev");
        }
        assert_eq!(world.server.validations(), expected);
        world.clock.advance(Duration::from_secs(30));
    }
}

#[tokio::test]
async fn s033_a_fault_is_no_answer_and_what_is_remembered_lives_on() {
    let world = World::new().await;
    let token = world.token().await;
    assert_eq!(world.whose(&token).await, "alice dev");
    world.server.misbehave(Fault::HangUp);
    assert_eq!(world.whose(&token).await, "alice dev", "remembered");
    assert_eq!(world.whose(&"another".into()).await, "unavailable");
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(world.whose(&token).await, "unavailable");
    world.server.misbehave(Fault::None);
    assert_eq!(world.whose(&token).await, "alice dev", "faults are not remembered");
}

#[tokio::test]
async fn s033_who_fails_again_and_again_is_left_alone_for_5_s() {
    let world = World::new().await;
    let token = world.token().await;
    world.server.misbehave(Fault::Status(500));
    for _ in 0..5 {
        assert_eq!(world.whose(&token).await, "unavailable");
    }
    let asked = world.server.validations();
    assert_eq!(world.whose(&token).await, "unavailable");
    assert_eq!(world.server.validations(), asked, "it was not asked again");
    world.server.misbehave(Fault::None);
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(world.whose(&token).await, "alice dev");
}

#[tokio::test]
async fn b099_what_is_not_the_answer_that_was_asked_for_is_none() {
    let bodies = [
        "{}",
        "",
        "null",
        "[]",
        r#"{"valid":"true"}"#,
        r#"{"valid":1}"#,
        r#"{"valid":true}"#,
        r#"{"valid":true,"subject":"","account_type":"human","roles":[],"expires_at":"2099-01-01T00:00:00Z"}"#,
        r#"{"valid":true,"subject":"a b","account_type":"human","roles":[],"expires_at":"2099-01-01T00:00:00Z"}"#,
        r#"{"valid":true,"subject":"alice","account_type":"human","roles":"admin","expires_at":"2099-01-01T00:00:00Z"}"#,
        r#"{"valid":true,"subject":"alice","account_type":"human","roles":[],"expires_at":4070908800}"#,
        r#"{"valid":true,"subject":"alice","account_type":"human","roles":[],"expires_at":"tomorrow"}"#,
        r#"{"valid":true,"subject":["alice"],"account_type":"human","roles":[],"expires_at":"2099-01-01T00:00:00Z"}"#,
    ];
    for body in bodies {
        let world = World::new().await;
        world.server.misbehave(Fault::Body(body.to_owned()));
        assert_eq!(world.whose(&"token".into()).await, "unavailable", "{body}");
    }
    let world = World::new().await;
    let robot = r#"{"valid":true,"subject":"alice","account_type":"root","roles":["admin"],"expires_at":"2099-01-01T00:00:00Z"}"#;
    world.server.misbehave(Fault::Body(robot.to_owned()));
    assert_eq!(
        world.whose(&"token".into()).await,
        "nobody",
        "a kind of account that is not known has no rights (S-090)"
    );
}

#[tokio::test]
async fn s031_answers_that_are_too_large_or_lead_elsewhere_are_none() {
    for fault in [
        Fault::Huge(1 << 30),
        Fault::Redirect("https://127.0.0.1:1/".to_owned()),
        Fault::Status(429),
        Fault::Status(404),
    ] {
        let world = World::new().await;
        world.server.misbehave(fault.clone());
        assert_eq!(world.whose(&"token".into()).await, "unavailable", "{fault:?}");
    }
}

#[tokio::test]
async fn f13_tls_1_2_a_wrong_name_an_expired_certificate_and_another_authority_are_refused() {
    let only_1_2 = Tls { only_1_2: true, ..Tls::default() };
    let other_name = Tls { host: "sso.example.org".to_owned(), ..Tls::default() };
    let expired = Tls { expired: true, ..Tls::default() };
    for tls in [only_1_2, other_name, expired] {
        let world = World::with(FakeMcias::start_with(&tls).await, None);
        assert!(world.mcias.login("alice", &PASSWORD.into()).await.is_err(), "{tls:?}");
        assert_eq!(world.server.logins(), 0, "{tls:?}: no password was sent");
    }
    let other = FakeMcias::start().await.ca_pem();
    let world = World::with(FakeMcias::start().await, Some(other));
    assert!(world.mcias.login("alice", &PASSWORD.into()).await.is_err());
    assert_eq!(world.server.logins(), 0, "no password was sent");
}

#[tokio::test]
async fn s032_a_flood_of_tokens_leaves_memory_flat() {
    let world = World::new().await;
    for number in 0..300 {
        assert_eq!(world.whose(&format!("token {number}").into()).await, "nobody");
    }
    assert!(world.mcias.cache.len() <= 10_000);
    assert_eq!(world.server.validations(), 300);
}

#[test]
fn a_url_that_is_not_plain_https_is_a_complaint() {
    for url in
        ["http://sso.example.org", "https://u:p@sso.example.org", "sso.example.org", "https://sso.example.org?x=1"]
    {
        let config = Config { url: Some(url.to_owned()), ..Config::default() };
        assert_eq!(config.check().len(), 1, "{url}");
    }
}
