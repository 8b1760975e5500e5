//! Plain HTTP on a port that speaks TLS: told so, because "unexpected EOF" helps nobody (B-012).

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HINT: &str = "this port speaks HTTPS; ask again with https://\n";

/// How much of a request is taken in before the connection is closed: closing with bytes unread would reset it, and
/// the client would never see the hint.
const REQUEST_MAX_BYTES: u64 = 64 << 10;

/// Whether the client has begun with a letter: a method. A TLS record begins with a byte below 32.
pub(crate) async fn is_spoken(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let seen = stream.peek(&mut first).await?;
    Ok(seen == 1 && first[0].is_ascii_uppercase())
}

/// Answers 400 with the hint and waits until the client has closed. The caller limits the time.
pub(crate) async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let length = HINT.len();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{HINT}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(REQUEST_MAX_BYTES), &mut tokio::io::sink()).await?;
    Ok(())
}
