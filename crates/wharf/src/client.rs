//! The administration API from the outside: one request, its JSON, and what to do when it is refused.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Method, StatusCode};
use serde_json::Value;
use url::{Host, Url};
use wharf_base::Secret;

use crate::cli::RemoteArgs;
use crate::credentials::{self, Credentials, Entry};
use crate::error::{CommandError, Exit};

/// The server of a command that names none, on a machine where nobody has logged in.
const LOCAL: &str = "http://127.0.0.1:5000";

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long the largest of blobs may take on the slowest of networks; what stands still ends by [`TIMEOUT`].
const FETCH_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is sent as `Authorization`.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    /// Nothing.
    Nobody,
    /// A name and a password.
    Password(String, Secret<String>),
    /// A token.
    Token(Secret<String>),
}

/// A server, and who one is there.
pub(crate) struct Api {
    http: reqwest::Client,
    base: Url,
    login: Login,
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// What came of asking for bytes.
pub(crate) enum Fetched {
    /// The bytes; an error ends them.
    Content(BoxStream<'static, std::io::Result<Bytes>>),
    /// 409: what is there cannot be given out.
    Conflict(String),
}

impl Reply {
    /// The body as JSON; nothing where there is none.
    pub(crate) fn json(&self) -> Result<Value, CommandError> {
        if self.text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&self.text).map_err(|error| {
            CommandError::unexpected("reading the server's answer", error)
                .with_hint("is this the address of a Wharf registry?")
        })
    }
}

/// What a command is for: `--server` or `--context`, `WHARF_SERVER` or `WHARF_CONTEXT`, the current context, or the server
/// on this machine.
pub(crate) struct Chosen {
    pub(crate) base: Url,
    /// The context, if there is one, by its name.
    pub(crate) context: Option<(String, Entry)>,
}

impl Chosen {
    /// Chooses among `kept`.
    pub(crate) fn of(args: &RemoteArgs, kept: &Credentials) -> Result<Self, CommandError> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (server, context) = match (&args.server, &args.context) {
            (None, None) => (variable("WHARF_SERVER"), variable("WHARF_CONTEXT")),
            (server, context) => (server.clone(), context.clone()),
        };
        let name = context.or_else(|| kept.current.clone().filter(|name| kept.contexts.contains_key(name)));
        match (server, name) {
            (Some(server), _) => Self::of_server(&server, args, kept),
            (None, Some(name)) => {
                let entry = kept.context(&name)?;
                let base = parse_server(&entry.server, args.insecure_http)?;
                Ok(Self { base, context: Some((name, entry.clone())) })
            }
            (None, None) => Self::of_server(LOCAL, args, kept),
        }
    }

    fn of_server(server: &str, args: &RemoteArgs, kept: &Credentials) -> Result<Self, CommandError> {
        let base = parse_server(server, args.insecure_http)?;
        let context = kept.of_server(&key(&base)).map(|(name, entry)| (name.clone(), entry.clone()));
        Ok(Self { base, context })
    }
}

/// A URL, or a host, which is `https://` then; without a path at its end.
pub(crate) fn parse_server(text: &str, insecure_http: bool) -> Result<Url, CommandError> {
    let usage = |problem: String| CommandError::new(Exit::Usage, problem);
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&with_scheme).map_err(|error| {
        usage(format!("{text:?} is not the address of a server: {error}"))
            .with_hint("write for example https://registry.example.org")
    })?;
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(usage(format!("{text:?} names no host"))),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback || insecure_http => Ok(url),
        "http" => Err(usage(format!("{url} is not encrypted: everybody on the way could read what is sent"))
            .with_hint("use https://, or say --insecure-http if the way there is safe")),
        other => Err(usage(format!("{other}:// is not spoken here, only https:// and http://"))),
    }
}

/// The text that credentials are kept under.
pub(crate) fn key(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// A server, and what is kept for it.
pub(crate) struct Server {
    pub(crate) base: Url,
    pub(crate) login: Login,
    /// Certificates of the authorities to trust, in place of the system's.
    pub(crate) ca: Option<PathBuf>,
}

impl Server {
    /// The one that a command is for, with what is kept for it, or the token in `WHARF_TOKEN`.
    pub(crate) fn of(args: &RemoteArgs) -> Result<Self, CommandError> {
        let Chosen { base, context } = Chosen::of(args, &credentials::read(&credentials::path()?)?)?;
        let kept = context.map(|(_, entry)| entry);
        let from_environment = std::env::var("WHARF_TOKEN").ok().filter(|token| !token.is_empty());
        let login = match (from_environment, &kept) {
            (Some(token), _) => Login::Token(token.into()),
            (None, Some(Entry { token, .. })) => Login::Token(token.as_str().into()),
            (None, None) => Login::Nobody,
        };
        let ca = ca_certificate(args).or_else(|| kept.and_then(|kept| kept.ca_certificate));
        Ok(Self { base, login, ca })
    }
}

impl Api {
    /// The server of `args`.
    pub(crate) fn connect(args: &RemoteArgs) -> Result<Self, CommandError> {
        let Server { base, login, ca } = Server::of(args)?;
        Self::new(base, login, ca)
    }

    /// The server at `base`.
    pub(crate) fn new(base: Url, login: Login, ca: Option<PathBuf>) -> Result<Self, CommandError> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .read_timeout(TIMEOUT)
            .user_agent(concat!("wharf/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = ca {
            let certificates = Certificate::from_pem_bundle(&read_certificates(&path)?);
            builder = builder.tls_certs_only(certificates.map_err(|error| no_certificates(&path, &error))?);
        }
        let http = builder.build().map_err(|error| CommandError::unexpected("setting up the connection", error))?;
        Ok(Self { http, base, login })
    }

    /// The server's address.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) fn get(&self, path: &str) -> Result<Reply, CommandError> {
        self.send(Method::GET, path, None, &[])
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Reply, CommandError> {
        self.send(Method::DELETE, path, None, &[])
    }

    pub(crate) fn write(&self, method: Method, path: &str, body: &Value) -> Result<Reply, CommandError> {
        self.send(method, path, Some(body), &[])
    }

    /// One request, on a thread of its own: commands do one thing after another.
    pub(crate) fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(HeaderName, &str)],
    ) -> Result<Reply, CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CommandError::unexpected("starting the runtime", error))?;
        runtime.block_on(self.exchange(method, path, body, headers))
    }

    /// The same, for whoever does several things at once.
    pub(crate) async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(HeaderName, &str)],
    ) -> Result<Reply, CommandError> {
        let mut request = self.request(method, path)?.header(ACCEPT, "application/json");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.map_err(|error| self.unreachable(error))?;
        if status.is_success() {
            return Ok(Reply { headers, text });
        }
        Err(self.refused(status, &headers, &text))
    }

    /// Bytes that the server has, however many; they may take as long as they come.
    pub(crate) async fn fetch(&self, path: &str) -> Result<Fetched, CommandError> {
        let request = self.request(Method::GET, path)?.timeout(FETCH_TIMEOUT);
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_success() {
            let bytes = response.bytes_stream().map_err(|error| std::io::Error::other(error.without_url()));
            return Ok(Fetched::Content(bytes.boxed()));
        }
        let text = response.text().await.map_err(|error| self.unreachable(error))?;
        match status {
            StatusCode::CONFLICT => Ok(Fetched::Conflict(self.refused(status, &headers, &text).to_string())),
            _ => Err(self.refused(status, &headers, &text)),
        }
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, CommandError> {
        let request = self.http.request(method, format!("{}/api/v1{path}", key(&self.base)));
        Ok(match &self.login {
            Login::Nobody => request,
            Login::Password(name, password) => request.basic_auth(name, Some(password.expose())),
            Login::Token(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                    .map_err(|_| CommandError::new(Exit::Usage, "the token holds characters that no token has"))?;
                value.set_sensitive(true);
                request.header(AUTHORIZATION, value)
            }
        })
    }

    fn unreachable(&self, error: reqwest::Error) -> CommandError {
        let hint = "see that the server runs, and name it with --server or WHARF_SERVER";
        let error = error.without_url();
        let innermost = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source()).last();
        let problem = format!(
            "{} cannot be reached: {}",
            key(&self.base),
            innermost.map_or_else(String::new, ToString::to_string)
        );
        CommandError::new(Exit::Unreachable, problem).with_hint(hint)
    }

    /// What the server says against it, in its own words.
    fn refused(&self, status: StatusCode, headers: &HeaderMap, text: &str) -> CommandError {
        let problem: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        let detail = problem["detail"]
            .as_str()
            .map_or_else(|| format!("the server answers with status {status}"), str::to_owned);
        let server = key(&self.base);
        match status {
            StatusCode::UNAUTHORIZED => CommandError::new(Exit::NotLoggedIn, format!("{server}: {detail}"))
                .with_hint(format!("run `wharf login {server}`")),
            StatusCode::FORBIDDEN => CommandError::new(Exit::Denied, format!("{server}: {detail}")),
            StatusCode::BAD_REQUEST => CommandError::new(Exit::Usage, detail),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let wait = headers.get("retry-after").and_then(|value| value.to_str().ok()).unwrap_or("some");
                CommandError::new(Exit::Unreachable, detail).with_hint(format!("try again in {wait} seconds"))
            }
            _ => CommandError::new(Exit::Refused, detail),
        }
    }
}

/// `--ca-certificate`, or `WHARF_CA_CERTIFICATE`.
pub(crate) fn ca_certificate(args: &RemoteArgs) -> Option<PathBuf> {
    let set = || std::env::var_os("WHARF_CA_CERTIFICATE").filter(|path| !path.is_empty()).map(PathBuf::from);
    args.ca_certificate.clone().or_else(set)
}

/// The certificates in `path`, as they are written.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<u8>, CommandError> {
    std::fs::read(path).map_err(|error| no_certificates(path, &error))
}

fn no_certificates(path: &Path, error: &dyn std::error::Error) -> CommandError {
    CommandError::new(Exit::Usage, format!("{} cannot be read as certificates in PEM: {error}", path.display()))
}

/// `text` in a path or a query.
pub(crate) fn escape(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{escape, key, parse_server};

    #[test]
    fn a_server_is_a_url_or_a_host() {
        let parsed = |text: &str| parse_server(text, false).map(|url| key(&url)).map_err(|error| error.to_string());
        assert_eq!(parsed("registry.example.org"), Ok("https://registry.example.org".to_owned()));
        assert_eq!(parsed("https://r.example:5000/"), Ok("https://r.example:5000".to_owned()));
        assert_eq!(parsed("http://127.0.0.1:5000"), Ok("http://127.0.0.1:5000".to_owned()));
        assert_eq!(parsed("http://localhost:5000"), Ok("http://localhost:5000".to_owned()));
        assert!(parsed("http://r.example").unwrap_err().contains("--insecure-http"));
        assert!(parse_server("http://r.example", true).is_ok());
        assert!(parsed("ftp://r.example").is_err());
    }

    #[test]
    fn what_stands_in_a_path_ends_nowhere_else() {
        assert_eq!(escape("a/b?c d&e+f"), "a%2Fb%3Fc%20d%26e%2Bf");
    }
}
