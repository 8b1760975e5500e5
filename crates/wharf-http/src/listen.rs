//! Accepting connections, and ending them in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wharf_base::Shutdown;

use crate::body::Drainer;
use crate::connection::{Connection, InFlight, Timeouts};
use crate::gate::Gates;
use crate::limits::{Connections, Place, RateLimit};
use crate::metrics::Requests;
use crate::origin::{ExternalUrl, Origins};
use crate::sendfile::{FileSender, Lane};
use crate::service::{self, Peer, Port};
use crate::tls::{Certificates, TlsError};
use crate::{App, Config, Parts, RequestIds, plaintext};

/// Requests that one HTTP/2 connection may have under way.
const HTTP2_STREAMS_MAX: u32 = 128;

/// Streams that a client may reset before they were looked at; one more ends the connection.
const HTTP2_RESETS_MAX: usize = 200;

/// How much of an upload may be on its way on one HTTP/2 stream, and on a connection, without our consent (P-024).
const HTTP2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// The longest list of headers on HTTP/2.
const HTTP2_HEADERS_MAX_BYTES: u32 = 64 << 10;

/// Connections to the addresses of `/metrics`.
const METRICS_CONNECTIONS_MAX: u32 = 64;

/// Descriptors that are not for connections.
const DESCRIPTORS_RESERVED: u64 = 64;

/// Fewer connections serve nobody, whatever the system allows.
const CONNECTIONS_AT_LEAST: u64 = 16;

/// How much a TLS connection encrypts before it writes: as much as there can be at once. With the 64 KiB that rustls has by itself a blob
/// costs half as much again.
const TLS_BUFFER_BYTES: usize = 1 << 20;

/// How long to wait when the system has no descriptors left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("listening on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The external URL is none.
    #[error("server.external_url {0}")]
    ExternalUrl(&'static str),
}

/// A server that listens; a value that a test can hold.
pub struct Server {
    app: Arc<App>,
    listeners: Vec<TcpListener>,
    /// For whoever watches.
    metrics: Vec<TcpListener>,
    tls: Option<(TlsAcceptor, Arc<Certificates>)>,
    shutdown: Shutdown,
}

impl Server {
    /// Listens on every configured address. From now on connections queue up; they are served by [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// [`StartError`], naming the address or file; nothing listens then.
    pub async fn bind(config: Config, parts: Parts, shutdown: Shutdown) -> Result<Self, StartError> {
        let external =
            config.external_url.as_deref().map(ExternalUrl::parse).transpose().map_err(StartError::ExternalUrl)?;
        let tls = match (&config.tls_certificate, &config.tls_key) {
            (Some(certificate), Some(key)) => {
                let certificates = Certificates::load(certificate, key)?;
                Some((TlsAcceptor::from(Arc::new(certificates.server_config()?)), certificates))
            }
            _ => None,
        };
        let listeners = bind(&config.listen).await?;
        let metrics = bind(&config.metrics_listen).await?;
        let app = Arc::new(App {
            origins: Origins::new(external, config.absolute_urls, config.trusted_proxies.clone()),
            rate: RateLimit::new(config.requests_per_second),
            gates: Gates::new(&config.at_once),
            requests: Requests::new(),
            connections: Connections::new(config.max_connections, config.max_connections_per_source),
            drainer: Drainer::new(),
            ids: RequestIds::new(&*parts.rng),
            shutdown: shutdown.clone(),
            parts,
            config,
        });
        Ok(Self { app, listeners, metrics, tls, shutdown })
    }

    /// The addresses that are really listened on, with the ports that were free.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Where `/metrics` has addresses of its own.
    pub fn metrics_addresses(&self) -> Vec<SocketAddr> {
        self.metrics.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves until shutdown, then lets requests in flight end, at most for the configured grace. Says whether all of
    /// them did.
    pub async fn run(self) -> bool {
        let connections = TaskTracker::new();
        let stop = CancellationToken::new();
        let cut = CancellationToken::new();
        let accepting = TaskTracker::new();
        let tls = self.tls.as_ref().map(|(acceptor, _)| acceptor.clone());
        if let Some((_, certificates)) = &self.tls {
            accepting.spawn(Arc::clone(certificates).keep_fresh(self.shutdown.clone()));
        }
        let registry = Acceptor {
            port: Port::Registry,
            places: self.app.connections.clone(),
            descriptors: Arc::new(Semaphore::new(descriptors_for_connections())),
            tls,
            app: Arc::clone(&self.app),
            tasks: connections.clone(),
            stop: stop.clone(),
            cut: cut.clone(),
        };
        // Their own places: whoever watches gets an answer when all others are taken.
        let places = Connections::new(METRICS_CONNECTIONS_MAX, METRICS_CONNECTIONS_MAX);
        let descriptors = Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX as usize));
        let watchers = Acceptor { port: Port::Metrics, places, descriptors, tls: None, ..registry.clone() };
        for listener in self.listeners {
            accepting.spawn(registry.clone().run(listener));
        }
        for listener in self.metrics {
            accepting.spawn(watchers.clone().run(listener));
        }
        self.shutdown.started().await;
        tokio::time::sleep(self.app.config.drain_delay().get()).await;
        stop.cancel();
        accepting.close();
        accepting.wait().await;
        connections.close();
        let all_ended = tokio::time::timeout(self.app.config.shutdown_grace.get(), connections.wait()).await.is_ok();
        cut.cancel();
        connections.wait().await;
        all_ended
    }
}

async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for &address in addresses {
        let bound = TcpListener::bind(address).await;
        listeners.push(bound.map_err(|source| StartError::Listen { address, source })?);
    }
    Ok(listeners)
}

/// How many connections there are descriptors for: nine tenths of what the system allows, without those of the database, the
/// log and the listeners.
fn descriptors_for_connections() -> usize {
    let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let usable = (allowed / 10).saturating_mul(9).saturating_sub(DESCRIPTORS_RESERVED).max(CONNECTIONS_AT_LEAST);
    usize::try_from(usable).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

/// What an accept loop needs.
#[derive(Clone)]
struct Acceptor {
    port: Port,
    app: Arc<App>,
    tls: Option<TlsAcceptor>,
    places: Connections,
    descriptors: Arc<Semaphore>,
    tasks: TaskTracker,
    /// No more requests.
    stop: CancellationToken,
    /// No more bytes; always after the stop.
    cut: CancellationToken,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        loop {
            // Beyond this, connections wait in the system's queue: there would be no descriptor for the blob that they ask
            // for, nor for the database.
            let descriptor = tokio::select! {
                () = self.stop.cancelled() => return,
                descriptor = Arc::clone(&self.descriptors).acquire_owned() => descriptor,
            };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, descriptor.ok()),
                // Out of descriptors: connections that end give some back.
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, descriptor: Option<OwnedSemaphorePermit>) {
        let Some(place) = self.places.admit(peer.ip()) else {
            tracing::debug!(client.address = %peer.ip(), "a connection was closed: too many are open");
            return;
        };
        // Without it the last bytes of an answer wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let acceptor = self.clone();
        self.tasks.spawn(async move {
            let _descriptor = descriptor;
            acceptor.handle(stream, peer, place).await;
        });
    }

    async fn handle(self, stream: TcpStream, peer: SocketAddr, _place: Place) {
        let port = self.port;
        let Some(tls) = self.tls.clone() else {
            let lane = Lane::default();
            let stream = FileSender::new(stream, lane.clone());
            return self.serve(stream, Peer { address: peer.ip(), tls: false, port }, Some(lane)).await;
        };
        let limit = self.app.config.tls_handshake_timeout.get();
        let handshake = tokio::time::timeout(limit, async {
            if plaintext::is_spoken(&stream).await? {
                plaintext::refuse(stream).await?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the client speaks plain HTTP"));
            }
            tls.accept_with(stream, |session| session.set_buffer_limit(Some(TLS_BUFFER_BYTES))).await
        });
        let done = tokio::select! {
            done = handshake => done,
            () = self.cut.cancelled() => return,
        };
        match done {
            Ok(Ok(stream)) => self.serve(stream, Peer { address: peer.ip(), tls: true, port }, None).await,
            Ok(Err(error)) => tracing::debug!(client.address = %peer.ip(), %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(client.address = %peer.ip(), "a TLS handshake took too long"),
        }
    }

    /// `lane` is there if `io` sends its files.
    async fn serve<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, io: I, peer: Peer, lane: Option<Lane>) {
        let in_flight = InFlight::new();
        let io = Connection::new(io, in_flight.clone(), Timeouts::new(&self.app.config));
        let app = Arc::clone(&self.app);
        let service = hyper::service::service_fn(move |request| {
            service::serve(Arc::clone(&app), peer, lane.clone(), in_flight.begin(), request)
        });
        let builder = builder();
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
        let ended = tokio::select! {
            // Both are looked at each time anyway; an order chosen at random only takes time.
            biased;
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                // Nothing is cut before the stop, so nobody looks for it before.
                tokio::select! {
                    ended = connection => ended,
                    () = self.cut.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(client.address = %peer.address, error = &*error, "a connection broke off");
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Times are kept by `Connection`, which knows when a head begins. More than hyper's own 100 headers are answered 431; for any other
    // number it would take memory for each request.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_pending_accept_reset_streams(HTTP2_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_RESETS_MAX)
        .max_header_list_size(HTTP2_HEADERS_MAX_BYTES)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(None);
    builder
}
