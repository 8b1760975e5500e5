//! Our own bearer tokens: Ed25519 JWTs (P-098, S-020 … S-023).
//!
//! What a token may look like is decided before any key is touched: its header has exactly three members, and the key is
//! found by an exact look-up of `kid` in memory. What its claims may be is decided by types that accept nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use wharf_base::{Clock, Rng, Secret, Timestamp};
use wharf_meta::SigningKey;
use wharf_oci::{Scope, ScopeAction, ScopeResource};

use crate::StartError;

/// What the ids of our keys begin with; by it a token is known to be ours, whatever else is wrong with it (S-024).
const KID_PREFIX: &str = "wharf-";
const KID_MAX_BYTES: usize = 64;

/// The longest token that is looked at, in bytes, and the most lines of access in one (security requirements, §3.3).
const TOKEN_MAX_BYTES: usize = 8 << 10;
const ACCESS_MAX: usize = 64;

/// How far clocks may be apart, and the longest life of any token of ours, in seconds.
const LEEWAY_S: i64 = 30;
pub(crate) const LIFE_MAX: Duration = Duration::from_secs(3_600);

/// The most keys that verify.
const KEYS_MAX: usize = 8;

/// When a new key begins to sign: by then every replica knows it.
pub(crate) const SIGNS_AFTER: Duration = Duration::from_secs(60);

/// The claims of a token; all of them are there, and of exactly these types. A member twice is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: String,
    pub(crate) exp: i64,
    pub(crate) nbf: i64,
    pub(crate) iat: i64,
    pub(crate) jti: String,
    pub(crate) access: Vec<Line>,
    pub(crate) wharf: Origin,
}

/// One line of access, as other registries write it too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    r#type: String,
    name: String,
    actions: Vec<String>,
}

/// Who vouched for the subject, so that it is known again without asking; of accounts of this registry everything but the
/// name is looked up at each use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    pub(crate) provider: String,
    pub(crate) account_type: String,
    pub(crate) roles: Vec<String>,
    /// The API token or refresh token that it was fetched with: what is issued ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

impl Line {
    pub(crate) fn new(scope: &Scope) -> Self {
        Self {
            r#type: scope.resource.kind().to_owned(),
            name: scope.resource.name().to_owned(),
            actions: scope.actions.iter().map(|action| action.as_str().to_owned()).collect(),
        }
    }

    /// What it allows; `None` for what means nothing here.
    pub(crate) fn scope(&self) -> Option<Scope> {
        let resource = ScopeResource::parse(&self.r#type, &self.name)?;
        Some(Scope { resource, actions: self.actions.iter().filter_map(|action| ScopeAction::parse(action)).collect() })
    }
}

/// The header of a token; a fourth member is an error (S-020).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: String,
    typ: String,
    kid: String,
}

/// Whether `token` claims to be one of ours: by the form of its key's id, or by its issuer (S-024).
pub(crate) fn is_ours(token: &str, issuer: &str) -> bool {
    let mut parts = token.split('.');
    let kid = parts.next().and_then(member("kid")).is_some_and(|kid| kid.starts_with(KID_PREFIX));
    kid || parts.next().and_then(member("iss")).is_some_and(|iss| iss == issuer)
}

/// A text among the members of an encoded JSON object.
pub(crate) fn member(name: &'static str) -> impl FnOnce(&str) -> Option<String> {
    move |encoded| {
        let value: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
        value.get(name)?.as_str().map(str::to_owned)
    }
}

/// How many rings this process has made.
static RINGS: AtomicU64 = AtomicU64::new(0);

/// The keys in force, in memory.
pub(crate) struct KeyRing {
    number: u64,
    keys: Vec<Key>,
}

struct Key {
    id: String,
    signing: EncodingKey,
    verifying: DecodingKey,
    public: Vec<u8>,
    stored: SigningKey,
}

/// A new key pair, ready to be stored.
pub(crate) fn generate(clock: &dyn Clock, rng: &dyn Rng, signs_from: Timestamp) -> Result<SigningKey, StartError> {
    let mut id = [0; 16];
    rng.fill(&mut id);
    let id = format!("{KID_PREFIX}{}", hex::encode(id));
    let pair = Ed25519KeyPair::generate().map_err(|_| StartError::Key(id.clone()))?;
    let document = pair.to_pkcs8().map_err(|_| StartError::Key(id.clone()))?;
    Ok(SigningKey {
        id,
        algorithm: "EdDSA".to_owned(),
        private_key: Secret::new(document.as_ref().to_vec()),
        created_at: clock.now(),
        signs_from,
        retired_at: None,
    })
}

impl KeyRing {
    /// The ring of `stored`. A key that cannot be read is an error: what it signed could not be verified (S-081).
    pub(crate) fn new(mut stored: Vec<SigningKey>) -> Result<Self, StartError> {
        stored.sort_by_key(|key| std::cmp::Reverse(key.signs_from));
        stored.truncate(KEYS_MAX);
        let keys = stored.into_iter().map(|stored| {
            let pair = Ed25519KeyPair::from_pkcs8(stored.private_key.expose())
                .map_err(|_| StartError::Key(stored.id.clone()))?;
            let public = pair.public_key().as_ref().to_vec();
            Ok(Key {
                id: stored.id.clone(),
                signing: EncodingKey::from_ed_der(stored.private_key.expose()),
                verifying: DecodingKey::from_ed_der(&public),
                public,
                stored,
            })
        });
        let number = RINGS.fetch_add(1, Ordering::Relaxed);
        Ok(Self { number, keys: keys.collect::<Result<_, StartError>>()? })
    }

    /// Which of this process's rings it is: what another one has verified is not known to be good by this one.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The newest key's age, for rotation.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        self.keys.iter().map(|key| key.stored.created_at).max()
    }

    /// The keys as they are stored, newest first.
    pub(crate) fn stored(&self) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter().map(|key| &key.stored)
    }

    /// Signs `claims` with the newest key that signs already; the oldest, if none does yet.
    pub(crate) fn sign(&self, claims: &Claims, now: Timestamp) -> Option<Secret<String>> {
        let key = self.keys.iter().find(|key| key.stored.signs_from <= now).or(self.keys.last())?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(key.id.clone());
        jsonwebtoken::encode(&header, claims, &key.signing).ok().map(Secret::from)
    }

    /// The claims of `token`, if it is one of ours, for `audience`, by `issuer`, and now is its time.
    pub(crate) fn verify(&self, token: &str, issuer: &str, audience: &str, now: Timestamp) -> Option<Claims> {
        if token.len() > TOKEN_MAX_BYTES {
            return None;
        }
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
        let header: StrictHeader = serde_json::from_slice(&header).ok()?;
        if header.alg != "EdDSA" || header.typ != "JWT" || header.kid.len() > KID_MAX_BYTES {
            return None;
        }
        let key = self.keys.iter().find(|key| key.id == header.kid)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        // The times are checked below, by the clock that everything else goes by; the types by `Claims`.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[issuer]);
        let claims = jsonwebtoken::decode::<Claims>(token, &key.verifying, &validation).ok()?.claims;
        let is_ours = claims.iss == issuer && claims.aud == audience && claims.access.len() <= ACCESS_MAX;
        (is_ours && is_timely(&claims, now)).then_some(claims)
    }

    /// The public halves, for whoever wants to verify our tokens (RFC 7517, RFC 8037).
    pub(crate) fn jwks(&self) -> serde_json::Value {
        let keys = self.keys.iter().map(|key| {
            serde_json::json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key.id,
                "x": URL_SAFE_NO_PAD.encode(&key.public),
            })
        });
        serde_json::json!({ "keys": keys.collect::<Vec<_>>() })
    }
}

/// `exp`, `nbf` and `iat` make a life that is no longer than allowed and has begun and not ended (S-023).
fn is_timely(claims: &Claims, now: Timestamp) -> bool {
    let now = now.as_micros().div_euclid(1_000_000);
    let life_max = i64::try_from(LIFE_MAX.as_secs()).unwrap_or(i64::MAX);
    let life = claims.exp.saturating_sub(claims.iat);
    claims.iat >= 0
        && (0..=life_max).contains(&life)
        && claims.exp.saturating_add(LEEWAY_S) > now
        && claims.nbf <= now.saturating_add(LEEWAY_S)
        && claims.iat <= now.saturating_add(LEEWAY_S)
}

/// Whether a token that was verified before has not ended since.
pub(crate) fn is_alive(claims: &Claims, now: Timestamp) -> bool {
    is_timely(claims, now)
}

/// The ring as it is shared.
pub(crate) type SharedRing = arc_swap::ArcSwap<KeyRing>;

/// What a verified token stands for.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    /// The number of the ring whose key has signed it.
    pub(crate) ring: u64,
    pub(crate) claims: Arc<Claims>,
    pub(crate) access: Arc<[wharf_policy::Access]>,
}
