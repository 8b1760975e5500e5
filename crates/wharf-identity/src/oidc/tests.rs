use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};
use wharf_base::{Clock, ManualClock, Timestamp};
use wharf_testkit::{FakeOidc, Fault, SigningKind, forge};

use super::{Config, Issuer, JwtAlgorithm, Oidc, Person, SignIn, Trust};
use crate::provider::Verdict;

const AUDIENCE: &str = "registry.example.org";

struct World {
    issuer: FakeOidc,
    oidc: Oidc,
    clock: Arc<ManualClock>,
    _certificate: tempfile::NamedTempFile,
}

fn trust(claims: &[(&str, &str)]) -> Trust {
    let claims = claims.iter().map(|(claim, wanted)| ((*claim).to_owned(), (*wanted).to_owned())).collect();
    Trust { claims, subject: "{repository}".to_owned(), roles: vec!["ci".to_owned()] }
}

impl World {
    async fn new(kind: SigningKind) -> Self {
        let issuer = FakeOidc::start(kind).await;
        let certificate = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(certificate.path(), issuer.ca_pem()).expect("writing");
        let config = Config {
            audience: Some(AUDIENCE.to_owned()),
            issuers: vec![Issuer {
                issuer: issuer.url(),
                ca_certificate: Some(certificate.path().to_owned()),
                algorithms: vec![JwtAlgorithm::RS256, JwtAlgorithm::ES256, JwtAlgorithm::EdDSA],
                trust: vec![trust(&[("repository_id", "42"), ("ref", "refs/heads/*")])],
                sign_in: None,
            }],
        };
        assert_eq!(config.check(), [""; 0]);
        let now: Timestamp = "2027-01-31T12:00:00Z".parse().expect("a time");
        let clock = Arc::new(ManualClock::at(now));
        let oidc = Oidc::new(&config, Arc::clone(&clock) as _).expect("issuers").expect("an audience");
        Self { issuer, oidc, clock, _certificate: certificate }
    }

    fn now_s(&self) -> i64 {
        self.clock.now().as_micros() / 1_000_000
    }

    /// Good claims, with some of them changed; `null` takes one away.
    fn claims(&self, changes: &[(&str, Value)]) -> Value {
        let mut claims = json!({
            "iss": self.issuer.url(), "aud": AUDIENCE, "sub": "repo:team/app:ref:refs/heads/main", "iat": self.now_s(),
            "nbf": self.now_s(), "exp": self.now_s() + 600, "repository": "team/app", "repository_id": "42",
            "ref": "refs/heads/main",
        });
        for (name, value) in changes {
            if value.is_null() {
                claims.as_object_mut().expect("an object").remove(*name);
            } else {
                claims[*name] = value.clone();
            }
        }
        claims
    }

    async fn ask(&self, token: &str) -> String {
        match self.oidc.verify_token(token).await {
            Ok(Verdict::Right(login)) => format!("{} {}", login.principal.name(), login.principal.roles().join(",")),
            Ok(Verdict::Wrong) => "wrong".to_owned(),
            Ok(Verdict::NotMine) => "not mine".to_owned(),
            Err(error) => format!("{error}").split(':').next().unwrap_or_default().to_owned(),
        }
    }

    async fn refused(&self, changes: &[(&str, Value)]) {
        assert_eq!(self.ask(&self.issuer.mint(&self.claims(changes))).await, "wrong", "{changes:?}");
    }
}

const GOOD: &str = "oidc:team/app ci";
const UNAVAILABLE: &str = "who you are cannot be found out right now";

#[tokio::test]
async fn s034_a_token_of_a_trusted_issuer_is_who_configuration_says() {
    for kind in [SigningKind::Rsa, SigningKind::P256, SigningKind::Ed25519] {
        let world = World::new(kind).await;
        let token = world.issuer.mint(&world.claims(&[]));
        assert_eq!(world.ask(&token).await, GOOD, "{kind:?}");
        assert_eq!(world.ask(&token).await, GOOD, "{kind:?}");
        assert_eq!(world.issuer.key_fetches(), 1, "keys are fetched once");
    }
}

#[tokio::test]
async fn b089_only_a_token_for_this_registry_alone_is_taken() {
    let world = World::new(SigningKind::Ed25519).await;
    world.refused(&[("aud", json!("sts.amazonaws.com"))]).await;
    world.refused(&[("aud", json!([AUDIENCE, "other"]))]).await;
    world.refused(&[("aud", json!([]))]).await;
    world.refused(&[("aud", Value::Null)]).await;
    let only = world.issuer.mint(&world.claims(&[("aud", json!([AUDIENCE]))]));
    assert_eq!(world.ask(&only).await, GOOD);
}

#[tokio::test]
async fn b090_the_issuer_is_matched_exactly() {
    let world = World::new(SigningKind::Ed25519).await;
    let url = world.issuer.url();
    for other in [
        format!("{url}/"),
        url.to_uppercase(),
        url.replace("https", "http"),
        url.replace("//", "//u@"),
        url.replace('1', "１"),
    ] {
        let token = world.issuer.mint(&world.claims(&[("iss", json!(other))]));
        assert_eq!(world.ask(&token).await, "not mine", "{other}");
    }
}

#[tokio::test]
async fn b091_what_is_not_signed_by_the_issuers_key_is_refused() {
    let world = World::new(SigningKind::P256).await;
    let claims = world.claims(&[]);
    let jwks = world.issuer.jwks().to_string();
    let mut hmac = Header::new(Algorithm::HS256);
    hmac.kid = Some("first".to_owned());
    let with_public_key =
        jsonwebtoken::encode(&hmac, &claims, &jsonwebtoken::EncodingKey::from_secret(jwks.as_bytes()))
            .expect("a token");
    assert_eq!(world.ask(&with_public_key).await, "wrong");
    for alg in ["none", "None", "NONE"] {
        assert_eq!(world.ask(&forge(&json!({ "alg": alg, "kid": "first" }), &claims, b"")).await, "wrong", "{alg}");
    }
    assert_eq!(world.ask(&forge(&json!({ "alg": "ES256", "kid": "first" }), &claims, &[7; 64])).await, "wrong");
    assert_eq!(world.ask(&forge(&json!({ "alg": "RS256", "kid": "first" }), &claims, &[7; 256])).await, "wrong");
    let other = FakeOidc::start(SigningKind::P256).await;
    assert_eq!(world.ask(&other.mint(&claims)).await, "wrong", "the same key id, another key");
    assert_eq!(world.ask(&world.issuer.mint_with(&Header::new(Algorithm::ES256), &claims)).await, "wrong", "no key id");
}

#[tokio::test]
async fn b092_conditions_hold_for_every_claim_they_name() {
    let world = World::new(SigningKind::Ed25519).await;
    world.refused(&[("repository_id", json!("43"))]).await;
    world.refused(&[("repository_id", Value::Null)]).await;
    world.refused(&[("repository_id", json!(["42"]))]).await;
    world.refused(&[("ref", json!("refs/pull/1/merge"))]).await;
    world.refused(&[("ref", json!("refs/heads/feature/x"))]).await;
    world.refused(&[("repository", Value::Null)]).await;
    world.refused(&[("repository", json!("team/app\nx"))]).await;
    let number = world.issuer.mint(&world.claims(&[("repository_id", json!(42))]));
    assert_eq!(world.ask(&number).await, GOOD, "a whole number is its digits");
    let renamed = world.issuer.mint(&world.claims(&[("repository", json!("team/renamed"))]));
    assert_eq!(world.ask(&renamed).await, "oidc:team/renamed ci", "the id decides, the name only names");
}

#[tokio::test]
async fn b096_times_are_whole_numbers_and_a_life_is_a_day_at_most() {
    let world = World::new(SigningKind::Ed25519).await;
    let now = world.now_s();
    world.refused(&[("iat", json!(now - 600)), ("exp", json!(now - 30))]).await;
    world.refused(&[("exp", Value::Null)]).await;
    world.refused(&[("exp", json!((now + 600).to_string()))]).await;
    world.refused(&[("exp", json!(1.5e12))]).await;
    world.refused(&[("exp", json!(now + 365 * 86_400))]).await;
    world.refused(&[("iat", json!(now + 31))]).await;
    world.refused(&[("iat", Value::Null)]).await;
    world.refused(&[("nbf", json!(now + 31))]).await;
    world.refused(&[("nbf", json!("now"))]).await;
    world.refused(&[("iat", json!(now - 86_401)), ("exp", json!(now - 1))]).await;
    let late = world.issuer.mint(&world.claims(&[("iat", json!(now - 600)), ("exp", json!(now - 29))]));
    assert_eq!(world.ask(&late).await, GOOD, "clocks may be 30 s apart");
}

#[tokio::test]
async fn s034_rotated_keys_are_picked_up_and_asked_for_once_a_minute() {
    let world = World::new(SigningKind::Ed25519).await;
    let old = world.issuer.mint(&world.claims(&[]));
    assert_eq!(world.ask(&old).await, GOOD);
    world.issuer.rotate("second", SigningKind::P256);
    let new = world.issuer.mint(&world.claims(&[]));
    assert_eq!(world.ask(&new).await, "wrong", "the keys were fetched less than a minute ago");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.ask(&new).await, GOOD);
    assert_eq!(world.ask(&old).await, "wrong", "its key is gone");
}

#[tokio::test]
async fn b094_a_thousand_unknown_key_ids_cost_one_request() {
    let world = World::new(SigningKind::Ed25519).await;
    let claims = world.claims(&[]);
    for number in 0..1_000 {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(format!("kid-{number}"));
        assert_eq!(world.ask(&world.issuer.mint_with(&header, &claims)).await, "wrong");
    }
    assert_eq!(world.issuer.key_fetches(), 1);
}

#[tokio::test]
async fn b093_b095_keys_that_cannot_be_believed_are_none() {
    let check = async |prepare: &dyn Fn(&FakeOidc)| {
        let world = World::new(SigningKind::Ed25519).await;
        prepare(&world.issuer);
        world.ask(&world.issuer.mint(&world.claims(&[]))).await
    };
    let with_key = |issuer: &FakeOidc, key: Value| {
        let mut jwks = issuer.jwks();
        jwks["keys"].as_array_mut().expect("keys").push(key);
        issuer.publish(jwks);
    };
    assert_eq!(check(&|issuer| issuer.misbehave(Fault::Huge(10 << 20))).await, UNAVAILABLE);
    assert_eq!(check(&|issuer| issuer.misbehave(Fault::Body("<html>".to_owned()))).await, UNAVAILABLE);
    assert_eq!(check(&|issuer| issuer.misbehave(Fault::Status(500))).await, UNAVAILABLE);
    assert_eq!(
        check(&|issuer| issuer.misbehave(Fault::Redirect("https://127.0.0.1:1/".to_owned()))).await,
        UNAVAILABLE
    );
    assert_eq!(check(&|issuer| issuer.misbehave(Fault::HangUp)).await, UNAVAILABLE);
    assert_eq!(check(&|issuer| with_key(issuer, json!({ "kty": "oct", "k": "AAAA", "kid": "x" }))).await, UNAVAILABLE);
    assert_eq!(
        check(&|issuer| with_key(issuer, issuer.jwks()["keys"][0].clone())).await,
        UNAVAILABLE,
        "the same id twice"
    );
    let many = |issuer: &FakeOidc| issuer.publish(json!({ "keys": vec![issuer.jwks()["keys"][0].clone(); 65] }));
    assert_eq!(check(&many).await, UNAVAILABLE);
    let elsewhere = |issuer: &FakeOidc| {
        issuer.announce(json!({ "issuer": "https://other.example", "jwks_uri": format!("{}/keys", issuer.url()) }));
    };
    assert_eq!(check(&elsewhere).await, UNAVAILABLE);
    let inward = |issuer: &FakeOidc| {
        issuer.announce(json!({ "issuer": issuer.url(), "jwks_uri": "https://127.0.0.1:1/keys" }));
    };
    assert_eq!(check(&inward).await, UNAVAILABLE, "a document may not point into the network around us");
}

#[tokio::test]
async fn s033_keys_that_are_known_stay_when_the_issuer_is_down() {
    let world = World::new(SigningKind::Ed25519).await;
    let token = world.issuer.mint(&world.claims(&[("exp", json!(world.now_s() + 7_200))]));
    assert_eq!(world.ask(&token).await, GOOD);
    world.issuer.misbehave(Fault::HangUp);
    world.clock.advance(Duration::from_secs(601));
    assert_eq!(world.ask(&token).await, GOOD);
}

#[test]
fn s035_configurations_that_would_let_in_everybody_are_refused() {
    let issuer = |trust: Vec<Trust>| Issuer {
        issuer: "https://ci.example.org".to_owned(),
        ca_certificate: None,
        algorithms: vec![JwtAlgorithm::RS256],
        trust,
        sign_in: None,
    };
    let complaints = |audience: Option<&str>, issuer: Issuer| {
        Config { audience: audience.map(str::to_owned), issuers: vec![issuer] }.check().len()
    };
    let good = || vec![trust(&[("repository_id", "42")])];
    assert_eq!(complaints(Some(AUDIENCE), issuer(good())), 0);
    assert_eq!(complaints(None, issuer(good())), 1);
    for audience in ["sts.amazonaws.com", "sigstore", "", " "] {
        assert_eq!(complaints(Some(audience), issuer(good())), 1, "{audience:?}");
    }
    for url in [
        "http://ci.example.org",
        "https://u@ci.example.org",
        "https://ci.example.org?x",
        "ci.example.org",
        "https://ci.éxample.org",
    ] {
        let bad = Issuer { issuer: url.to_owned(), ..issuer(good()) };
        assert_eq!(complaints(Some(AUDIENCE), bad), 1, "{url}");
    }
    let everybody: [&[(&str, &str)]; 9] = [
        &[],
        &[("repository_id", "*")],
        &[("repository", "**")],
        &[("sub", "*")],
        &[("sub", "repo:*")],
        &[("repository", "?*")],
        &[("repository", "[a-z]*")],
        &[("ref", "refs/heads/main")],
        &[("aud", AUDIENCE)],
    ];
    for claims in everybody {
        assert_eq!(complaints(Some(AUDIENCE), issuer(vec![trust(claims)])), 1, "{claims:?}");
    }
    assert_eq!(complaints(Some(AUDIENCE), issuer(vec![trust(&[("sub", "repo:team/["), ("repository_id", "1")])])), 1);
    assert_eq!(complaints(Some(AUDIENCE), issuer(vec![])), 1);
    let no_algorithm = Issuer { algorithms: vec![], ..issuer(good()) };
    assert_eq!(complaints(Some(AUDIENCE), no_algorithm), 1);
    for subject in ["", "{repository", "repository}"] {
        let bad = Trust {
            subject: subject.to_owned(),
            claims: BTreeMap::from([("repository_id".to_owned(), "42".to_owned())]),
            roles: vec![],
        };
        assert_eq!(complaints(Some(AUDIENCE), issuer(vec![bad])), 1, "{subject:?}");
    }
}

#[test]
fn s065_configurations_of_sign_ins_say_what_is_wrong() {
    let person = || Person {
        claims: BTreeMap::from([("groups".to_owned(), "platform".to_owned())]),
        anyone: false,
        subject: "{sub}".to_owned(),
        roles: vec![],
    };
    let good = || SignIn {
        id: "example".to_owned(),
        name: "Example ID".to_owned(),
        client_id: "wharf".to_owned(),
        client_secret_file: None,
        scopes: vec!["openid".to_owned()],
        people: vec![person()],
    };
    let issuer = |number: u8, sign_in: SignIn| Issuer {
        issuer: format!("https://id{number}.example.org"),
        ca_certificate: None,
        algorithms: vec![JwtAlgorithm::RS256],
        trust: vec![],
        sign_in: Some(sign_in),
    };
    let check = |audience: Option<&str>, issuers: Vec<Issuer>, expected: usize| {
        let complaints = Config { audience: audience.map(str::to_owned), issuers }.check();
        assert_eq!(complaints.len(), expected, "{complaints:?}");
    };
    check(None, vec![issuer(1, good())], 0);
    check(Some("wharf"), vec![issuer(1, good())], 1);
    check(None, vec![issuer(1, good()), issuer(2, good())], 1);
    check(None, vec![issuer(1, good()), issuer(2, SignIn { id: "other".to_owned(), ..good() })], 0);
    for bad in [
        SignIn { id: "a/b".to_owned(), ..good() },
        SignIn { id: String::new(), ..good() },
        SignIn { name: " ".to_owned(), ..good() },
        SignIn { client_id: String::new(), ..good() },
        SignIn { scopes: vec!["profile".to_owned()], ..good() },
        SignIn { scopes: vec!["openid".to_owned(), "two words".to_owned()], ..good() },
        SignIn { people: vec![], ..good() },
        SignIn { people: vec![Person { claims: BTreeMap::new(), ..person() }], ..good() },
        SignIn { people: vec![Person { anyone: true, ..person() }], ..good() },
        SignIn { people: vec![Person { subject: "{sub".to_owned(), ..person() }], ..good() },
    ] {
        check(None, vec![issuer(1, bad)], 1);
    }
    let anyone = Person { claims: BTreeMap::new(), anyone: true, ..person() };
    check(None, vec![issuer(1, SignIn { people: vec![anyone], ..good() })], 0);
}
