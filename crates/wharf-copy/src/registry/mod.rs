//! A registry of any make, spoken to as a client: what the distribution specification promises and no more.

mod auth;
mod challenge;
mod reading;
mod writing;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Method, Response, StatusCode};
use url::{Host, Url};
use wharf_oci::RepositoryName;

pub use auth::Login;
use auth::{Access, Keyring};

use crate::Error;
use crate::patience::{ATTEMPTS_MAX, Patience};

/// How long a connection may take, and how long an answer may stand still.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the largest of blobs may take on the slowest of networks; what stands still ends by [`PATIENCE`].
const TRANSFER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest list or token that is read, in bytes. Registries that know no pages list 100,000 tags in 10 MiB.
const LIST_MAX_BYTES: u64 = 32 << 20;

/// The longest refusal that is read, in bytes.
const REFUSAL_MAX_BYTES: u64 = 64 << 10;

/// Most redirects of one request: blobs lie behind one, in a bucket.
const REDIRECTS_MAX: usize = 5;

/// A registry, and who one is there. Credentials go to its own address and to where it says tokens come from, encrypted or
/// on this machine only, unless plain connections were allowed.
pub struct Registry {
    http: reqwest::Client,
    base: Url,
    keyring: Keyring,
}

/// One request; sent again if its answer does not come.
pub(crate) struct Request<'a> {
    method: Method,
    url: Url,
    access: Access<'a>,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    /// What is asked for, for people: `give the tags of team/app`.
    doing: String,
}

impl<'a> Request<'a> {
    fn new(method: Method, url: Url, access: Access<'a>, doing: String) -> Self {
        Self { method, url, access, headers: Vec::new(), body: Bytes::new(), doing }
    }

    fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }
}

impl Registry {
    /// The registry at `base`, which is `https://`, or `http://` if nobody is on the way or `plain_http` says so.
    ///
    /// `authorities` are certificates in PEM to trust in place of the system's.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`]: the address or the certificates are no use.
    pub fn new(base: Url, login: Login, plain_http: bool, authorities: Option<&[u8]>) -> Result<Self, Error> {
        match base.scheme() {
            "https" => {}
            "http" if plain_http || is_loopback(&base) => {}
            "http" => {
                let problem =
                    format!("{base} is not encrypted: everybody on the way could read and change what is sent");
                return Err(Error::Usage(problem));
            }
            other => return Err(Error::Usage(format!("{other}:// is not spoken here, only https:// and http://"))),
        }
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::custom(follow))
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE)
            .user_agent(concat!("wharf/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = authorities {
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|error| Error::Usage(format!("the certificates are no PEM: {error}")))?;
            builder = builder.tls_certs_only(certificates);
        }
        let http = builder.build().map_err(|error| Error::Usage(format!("no connection can be made: {error}")))?;
        Ok(Self { http, base, keyring: Keyring::new(login) })
    }

    fn is_anonymous(&self) -> bool {
        matches!(self.keyring.login, Login::Nobody)
    }

    /// Scheme, host and port, for people.
    #[must_use]
    pub fn address(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// `path` below `/v2/`; what stands in it are names, tags and digests, which need no escape.
    fn url(&self, path: &str) -> Result<Url, Error> {
        let text = format!("{}/v2/{path}", self.address());
        Url::parse(&text).map_err(|error| Error::Usage(format!("{text}: {error}")))
    }

    fn repository_url(&self, repository: &RepositoryName, path: &str) -> Result<Url, Error> {
        self.url(&format!("{repository}/{path}"))
    }

    /// Sends the request until there is an answer that says something, after having logged in if that is asked for.
    async fn send(&self, request: Request<'_>) -> Result<Response, Error> {
        let mut patience = Patience::new();
        for _ in 1..ATTEMPTS_MAX {
            match self.send_once(&request).await {
                Err(error) if error.is_transient() => {
                    patience.wait(&error).await;
                }
                end => return end,
            }
        }
        self.send_once(&request).await
    }

    async fn send_once(&self, request: &Request<'_>) -> Result<Response, Error> {
        let response = self.attempt(request).await?;
        let response = if response.status() == StatusCode::UNAUTHORIZED {
            self.log_in(request, response).await?;
            self.attempt(request).await?
        } else {
            response
        };
        match response.status() {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(self.refusal(&request.doing, response).await),
            _ => Ok(response),
        }
    }

    async fn attempt(&self, request: &Request<'_>) -> Result<Response, Error> {
        let mut sent = self.http.request(request.method.clone(), request.url.clone());
        for (name, value) in &request.headers {
            sent = sent.header(name, value);
        }
        if let Some(value) = self.keyring.header(&request.access)? {
            sent = sent.header(AUTHORIZATION, value);
        }
        if !request.body.is_empty() {
            sent = sent.body(request.body.clone());
        }
        sent.timeout(TRANSFER_MAX).send().await.map_err(|error| self.unreachable(error))
    }

    /// What the server says against it, in its own words.
    async fn refusal(&self, doing: &str, response: Response) -> Error {
        let (server, status) = (self.address(), response.status());
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let text = self.read(response, REFUSAL_MAX_BYTES).await.unwrap_or_default();
        let message = message(&text).unwrap_or_else(|| format!("it answers {status}"));
        match status {
            StatusCode::UNAUTHORIZED => Error::NotLoggedIn { server, message },
            StatusCode::FORBIDDEN => Error::Denied { server, message },
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                Error::Busy { server, message, retry_after: after.map(Duration::from_secs) }
            }
            _ => Error::Refused { server, doing: doing.to_owned(), status: status.as_u16(), message },
        }
    }

    /// The whole body, if it is not longer than `max_bytes`.
    async fn read(&self, response: Response, max_bytes: u64) -> Result<Bytes, Error> {
        let mut pieces = response.bytes_stream();
        let mut body = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.broke_off(error))?;
            if (body.len() + piece.len()) as u64 > max_bytes {
                return Err(Error::damaged(self.address(), format!("an answer has more than {max_bytes} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        if error.is_connect() || error.is_timeout() || error.is_redirect() {
            return Error::Unreachable { server: self.address(), why: innermost(error) };
        }
        self.broke_off(error)
    }

    fn broke_off(&self, error: reqwest::Error) -> Error {
        Error::BrokeOff { server: self.address(), why: innermost(error) }
    }
}

/// What is beneath all the layers, without the URL, which may hold a signature.
fn innermost(error: reqwest::Error) -> String {
    let error = error.without_url();
    let innermost = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source()).last();
    innermost.map_or_else(String::new, ToString::to_string)
}

/// The messages of a body of errors as the distribution specification writes it.
fn message(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let text = |error: &serde_json::Value| {
        let (code, message) = (error["code"].as_str(), error["message"].as_str());
        match (code, message.filter(|message| !message.is_empty())) {
            (Some(code), Some(message)) => Some(format!("{message} ({code})")),
            (code, message) => message.or(code).map(str::to_owned),
        }
    };
    let messages: Vec<String> = body["errors"].as_array()?.iter().take(5).filter_map(text).collect();
    (!messages.is_empty()).then(|| messages.join("; "))
}

/// Never from an encrypted connection to one that is not.
fn follow(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    let was_encrypted = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error("there are too many redirects");
    }
    if was_encrypted && attempt.url().scheme() != "https" {
        return attempt.error("it redirects to a connection that is not encrypted");
    }
    attempt.follow()
}

/// Whether nobody is on the way.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
