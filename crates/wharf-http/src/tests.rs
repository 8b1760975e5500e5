use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Config;
use crate::connection::{Connection, InFlight, Timeouts};
use crate::limits::{Connections, RateLimit, Source};
use crate::reply::{Payload, header_value};

fn source(address: &str) -> Source {
    Source::of(address.parse().expect("an address"))
}

#[test]
fn p032_a_source_has_its_rate_and_a_burst_and_then_waits() {
    let limit = RateLimit::new(2).expect("a limit");
    let now = Duration::from_secs(100);
    for request in 0..20 {
        assert_eq!(limit.take(source("192.0.2.1"), now), Ok(()), "request {request} of the burst");
    }
    let wait = limit.take(source("192.0.2.1"), now).expect_err("the burst is used up");
    assert_eq!(wait, Duration::from_millis(500));
    assert_eq!(limit.take(source("192.0.2.2"), now), Ok(()), "another source has its own");
    assert_eq!(limit.take(source("192.0.2.1"), now + wait), Ok(()));
    assert!(limit.take(source("192.0.2.1"), now + wait).is_err());
    assert!(RateLimit::new(0).is_none());
}

#[test]
fn a_source_is_an_address_or_an_ipv6_network() {
    assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
    assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
    assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
}

#[test]
fn connections_are_limited_in_all_and_by_source_and_places_come_back() {
    let connections = Connections::new(3, 2);
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let first = connections.admit(address("192.0.2.1")).expect("the first");
    let _second = connections.admit(address("192.0.2.1")).expect("the second");
    assert!(connections.admit(address("192.0.2.1")).is_none(), "two are enough for one source");
    let _other = connections.admit(address("192.0.2.2")).expect("another source");
    assert!(connections.admit(address("192.0.2.3")).is_none(), "three are enough in all");
    drop(first);
    assert!(connections.admit(address("192.0.2.1")).is_some());
}

#[test]
fn s045_nothing_but_visible_ascii_reaches_a_header() {
    assert_eq!(header_value("a\r\nSet-Cookie: x\0é\u{7f}b"), "aSet-Cookie: xb");
}

fn poll(payload: &mut Payload) -> Poll<Option<io::Result<Bytes>>> {
    payload.poll_next(&mut Context::from_waker(Waker::noop()))
}

fn stream(length_bytes: u64, pieces: &[&'static str]) -> Payload {
    let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
    Payload::Stream { length_bytes, content: futures_util::stream::iter(pieces).boxed() }
}

#[test]
fn p128_a_stream_that_ends_early_or_late_is_an_error_and_never_an_end() {
    let mut whole = stream(5, &["he", "llo"]);
    assert!(matches!(poll(&mut whole), Poll::Ready(Some(Ok(_)))));
    assert_eq!(whole.length_bytes(), 3);
    assert!(matches!(poll(&mut whole), Poll::Ready(Some(Ok(_)))));
    assert!(matches!(poll(&mut whole), Poll::Ready(None)));

    let mut short = stream(6, &["hello"]);
    assert!(matches!(poll(&mut short), Poll::Ready(Some(Ok(_)))));
    assert!(matches!(poll(&mut short), Poll::Ready(Some(Err(_)))));

    let mut long = stream(4, &["hello"]);
    assert!(matches!(poll(&mut long), Poll::Ready(Some(Err(_)))));
}

fn connection(io: tokio::io::DuplexStream) -> (Connection<tokio::io::DuplexStream>, InFlight) {
    let in_flight = InFlight::new();
    (Connection::new(io, in_flight.clone(), Timeouts::new(&Config::default())), in_flight)
}

/// A connection, with its client, on which a head has begun.
async fn begun() -> (tokio::io::DuplexStream, Connection<tokio::io::DuplexStream>, InFlight) {
    let (mut client, server) = tokio::io::duplex(64);
    let (mut connection, in_flight) = connection(server);
    client.write_all(b"GET").await.expect("room");
    read(&mut connection).await.expect("bytes");
    (client, connection, in_flight)
}

async fn read(connection: &mut Connection<tokio::io::DuplexStream>) -> io::Result<usize> {
    connection.read(&mut [0; 64]).await
}

/// How long `work` takes on the paused clock.
async fn timed<T>(work: impl Future<Output = T>) -> (T, u64) {
    let began = tokio::time::Instant::now();
    let result = work.await;
    (result, began.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_first_head_that_does_not_come_ends_the_connection() {
    let (_client, server) = tokio::io::duplex(64);
    let (result, secs) = timed(read(&mut connection(server).0)).await;
    assert_eq!((result.expect_err("it timed out").kind(), secs), (io::ErrorKind::TimedOut, 10));
}

/// The server reads while it answers, and not again when it has answered.
#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_reads_after_its_request_is_closed_when_it_has_idled() {
    let (_client, mut connection, in_flight) = begun().await;
    let busy = in_flight.begin();
    let reading = tokio::spawn(async move { read(&mut connection).await });
    tokio::time::sleep(Duration::from_secs(100)).await;
    drop(busy);
    let (result, secs) = timed(tokio::time::timeout(Duration::from_secs(1_000), reading)).await;
    let error = result.expect("woken").expect("no panic").expect_err("it timed out");
    assert_eq!((error.kind(), secs), (io::ErrorKind::TimedOut, 75));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_ends_the_connection_all_the_same() {
    let (mut client, server) = tokio::io::duplex(64);
    let dripping = tokio::spawn(async move {
        while client.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let (mut connection, _) = connection(server);
    let (error, secs) = timed(async {
        loop {
            if let Err(error) = read(&mut connection).await {
                return error;
            }
        }
    })
    .await;
    assert_eq!((error.kind(), secs), (io::ErrorKind::TimedOut, 10));
    drop(connection);
    dripping.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn between_requests_the_connection_may_idle_and_then_the_next_head_has_its_own_time() {
    let (_client, mut connection, in_flight) = begun().await;
    drop(in_flight.begin());
    let busy = in_flight.begin();
    // While busy nothing limits the connection itself.
    assert!(tokio::time::timeout(Duration::from_secs(1_000), read(&mut connection)).await.is_err());
    drop(busy);
    let (result, secs) = timed(read(&mut connection)).await;
    assert_eq!((result.expect_err("it timed out").kind(), secs), (io::ErrorKind::TimedOut, 75));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_reads_ends_the_connection() {
    let (_client, server) = tokio::io::duplex(8);
    let (result, secs) = timed(connection(server).0.write_all(&[0; 64])).await;
    assert_eq!((result.expect_err("it timed out").kind(), secs), (io::ErrorKind::TimedOut, 60));
}
