//! What the writers do until the server dies under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;
use wharf_base::{Rng, SeededRng};

use super::ledger::Ledger;
use crate::harness::{Client, Connection, Fixture, Image, OCI_MANIFEST, Reply, Request, content, sha256};

/// Burns one step with every piece that goes over the wire.
pub struct Fuse {
    left: AtomicU64,
    burnt: Notify,
}

impl Fuse {
    /// A fuse of `steps` steps.
    pub fn new(steps: u64) -> Self {
        Self { left: AtomicU64::new(steps), burnt: Notify::new() }
    }

    /// Ends when the fuse has burnt down.
    pub async fn burnt(&self) {
        self.burnt.notified().await;
    }

    fn step(&self) {
        let left = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        if left == Ok(1) {
            self.burnt.notify_one();
        }
    }
}

/// One connection with work to do and a ledger of its own.
pub struct Writer {
    seed: u64,
    rng: SeededRng,
    host: String,
    client: Client,
    fuse: Arc<Fuse>,
    ledger: Ledger,
    /// The repository that only this writer changes in this round.
    repository: String,
}

/// The server is gone.
struct Gone;

impl Writer {
    /// Content is put on the wire in pieces of this size, so that a kill can fall between them.
    const PIECE_BYTES: usize = 16 * 1024;

    /// A writer whose whole work follows from `seed`.
    pub fn new(seed: u64, client: &Client, fuse: Arc<Fuse>) -> Self {
        Self {
            seed,
            rng: SeededRng::new(seed),
            host: client.host(),
            client: client.another(),
            fuse,
            ledger: Ledger::default(),
            repository: format!("crash/r{seed}"),
        }
    }

    /// Works until the server does not answer any more; what it knows then.
    pub async fn write_until_the_end(mut self) -> Ledger {
        let mut connection = match self.client.connect().await {
            Ok(connection) => connection,
            Err(_) => return self.ledger,
        };
        for turn in 0.. {
            let done = match self.draw(4) {
                0 => self.push_blob(&mut connection, turn).await,
                1 => self.delete_something(&mut connection, turn).await,
                _ => self.push_image(&mut connection, turn).await,
            };
            if done.is_err() {
                break;
            }
        }
        self.ledger
    }

    /// A number below `bound`.
    fn draw(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.rng.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound
    }

    async fn push_blob(&mut self, connection: &mut Connection, turn: u64) -> Result<(), Gone> {
        let size_bytes = 1 + self.draw(512 * 1024) as usize;
        let blob = content(self.seed << 20 | turn, size_bytes);
        self.push(connection, &blob).await
    }

    /// One blob: some in one request, some in two, some with the first half in a PATCH that is acknowledged by itself.
    async fn push(&mut self, connection: &mut Connection, blob: &[u8]) -> Result<(), Gone> {
        let digest = sha256(blob);
        let uploads = format!("/v2/{}/blobs/uploads/", self.repository);
        let style = self.draw(3);
        // The same content may have been here before, and deleted.
        self.ledger.blob_attempted(&self.repository, &digest, blob);
        if style == 0 {
            self.send(connection, "POST", &format!("{uploads}?digest={digest}"), &[], blob).await?.expect(201);
        } else {
            let reply = self.send(connection, "POST", &uploads, &[], &[]).await?.expect(202);
            let location = reply.header("location").expect("a location").to_owned();
            let half = if style == 1 { 0 } else { blob.len() / 2 };
            if half > 0 {
                self.ledger.session_attempted(&location, blob.len());
                self.send(connection, "PATCH", &location, &[], &blob[..half]).await?.expect(202);
                self.ledger.session_received(&location, half);
            }
            self.ledger.session_ending(&location);
            let target = format!("{location}?digest={digest}");
            self.send(connection, "PUT", &target, &[], &blob[half..]).await?.expect(201);
        }
        self.ledger.blob(&self.repository, &digest, blob);
        Ok(())
    }

    /// An image under one of three tags, so that tags move.
    async fn push_image(&mut self, connection: &mut Connection, turn: u64) -> Result<(), Gone> {
        let size_bytes = 1 + self.draw(64 * 1024) as usize;
        let image = Image::small(self.seed << 20 | turn, "amd64", size_bytes);
        for blob in image.blobs() {
            self.push(connection, blob).await?;
        }
        let tag = format!("tag-{}", self.draw(3));
        let target = format!("/v2/{}/manifests/{tag}", self.repository);
        self.ledger.tag_attempted(&self.repository, &tag, &image.manifest);
        self.send(connection, "PUT", &target, &[("Content-Type", OCI_MANIFEST)], &image.manifest).await?.expect(201);
        self.ledger.tag(&self.repository, &tag, &image.manifest);
        Ok(())
    }

    /// A manifest with its tags, or a blob's place in the repository.
    async fn delete_something(&mut self, connection: &mut Connection, turn: u64) -> Result<(), Gone> {
        if turn.is_multiple_of(2) {
            let spare = Fixture::K.bytes();
            self.push(connection, &spare).await?;
            let digest = sha256(&spare);
            self.ledger.blob_deleting(&self.repository, &digest);
            let target = format!("/v2/{}/blobs/{digest}", self.repository);
            self.send(connection, "DELETE", &target, &[], &[]).await?.expect(202);
            self.ledger.blob_deleted(&self.repository, &digest);
            return Ok(());
        }
        let Some(digest) = self.ledger.some_manifest(&self.repository) else { return Ok(()) };
        self.ledger.manifest_deleting(&self.repository, &digest);
        let target = format!("/v2/{}/manifests/{digest}", self.repository);
        self.send(connection, "DELETE", &target, &[], &[]).await?.expect(202);
        self.ledger.manifest_deleted(&self.repository, &digest);
        Ok(())
    }

    async fn send(
        &self,
        connection: &mut Connection,
        method: &'static str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, Gone> {
        let mut request = Request::new(method, target).body(Bytes::copy_from_slice(body));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.fuse.step();
        connection.send(request.head(&self.host).as_bytes()).await.map_err(|_| Gone)?;
        for piece in body.chunks(Self::PIECE_BYTES) {
            self.fuse.step();
            connection.send(piece).await.map_err(|_| Gone)?;
        }
        self.fuse.step();
        connection.reply(method == "HEAD").await.map_err(|_| Gone)
    }
}
