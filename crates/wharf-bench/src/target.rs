//! What is measured: a registry, or files behind any web server.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use url::Url;

use crate::wire::Connection;
use crate::{Error, Login, Options};

/// A token is taken anew when it is older: those of some registries live for a minute.
const TOKEN_MAX_AGE: Duration = Duration::from_secs(40);

/// Where a server is.
pub(crate) struct Address {
    pub(crate) url: Url,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Address {
    pub(crate) fn new(url: &str, ca: Option<&Path>) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Url { url: url.to_owned(), reason: reason.to_owned() };
        let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        let host = parsed.host_str().ok_or_else(|| wrong("it has no host"))?.to_owned();
        let port = parsed.port_or_known_default().ok_or_else(|| wrong("it has no port"))?;
        let tls = match parsed.scheme() {
            "http" => None,
            "https" => {
                let name = ServerName::try_from(host.clone()).map_err(|error| wrong(&error.to_string()))?;
                Some((tls_config(ca)?, name))
            }
            _ => return Err(wrong("it begins with neither http:// nor https://")),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { url: parsed, host, port, tls })
    }

    pub(crate) fn broke(&self, source: io::Error) -> Error {
        Error::Broke { url: self.url.to_string(), source }
    }

    pub(crate) fn wrong(&self, what: impl Into<String>) -> Error {
        Error::Wrong { url: self.url.to_string(), what: what.into() }
    }
}

fn tls_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Error::Tls(error.to_string()))?;
    let Some(path) = ca else {
        let verifier =
            rustls_platform_verifier::Verifier::new(provider).map_err(|error| Error::Tls(error.to_string()))?;
        let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        return Ok(Arc::new(config.with_no_client_auth()));
    };
    let failed = |error: &dyn std::fmt::Display| Error::Tls(format!("{}: {error}", path.display()));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// How content comes to a target.
pub(crate) enum Kind {
    /// It is pushed.
    Registry,
    /// It is put into this directory, which the web server serves; nothing can be pushed.
    Files(PathBuf),
}

/// One of the servers that are measured side by side.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) address: Arc<Address>,
    pub(crate) kind: Kind,
    /// Whose processor time and memory are measured, with its children's.
    pub(crate) pid: Option<u32>,
    /// Whether it shows what the client can do, and is no server of anybody's.
    pub(crate) is_ceiling: bool,
    login: Option<Login>,
    ca: Option<PathBuf>,
    authorization: Mutex<Option<(Instant, String)>>,
}

impl Target {
    pub(crate) fn new(name: &str, url: &str, kind: Kind, pid: Option<u32>, options: &Options) -> Result<Self, Error> {
        let (login, ca) = (options.login.clone(), options.ca.clone());
        let address = Arc::new(Address::new(url, ca.as_deref())?);
        Ok(Self {
            name: name.to_owned(),
            address,
            kind,
            pid,
            is_ceiling: false,
            login,
            ca,
            authorization: Mutex::new(None),
        })
    }

    pub(crate) fn ceiling(self) -> Self {
        Self { is_ceiling: true, ..self }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::new(Arc::clone(&self.address))
    }

    /// The line of a request that says who asks, for everything in `repository`; empty where nobody is asked.
    pub(crate) fn authorization(&self, repository: &str) -> Result<String, Error> {
        if matches!(self.kind, Kind::Files(_)) {
            return Ok(String::new());
        }
        let mut kept = self.authorization.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, line)) = kept.as_ref().filter(|(since, _)| since.elapsed() < TOKEN_MAX_AGE) {
            return Ok(line.clone());
        }
        let line = self.introduce(repository)?;
        *kept = Some((Instant::now(), line.clone()));
        Ok(line)
    }

    fn introduce(&self, repository: &str) -> Result<String, Error> {
        let mut connection = self.connect();
        let head = connection.ask(&self.request("GET", "/v2/", ""), &[], true)?;
        connection.discard(&head)?;
        let challenge = match head.status {
            200 => None,
            401 => head.header("www-authenticate").map(str::to_owned),
            status => return Err(self.address.wrong(format!("GET /v2/ was answered {status}; is it a registry?"))),
        };
        match challenge {
            // Where the version check is open, things below it may not be.
            None if head.status == 200 => Ok(self.basic().unwrap_or_default()),
            Some(challenge) if starts_with(&challenge, "bearer ") => self.token(&challenge, repository),
            _ => self.basic().ok_or_else(|| self.address.wrong("it wants a login; give one with --user")),
        }
    }

    fn basic(&self) -> Option<String> {
        let login = self.login.as_ref()?;
        let encoded = BASE64_STANDARD.encode(format!("{}:{}", login.user, login.password));
        Some(format!("Authorization: Basic {encoded}\r\n"))
    }

    fn token(&self, challenge: &str, repository: &str) -> Result<String, Error> {
        let parameter = |name: &str| {
            challenge.split(',').find_map(|part| {
                let (found, value) = part.trim().trim_start_matches("Bearer ").split_once('=')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim_matches('"').to_owned())
            })
        };
        let realm = parameter("realm").ok_or_else(|| self.address.wrong("its challenge has no realm"))?;
        let mut url = self.address.url.join(&realm).map_err(|error| self.address.wrong(error.to_string()))?;
        url.query_pairs_mut()
            .extend_pairs(parameter("service").map(|service| ("service", service)))
            .append_pair("scope", &format!("repository:{repository}:pull,push"))
            .append_pair("scope", "registry:catalog:*");
        let address = Address::new(url.as_str(), self.ca.as_deref())?;
        let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let mut connection = Connection::new(Arc::new(address));
        let head = connection.ask(&self.request("GET", &path, &self.basic().unwrap_or_default()), &[], true)?;
        let body = connection.collect(&head)?;
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let token = answer["token"].as_str().or(answer["access_token"].as_str());
        match token {
            Some(token) if head.status == 200 => Ok(format!("Authorization: Bearer {token}\r\n")),
            _ => Err(self.address.wrong(format!("it gives no token ({}); is --user right?", head.status))),
        }
    }

    /// The head of a request without its empty line; `more` are whole lines.
    pub(crate) fn request(&self, method: &str, path: &str, more: &str) -> String {
        let Address { host, port, .. } = &*self.address;
        format!("{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{more}")
    }
}

fn starts_with(text: &str, lower: &str) -> bool {
    text.get(..lower.len()).is_some_and(|start| start.eq_ignore_ascii_case(lower))
}
