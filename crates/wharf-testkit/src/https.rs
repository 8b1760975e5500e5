use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::Fault;

/// A certificate authority of one test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new authority with a new key.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// The authority's certificate in PEM, for a client's configuration.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for `host` and its key, in PEM.
    pub fn pem_for(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn issue(&self, tls: &Tls) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![tls.host.clone()]).unwrap();
        if tls.expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }
}

/// What a stand-in shows on the wire before it says anything.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The name in its certificate.
    pub host: String,
    /// Whether that has ended.
    pub expired: bool,
    /// Whether it speaks TLS 1.2 and nothing newer.
    pub only_1_2: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), expired: false, only_1_2: false }
    }
}

/// The answer to a request, by its head and body. What comes with a 302 is where it leads.
pub(crate) type Answer = dyn Fn(&Parts, &[u8]) -> (u16, String) + Send + Sync;

/// A running server.
pub(crate) struct Https {
    pub(crate) address: SocketAddr,
    pub(crate) fault: Arc<Mutex<Fault>>,
    task: JoinHandle<()>,
}

impl Https {
    /// Serves `answer` on a port of this machine, until it is dropped.
    pub(crate) async fn start(authority: &Authority, tls: &Tls, answer: Arc<Answer>) -> Self {
        let (certificate, key) = authority.issue(tls);
        let versions: &[&SupportedProtocolVersion] = if tls.only_1_2 { &[&TLS12] } else { &[&TLS13] };
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fault = Arc::new(Mutex::new(Fault::None));
        let faults = Arc::clone(&fault);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, fault) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&faults));
                tokio::spawn(async move {
                    if *fault.lock().unwrap() == Fault::HangUp {
                        return;
                    }
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| respond(Arc::clone(&answer), Arc::clone(&fault), request));
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, fault, task }
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// Why a request gets no answer: the connection ends with it.
type Gone = std::io::Error;

async fn respond(
    answer: Arc<Answer>,
    fault: Arc<Mutex<Fault>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Gone> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let (status, text) = answer(&head, &body);
    let fault = fault.lock().unwrap().clone();
    let plain = |status: u16, text: String| {
        let response = Response::builder().status(status).header("content-type", "application/json");
        response.body(Full::new(Bytes::from(text)).boxed()).unwrap()
    };
    match fault {
        Fault::None if status == 302 => {
            let response = Response::builder().status(status).header("location", text);
            Ok(response.body(Full::new(Bytes::new()).boxed()).unwrap())
        }
        Fault::None => Ok(plain(status, text)),
        Fault::HangUp => Err(std::io::ErrorKind::ConnectionAborted.into()),
        Fault::Silence => std::future::pending().await,
        Fault::Status(status) => Ok(plain(status, "{}".to_owned())),
        Fault::Body(text) => Ok(plain(200, text)),
        Fault::Redirect(to) => {
            Ok(Response::builder().status(302).header("location", to).body(Full::new(Bytes::new()).boxed()).unwrap())
        }
        Fault::Huge(bytes) => {
            let piece = Bytes::from(vec![b' '; 1 << 16]);
            let pieces = (0..bytes.div_ceil(1 << 16)).map(move |_| Ok(Frame::data(piece.clone())));
            let stream = StreamBody::new(Pieces(pieces));
            Ok(Response::builder().status(200).body(stream.boxed()).unwrap())
        }
    }
}

/// An iterator as a stream that is always ready.
struct Pieces<I>(I);

impl<I: Iterator + Unpin> futures_util::Stream for Pieces<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}
