//! What the network sees: `/v2/`, `/api/v1/`, the pages, health. This room translates between HTTP and the use cases and decides nothing.
//!
//! A request takes one way: connection → limits and request id (`service`) → route → who and whether (`auth`) →
//! use case → answer (`v2`, `api`, `web`). Errors become answers in one place (`v2::error`), and every answer passes one door (`service`) where
//! it gets the headers that all have and its line in the access log.

mod api;
mod auth;
mod body;
mod class;
mod config;
mod connection;
mod gate;
mod head_scan;
mod health;
mod limits;
mod listen;
mod metrics;
mod origin;
mod plaintext;
mod recent;
mod reply;
mod routes;
mod sendfile;
mod service;
mod tls;
mod v2;
mod web;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use wharf_base::{Clock, Rng, Shutdown};
use wharf_identity::Identity;
use wharf_policy::Engine;
use wharf_registry::Registry;

pub use api::api_reference;
pub use config::Config;
pub use gate::AtOnce;
pub use listen::{Server, StartError};
pub use metrics::metrics_reference;
pub use routes::{RouteInfo, routes};
pub use tls::TlsError;

/// A text that is made when somebody first looks at it, and not at the start.
pub type LazyText = LazyLock<String, Box<dyn FnOnce() -> String + Send>>;

/// What the page about the system tells of the process.
#[derive(Clone, Debug)]
pub struct About {
    /// The version of the binary.
    pub version: &'static str,
    /// The configuration in force as text, without secrets.
    pub configuration: Arc<LazyText>,
}

/// What the server hands requests to.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The use cases.
    pub registry: Arc<Registry>,
    /// Asked before each of them.
    pub policy: Arc<Engine>,
    /// Who asks; `None` where everybody may do everything, so that nobody needs to say who they are.
    pub identity: Option<Arc<Identity>>,
    /// For whoever looks after the registry.
    pub about: About,
    /// Time for limits and log lines.
    pub clock: Arc<dyn Clock>,
    /// Randomness for request ids.
    pub rng: Arc<dyn Rng>,
    /// Who is sent to the bucket for what is large.
    pub redirects: Redirects,
}

/// Who is sent to the bucket for large blobs, where there is one.
#[derive(Clone, Debug, Default)]
pub struct Redirects {
    /// Whether anybody is.
    pub are_on: bool,
    /// Only clients of these networks; empty for all.
    pub networks: Vec<ipnet::IpNet>,
    /// How long the address that they get is good.
    pub lifetime: std::time::Duration,
}

impl Redirects {
    fn are_for(&self, client: std::net::IpAddr) -> bool {
        let is_in = |network: &ipnet::IpNet| network.contains(&client);
        self.are_on && (self.networks.is_empty() || self.networks.iter().any(is_in))
    }
}

/// Everything a request can reach; one a process.
struct App {
    parts: Parts,
    config: Config,
    origins: origin::Origins,
    rate: Option<limits::RateLimit>,
    gates: gate::Gates,
    requests: metrics::Requests,
    connections: limits::Connections,
    drainer: body::Drainer,
    ids: RequestIds,
    shutdown: Shutdown,
}

/// Request ids: unique in this process by a counter, across processes by a random beginning.
struct RequestIds {
    /// What stands in front of the counter: 16 hexadecimal digits and a hyphen.
    process: [u8; 17],
    next: AtomicU64,
}

impl RequestIds {
    fn new(rng: &dyn Rng) -> Self {
        let mut random = [0; 8];
        rng.fill(&mut random);
        let mut process = [b'-'; 17];
        write_hex(u64::from_ne_bytes(random), &mut process[..16]);
        Self { process, next: AtomicU64::new(1) }
    }

    fn take(&self) -> Arc<str> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1) as usize;
        let mut id = [0; 17 + 16];
        let id = &mut id[..17 + digits];
        id[..17].copy_from_slice(&self.process);
        write_hex(number, &mut id[17..]);
        std::str::from_utf8(id).unwrap_or_default().into()
    }
}

/// The last `digits.len()` hexadecimal digits of `number`. Every request has one written, and the formatter takes several
/// times as long.
fn write_hex(number: u64, digits: &mut [u8]) {
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest & 0xf) as usize];
        rest >>= 4;
    }
}

#[cfg(test)]
mod tests;
