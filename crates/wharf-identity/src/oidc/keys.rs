//! An issuer's keys: where they are, when they are fetched, and which of them are believed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use serde::Deserialize;
use url::Url;
use wharf_base::Clock;
use wharf_outgoing::{Client, Error as Outgoing};

/// The most keys of an issuer (security requirements, §3.3).
const KEYS_MAX: usize = 64;

/// How often keys are fetched anew; and how often at most because of a key id that is not known (S-034).
const REFRESH_EVERY: Duration = Duration::from_secs(600);
const FORCED_EVERY: Duration = Duration::from_secs(60);

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    #[error("fetching {what}")]
    Fetch {
        what: &'static str,
        #[source]
        source: Outgoing,
    },
    #[error("{what} was answered with status {status}")]
    Status { what: &'static str, status: u16 },
    #[error("{what} is not what is expected: {problem}")]
    Form { what: &'static str, problem: String },
    #[error("keys were asked for less than a minute ago, and there were none")]
    Waiting,
}

/// A key, and the kind of signature it is for.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) decoding: DecodingKey,
    pub(super) family: Family,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// The keys as they were last fetched.
pub(super) struct Keys {
    fetched: tokio::sync::Mutex<Fetched>,
}

#[derive(Default)]
struct Fetched {
    keys: Arc<HashMap<String, Key>>,
    at: Option<Duration>,
    tried_at: Option<Duration>,
}

/// What an issuer says about itself.
#[derive(Deserialize)]
pub(super) struct Discovery {
    issuer: String,
    jwks_uri: String,
    #[serde(default)]
    pub(super) authorization_endpoint: Option<String>,
    #[serde(default)]
    pub(super) token_endpoint: Option<String>,
    /// Whether it names itself in what browsers bring back (RFC 9207).
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

const DISCOVERY: &str = "the discovery document";

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self { fetched: tokio::sync::Mutex::default() }
    }

    /// The key of that id; `None` if the issuer has none. Fetches at most once a minute, one at a time; while that fails
    /// the keys that are known stay.
    pub(super) async fn get(
        &self,
        kid: &str,
        issuer: &str,
        own: &Client,
        guarded: &Client,
        clock: &dyn Clock,
    ) -> Result<Option<Key>, KeysError> {
        let mut fetched = self.fetched.lock().await;
        let now = clock.monotonic();
        let is_old = fetched.at.is_none_or(|at| now.saturating_sub(at) >= REFRESH_EVERY);
        let may_try = fetched.tried_at.is_none_or(|at| now.saturating_sub(at) >= FORCED_EVERY);
        if (is_old || !fetched.keys.contains_key(kid)) && may_try {
            fetched.tried_at = Some(now);
            match fetch(issuer, own, guarded).await {
                Ok(keys) => {
                    fetched.keys = Arc::new(keys);
                    fetched.at = Some(now);
                }
                Err(error) if fetched.keys.contains_key(kid) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the keys of {issuer} could not be fetched anew"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        match fetched.keys.get(kid) {
            Some(key) => Ok(Some(key.clone())),
            // Nothing was ever fetched: whether there is such a key is not known (S-033).
            None if fetched.at.is_none() => Err(KeysError::Waiting),
            None => Ok(None),
        }
    }
}

/// What the issuer says about itself; it must be about the issuer.
pub(super) async fn discover(issuer: &str, own: &Client) -> Result<Discovery, KeysError> {
    let discovery: Discovery = get(own, &discovery_url(issuer)?, DISCOVERY).await?;
    if discovery.issuer != issuer {
        return Err(form(DISCOVERY, &"it is that of another issuer"));
    }
    Ok(discovery)
}

fn discovery_url(issuer: &str) -> Result<Url, KeysError> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    Url::parse(&url).map_err(|error| form(DISCOVERY, &error))
}

fn form(what: &'static str, problem: &dyn std::fmt::Display) -> KeysError {
    KeysError::Form { what, problem: problem.to_string() }
}

/// Discovery, then the keys that it points to. They are on the issuer's own origin, or anywhere public.
async fn fetch(issuer: &str, own: &Client, guarded: &Client) -> Result<HashMap<String, Key>, KeysError> {
    const KEYS: &str = "the key set";
    let (url, discovery) = (discovery_url(issuer)?, discover(issuer, own).await?);
    let keys_url = Url::parse(&discovery.jwks_uri).map_err(|error| form(DISCOVERY, &error))?;
    let client = if keys_url.origin() == url.origin() { own } else { guarded };
    let set: KeySet = get(client, &keys_url, KEYS).await?;
    if set.keys.len() > KEYS_MAX {
        return Err(form(KEYS, &"there are too many keys in it"));
    }
    let mut keys = HashMap::new();
    for value in set.keys {
        let Some((kid, key)) = key(value).map_err(|problem| form(KEYS, &problem))? else { continue };
        if keys.insert(kid, key).is_some() {
            return Err(form(KEYS, &"two keys have the same id"));
        }
    }
    Ok(keys)
}

async fn get<T: serde::de::DeserializeOwned>(client: &Client, url: &Url, what: &'static str) -> Result<T, KeysError> {
    let answer = client.get(url).await.map_err(|source| KeysError::Fetch { what, source })?;
    if answer.status != 200 {
        return Err(KeysError::Status { what, status: answer.status });
    }
    serde_json::from_slice(&answer.body).map_err(|error| KeysError::Form { what, problem: error.to_string() })
}

/// A key of the set; `None` for one that is of a kind or use that means nothing here. A secret among them makes the whole
/// set worthless: whoever publishes it has lost control of it (B-093).
fn key(value: serde_json::Value) -> Result<Option<(String, Key)>, &'static str> {
    let holds = |member: &str| value.get(member).is_some();
    if value.get("kty").and_then(|kty| kty.as_str()) == Some("oct") || holds("k") || holds("d") || holds("p") {
        return Err("there is a secret key in it");
    }
    if value.get("use").is_some_and(|usage| usage != "sig") {
        return Ok(None);
    }
    let Ok(jwk) = serde_json::from_value::<Jwk>(value) else { return Ok(None) };
    let Some(kid) = jwk.common.key_id.clone() else { return Ok(None) };
    let family = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Family::Rsa,
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            jsonwebtoken::jwk::EllipticCurve::P256 => Family::P256,
            jsonwebtoken::jwk::EllipticCurve::P384 => Family::P384,
            _ => return Ok(None),
        },
        AlgorithmParameters::OctetKeyPair(_) => Family::Ed25519,
        _ => return Ok(None),
    };
    let Ok(decoding) = DecodingKey::from_jwk(&jwk) else { return Ok(None) };
    Ok(Some((kid, Key { decoding, family })))
}
