//! B-070 … B-082: tokens that look like ours and are not good.

use std::sync::Arc;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use wharf_base::{Clock, Secret};

use super::world::World;
use crate::Place;
use crate::jwt::KeyRing;

/// Signs whatever a test wants with the registry's own key.
struct Forge {
    pair: Ed25519KeyPair,
    kid: String,
    claims: Value,
}

impl Forge {
    async fn of(world: &World) -> Self {
        let key = world.meta.signing_keys().await.expect("keys").pop().expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(key.private_key.expose()).expect("a key pair");
        let good = world.bearer("alice").await;
        let payload = good.expose().split('.').nth(1).expect("claims");
        let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64")).expect("claims");
        Self { pair, kid: key.id, claims }
    }

    fn header(&self) -> Value {
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": self.kid })
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// Good claims with one changed; `null` takes it away.
    fn with(&self, name: &str, value: &Value) -> String {
        let mut claims = self.claims.clone();
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value.clone();
        }
        self.sign(&self.header().to_string(), &claims.to_string())
    }
}

async fn is_good(world: &World, token: &str) -> bool {
    world.authenticate(&Secret::from(token), Place::Registry).await.is_ok()
}

async fn world() -> (World, Forge) {
    let world = World::new().await;
    world.human("alice", &[]).await;
    let forge = Forge::of(&world).await;
    let good = forge.sign(&forge.header().to_string(), &forge.claims.to_string());
    assert!(is_good(&world, &good).await, "what the forge signs is good as long as it says what is right");
    (world, forge)
}

#[tokio::test]
async fn b070_b074_a_header_says_three_things_and_these_only() {
    let (world, forge) = world().await;
    let claims = forge.claims.to_string();
    let kid = &forge.kid;
    let headers = [
        json!({ "alg": "none", "typ": "JWT", "kid": kid }),
        json!({ "alg": "None", "typ": "JWT", "kid": kid }),
        json!({ "alg": "HS256", "typ": "JWT", "kid": kid }),
        json!({ "alg": "RS256", "typ": "JWT", "kid": kid }),
        json!({ "alg": "ES256", "typ": "JWT", "kid": kid }),
        json!({ "alg": "EdDSA", "kid": kid }),
        json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid }),
        json!({ "alg": "EdDSA", "typ": "JWT" }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": "wharf-unknown" }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": "../../keys/x" }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": "' OR 1=1--" }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": "k".repeat(10 << 10) }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": 1 }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": [kid] }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid, "jwk": { "kty": "OKP" } }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid, "jku": "https://evil.example/" }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid, "x5u": "https://evil.example/" }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid, "crit": ["exp"] }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid, "b64": false }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid, "zip": "DEF" }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid, "enc": "A128GCM" }),
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid, "cty": "JWT" }),
    ];
    for header in headers {
        assert!(!is_good(&world, &forge.sign(&header.to_string(), &claims)).await, "{header}");
    }
    let twice = format!(r#"{{"alg":"none","alg":"EdDSA","typ":"JWT","kid":"{kid}"}}"#);
    assert!(!is_good(&world, &forge.sign(&twice, &claims)).await);
}

#[tokio::test]
async fn b075_b078_claims_are_all_there_and_of_their_types() {
    let (world, forge) = world().await;
    let now = world.clock.now().as_micros() / 1_000_000;
    let null = Value::Null;
    let bad: Vec<(&str, Value)> = vec![
        ("exp", json!("9999999999")),
        ("exp", json!(-1)),
        ("exp", json!(now as f64 + 60.5)),
        ("exp", json!(now - 30)),
        ("exp", json!(now + 10 * 365 * 86_400)),
        ("exp", json!(true)),
        ("nbf", json!(now + 31)),
        ("nbf", json!("now")),
        ("iat", json!(now + 31)),
        ("iat", json!(-1)),
        ("iat", json!(now - 4_000)),
        ("aud", json!("elsewhere")),
        ("aud", json!(["registry.example.org"])),
        ("aud", json!(["registry.example.org", "x"])),
        ("iss", json!("elsewhere")),
        ("iss", json!(1)),
        ("sub", json!(7)),
        ("sub", json!("nobody")),
        ("jti", json!(1)),
        ("access", json!("repository:a:pull")),
        ("access", json!([{ "type": "repository", "name": "a" }])),
        ("access", json!(vec![json!({ "type": "repository", "name": "a", "actions": ["pull"] }); 65])),
        ("wharf", json!({})),
        ("wharf", json!({ "provider": "local", "account_type": "human", "roles": ["admin"], "is_admin": true })),
    ];
    let members = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "access", "wharf"];
    for (name, value) in bad.into_iter().chain(members.map(|name| (name, null.clone()))) {
        assert!(!is_good(&world, &forge.with(name, &value)).await, "{name}: {value}");
    }
    let header = forge.header().to_string();
    let text = forge.claims.to_string();
    for member in ["sub", "access", "exp"] {
        let twice = text.replacen('{', &format!("{{\"{member}\":{},", forge.claims[member]), 1);
        assert!(!is_good(&world, &forge.sign(&header, &twice)).await, "{member} twice");
    }
    let huge = text.replacen("\"exp\":", "\"exp\":1e400,\"x\":", 1);
    assert!(!is_good(&world, &forge.sign(&header, &huge)).await);
    let long = forge.with("x", &json!("x".repeat(9_000)));
    assert!(!is_good(&world, &long).await, "more than 8 KiB");
    assert!(is_good(&world, &forge.with("unknown", &json!(1))).await, "unknown claims mean nothing (P-084)");
}

#[tokio::test]
async fn b079_b082_a_signature_is_exactly_ours() {
    let (world, forge) = world().await;
    let good = forge.sign(&forge.header().to_string(), &forge.claims.to_string());
    let (signed, signature) = good.rsplit_once('.').expect("a signature");
    let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!is_good(&world, &format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&flipped))).await, "bit {bit}");
    }
    let malleated = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(plus_order(&bytes)));
    assert!(!is_good(&world, &malleated).await, "S + L is the same number to a careless reader (S-022)");
    for other in [
        format!("{signed}."),
        format!("{signed}.{}", URL_SAFE.encode(&bytes)),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}."),
        good.replace('.', "\u{3002}"),
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
    ] {
        assert!(!is_good(&world, &other).await, "{other}");
    }
    let stranger = Forge {
        pair: Ed25519KeyPair::generate().expect("a key"),
        kid: forge.kid.clone(),
        claims: forge.claims.clone(),
    };
    let foreign = stranger.sign(&stranger.header().to_string(), &stranger.claims.to_string());
    assert!(!is_good(&world, &foreign).await, "another key under the same id");
}

/// The second half of the signature plus the order of the group, little end first.
fn plus_order(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut bytes = signature.to_vec();
    let mut carry = 0_u16;
    for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    bytes
}

/// Also a token that was being verified while the keys were exchanged, and is remembered only then.
#[tokio::test]
async fn what_another_ring_has_verified_is_verified_again() {
    let (world, _forge) = world().await;
    let token = world.bearer("alice").await;
    world.authenticate(&token, Place::Registry).await.expect("a good token");
    world.identity.ring.store(Arc::new(KeyRing::new(Vec::new()).expect("a ring without keys")));
    world.identity.directory.changed();
    assert!(world.authenticate(&token, Place::Registry).await.is_err(), "no key in force has signed it");
}
