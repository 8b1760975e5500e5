//! Under which address the client reached us, and who the client is (P-025 … P-028, S-026, S-079).

use std::fmt;
use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// The longest host, with its port, that is believed from a header, in bytes.
const HOST_MAX_BYTES: usize = 261;

/// The configured address of the registry: an origin, perhaps with a path in front of `/v2/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExternalUrl {
    origin: Origin,
    /// Empty, or starting with `/` and without one at its end.
    prefix: String,
}

impl ExternalUrl {
    /// Reads `http(s)://host[:port][/prefix]`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the rest of a sentence that begins with the URL.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (Scheme::Https, rest),
            (_, Some(rest)) => (Scheme::Http, rest),
            _ => return Err("must begin with https:// or http://"),
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !is_host(host) {
            return Err("has no valid host, such as registry.example.org or registry.example.org:5000");
        }
        let prefix = path.trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        if !prefix.split('/').skip(1).all(|part| !part.is_empty() && part.chars().all(plain) && !part.starts_with('.'))
        {
            return Err("has a path with other than letters, digits, '-', '.', '_' and '~' between single slashes");
        }
        Ok(Self { origin: Origin { scheme, host: host.to_owned() }, prefix: prefix.to_owned() })
    }

    /// Host, with its port if there is one.
    pub(crate) fn host(&self) -> &str {
        &self.origin.host
    }
}

/// How the client spoke to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Plain.
    Http,
    /// Over TLS, ours or that of a trusted proxy.
    Https,
}

/// Scheme and host, as in `https://registry.example.org`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: Scheme,
    host: String,
}

impl Origin {
    /// Host, with its port if there is one.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.host)
    }
}

/// What configuration says about addresses.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    external: Option<ExternalUrl>,
    absolute: bool,
    trusted: Vec<IpNet>,
}

/// What one request says about addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'r> {
    /// The other end of the connection.
    pub(crate) peer: IpAddr,
    /// Whether the connection is TLS.
    pub(crate) tls: bool,
    /// The request's headers.
    pub(crate) headers: &'r HeaderMap,
    /// Host and port from the request line, as HTTP/2 sends them.
    pub(crate) authority: Option<&'r str>,
}

impl Origins {
    /// `external` was accepted by [`ExternalUrl::parse`].
    pub(crate) fn new(external: Option<ExternalUrl>, absolute: bool, trusted: Vec<IpNet>) -> Self {
        Self { external, absolute, trusted }
    }

    /// What stands in front of `/v2/…` in `Location` and `Link`: nothing, a path prefix, or a whole origin (P-025).
    pub(crate) fn base(&self, asked: Asked<'_>) -> String {
        let prefix = self.prefix();
        if !self.absolute {
            return prefix.to_owned();
        }
        match self.origin(asked) {
            Some(origin) => format!("{origin}{prefix}"),
            None => prefix.to_owned(),
        }
    }

    /// The absolute URL of `path`; the path alone when nothing names a valid host.
    pub(crate) fn absolute(&self, asked: Asked<'_>, path: &str) -> String {
        let origin = self.origin(asked).map_or_else(String::new, |origin| origin.to_string());
        format!("{origin}{}{path}", self.prefix())
    }

    /// The path without the configured prefix, for proxies that leave it on (P-028).
    pub(crate) fn strip<'p>(&self, path: &'p str) -> &'p str {
        let prefix = self.prefix();
        if prefix.is_empty() {
            return path;
        }
        match path.strip_prefix(prefix) {
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }

    /// The path that stands in front of everything; empty, or starting with `/` and without one at its end.
    pub(crate) fn prefix(&self) -> &str {
        self.external.as_ref().map_or("", |external| &external.prefix)
    }

    /// Whether nobody on the way could read along: TLS of ours, or of a proxy that is declared by what it forwards or by the
    /// address that clients use.
    pub(crate) fn is_https(&self, asked: Asked<'_>) -> bool {
        if asked.tls {
            return true;
        }
        let forwarded = if self.trusts(asked.peer) { Forwarded::read(asked.headers).scheme } else { None };
        match (forwarded, &self.external) {
            (Some(scheme), _) => scheme == Scheme::Https,
            (None, Some(external)) => {
                let host = asked.authority.or_else(|| text(asked.headers, "host"));
                external.origin.scheme == Scheme::Https && host == Some(external.host())
            }
            (None, None) => false,
        }
    }

    /// Scheme and host under which the client reached us, in the order of P-027; `None` when nothing names a valid host.
    pub(crate) fn origin(&self, asked: Asked<'_>) -> Option<Origin> {
        if let Some(external) = &self.external {
            return Some(external.origin.clone());
        }
        let forwarded = if self.trusts(asked.peer) { Forwarded::read(asked.headers) } else { Forwarded::default() };
        let own_scheme = if asked.tls { Scheme::Https } else { Scheme::Http };
        let host = forwarded.host.or(asked.authority).or_else(|| text(asked.headers, "host"))?;
        let scheme = forwarded.scheme.unwrap_or(own_scheme);
        is_host(host).then(|| Origin { scheme, host: host.to_owned() })
    }

    /// The client's address: the peer, or behind trusted proxies the right-most address that is none of theirs
    /// (S-079).
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        for hop in hops(headers).into_iter().rev() {
            let Some(address) = hop else { return client };
            client = address;
            if !self.trusts(address) {
                return client;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

#[derive(Default)]
struct Forwarded<'h> {
    scheme: Option<Scheme>,
    host: Option<&'h str>,
}

impl<'h> Forwarded<'h> {
    /// The first element of `Forwarded`, else the first entries of `X-Forwarded-Proto` and `X-Forwarded-Host`.
    fn read(headers: &'h HeaderMap) -> Self {
        if let Some(first) = text(headers, "forwarded").and_then(|value| value.split(',').next()) {
            return Self {
                scheme: parameter(first, "proto").and_then(scheme),
                host: parameter(first, "host").filter(|host| is_host(host)),
            };
        }
        let first = |name| text(headers, name).and_then(|value| value.split(',').next()).map(str::trim);
        Self {
            scheme: first("x-forwarded-proto").and_then(scheme),
            host: first("x-forwarded-host").filter(|host| is_host(host)),
        }
    }
}

/// The addresses that proxies noted, nearest to the client first; `None` for an entry that is no address.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let all = |name| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    if headers.contains_key("forwarded") {
        let elements = all("forwarded").flat_map(|value| value.split(','));
        return elements.map(|element| parameter(element, "for").and_then(address)).collect();
    }
    all("x-forwarded-for").flat_map(|value| value.split(',')).map(address).collect()
}

/// `name=value` among the `;`-separated pairs of one `Forwarded` element, without quotes (RFC 7239 §4).
fn parameter<'e>(element: &'e str, name: &str) -> Option<&'e str> {
    element.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// An IP address as proxies write it: bare, with a port, or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some(socket.ip().to_canonical());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn scheme(text: &str) -> Option<Scheme> {
    match text {
        _ if text.eq_ignore_ascii_case("https") => Some(Scheme::Https),
        _ if text.eq_ignore_ascii_case("http") => Some(Scheme::Http),
        _ => None,
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim).filter(|value| !value.is_empty())
}

/// A host as it may stand in a URL: name or address, perhaps with a port, nothing that could end or extend it.
fn is_host(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    !text.is_empty() && text.len() <= HOST_MAX_BYTES && text.chars().all(allowed) && !text.starts_with(':')
}

#[cfg(test)]
mod tests;
