//! A connection that does not wait for ever.
//!
//! HTTP/1 connections are in one of three states: *idle* between two requests, *receiving a head*, or *busy* with a
//! request. Each has its own time limit: keep-alive, head, and (kept where bodies are read) body. Writing has a limit
//! in every state: a response that nobody reads ends the connection. HTTP/2 connections know only idle and busy,
//! because their frames arrive at any time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::Config;
use crate::head_scan::HeadScan;

/// The first bytes of HTTP/2 with prior knowledge (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI";

/// How many requests of a connection are under way; shared between the connection and their answers.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<AtomicUsize>);

/// One request under way; over when dropped.
pub(crate) struct Busy(InFlight);

impl InFlight {
    pub(crate) fn begin(&self) -> Busy {
        self.0.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
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
    /// looking at the clock when it goes off.
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
            read_timer: Box::pin(tokio::time::sleep(timeouts.head)),
            write_deadline: None,
        }
    }

    /// Follows the state of the connection before more is read.
    fn before_read(&mut self) {
        if self.in_flight.any() {
            self.waiting = None;
        } else if self.waiting.is_none() {
            self.wait_for(Waiting::Idle);
        }
    }

    /// Keeps the time of whatever is waited for, when nothing is there to be read.
    fn watch_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let limit = match self.waiting {
            Some(Waiting::Head) => self.timeouts.head,
            Some(Waiting::Idle) => self.timeouts.keep_alive,
            None => return Poll::Pending,
        };
        let deadline = *self.read_deadline.get_or_insert_with(|| Instant::now() + limit);
        if self.read_timer.deadline() > deadline {
            self.read_timer.as_mut().reset(deadline);
        }
        while self.read_timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.read_timer.as_mut().reset(deadline);
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
