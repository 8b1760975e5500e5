use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderValue;
use reqwest::{Certificate, Method, Request, redirect, tls};
use tokio::sync::Semaphore;
use url::{Host, Url};
use wharf_base::Secret;

use crate::address::{Guard, Reach, is_public};

/// The oldest TLS version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMin {
    /// 1.2.
    V1_2,
    /// 1.3 (F-13).
    V1_3,
}

/// What a client may do. Every number is a limit.
#[derive(Clone, Debug)]
pub struct Options {
    /// The oldest TLS version that is spoken.
    pub tls_min: TlsMin,
    /// Certificates in PEM of the authorities to trust, in place of the system's.
    pub ca_certificates: Option<Vec<u8>>,
    /// How far it reaches.
    pub reach: Reach,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long an exchange may take in all.
    pub timeout: Duration,
    /// The longest answer, in bytes.
    pub answer_max_bytes: usize,
    /// How many exchanges run at once; others wait, and their waiting counts.
    pub in_flight_max: usize,
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The certificates are none.
    #[error("the CA certificates are not PEM certificates")]
    Certificates(#[source] reqwest::Error),
    /// There is none in the file.
    #[error("there is no certificate in the file of CA certificates")]
    NoCertificate,
    /// TLS cannot be set up.
    #[error("setting up the client")]
    Client(#[source] reqwest::Error),
}

/// Why there is no answer. Never holds what was sent, nor the query of a URL.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is not one that may be asked.
    #[error("{host} may not be asked: {problem}")]
    Forbidden {
        /// The host.
        host: String,
        /// Why not.
        problem: &'static str,
    },
    /// No connection, or no TLS on it.
    #[error("no connection to {host}: {reason}")]
    Connect {
        /// The host.
        host: String,
        /// What went wrong, innermost cause first.
        reason: String,
    },
    /// It took too long.
    #[error("{host} did not answer in time")]
    Timeout {
        /// The host.
        host: String,
    },
    /// The answer has more bytes than expected of it.
    #[error("the answer of {host} has more than {limit_bytes} bytes")]
    TooLarge {
        /// The host.
        host: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// It sends us elsewhere, where we do not go (S-051).
    #[error("{host} answers with a redirect")]
    Redirect {
        /// The host.
        host: String,
    },
    /// The exchange broke off.
    #[error("the exchange with {host} broke off: {reason}")]
    Broken {
        /// The host.
        host: String,
        /// What went wrong.
        reason: String,
    },
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status; never one of a redirect.
    pub status: u16,
    /// The body, whole.
    pub body: Bytes,
}

/// A client for one purpose. Cheap to share.
pub struct Client {
    http: reqwest::Client,
    places: Semaphore,
    options: Options,
}

impl Client {
    /// A client within `options`.
    ///
    /// # Errors
    ///
    /// [`BuildError`].
    pub fn new(options: Options) -> Result<Self, BuildError> {
        let minimum = match options.tls_min {
            TlsMin::V1_2 => tls::Version::TLS_1_2,
            TlsMin::V1_3 => tls::Version::TLS_1_3,
        };
        let mut builder = reqwest::Client::builder()
            .https_only(true)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .tls_version_min(minimum)
            .connect_timeout(options.connect_timeout)
            .timeout(options.timeout)
            .dns_resolver(Guard(options.reach));
        if let Some(pem) = &options.ca_certificates {
            let certificates = Certificate::from_pem_bundle(pem).map_err(BuildError::Certificates)?;
            if certificates.is_empty() {
                return Err(BuildError::NoCertificate);
            }
            builder = builder.tls_certs_only(certificates);
        }
        let http = builder.build().map_err(BuildError::Client)?;
        Ok(Self { http, places: Semaphore::new(options.in_flight_max), options })
    }

    /// GET `url`.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn get(&self, url: &Url) -> Result<Answer, Error> {
        self.exchange(Request::new(Method::GET, url.clone())).await
    }

    /// POST `body`, a JSON document, to `url`.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn post_json(&self, url: &Url, body: Vec<u8>) -> Result<Answer, Error> {
        let mut request = Request::new(Method::POST, url.clone());
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(body.into());
        self.exchange(request).await
    }

    /// POST `form`, already encoded, to `url`, with what is to be sent as `Authorization`.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn post_form(
        &self,
        url: &Url,
        form: String,
        authorization: Option<&Secret<String>>,
    ) -> Result<Answer, Error> {
        let mut request = Request::new(Method::POST, url.clone());
        let headers = request.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert("accept", HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            let value = HeaderValue::from_str(authorization.expose());
            let mut value = value.map_err(|_| Error::Forbidden {
                host: host(url),
                problem: "what it is to be given holds characters that no header may have",
            })?;
            value.set_sensitive(true);
            headers.insert("authorization", value);
        }
        *request.body_mut() = Some(form.into());
        self.exchange(request).await
    }

    async fn exchange(&self, request: Request) -> Result<Answer, Error> {
        let host = host(request.url());
        self.check(request.url(), &host)?;
        let asking = async {
            let _place = self.places.acquire().await.map_err(|_| Error::Timeout { host: host.clone() })?;
            self.ask(request, &host).await
        };
        tokio::time::timeout(self.options.timeout, asking)
            .await
            .unwrap_or_else(|_| Err(Error::Timeout { host: host.clone() }))
    }

    /// What can be seen from the URL alone. Names are checked when they are resolved, addresses are here.
    fn check(&self, url: &Url, host: &str) -> Result<(), Error> {
        let forbidden = |problem| Err(Error::Forbidden { host: host.to_owned(), problem });
        if url.scheme() != "https" {
            return forbidden("only https is spoken");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return forbidden("the URL holds credentials");
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            Some(Host::Domain(_)) => return Ok(()),
            None => return forbidden("the URL names no host"),
        };
        if self.options.reach == Reach::Public && !is_public(address) {
            return forbidden("its address is not public");
        }
        Ok(())
    }

    async fn ask(&self, request: Request, host: &str) -> Result<Answer, Error> {
        let mut response = self.http.execute(request).await.map_err(|error| failed(host, error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(Error::Redirect { host: host.to_owned() });
        }
        let limit_bytes = self.options.answer_max_bytes;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(host, error))? {
            if body.len() + chunk.len() > limit_bytes {
                return Err(Error::TooLarge { host: host.to_owned(), limit_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: status.as_u16(), body: body.freeze() })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("reach", &self.options.reach).finish_non_exhaustive()
    }
}

fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

fn failed(host: &str, error: reqwest::Error) -> Error {
    let error = error.without_url();
    let host = host.to_owned();
    if error.is_timeout() {
        Error::Timeout { host }
    } else if error.is_connect() || error.is_builder() {
        Error::Connect { host, reason: innermost(&error) }
    } else {
        Error::Broken { host, reason: innermost(&error) }
    }
}

/// The cause that says most: reqwest's own words are "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let last = std::iter::successors(Some(error), |error| error.source()).last();
    last.map_or_else(String::new, ToString::to_string)
}
