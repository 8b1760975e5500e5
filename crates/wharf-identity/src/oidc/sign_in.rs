//! People who sign in to the pages with another provider: OpenID Connect's authorization code flow with PKCE (S-065).
//!
//! The browser is sent to the provider with three values that only it can be the source of: `state`, a nonce and the challenge of
//! a verifier. All of them are made from one secret that the browser keeps in a cookie, so what comes back counts only in the
//! browser that it was begun in, and the database has nothing that could be used. What is begun is a row there, and taking that
//! row is what finishes it: so it is finished once, whatever replica the browser comes back to.
//!
//! A provider that is not honest may send the browser on to another one, to be given that one's code (mix-up, RFC 9700 §4.4).
//! Each has an address of its own to come back to, and names itself in `iss` where it says that it does (RFC 9207); so a code
//! goes to nobody but the provider that gave it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use url::Url;
use wharf_base::{Clock, Secret};
use wharf_policy::Pattern;

use super::claims::Claims;
use super::config::{Person, SignIn, patterns};
use super::issuer::{self, TrustedIssuer};
use super::keys::{self, Discovery, KeysError};
use crate::sealed::derived;
use crate::{StartError, secret_text};

/// What is made from a browser's secret, each with its own words.
const FOR_STATE: &[u8] = b"wharf: state of a sign-in";
const FOR_NONCE: &[u8] = b"wharf: nonce of a sign-in";
const FOR_VERIFIER: &[u8] = b"wharf: verifier of a sign-in";

/// How long what the provider says about itself is good for.
const DISCOVERY_GOOD_FOR: Duration = Duration::from_secs(600);

/// The longest code that is passed on, in bytes, and the longest secret of a client in its file.
const CODE_MAX_BYTES: usize = 4_096;
const SECRET_MAX_BYTES: u64 = 4_096;

/// A button of the sign-in page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInProvider {
    /// Its id in addresses.
    pub id: String,
    /// What people know it by.
    pub name: String,
}

/// What a browser brings back from a provider.
#[derive(Clone, Debug)]
pub struct SignInAnswer {
    /// `state`.
    pub state: Secret<String>,
    /// `code`, if the provider has let somebody in.
    pub code: Option<Secret<String>>,
    /// `iss`: who the provider says that it is.
    pub issuer: Option<String>,
    /// `error`, if it has not.
    pub error: Option<String>,
}

/// Why nobody is signed in by another provider. None of these holds anything that was presented.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// There is no such provider.
    #[error("there is no such provider")]
    UnknownProvider,
    /// What came back belongs to no sign-in that this browser has begun: it is over, too old, or of another browser.
    #[error("this sign-in is over, or was begun in another browser; begin again")]
    Stale,
    /// It came from another provider than the one that it was begun with.
    #[error("the answer is of another provider than the sign-in; begin again")]
    OtherProvider,
    /// The provider did not let anybody in.
    #[error("{0} did not sign you in; begin again, or ask whoever looks after it")]
    Refused(String),
    /// What the provider gave is not what it must be.
    #[error("the answer of {provider} is not valid; try again, or ask whoever looks after the registry")]
    Invalid {
        /// Which provider.
        provider: String,
        /// What is wrong, for the log.
        problem: &'static str,
    },
    /// The provider knows who it is, and configuration lets nobody in of whom it says that.
    #[error("{0} knows you, and this registry does not let you in; ask an administrator")]
    NotAdmitted(String),
    /// Too many sign-ins from here, or at all.
    #[error("too many sign-ins have been begun; wait a moment")]
    TooMany {
        /// For how long.
        retry_after: Duration,
    },
    /// The provider does not answer.
    #[error("{provider} does not answer; try again")]
    Unavailable {
        /// Which provider.
        provider: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The metadata database did not answer.
    #[error("signing in")]
    Meta(#[from] wharf_meta::Error),
}

/// Somebody whom a provider vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) subject: String,
    pub(crate) roles: Vec<String>,
}

/// The registry as a client of one provider.
pub(super) struct SignInClient {
    pub(super) config: SignIn,
    secret: Option<Secret<String>>,
    people: Vec<Condition>,
    discovered: tokio::sync::Mutex<Option<(Duration, Arc<Discovery>)>>,
}

/// Whom to let in, compiled.
struct Condition {
    claims: Vec<(String, Pattern)>,
    person: Person,
}

impl Condition {
    /// All of its conditions hold; of a claim with several values, for one of them.
    fn holds(&self, claims: &Claims) -> bool {
        self.claims.iter().all(|(claim, wanted)| claims.of_person(claim).iter().any(|found| wanted.matches(found)))
    }
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

impl SignInClient {
    pub(super) fn new(config: &SignIn) -> Result<Self, StartError> {
        let secret = config.client_secret_file.as_deref().map(|path| {
            let failed = |source| StartError::File {
                key: "oidc.issuers.sign_in.client_secret_file",
                path: path.display().to_string(),
                source,
            };
            let too_large = std::fs::metadata(path).map_err(failed)?.len() > SECRET_MAX_BYTES;
            if too_large {
                return Err(failed(std::io::Error::other("it is too large to be a secret")));
            }
            Ok(Secret::from(std::fs::read_to_string(path).map_err(failed)?.trim_end().to_owned()))
        });
        Ok(Self {
            config: config.clone(),
            secret: secret.transpose()?,
            people: config
                .people
                .iter()
                .map(|person| Condition { claims: patterns(&person.claims), person: person.clone() })
                .collect(),
            discovered: tokio::sync::Mutex::default(),
        })
    }

    fn name(&self) -> String {
        self.config.name.clone()
    }

    fn unavailable(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SignInError {
        SignInError::Unavailable { provider: self.name(), source: source.into() }
    }

    fn invalid(&self, problem: &'static str) -> SignInError {
        SignInError::Invalid { provider: self.name(), problem }
    }

    /// What the provider says about itself, asked for at most every ten minutes while it answers.
    async fn discovery(&self, issuer: &TrustedIssuer, clock: &dyn Clock) -> Result<Arc<Discovery>, SignInError> {
        let mut discovered = self.discovered.lock().await;
        let now = clock.monotonic();
        if let Some((at, known)) = &*discovered
            && now.saturating_sub(*at) < DISCOVERY_GOOD_FOR
        {
            return Ok(Arc::clone(known));
        }
        let found = keys::discover(&issuer.name, &issuer.own).await.map_err(|error| self.unavailable(error))?;
        let found = Arc::new(found);
        *discovered = Some((now, Arc::clone(&found)));
        Ok(found)
    }

    /// Where the browser goes.
    pub(super) async fn address(
        &self,
        issuer: &TrustedIssuer,
        secret: &Secret<String>,
        redirect_uri: &str,
        clock: &dyn Clock,
    ) -> Result<Url, SignInError> {
        let discovery = self.discovery(issuer, clock).await?;
        let endpoint = discovery.authorization_endpoint.as_deref().and_then(|text| Url::parse(text).ok());
        let endpoint = endpoint.filter(|url| url.scheme() == "https" && url.fragment().is_none());
        let mut url = endpoint.ok_or_else(|| self.invalid("its authorization endpoint is no https:// URL"))?;
        let challenge = URL_SAFE_NO_PAD.encode(secret_text::sha256(made_from(secret, FOR_VERIFIER).expose()));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &self.config.scopes.join(" "))
            .append_pair("state", made_from(secret, FOR_STATE).expose())
            .append_pair("nonce", made_from(secret, FOR_NONCE).expose())
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Whether what came back is of the provider that the sign-in was begun with.
    pub(super) async fn check_provider(
        &self,
        issuer: &TrustedIssuer,
        answer: &SignInAnswer,
        clock: &dyn Clock,
    ) -> Result<(), SignInError> {
        match &answer.issuer {
            Some(named) if *named == issuer.name => Ok(()),
            Some(_) => Err(SignInError::OtherProvider),
            None if self.discovery(issuer, clock).await?.authorization_response_iss_parameter_supported => {
                Err(SignInError::OtherProvider)
            }
            None => Ok(()),
        }
    }

    /// Who it is: the code is given to the provider for an ID token, which is verified and looked at.
    pub(super) async fn admit(
        &self,
        issuer: &TrustedIssuer,
        secret: &Secret<String>,
        code: &Secret<String>,
        redirect_uri: &str,
        clock: &dyn Clock,
    ) -> Result<Admitted, SignInError> {
        let is_plain =
            code.expose().len() <= CODE_MAX_BYTES && code.expose().bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain {
            return Err(self.invalid("its code has characters that no code has"));
        }
        let token = self.exchange(issuer, secret, code, redirect_uri, clock).await?;
        let claims = issuer.claims(token.expose(), &self.config.client_id, clock).await;
        let claims = claims.map_err(|error| self.unavailable(error))?;
        let claims = claims.ok_or_else(|| self.invalid("its ID token does not hold"))?;
        if claims.text("nonce").map(Secret::from) != Some(made_from(secret, FOR_NONCE)) {
            return Err(self.invalid("its ID token is of another sign-in"));
        }
        if claims.has("azp") && claims.text("azp").as_deref() != Some(&self.config.client_id) {
            return Err(self.invalid("its ID token was made for another client"));
        }
        self.person(&claims).ok_or_else(|| SignInError::NotAdmitted(self.name()))
    }

    fn person(&self, claims: &Claims) -> Option<Admitted> {
        let person = &self.people.iter().find(|condition| condition.holds(claims))?.person;
        let subject = issuer::subject(&person.subject, |claim| claims.of_person(claim).into_iter().next())?;
        Some(Admitted { subject, roles: person.roles.clone() })
    }

    async fn exchange(
        &self,
        issuer: &TrustedIssuer,
        secret: &Secret<String>,
        code: &Secret<String>,
        redirect_uri: &str,
        clock: &dyn Clock,
    ) -> Result<Secret<String>, SignInError> {
        let discovery = self.discovery(issuer, clock).await?;
        let endpoint = discovery.token_endpoint.as_deref().and_then(|text| Url::parse(text).ok());
        let endpoint = endpoint.ok_or_else(|| self.invalid("its token endpoint is no URL"))?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code.expose())
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("client_id", &self.config.client_id)
            .append_pair("code_verifier", made_from(secret, FOR_VERIFIER).expose())
            .finish();
        let client = issuer.client_for(&endpoint);
        let answer = client.post_form(&endpoint, form, self.authorization().as_ref()).await;
        let answer = answer.map_err(|error| self.unavailable(error))?;
        match answer.status {
            200 => {
                let tokens = serde_json::from_slice::<Tokens>(&answer.body);
                tokens
                    .map(|tokens| tokens.id_token.into())
                    .map_err(|_| self.invalid("it gave no ID token for the code"))
            }
            400..=499 => Err(self.invalid("it did not take its own code")),
            status => Err(self.unavailable(KeysError::Status { what: "the token endpoint", status })),
        }
    }

    /// RFC 6749 §2.3.1: both halves are encoded before they are put together.
    fn authorization(&self) -> Option<Secret<String>> {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let secret = self.secret.as_ref()?;
        let pair = format!("{}:{}", encode(&self.config.client_id), encode(secret.expose()));
        Some(format!("Basic {}", STANDARD.encode(pair)).into())
    }
}

/// `state` of the sign-in that the browser with this secret has begun.
pub(crate) fn state(secret: &Secret<String>) -> Secret<String> {
    made_from(secret, FOR_STATE)
}

fn made_from(secret: &Secret<String>, purpose: &[u8]) -> Secret<String> {
    hex::encode(derived(secret, purpose)).into()
}
