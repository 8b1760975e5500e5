//! Reading an object: in pieces of exactly the length that is asked for, or an error.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;

use super::client::Client;
use crate::reader::{Pieces, Remote};
use crate::{BlobReader, Error};

/// How long one piece (half a mebibyte) may take: slower than that is as good as not at all.
const PIECE_MAX: Duration = Duration::from_secs(30);

/// An object of a known size; `whole` when it has been read already.
pub(super) fn open(client: Client, key: Path, size_bytes: u64, whole: Option<Bytes>) -> BlobReader {
    match whole {
        Some(whole) => BlobReader::in_memory(whole),
        None => BlobReader::remote(Arc::new(Object { client, key, size_bytes }), size_bytes),
    }
}

#[derive(Debug)]
struct Object {
    client: Client,
    key: Path,
    size_bytes: u64,
}

impl Remote for Object {
    fn pieces(&self, range: Range<u64>) -> Box<dyn Pieces> {
        Box::new(Reading {
            client: self.client.clone(),
            key: self.key.clone(),
            size_bytes: self.size_bytes,
            rest: range,
            stream: None,
            arrived: VecDeque::new(),
            arrived_bytes: 0,
        })
    }
}

struct Reading {
    client: Client,
    key: Path,
    size_bytes: u64,
    /// What has not been handed out yet.
    rest: Range<u64>,
    stream: Option<BoxStream<'static, object_store::Result<Bytes>>>,
    arrived: VecDeque<Bytes>,
    arrived_bytes: usize,
}

impl Reading {
    async fn begin(&mut self) -> io::Result<BoxStream<'static, object_store::Result<Bytes>>> {
        match self.client.stream(&self.key, self.rest.clone()).await {
            Ok(Some((size_bytes, stream))) if size_bytes == self.size_bytes => Ok(stream),
            Ok(Some(_)) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the object has another size than before")),
            Ok(None) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the object is not there any more")),
            Err(Error::Io { source, .. } | Error::Unavailable { source, .. }) => Err(source),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    async fn gather(&mut self, len: usize) -> io::Result<()> {
        if self.stream.is_none() {
            self.stream = Some(self.begin().await?);
        }
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.arrived_bytes < len {
            let piece = stream.try_next().await.map_err(io::Error::other)?;
            let Some(piece) = piece else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the bucket sent less than it announced"));
            };
            self.arrived_bytes += piece.len();
            self.arrived.push_back(piece);
        }
        Ok(())
    }

    /// Exactly `len` of what has arrived; copied only if it is in several pieces.
    fn hand_out(&mut self, len: usize) -> Bytes {
        self.arrived_bytes -= len;
        self.rest.start += len as u64;
        match self.arrived.front_mut() {
            Some(front) if front.len() > len => return front.split_to(len),
            Some(front) if front.len() == len => return self.arrived.pop_front().unwrap_or_default(),
            _ => {}
        }
        let mut whole = BytesMut::with_capacity(len);
        while whole.len() < len {
            let Some(front) = self.arrived.front_mut() else { break };
            let taken = front.len().min(len - whole.len());
            whole.extend_from_slice(&front[..taken]);
            front.advance(taken);
            if front.is_empty() {
                self.arrived.pop_front();
            }
        }
        whole.freeze()
    }
}

#[async_trait]
impl Pieces for Reading {
    async fn next(&mut self, len: usize) -> io::Result<Bytes> {
        match tokio::time::timeout(PIECE_MAX, self.gather(len)).await {
            Ok(gathered) => gathered?,
            Err(_) => {
                self.client.breaker.failed();
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the bucket sends too slowly"));
            }
        }
        Ok(self.hand_out(len))
    }
}
