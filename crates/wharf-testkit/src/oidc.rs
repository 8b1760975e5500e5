use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::https::Https;
use crate::sign_ins::SignIns;
use crate::{Authority, Fault, Tls};

/// What an issuer signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningKind {
    /// RS256.
    Rsa,
    /// ES256.
    P256,
    /// EdDSA.
    Ed25519,
}

/// An OpenID Connect issuer: discovery and keys over TLS, and tokens of whatever claims a test wants.
pub struct FakeOidc {
    https: Https,
    authority: Authority,
    state: Arc<Mutex<State>>,
}

struct State {
    keys: Vec<Key>,
    jwks: Option<Value>,
    discovery: Option<Value>,
    discoveries: usize,
    key_fetches: usize,
    url: String,
    sign_ins: SignIns,
}

struct Key {
    kid: String,
    algorithm: Algorithm,
    signing: EncodingKey,
    jwk: Value,
}

impl FakeOidc {
    /// An issuer with one key.
    pub async fn start(kind: SigningKind) -> Self {
        let authority = Authority::new();
        let state = Arc::new(Mutex::new(State {
            keys: vec![Key::new("first", kind)],
            jwks: None,
            discovery: None,
            discoveries: 0,
            key_fetches: 0,
            url: String::new(),
            sign_ins: SignIns::default(),
        }));
        let shared = Arc::clone(&state);
        let answer = Arc::new(move |head: &Parts, body: &[u8]| shared.lock().unwrap().answer(head, body));
        let https = Https::start(&authority, &Tls::default(), answer).await;
        state.lock().unwrap().url = format!("https://{}", https.address);
        Self { https, authority, state }
    }

    /// Its URL, which its tokens spell in `iss`.
    pub fn url(&self) -> String {
        self.state.lock().unwrap().url.clone()
    }

    /// Its authority's certificate.
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    /// Puts a new key in the place of all others.
    pub fn rotate(&self, kid: &str, kind: SigningKind) {
        self.state.lock().unwrap().keys = vec![Key::new(kid, kind)];
    }

    /// Answers with this key set from now on.
    pub fn publish(&self, jwks: Value) {
        self.state.lock().unwrap().jwks = Some(jwks);
    }

    /// The key set as it would be.
    pub fn jwks(&self) -> Value {
        self.state.lock().unwrap().key_set()
    }

    /// Answers with this discovery document from now on.
    pub fn announce(&self, discovery: Value) {
        self.state.lock().unwrap().discovery = Some(discovery);
    }

    /// Knows a client from now on, which authenticates itself and is sent back to this address.
    pub fn register(&self, client_id: &str, secret: &str, redirect_uri: &str) {
        let client = (client_id.to_owned(), secret.to_owned(), redirect_uri.to_owned());
        self.state.lock().unwrap().sign_ins.client = Some(client);
    }

    /// Whoever comes to sign in is this person, of whom tokens say these claims besides those that all of them have.
    pub fn person(&self, claims: Value) {
        self.state.lock().unwrap().sign_ins.person = claims;
    }

    /// Lets the person in as their browser asks for it at `address`; where it is sent then.
    pub fn consent(&self, address: &str) -> String {
        let query = address.split_once('?').map_or("", |(_, query)| query);
        let mut state = self.state.lock().unwrap();
        let url = state.url.clone();
        let (status, to) = state.sign_ins.authorize(&url, query);
        assert_eq!(status, 302, "{to}");
        to
    }

    /// How many codes were exchanged for tokens.
    pub fn exchanges(&self) -> usize {
        self.state.lock().unwrap().sign_ins.exchanges
    }

    /// Misbehaves from now on.
    pub fn misbehave(&self, fault: Fault) {
        *self.https.fault.lock().unwrap() = fault;
    }

    /// How often its keys were fetched.
    pub fn key_fetches(&self) -> usize {
        self.state.lock().unwrap().key_fetches
    }

    /// How often its discovery document was fetched.
    pub fn discoveries(&self) -> usize {
        self.state.lock().unwrap().discoveries
    }

    /// A token of these claims, signed with the newest key.
    pub fn mint(&self, claims: &Value) -> String {
        let state = self.state.lock().unwrap();
        let key = state.keys.last().unwrap();
        let mut header = Header::new(key.algorithm);
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, claims, &key.signing).unwrap()
    }

    /// The same with another header, whose `alg` must be one that the key can sign with.
    pub fn mint_with(&self, header: &Header, claims: &Value) -> String {
        let state = self.state.lock().unwrap();
        jsonwebtoken::encode(header, claims, &state.keys.last().unwrap().signing).unwrap()
    }
}

/// A token of any header and claims, with these bytes in the place of a signature.
pub fn forge(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!("{}.{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()), encode(signature))
}

impl State {
    fn answer(&mut self, head: &Parts, body: &[u8]) -> (u16, String) {
        match head.uri.path() {
            "/authorize" => self.sign_ins.authorize(&self.url, head.uri.query().unwrap_or_default()),
            "/token" => match self.sign_ins.exchange(&self.url, head, body) {
                Ok(claims) => {
                    let key = self.keys.last().unwrap();
                    let header = Header { kid: Some(key.kid.clone()), ..Header::new(key.algorithm) };
                    let id_token = jsonwebtoken::encode(&header, &claims, &key.signing).unwrap();
                    let answer = json!({ "access_token": "x", "token_type": "Bearer", "id_token": id_token });
                    (200, answer.to_string())
                }
                Err(error) => (400, json!({ "error": error }).to_string()),
            },
            "/.well-known/openid-configuration" => {
                self.discoveries += 1;
                let own = json!({
                    "issuer": self.url, "jwks_uri": format!("{}/keys", self.url),
                    "authorization_endpoint": format!("{}/authorize", self.url),
                    "token_endpoint": format!("{}/token", self.url),
                    "authorization_response_iss_parameter_supported": true,
                });
                (200, self.discovery.clone().unwrap_or(own).to_string())
            }
            "/keys" => {
                self.key_fetches += 1;
                (200, self.jwks.clone().unwrap_or_else(|| self.key_set()).to_string())
            }
            _ => (404, "{}".to_owned()),
        }
    }

    fn key_set(&self) -> Value {
        json!({ "keys": self.keys.iter().map(|key| key.jwk.clone()).collect::<Vec<_>>() })
    }
}

impl Key {
    fn new(kid: &str, kind: SigningKind) -> Self {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (algorithm, signing, mut jwk) = match kind {
            SigningKind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let document = pair.to_pkcs8().unwrap();
                let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) });
                (Algorithm::EdDSA, EncodingKey::from_ed_der(document.as_ref()), jwk)
            }
            SigningKind::P256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                let document = pair.to_pkcs8v1().unwrap();
                let point = pair.public_key().as_ref();
                let jwk =
                    json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..65]) });
                (Algorithm::ES256, EncodingKey::from_ec_der(document.as_ref()), jwk)
            }
            SigningKind::Rsa => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                let document = pair.as_der().unwrap();
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                let jwk = json!({
                    "kty": "RSA", "n": encode(n.big_endian_without_leading_zero()),
                    "e": encode(e.big_endian_without_leading_zero()),
                });
                (Algorithm::RS256, EncodingKey::from_rsa_der(&rsa_of(document.as_ref())), jwk)
            }
        };
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        Self { kid: kid.to_owned(), algorithm, signing, jwk }
    }
}

/// The RSA key inside of a PKCS #8 document, which is what the JWT library takes: behind a header of 26 bytes for keys of
/// this size.
fn rsa_of(pkcs8: &[u8]) -> Vec<u8> {
    pkcs8[26..].to_vec()
}
