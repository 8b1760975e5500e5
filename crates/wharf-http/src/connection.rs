//! A connection that does not wait for ever.
//!
//! HTTP/1 connections are in one of three states: *idle* between two requests, *receiving a head*, or *busy* with a
//! request. Each has its own time limit: keep-alive, head, and (kept where bodies are read) body. Writing has a limit
//! in every state: a response that nobody reads ends the connection. HTTP/2 connections know only idle and busy,
//! because their frames arrive at any time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use wharf_identity::Remembered;

use crate::Config;
use crate::head_scan::HeadScan;

/// The first bytes of HTTP/2 with prior knowledge (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI";

/// How many requests of a connection are under way, and who asked last; shared between the connection, its requests and
/// their answers.
#[derive(Clone)]
pub(crate) struct InFlight(Arc<Shared>);

struct Shared {
    remembered: Remembered,
    requests: AtomicUsize,
    began: Instant,
    /// When the last request was over, in microseconds from `began`.
    idle_since_us: AtomicU64,
}

/// One request under way; over when dropped.
pub(crate) struct Busy(InFlight);

impl InFlight {
    /// None, on a connection that begins now.
    pub(crate) fn new() -> Self {
        let requests = AtomicUsize::new(0);
        Self(Arc::new(Shared {
            remembered: Remembered::default(),
            requests,
            began: Instant::now(),
            idle_since_us: AtomicU64::new(0),
        }))
    }

    pub(crate) fn begin(&self) -> Busy {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Who asked over this connection last.
    pub(crate) fn remembered(&self) -> &Remembered {
        &self.0.remembered
    }

    fn any(&self) -> bool {
        self.0.requests.load(Ordering::Acquire) > 0
    }

    fn idle_since(&self) -> Instant {
        self.0.began + Duration::from_micros(self.0.idle_since_us.load(Ordering::Relaxed))
    }
}

impl Busy {
    /// The connection it is on.
    pub(crate) fn connection(&self) -> InFlight {
        self.0.clone()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let shared = &*self.0.0;
        let since_us = u64::try_from(shared.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        shared.idle_since_us.store(since_us, Ordering::Relaxed);
        shared.requests.fetch_sub(1, Ordering::Release);
    }
}

/// Time limits of one connection.
#[derive(Clone, Copy)]
pub(crate) struct Timeouts {
    head: Duration,
    keep_alive: Duration,
    write: Duration,
}

impl Timeouts {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            head: config.header_timeout.get(),
            keep_alive: config.keep_alive_timeout.get(),
            write: config.write_timeout.get(),
        }
    }

    /// After at most so much time a connection looks whether it has waited too long.
    fn step(&self) -> Duration {
        self.head.min(self.keep_alive)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// So many bytes of the preface have been seen and nothing else.
    Unknown(usize),
    Http1,
    Http2,
}

/// What the connection is waiting for while no request is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// For the rest of a head, or for the first one.
    Head,
    /// For anything at all.
    Idle,
}

/// `io` with time limits.
pub(crate) struct Connection<I> {
    io: I,
    in_flight: InFlight,
    timeouts: Timeouts,
    protocol: Protocol,
    head: HeadScan,
    /// `None` while busy.
    waiting: Option<Waiting>,
    /// When what is waited for must have come; `None` until nothing more is there to be read.
    read_deadline: Option<Instant>,
    /// Goes off at the deadline or before it: most requests are there long before, and setting a timer for each would cost more than
    /// looking at the clock when it goes off. It runs while a request is under way, because nobody reads again when that is over.
    read_timer: Pin<Box<Sleep>>,
    /// Set while a write makes no progress.
    write_deadline: Option<Pin<Box<Sleep>>>,
}

impl<I> Connection<I> {
    /// The first head is awaited from now on.
    pub(crate) fn new(io: I, in_flight: InFlight, timeouts: Timeouts) -> Self {
        Self {
            io,
            in_flight,
            timeouts,
            protocol: Protocol::Unknown(0),
            head: HeadScan::default(),
            waiting: Some(Waiting::Head),
            read_deadline: Some(Instant::now() + timeouts.head),
            read_timer: Box::pin(tokio::time::sleep(timeouts.step())),
            write_deadline: None,
        }
    }

    /// Follows the state of the connection before more is read.
    fn before_read(&mut self) {
        if self.in_flight.any() {
            self.waiting = None;
        } else if self.waiting.is_none() {
            self.waiting = Some(Waiting::Idle);
            self.read_deadline = Some(self.in_flight.idle_since() + self.timeouts.keep_alive);
        }
    }

    /// Keeps the time of whatever is waited for, when nothing is there to be read.
    fn watch_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let deadline = self.waiting.map(|waiting| {
            let limit = match waiting {
                Waiting::Head => self.timeouts.head,
                Waiting::Idle => self.timeouts.keep_alive,
            };
            *self.read_deadline.get_or_insert_with(|| Instant::now() + limit)
        });
        if let Some(deadline) = deadline.filter(|deadline| self.read_timer.deadline() > *deadline) {
            self.read_timer.as_mut().reset(deadline);
        }
        while self.read_timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let next = now + self.timeouts.step();
            self.read_timer.as_mut().reset(deadline.map_or(next, |deadline| deadline.min(next)));
        }
        Poll::Pending
    }

    fn after_read(&mut self, bytes: &mut [u8]) {
        if let Protocol::Unknown(matched) = self.protocol {
            self.protocol = recognise(matched, bytes);
        }
        match (self.protocol, self.waiting) {
            (Protocol::Http1, Some(Waiting::Idle)) => {
                self.head.begin();
                self.head.look(bytes);
                self.wait_for(Waiting::Head);
            }
            (Protocol::Http1 | Protocol::Unknown(_), Some(Waiting::Head)) => self.head.look(bytes),
            (Protocol::Http1, None) => self.head.skip(bytes),
            (Protocol::Http2, Some(_)) => self.wait_for(Waiting::Idle),
            (Protocol::Http2, None) | (Protocol::Unknown(_), _) => {}
        }
    }

    fn wait_for(&mut self, what: Waiting) {
        self.waiting = Some(what);
        self.read_deadline = None;
    }

    /// Keeps the time of writes that make no progress.
    fn watch_write<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_deadline = None;
            return written;
        }
        let limit = self.timeouts.write;
        let deadline = self.write_deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        deadline.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// What the first bytes of a connection say, `matched` of the preface's being behind us.
fn recognise(matched: usize, bytes: &[u8]) -> Protocol {
    let missing = &HTTP2_PREFACE[matched..];
    if bytes.starts_with(missing) {
        Protocol::Http2
    } else if missing.starts_with(bytes) {
        Protocol::Unknown(matched + bytes.len())
    } else {
        Protocol::Http1
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Connection<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.before_read();
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(context, buffer) {
            Poll::Pending => self.watch_read(context),
            Poll::Ready(Ok(())) => {
                self.after_read(&mut buffer.filled_mut()[before..]);
                Poll::Ready(Ok(()))
            }
            failed => failed,
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Connection<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.watch_write(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.watch_write(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.watch_write(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.io).poll_shutdown(context);
        self.watch_write(context, closed)
    }
}
