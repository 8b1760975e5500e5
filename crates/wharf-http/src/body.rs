//! Reading what clients send: never for longer than configured, never more than allowed, and to a polite end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use wharf_registry::BodyError;

use crate::Config;

/// How much of a refused request's body is read and dropped, so that the client sees the answer rather than a reset
/// (P-020).
const DRAIN_MAX_BYTES: u64 = 5 << 20;

/// For how long it is.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How many bodies are drained at once; more are cut off.
const DRAINS_MAX: usize = 64;

/// The window over which the minimum rate of a body is averaged, counted in time spent waiting for the client.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// Reads and drops what refused requests still send.
#[derive(Clone)]
pub(crate) struct Drainer(Arc<Semaphore>);

impl Drainer {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(DRAINS_MAX)))
    }

    fn drain(&self, body: Incoming) {
        // Only a draining body occupies a place; without one it is dropped here, which closes the connection.
        if let Ok(place) = Arc::clone(&self.0).try_acquire_owned() {
            tokio::spawn(async move {
                let _ = timeout(DRAIN_TIMEOUT, read_and_drop(body)).await;
                drop(place);
            });
        }
    }
}

async fn read_and_drop(mut body: Incoming) {
    let mut dropped_bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        dropped_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        if dropped_bytes > DRAIN_MAX_BYTES {
            return;
        }
    }
}

/// How slow a body may be.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    idle: Duration,
    rate_min: u32,
}

impl Pace {
    pub(crate) fn new(config: &Config) -> Self {
        Self { idle: config.body_idle_timeout.get(), rate_min: config.body_rate_min }
    }
}

/// The body of a request; most have none, and those cost nothing here.
pub(crate) struct RequestBody(Option<Box<Reading>>);

/// A body that is being read. Whatever is not read of it is drained when it is dropped, except behind an
/// `Expect: 100-continue` that nobody answered: there the client is still waiting and sends nothing (P-021).
struct Reading {
    incoming: Option<Incoming>,
    drainer: Drainer,
    pace: Pace,
    awaits_continue: bool,
    received: Received,
    waited: Duration,
    window_bytes: u64,
}

/// How much has been received of a body, in bytes; shared between the body and the record of its request.
#[derive(Clone, Default)]
pub(crate) struct Received(Option<Arc<AtomicU64>>);

impl Received {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |bytes| bytes.load(Ordering::Relaxed))
    }

    fn add(&self, more: usize) {
        if let Some(bytes) = &self.0 {
            bytes.fetch_add(more as u64, Ordering::Relaxed);
        }
    }
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, awaits_continue: bool, drainer: &Drainer, pace: Pace) -> Self {
        if incoming.is_end_stream() {
            return Self(None);
        }
        Self(Some(Box::new(Reading {
            incoming: Some(incoming),
            drainer: drainer.clone(),
            pace,
            awaits_continue,
            received: Received(Some(Arc::default())),
            waited: Duration::ZERO,
            window_bytes: 0,
        })))
    }

    /// Counts what is received from now on.
    pub(crate) fn received(&self) -> Received {
        self.0.as_ref().map_or_else(Received::default, |reading| reading.received.clone())
    }

    /// Whether there is nothing in it, without waiting.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().and_then(|reading| reading.incoming.as_ref()).is_none_or(|incoming| incoming.is_end_stream())
    }

    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.0.as_mut()?.next().await
    }

    /// The body as the use cases take it.
    pub(crate) fn into_stream(self) -> wharf_registry::Body {
        let stream = futures_util::stream::unfold(self, |mut body| async {
            let next = body.next().await?;
            Some((next, body))
        });
        Box::pin(stream)
    }

    /// The whole body, if it has at most `limit_bytes`.
    ///
    /// # Errors
    ///
    /// [`CollectError::TooLarge`] as soon as more has arrived; what is still to come is drained.
    pub(crate) async fn collect(mut self, limit_bytes: u64) -> Result<Bytes, CollectError> {
        let mut whole = BytesMut::new();
        while let Some(bytes) = self.next().await {
            let bytes = bytes.map_err(CollectError::Body)?;
            if (whole.len() + bytes.len()) as u64 > limit_bytes {
                return Err(CollectError::TooLarge);
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }
}

impl Reading {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let incoming = self.incoming.as_mut()?;
            self.awaits_continue = false;
            let began = Instant::now();
            let frame = match timeout(self.pace.idle, incoming.frame()).await {
                Ok(frame) => frame,
                Err(_) => return Some(self.give_up(BodyError::Stalled)),
            };
            match frame {
                None => {
                    self.incoming = None;
                    return None;
                }
                Some(Err(_)) => return Some(self.give_up(BodyError::Broken)),
                Some(Ok(frame)) => {
                    // Trailers mean nothing to us.
                    let Ok(bytes) = frame.into_data() else { continue };
                    self.received.add(bytes.len());
                    if self.is_too_slow(began.elapsed(), bytes.len() as u64) {
                        return Some(self.give_up(BodyError::Stalled));
                    }
                    return Some(Ok(bytes));
                }
            }
        }
    }

    fn give_up(&mut self, error: BodyError) -> Result<Bytes, BodyError> {
        self.incoming = None;
        Err(error)
    }

    fn is_too_slow(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.window_bytes += bytes;
        if self.waited < RATE_WINDOW {
            return false;
        }
        let wanted = u64::from(self.pace.rate_min) * self.waited.as_secs();
        let slow = self.window_bytes < wanted;
        (self.waited, self.window_bytes) = (Duration::ZERO, 0);
        slow
    }
}

/// Why a body could not be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CollectError {
    /// It has more bytes than allowed.
    TooLarge,
    /// It did not arrive.
    Body(BodyError),
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take()
            && !self.awaits_continue
            && !incoming.is_end_stream()
        {
            self.drainer.drain(incoming);
        }
    }
}
