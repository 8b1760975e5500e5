//! MCIAS, the single sign-on (F-12, F-13).
//!
//! Two calls: a login gives a token, a validation says whose a token is. Validations are remembered for 30 s, so an
//! account that is revoked there is out here within that time; and only definite answers are, so a fault decides nothing.
//! Many requests with one token ask once: the others wait for that answer.

mod breaker;
mod cache;
mod config;
mod provider;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wharf_base::{Clock, Secret, Timestamp};
use wharf_outgoing::{Answer, Client, Options, Reach, TlsMin};
use wharf_policy::Principal;

use crate::StartError;
use crate::provider::Unavailable;

use breaker::Breaker;
use cache::Cache;
pub use config::Config;
pub(crate) use provider::McIasProvider;

/// The longest answer, in bytes (S-031).
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// What the single sign-on is called in errors and logs.
const NAME: &str = "MCIAS";

/// A login that succeeded.
#[derive(Clone, Debug)]
pub struct McIasLogin {
    /// The token, which is handed on as it is.
    pub token: Secret<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Whose a token is, until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Whose.
    pub principal: Principal,
    /// Until when.
    pub expires_at: Timestamp,
}

/// A client of MCIAS.
pub struct McIas {
    client: Client,
    login_url: url::Url,
    validate_url: url::Url,
    cache: Cache,
    breaker: Breaker,
    clock: Arc<dyn Clock>,
}

impl McIas {
    /// A client as `config` says; `None` if it names no server.
    ///
    /// # Errors
    ///
    /// The certificate cannot be read, or is none.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Option<Self>, StartError> {
        let Some(base) = config.base() else { return Ok(None) };
        let certificates = config.ca_certificate.as_deref().map(read).transpose()?;
        let client = Client::new(Options {
            tls_min: TlsMin::V1_3,
            ca_certificates: certificates,
            reach: Reach::Anywhere,
            connect_timeout: config.connect_timeout.get(),
            timeout: config.timeout.get(),
            answer_max_bytes: ANSWER_MAX_BYTES,
            in_flight_max: config.in_flight_max as usize,
        });
        let client = client.map_err(|source| StartError::Client { provider: NAME.to_owned(), source })?;
        let below = |path: &str| {
            let mut url = base.clone();
            let prefix = url.path().trim_end_matches('/').to_owned();
            url.set_path(&format!("{prefix}{path}"));
            url
        };
        Ok(Some(Self {
            client,
            login_url: below("/v1/auth/login"),
            validate_url: below("/v1/token/validate"),
            cache: Cache::new(),
            breaker: Breaker::new(),
            clock,
        }))
    }

    /// Logs in; `None` if name and password do not fit.
    ///
    /// # Errors
    ///
    /// [`Unavailable`]: there was no definite answer.
    ///
    /// # Source
    ///
    /// F-12; `DESIGN.md` §5.
    pub async fn login(&self, username: &str, password: &Secret<String>) -> Result<Option<McIasLogin>, Unavailable> {
        let body = wire::login_request(username, password.expose());
        let answer = self.ask(&self.login_url, body).await?;
        match answer.status {
            200 => wire::login(&answer.body).map(Some).map_err(|problem| self.fault(problem)),
            400 | 401 | 403 => Ok(None),
            status => Err(self.fault(wire::Problem::Status(status))),
        }
    }

    /// Whose `token` is; `None` if it is nobody's. Asked at most every 30 s for each token.
    ///
    /// # Errors
    ///
    /// [`Unavailable`]: there was no definite answer, and none that is fresh enough from before.
    ///
    /// # Source
    ///
    /// F-12, S-032, S-033.
    pub async fn validate_token(&self, token: &Secret<String>) -> Result<Option<Vouched>, Unavailable> {
        let clock = &*self.clock;
        self.cache.get_or_ask(token, clock, || self.ask_whose(token)).await
    }

    async fn ask_whose(&self, token: &Secret<String>) -> Result<Option<Vouched>, Unavailable> {
        let answer = self.ask(&self.validate_url, wire::validate_request(token.expose())).await?;
        match answer.status {
            200 => wire::validation(&answer.body).map_err(|problem| self.fault(problem)),
            400 | 401 | 403 => Ok(None),
            status => Err(self.fault(wire::Problem::Status(status))),
        }
    }

    async fn ask(&self, url: &url::Url, body: Vec<u8>) -> Result<Answer, Unavailable> {
        let now = self.clock.monotonic();
        self.breaker.enter(now).map_err(|wait| unavailable(wait, wire::Problem::Open))?;
        match self.client.post_json(url, body).await {
            Ok(answer) if answer.status < 500 && answer.status != 429 => {
                self.breaker.succeeded();
                Ok(answer)
            }
            Ok(answer) => Err(self.fault(wire::Problem::Status(answer.status))),
            Err(error) => Err(self.fault(error)),
        }
    }

    /// It was asked, and what came is no answer.
    fn fault(&self, source: impl std::error::Error + Send + Sync + 'static) -> Unavailable {
        self.breaker.failed(self.clock.monotonic());
        tracing::warn!(error = &source as &dyn std::error::Error, "{NAME} gave no answer: {source}");
        unavailable(Duration::from_secs(1), source)
    }
}

fn unavailable(retry_after: Duration, source: impl std::error::Error + Send + Sync + 'static) -> Unavailable {
    Unavailable { provider: NAME, retry_after, source: Box::new(source) }
}

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|source| StartError::File {
        key: "mcias.ca_certificate",
        path: path.display().to_string(),
        source,
    })
}

#[cfg(test)]
mod tests;
