//! One issuer that is trusted.

use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation};
use url::Url;
use wharf_base::Clock;
use wharf_outgoing::{Client, Options, Reach, TlsMin};
use wharf_policy::Pattern;

use super::claims::Claims;
use super::config::{Issuer, JwtAlgorithm, Trust, patterns, template};
use super::keys::{Family, Keys, KeysError};
use super::sign_in::SignInClient;
use crate::StartError;

/// The longest discovery document or key set, in bytes.
const ANSWER_MAX_BYTES: usize = 256 << 10;

pub(super) struct TrustedIssuer {
    /// As its tokens spell it.
    pub(super) name: String,
    algorithms: Vec<JwtAlgorithm>,
    trust: Vec<Condition>,
    keys: Keys,
    /// For what is on the issuer's own origin, which the operator has named.
    pub(super) own: Client,
    /// For what its documents point to.
    guarded: Client,
    /// For people who sign in with it, if they may.
    pub(super) sign_in: Option<SignInClient>,
}

struct Condition {
    claims: Vec<(String, Pattern)>,
    trust: Trust,
}

impl TrustedIssuer {
    pub(super) fn new(config: &Issuer) -> Result<Self, StartError> {
        let certificates = config.ca_certificate.as_deref().map(|path| {
            std::fs::read(path).map_err(|source| StartError::File {
                key: "oidc.issuers.ca_certificate",
                path: path.display().to_string(),
                source,
            })
        });
        let certificates = certificates.transpose()?;
        let client = |reach| {
            let options = Options {
                tls_min: TlsMin::V1_2,
                ca_certificates: certificates.clone(),
                reach,
                connect_timeout: Duration::from_secs(2),
                timeout: Duration::from_secs(5),
                answer_max_bytes: ANSWER_MAX_BYTES,
                in_flight_max: 4,
            };
            Client::new(options).map_err(|source| StartError::Client { provider: config.issuer.clone(), source })
        };
        let trust =
            config.trust.iter().map(|trust| Condition { claims: patterns(&trust.claims), trust: trust.clone() });
        Ok(Self {
            name: config.issuer.clone(),
            algorithms: config.algorithms.clone(),
            trust: trust.collect(),
            keys: Keys::new(),
            own: client(Reach::Anywhere)?,
            guarded: client(Reach::Public)?,
            sign_in: config.sign_in.as_ref().map(SignInClient::new).transpose()?,
        })
    }

    /// Whether its tokens stand for programs.
    pub(super) fn is_for_programs(&self) -> bool {
        !self.trust.is_empty()
    }

    /// Who asks for `url`, which its documents point to: it is on the issuer's own origin, or anywhere public.
    pub(super) fn client_for(&self, url: &Url) -> &Client {
        let is_own = Url::parse(&self.name).is_ok_and(|own| own.origin() == url.origin());
        if is_own { &self.own } else { &self.guarded }
    }

    /// The claims of `token`, if it is this issuer's, for `audience`, and now is its time.
    pub(super) async fn claims(
        &self,
        token: &str,
        audience: &str,
        clock: &dyn Clock,
    ) -> Result<Option<Claims>, KeysError> {
        let Ok(header) = jsonwebtoken::decode_header(token) else { return Ok(None) };
        let Some(algorithm) = self.algorithm(header.alg) else { return Ok(None) };
        let Some(kid) = header.kid.filter(|kid| kid.len() <= 256) else { return Ok(None) };
        let Some(key) = self.keys.get(&kid, &self.name, &self.own, &self.guarded, clock).await? else {
            return Ok(None);
        };
        // The key says what it may have signed with, not the token.
        if key.family != family(algorithm) {
            return Ok(None);
        }
        let mut validation = Validation::new(header.alg);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let Ok(decoded) = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation) else { return Ok(None) };
        let claims = decoded.claims;
        let is_good = claims.iss == self.name && claims.is_for(audience) && claims.is_timely(clock.now());
        Ok(is_good.then_some(claims))
    }

    fn algorithm(&self, wanted: Algorithm) -> Option<JwtAlgorithm> {
        self.algorithms.iter().copied().find(|known| algorithm(*known) == wanted)
    }

    /// As whom the token is let in: by the first trust whose conditions all hold.
    pub(super) fn admit(&self, claims: &Claims) -> Option<(String, Vec<String>)> {
        let holds =
            |(claim, wanted): &(String, Pattern)| claims.text(claim).is_some_and(|found| wanted.matches(&found));
        let trust = &self.trust.iter().find(|condition| condition.claims.iter().all(holds))?.trust;
        let subject = subject(&trust.subject, |claim| claims.text(claim))?;
        Some((subject, trust.roles.clone()))
    }
}

/// The subject with its claims filled in. A value that would look like something else in a rule or a log is none.
pub(super) fn subject(text: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut subject = String::new();
    for (index, piece) in template(text)?.into_iter().enumerate() {
        match index % 2 {
            0 => subject.push_str(piece),
            _ => subject.push_str(&value(piece)?),
        }
    }
    let is_plain = subject.len() <= 255 && !subject.chars().any(|c| c.is_control() || c.is_whitespace());
    (is_plain && !subject.is_empty()).then_some(subject)
}

fn algorithm(name: JwtAlgorithm) -> Algorithm {
    match name {
        JwtAlgorithm::RS256 => Algorithm::RS256,
        JwtAlgorithm::RS384 => Algorithm::RS384,
        JwtAlgorithm::RS512 => Algorithm::RS512,
        JwtAlgorithm::PS256 => Algorithm::PS256,
        JwtAlgorithm::ES256 => Algorithm::ES256,
        JwtAlgorithm::ES384 => Algorithm::ES384,
        JwtAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}

fn family(name: JwtAlgorithm) -> Family {
    match name {
        JwtAlgorithm::RS256 | JwtAlgorithm::RS384 | JwtAlgorithm::RS512 | JwtAlgorithm::PS256 => Family::Rsa,
        JwtAlgorithm::ES256 => Family::P256,
        JwtAlgorithm::ES384 => Family::P384,
        JwtAlgorithm::EdDSA => Family::Ed25519,
    }
}
