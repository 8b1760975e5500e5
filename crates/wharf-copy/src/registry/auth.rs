//! Who one is at a registry: credentials, and the tokens that were got for them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use url::Url;
use wharf_base::Secret;
use wharf_oci::RepositoryName;

use super::challenge::{self, Wanted};
use super::{LIST_MAX_BYTES, Registry, Request, is_loopback};
use crate::Error;

/// How long a token is good that does not say so.
const LIFE: Duration = Duration::from_secs(60);

/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(10);

/// The longest life of a token that is believed.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);

/// How many tokens are kept; all are forgotten when there are more.
const TOKENS_MAX: usize = 1_000;

/// Credentials of a registry.
#[derive(Clone, Debug)]
pub enum Login {
    /// None.
    Nobody,
    /// A name and a password, for the registry or for whoever gives out its tokens.
    Password(String, Secret<String>),
    /// A token that is sent as it is.
    Token(Secret<String>),
}

/// What a request is about, which decides on the token that it needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access<'a> {
    /// The list of all repositories.
    Catalog,
    /// Reading from a repository.
    Pull(&'a RepositoryName),
    /// Writing to a repository.
    Push(&'a RepositoryName),
    /// Deleting from a repository.
    Delete(&'a RepositoryName),
}

impl Access<'_> {
    fn scope(&self) -> String {
        match self {
            Self::Catalog => "registry:catalog:*".to_owned(),
            Self::Pull(name) => format!("repository:{name}:pull"),
            Self::Push(name) => format!("repository:{name}:pull,push"),
            Self::Delete(name) => format!("repository:{name}:pull,delete"),
        }
    }
}

/// Credentials and tokens.
pub(super) struct Keyring {
    pub(super) login: Login,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Whether the registry takes name and password themselves.
    wants_basic: bool,
    /// By scope.
    tokens: HashMap<String, Token>,
}

struct Token {
    text: Secret<String>,
    until: Instant,
}

impl Keyring {
    pub(super) fn new(login: Login) -> Self {
        Self { login, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to send as `Authorization`, as far as that is known.
    pub(super) fn header(&self, access: &Access<'_>) -> Result<Option<HeaderValue>, Error> {
        if let Login::Token(token) = &self.login {
            return bearer(token).map(Some);
        }
        let known = self.known();
        if known.wants_basic {
            return Ok(self.basic());
        }
        let token = known.tokens.get(&access.scope()).filter(|token| Instant::now() < token.until);
        token.map(|token| bearer(&token.text)).transpose()
    }

    fn basic(&self) -> Option<HeaderValue> {
        let Login::Password(name, password) = &self.login else { return None };
        let pair = Secret::new(format!("{name}:{}", password.expose()));
        let text = Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair.expose())));
        let mut value = HeaderValue::from_str(text.expose()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn keep(&self, access: &Access<'_>, token: Token) {
        let mut known = self.known();
        if known.tokens.len() >= TOKENS_MAX {
            known.tokens.clear();
        }
        known.tokens.insert(access.scope(), token);
    }
}

impl Registry {
    /// Finds out from a 401 what has to be sent, and gets it.
    ///
    /// # Errors
    ///
    /// [`Error::NotLoggedIn`]: nothing helps; in the server's words.
    pub(super) async fn log_in(&self, request: &Request<'_>, refused: Response) -> Result<(), Error> {
        let values = refused.headers().get_all(WWW_AUTHENTICATE).iter();
        let wanted: Vec<Wanted> = values.filter_map(|value| challenge::parse(value.to_str().ok()?)).collect();
        let refusal = self.refusal(&request.doing, refused).await;
        if matches!(self.keyring.login, Login::Token(_)) {
            return Err(refusal);
        }
        for wanted in wanted {
            match wanted {
                Wanted::Bearer { realm, service, scope } => {
                    let scope = scope.unwrap_or_else(|| request.access.scope());
                    let token = self.token(&realm, service.as_deref(), &scope).await?;
                    self.keyring.keep(&request.access, token);
                    return Ok(());
                }
                Wanted::Basic => {
                    let mut known = self.keyring.known();
                    if !known.wants_basic && self.keyring.basic().is_some() {
                        known.wants_basic = true;
                        return Ok(());
                    }
                }
            }
        }
        Err(refusal)
    }

    async fn token(&self, realm: &str, service: Option<&str>, scope: &str) -> Result<Token, Error> {
        let mut url = self.base.join(realm).map_err(|error| {
            Error::damaged(self.address(), format!("it says that tokens come from {realm:?}: {error}"))
        })?;
        if url.scheme() != "https" && (self.base.scheme() == "https" || !self.may_be_plain(&url)) {
            let how = format!("it says that tokens come from {url}, which is not encrypted");
            return Err(Error::damaged(self.address(), how));
        }
        url.query_pairs_mut().extend_pairs(service.map(|service| ("service", service)));
        for one in scope.split(' ') {
            url.query_pairs_mut().append_pair("scope", one);
        }
        let mut request = self.http.get(url).timeout(super::PATIENCE);
        if let Some(value) = self.keyring.basic() {
            request = request.header(AUTHORIZATION, value);
        }
        let asked = Instant::now();
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        if response.status() != StatusCode::OK {
            return Err(match self.refusal("give a token", response).await {
                Error::Refused { server, message, .. } | Error::Denied { server, message } => {
                    Error::NotLoggedIn { server, message }
                }
                other => other,
            });
        }
        let body = self.read(response, LIST_MAX_BYTES).await?;
        let answer: serde_json::Value = serde_json::from_slice(&body)
            .map_err(|error| Error::damaged(self.address(), format!("its token is no JSON: {error}")))?;
        let text = answer["token"].as_str().or(answer["access_token"].as_str()).unwrap_or_default();
        let life = answer["expires_in"].as_u64().map_or(LIFE, Duration::from_secs).min(LIFE_MAX);
        Ok(Token { text: text.into(), until: asked + life.saturating_sub(MARGIN) })
    }

    /// Whoever allowed a plain connection to the registry did so for its own host.
    fn may_be_plain(&self, url: &Url) -> bool {
        is_loopback(url) || url.host() == self.base.host()
    }
}

fn bearer(token: &Secret<String>) -> Result<HeaderValue, Error> {
    let text = Secret::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(text.expose())
        .map_err(|_| Error::Usage("the token holds characters that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
