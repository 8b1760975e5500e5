//! The one door: what every request is measured against before it is looked at, and what every answer gets.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use http::header::{
    CONTENT_SECURITY_POLICY, EXPECT, HeaderName, TRANSFER_ENCODING, USER_AGENT, X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tracing::Instrument;
use wharf_oci::Code;

use crate::body::{Pace, Received, RequestBody};
use crate::class::Class;
use crate::connection::{Busy, InFlight};
use crate::gate::Permit;
use crate::limits::Source;
use crate::origin::{Asked, Origins};
use crate::reply::{FilePart, Parts, Payload, Reply, header_value};
use crate::sendfile::{FilePiece, Lane};
use crate::v2::Failure;
use crate::{App, api, health, v2, web};

/// The longest request target, in bytes (P-022).
const TARGET_MAX_BYTES: usize = 32 << 10;

/// The most bytes of a request's headers, counted as names, values and four bytes each for `: ` and the line's end.
const HEADERS_MAX_BYTES: usize = 64 << 10;

/// How much of a text that a client chose goes into a log line.
const LOGGED_MAX_BYTES: usize = 256;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request as the rest of this room sees it: measured, and with everything that its connection knows. It is handed on
/// in a box: it is large, and is moved a dozen times on its way.
pub(crate) struct Inbound {
    pub(crate) method: Method,
    /// Without the configured prefix, still percent-encoded.
    pub(crate) path: String,
    /// Without the `?`, still percent-encoded.
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    /// What stands in front of `/v2/…` in `Location` and `Link`.
    pub(crate) base: String,
    /// Whose request it is (S-079).
    pub(crate) client: IpAddr,
    pub(crate) request_id: Arc<str>,
    pub(crate) peer: Peer,
    /// What it shares with the other requests of its connection.
    pub(crate) connection: InFlight,
    /// Host and port from the request line, as HTTP/2 sends them.
    authority: Option<Authority>,
}

impl Inbound {
    /// The absolute URL of `path` under the address that the client used, for what may not be relative: the realm of a
    /// challenge (P-027, P-068). Without any valid host it is the path alone.
    pub(crate) fn absolute(&self, origins: &Origins, path: &str) -> String {
        origins.absolute(self.addressed(), path)
    }

    /// Scheme and host that the client used, if they are valid.
    pub(crate) fn origin(&self, origins: &Origins) -> Option<String> {
        origins.origin(self.addressed()).map(|origin| origin.to_string())
    }

    /// Host and port that the client used, if they are valid.
    pub(crate) fn host(&self, origins: &Origins) -> Option<String> {
        origins.origin(self.addressed()).map(|origin| origin.host().to_owned())
    }

    /// Whether nobody on the way could read along.
    pub(crate) fn is_https(&self, origins: &Origins) -> bool {
        origins.is_https(self.addressed())
    }

    fn addressed(&self) -> Asked<'_> {
        Asked {
            peer: self.peer.address,
            tls: self.peer.tls,
            headers: &self.headers,
            authority: self.authority.as_ref().map(Authority::as_str),
        }
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) tls: bool,
    pub(crate) port: Port,
}

/// Which of the server's ports it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// That of the registry.
    Registry,
    /// That of whoever watches, where there is nothing but health and metrics.
    Metrics,
}

/// Answers one request. Never fails: whatever happens is an answer, also a panic.
pub(crate) async fn serve(
    app: Arc<App>,
    peer: Peer,
    lane: Option<Lane>,
    busy: Busy,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    let (mut head, incoming) = request.into_parts();
    let client = app.origins.client(peer.address, &head.headers);
    let mut record = Record::begin(&app, &mut head, client);
    let awaits_continue =
        head.headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let body = RequestBody::new(incoming, awaits_continue, &app.drainer, Pace::new(&app.config));
    record.received = body.received();
    let span = tracing::info_span!("request", request.id = &*record.id);
    let is_head = head.method == Method::HEAD;
    let lane = lane.filter(|_| head.version <= http::Version::HTTP_11);
    let in_v2 = is_v2(app.origins.strip(record.uri.path()));

    let answered = {
        // Pinned where it is made: it is large, and each of these would move it.
        let answering = pin!(answer(&app, peer, client, head, body, &record, busy.connection()));
        AssertUnwindSafe(answering).catch_unwind().instrument(span.clone()).await
    };
    let (mut reply, place) = answered.unwrap_or_else(|panic| (panicked(&*panic), None));
    record.place = place;
    span.in_scope(|| log_cause(&reply));
    finish_headers(&mut reply.headers, &record.id, in_v2);
    if is_head {
        reply = reply.without_payload();
    }
    Ok(into_response(reply, lane, record, busy))
}

async fn answer(
    app: &Arc<App>,
    peer: Peer,
    client: IpAddr,
    head: http::request::Parts,
    body: RequestBody,
    record: &Record,
    connection: InFlight,
) -> (Reply, Option<Permit>) {
    let uri = &record.uri;
    if let Err(failure) = admit(app, client, uri, &head.headers) {
        return (failure.into_reply(), None);
    }
    if health::is_here(uri.path()) {
        let asker = health::Asker::of(peer, &head.headers);
        if let Some(reply) = Box::pin(health::answer(app, &head.method, uri, asker)).await {
            return (reply, None);
        }
    }
    if peer.port == Port::Metrics {
        return (Failure::not_found().into_reply(), None);
    }
    let place = match app.gates.enter(record.class, Source::of(client), &*app.parts.rng).await {
        Ok(place) => place,
        Err(wait) => return (Failure::busy(wait).into_reply(), None),
    };
    let asked = Asked {
        peer: peer.address,
        tls: peer.tls,
        headers: &head.headers,
        authority: uri.authority().map(Authority::as_str),
    };
    let inbound = Box::new(Inbound {
        base: app.origins.base(asked),
        path: app.origins.strip(uri.path()).to_owned(),
        query: uri.query().map(str::to_owned),
        client,
        request_id: Arc::clone(&record.id),
        peer,
        connection,
        authority: uri.authority().cloned(),
        method: head.method,
        headers: head.headers,
    });
    // Boxed, like pushes in `v2`: what is small here is moved about for every request.
    let reply = if api::is_below(&inbound.path) {
        Box::pin(api::answer(app, inbound, body)).await
    } else if web::is_ours(&inbound) {
        Box::pin(web::answer(app, inbound, body)).await
    } else {
        v2::answer(app, inbound, body).await
    };
    (reply, place)
}

/// What is decided before a request is looked at.
fn admit(app: &App, client: IpAddr, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
    let target_bytes = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target_bytes > TARGET_MAX_BYTES {
        let message = format!("the request target has more than {TARGET_MAX_BYTES} bytes");
        return Err(Failure::new(StatusCode::URI_TOO_LONG, Code::Unsupported, message));
    }
    let header_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if header_bytes > HEADERS_MAX_BYTES {
        let message = format!("the request's headers have more than {HEADERS_MAX_BYTES} bytes");
        return Err(Failure::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Code::Unsupported, message));
    }
    if !is_plainly_framed(headers) {
        return Err(Failure::ambiguous_framing());
    }
    match &app.rate {
        Some(rate) if !is_health(uri.path()) => {
            rate.take(Source::of(client), app.parts.clock.monotonic()).map_err(Failure::too_many_requests)
        }
        _ => Ok(()),
    }
}

/// Whether the body's framing can be read in one way only. hyper looks at the last transfer coding and refuses a
/// head whose last one is not `chunked`; what stands before it is looked at here.
fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

fn is_health(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics")
}

fn is_v2(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

/// A panic is a bug. It costs this request and nothing else, and its text stays here.
fn panicked(panic: &(dyn std::any::Any + Send)) -> Reply {
    let text = wharf_base::panic_text(panic).unwrap_or("?");
    tracing::error!(panic = text, "a request ended in a panic; please report this");
    Failure::internal().into_reply()
}

fn log_cause(reply: &Reply) {
    let Some(cause) = &reply.cause else { return };
    let cause: &(dyn std::error::Error + 'static) = &**cause;
    if reply.status.is_server_error() {
        tracing::error!(error = cause, "a request failed");
    } else {
        tracing::debug!(error = cause, "a request was refused");
    }
}

/// What every answer carries (P-001, S-062).
fn finish_headers(headers: &mut HeaderMap, id: &str, in_v2: bool) {
    headers.insert(REQUEST_ID, header_value(id));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Pages say themselves what they may load; everything else is no page.
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'"));
    if in_v2 {
        headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    }
}

fn into_response(reply: Reply, lane: Option<Lane>, mut record: Box<Record>, busy: Busy) -> Response<ReplyBody> {
    let Parts { status, headers, payload, .. } = reply.into_parts();
    record.status = status;
    let ending = Some(Ending { record, _busy: busy });
    let payload = if lane.is_some() { payload } else { payload.without_file() };
    let mut response = Response::new(ReplyBody { payload, lane, ending });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What lasts to the end of an answer.
struct Ending {
    record: Box<Record>,
    _busy: Busy,
}

/// The body of an answer; its end, whichever way it comes, writes the access line.
pub(crate) struct ReplyBody {
    payload: Payload,
    /// Without it there is no file in `payload`.
    lane: Option<Lane>,
    /// `None` when a file took it with it.
    ending: Option<Ending>,
}

impl http_body::Body for ReplyBody {
    type Data = Piece;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, std::io::Error>>> {
        if let Some(piece) = self.take_file() {
            return Poll::Ready(Some(Ok(Frame::data(Piece::File(piece)))));
        }
        let next = ready!(self.payload.poll_next(context));
        if let (Some(bytes), Some(Ending { record, .. })) = (&next, &mut self.ending) {
            match bytes {
                Ok(bytes) => record.sent_bytes += bytes.len() as u64,
                Err(error) => record.broke(error),
            }
        }
        Poll::Ready(next.map(|bytes| bytes.map(|bytes| Frame::data(Piece::Bytes(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.payload.length_bytes() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.payload.length_bytes())
    }
}

impl ReplyBody {
    /// The file that is the whole of this body. The answer ends when the piece does, which is later than the body.
    fn take_file(&mut self) -> Option<FilePiece> {
        let lane = self.lane.as_ref().filter(|_| matches!(self.payload, Payload::File(_)))?;
        let taken = std::mem::replace(&mut self.payload, Payload::Empty);
        let Payload::File(part) = taken else { return None };
        let FilePart { blob, file, range } = *part;
        let mut ending = self.ending.take();
        Some(lane.piece(Box::new(file), range, move |sent_bytes, failure| {
            let Some(Ending { record, .. }) = &mut ending else { return };
            record.sent_bytes += sent_bytes;
            if let Some(failure) = failure {
                record.broke(failure);
                blob.broke();
            }
        }))
    }
}

/// A piece of a body.
pub(crate) enum Piece {
    /// In memory.
    Bytes(Bytes),
    /// In a file, for the connection that it was made for.
    File(FilePiece),
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.remaining(),
            Self::File(file) => file.remaining(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.chunk(),
            Self::File(file) => file.chunk(),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Bytes(bytes) => bytes.advance(count),
            Self::File(file) => file.advance(count),
        }
    }
}

/// What the access log says of one request. In a box, for it goes to the end of the answer with whatever is handed on.
struct Record {
    id: Arc<str>,
    app: Arc<App>,
    class: Class,
    /// Kept until the answer has ended.
    place: Option<Permit>,
    began: Duration,
    method: Method,
    /// As it was sent.
    uri: Uri,
    client: IpAddr,
    /// As it was sent.
    user_agent: Option<HeaderValue>,
    status: StatusCode,
    received: Received,
    sent_bytes: u64,
}

impl Record {
    fn begin(app: &Arc<App>, head: &mut http::request::Parts, client: IpAddr) -> Box<Self> {
        Box::new(Self {
            id: app.ids.take(),
            app: Arc::clone(app),
            class: Class::of(&head.method, app.origins.strip(head.uri.path())),
            place: None,
            began: app.parts.clock.monotonic(),
            method: head.method.clone(),
            uri: std::mem::take(&mut head.uri),
            client,
            user_agent: head.headers.get(USER_AGENT).cloned(),
            status: StatusCode::INTERNAL_SERVER_ERROR,
            received: Received::default(),
            sent_bytes: 0,
        })
    }

    fn broke(&self, error: &std::io::Error) {
        tracing::error!(request.id = &*self.id, error = error as &dyn std::error::Error, "an answer broke off");
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let now = self.app.parts.clock.monotonic();
        let duration = now.saturating_sub(self.began);
        let received_bytes = self.received.bytes();
        self.app.requests.count(self.class, self.status, duration, received_bytes, self.sent_bytes);
        let bytes = received_bytes.saturating_add(self.sent_bytes);
        self.app.requests.recent.count(now, self.status.is_server_error(), bytes);
        let status = self.status.as_u16();
        let path = &*capped(self.uri.path().as_bytes());
        let user_agent = self.user_agent.as_ref().map_or(Cow::Borrowed(""), |value| capped(value.as_bytes()));
        tracing::info!(
            target: "wharf::access",
            {
                request.id = &*self.id,
                client.address = %self.client,
                http.method = %self.method,
                http.path = path,
                http.status = status,
                received_bytes,
                sent_bytes = self.sent_bytes,
                duration_ms = duration.as_secs_f64() * 1_000.0,
                user_agent = &*user_agent,
            },
            "{} {path} {status}",
            self.method,
        );
    }
}

fn capped(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(LOGGED_MAX_BYTES)])
}
