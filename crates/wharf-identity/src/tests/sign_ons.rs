//! Sessions of people whom another provider vouches for, as far as they are about time and limits.

use std::time::Duration;

use serde_json::json;
use wharf_base::{Clock as _, Secret};
use wharf_testkit::{FakeOidc, SigningKind};

use super::world::World;
use crate::oidc::{self, Issuer, JwtAlgorithm, Person, SignIn, SignInAnswer, SignInError};
use crate::{Configs, NewSession};

const BACK: &str = "https://registry.example.org/login/back/example";

struct SignOn {
    world: World,
    provider: FakeOidc,
}

impl SignOn {
    async fn new() -> Self {
        let provider = FakeOidc::start(SigningKind::Ed25519).await;
        let directory = tempfile::tempdir().expect("a directory");
        let (certificate, secret) = (directory.path().join("ca.pem"), directory.path().join("secret"));
        std::fs::write(&certificate, provider.ca_pem()).expect("writing");
        std::fs::write(&secret, "canary-client-secret").expect("writing");
        let person = Person {
            claims: [("email".to_owned(), "*@example.org".to_owned())].into(),
            anyone: false,
            subject: "{email}".to_owned(),
            roles: vec!["dev".to_owned()],
        };
        let sign_in = SignIn {
            id: "example".to_owned(),
            name: "Example ID".to_owned(),
            client_id: "wharf".to_owned(),
            client_secret_file: Some(secret),
            scopes: vec!["openid".to_owned(), "email".to_owned()],
            people: vec![person],
        };
        let issuer = Issuer {
            issuer: provider.url(),
            ca_certificate: Some(certificate),
            algorithms: vec![JwtAlgorithm::EdDSA],
            trust: vec![],
            sign_in: Some(sign_in),
        };
        let oidc = oidc::Config { audience: None, issuers: vec![issuer] };
        let world = World::with(Configs { oidc, ..Configs::default() }).await;
        provider.register("wharf", "canary-client-secret", BACK);
        Self { world, provider }
    }

    async fn leave(&self) -> Result<(Secret<String>, String), SignInError> {
        let begun = self.world.identity.begin_sign_in("example", BACK, "/next", &self.world.origin()).await?;
        Ok((begun.secret, begun.address.to_string()))
    }

    /// Somebody with this verified or unverified address comes back.
    async fn come_back(
        &self,
        secret: &Secret<String>,
        address: &str,
        is_verified: bool,
    ) -> Result<(NewSession, String), SignInError> {
        let now = self.world.clock.now().as_micros() / 1_000_000;
        self.provider.person(json!({
            "sub": "17", "email": "dora@example.org", "email_verified": is_verified, "iat": now, "exp": now + 300,
        }));
        let back = url::Url::parse(&self.provider.consent(address)).expect("an address");
        let given =
            |wanted: &str| back.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned());
        let answer = SignInAnswer {
            state: given("state").expect("state").into(),
            code: given("code").map(Secret::from),
            issuer: given("iss"),
            error: None,
        };
        self.world.identity.finish_sign_in("example", secret, &answer, &self.world.origin()).await
    }
}

#[tokio::test]
async fn s065_a_sign_in_is_good_for_ten_minutes() {
    let world = SignOn::new().await;
    let (secret, address) = world.leave().await.expect("an address");
    world.world.clock.advance(Duration::from_secs(599));
    let (session, next) = world.come_back(&secret, &address, true).await.expect("a session");
    assert_eq!((session.principal.name(), next.as_str()), ("oidc:dora@example.org", "/next"));
    let visitor = world.world.identity.visitor(&session.secret, &world.world.origin()).await.expect("an answer");
    assert!(visitor.expect("dora").asker.principal.has_role("dev"));

    let (secret, address) = world.leave().await.expect("an address");
    world.world.clock.advance(Duration::from_secs(601));
    let late = world.come_back(&secret, &address, true).await;
    assert!(matches!(late, Err(SignInError::Stale)), "{late:?}");
    assert_eq!(world.provider.exchanges(), 1);
}

#[tokio::test]
async fn s065_an_address_that_nobody_has_verified_is_nobodys() {
    let world = SignOn::new().await;
    let (secret, address) = world.leave().await.expect("an address");
    let found = world.come_back(&secret, &address, false).await;
    assert!(matches!(found, Err(SignInError::NotAdmitted(_))), "{found:?}");
}

#[tokio::test]
async fn s029_one_network_begins_so_many_sign_ins_a_minute() {
    let world = SignOn::new().await;
    for _ in 0..60 {
        world.leave().await.expect("an address");
    }
    let more = world.leave().await;
    assert!(matches!(more, Err(SignInError::TooMany { .. })), "{more:?}");
    world.world.clock.advance(Duration::from_secs(1));
    world.leave().await.expect("an address");
    assert_eq!(world.provider.discoveries(), 1, "the provider is not asked each time");
}

#[tokio::test]
async fn s038_the_session_ends_with_its_provider() {
    let world = SignOn::new().await;
    let (secret, address) = world.leave().await.expect("an address");
    let (session, _) = world.come_back(&secret, &address, true).await.expect("a session");
    // The same database, started with a configuration that does not name the provider any more.
    let parts = crate::Parts {
        meta: std::sync::Arc::clone(&world.world.meta),
        clock: std::sync::Arc::clone(&world.world.clock) as _,
        rng: std::sync::Arc::clone(&world.world.rng),
        store_id: wharf_base::StoreId::generate(&*world.world.clock, &*world.world.rng),
        default_service: "registry.example.org".to_owned(),
    };
    let without = crate::Identity::start(Configs::default(), parts).await.expect("identities");
    let visitor = without.visitor(&session.secret, &world.world.origin()).await.expect("an answer");
    assert!(visitor.is_none());
}
