use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharf_base::HumanDuration;

use crate::AtOnce;

/// `[server]`: where Wharf listens, how it is reached, and what one connection may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Addresses to listen on, such as `"127.0.0.1:5000"` or `"[::]:443"`. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// File with the certificate chain in PEM. With it the registry speaks TLS only. Read again when it changes.
    pub tls_certificate: Option<PathBuf>,
    /// File with the private key in PEM that belongs to `tls_certificate`.
    pub tls_key: Option<PathBuf>,
    /// The address that clients use, such as `"https://registry.example.org"`. A path in it is a prefix of every
    /// generated reference and is accepted on requests.
    pub external_url: Option<String>,
    /// Answer with absolute URLs in `Location` and `Link` instead of paths.
    pub absolute_urls: bool,
    /// Networks of reverse proxies whose `Forwarded` and `X-Forwarded-*` headers are believed.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// Requests a second that one client address may send on average, with bursts of ten times as many; 0 for no limit.
    pub requests_per_second: u32,
    /// Where `/metrics`, `/healthz` and `/readyz` are answered, on addresses of their own and without TLS, for whoever
    /// reaches them: private ones. Without any, `/metrics` is answered on `listen`, but only to this very machine.
    pub metrics_listen: Vec<SocketAddr>,
    /// How many requests of each kind are answered at once.
    pub at_once: AtOnce,
    /// Connections open at once; one more is closed at once.
    pub max_connections: u32,
    /// Connections open at once from one address.
    pub max_connections_per_source: u32,
    /// Longest time for a TLS handshake.
    pub tls_handshake_timeout: HumanDuration,
    /// Longest time for the head of a request.
    pub header_timeout: HumanDuration,
    /// How long a connection may be idle between two requests.
    pub keep_alive_timeout: HumanDuration,
    /// How long a request's body may stand still before the request is answered 408.
    pub body_idle_timeout: HumanDuration,
    /// Bytes a second that a body must reach on average over a minute; slower ones are answered 408. 0 for no minimum.
    pub body_rate_min: u32,
    /// How long a response may stand still before the connection is closed.
    pub write_timeout: HumanDuration,
    /// Longest time for a request that neither sends nor receives a blob.
    pub request_timeout: HumanDuration,
    /// After the wish to stop: how long requests in flight may go on.
    pub shutdown_grace: HumanDuration,
    /// After the wish to stop: how long `/readyz` says so while connections are still accepted, so that a load
    /// balancer can take notice. Default: 5 s, and nothing on a terminal, where a person waits.
    pub drain_delay: Option<HumanDuration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 5000))],
            tls_certificate: None,
            tls_key: None,
            external_url: None,
            absolute_urls: false,
            trusted_proxies: Vec::new(),
            requests_per_second: 0,
            metrics_listen: Vec::new(),
            at_once: AtOnce::default(),
            max_connections: 4_096,
            max_connections_per_source: 256,
            tls_handshake_timeout: HumanDuration::secs(10),
            header_timeout: HumanDuration::secs(10),
            keep_alive_timeout: HumanDuration::secs(75),
            body_idle_timeout: HumanDuration::secs(30),
            body_rate_min: 1_024,
            write_timeout: HumanDuration::secs(60),
            request_timeout: HumanDuration::secs(30),
            shutdown_grace: HumanDuration::secs(25),
            drain_delay: None,
        }
    }
}

/// See [`Config::drain_delay`].
const DRAIN_DELAY: HumanDuration = HumanDuration::secs(5);

impl Config {
    /// How long to go on accepting connections after the wish to stop.
    pub(crate) fn drain_delay(&self) -> HumanDuration {
        use std::io::IsTerminal as _;
        let usual = if std::io::stderr().is_terminal() { HumanDuration::secs(0) } else { DRAIN_DELAY };
        self.drain_delay.unwrap_or(usual)
    }

    /// The host of `external_url`, with its port if it names one.
    pub fn external_host(&self) -> Option<String> {
        let url = self.external_url.as_deref()?;
        crate::origin::ExternalUrl::parse(url).ok().map(|url| url.host().to_owned())
    }

    /// Relations between keys that cannot hold; empty when all is well.
    pub fn check(&self) -> Vec<String> {
        let mut complaints = self.at_once.check();
        if self.listen.is_empty() {
            complaints.push("server.listen must name at least one address".into());
        }
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => {
                complaints.push("server.tls_key must be set together with server.tls_certificate".into())
            }
            (None, Some(_)) => {
                complaints.push("server.tls_certificate must be set together with server.tls_key".into())
            }
            _ => {}
        }
        if let Some(url) = &self.external_url
            && let Err(reason) = crate::origin::ExternalUrl::parse(url)
        {
            complaints.push(format!("server.external_url {url:?} {reason}"));
        }
        if self.max_connections == 0 || self.max_connections_per_source == 0 {
            complaints.push("server.max_connections and server.max_connections_per_source must be at least 1".into());
        }
        for (key, span) in [
            ("tls_handshake_timeout", self.tls_handshake_timeout),
            ("header_timeout", self.header_timeout),
            ("keep_alive_timeout", self.keep_alive_timeout),
            ("body_idle_timeout", self.body_idle_timeout),
            ("write_timeout", self.write_timeout),
            ("request_timeout", self.request_timeout),
        ] {
            if span.get().is_zero() {
                complaints.push(format!("server.{key} must be longer than nothing"));
            }
        }
        complaints
    }
}
