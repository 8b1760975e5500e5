//! One client of the proving ground: it pushes in every style, mounts, deletes, restores, pulls, and keeps a ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::Notify;
use wharf_base::{Rng, SeededRng};

use super::ledger::{Fate, Ledger};
use crate::harness::{
    Client, Connection, Image, OCI_MANIFEST, Reply, Request, WireError, content, hex_sha512, layer, sha256, with_digest,
};

/// Layers that the images of all actors choose from.
const LAYERS: u64 = 24;

/// Why an operation did not come to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Cut {
    /// The connection is gone, and the server perhaps with it.
    Gone,
    /// The server said that it failed. Only for actors that bear that.
    Failed,
}

/// What an operation comes to.
pub type Done<T = ()> = Result<T, Cut>;

/// How a blob is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `POST ?digest=`.
    Single,
    /// `POST`, `PUT` with the bytes.
    Monolithic,
    /// `POST`, two `PATCH`, `PUT` with the last third.
    Chunked,
}

/// Burns one step with every piece that goes over the wire.
pub struct Fuse {
    left: AtomicU64,
    burnt: Notify,
}

impl Fuse {
    /// A fuse of `steps` steps.
    pub fn new(steps: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(steps), burnt: Notify::new() })
    }

    /// One that never burns down.
    pub fn endless() -> Arc<Self> {
        Self::new(u64::MAX)
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

/// One connection with work to do, a repository of its own, and a ledger of it.
pub struct Actor {
    number: u64,
    actors: u64,
    turn: u64,
    rng: SeededRng,
    client: Client,
    connection: Option<Connection>,
    fuse: Arc<Fuse>,
    ledger: Ledger,
    bears_failures: bool,
    /// Whether every failure must be of the kind that another try may mend.
    tries_again: bool,
    /// How many bytes may still go over its connections before it hangs up.
    bytes_left: Option<usize>,
    /// The longest time that it takes from having its blobs to pushing the manifest.
    thinks: Duration,
}

impl Actor {
    /// Content is put on the wire in pieces of this size, so that a kill can fall between them.
    const PIECE_BYTES: usize = 16 * 1024;

    /// What an answer counts for when a connection's bytes are counted.
    const ANSWER_BYTES: usize = 1_500;

    /// Actor `number` of `actors`; what it does follows from `seed` and that.
    pub fn new(seed: u64, number: u64, actors: u64, client: &Client, grace: Duration) -> Self {
        Self {
            number,
            actors,
            turn: 0,
            rng: SeededRng::new(seed << 8 | number),
            client: client.another(),
            connection: None,
            fuse: Fuse::endless(),
            ledger: Ledger::new(repository(number), grace),
            bears_failures: false,
            tries_again: false,
            bytes_left: None,
            thinks: Duration::ZERO,
        }
    }

    /// From now on some of its manifests come late, though within `thinks` after its blobs.
    pub fn think(&mut self, thinks: Duration) {
        self.thinks = thinks;
    }

    /// Hangs up for good when that many bytes have gone over its connections, there or back.
    pub fn hang_up_after(&mut self, bytes: usize) {
        self.bytes_left = Some(bytes);
    }

    /// From now on the server may fail, if it says so.
    pub fn bear_failures(&mut self, bears_failures: bool) {
        self.bears_failures = bears_failures;
    }

    /// From now on the server may fail, if it says that another try may succeed (PR-9).
    pub fn try_again(&mut self) {
        (self.bears_failures, self.tries_again) = (true, true);
    }

    /// The server has another address, and this fuse burns.
    pub fn meet(&mut self, client: &Client, fuse: &Arc<Fuse>) {
        self.client = client.another();
        self.connection = None;
        self.fuse = Arc::clone(fuse);
    }

    /// What it knows.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Works until the server does not answer any more.
    pub async fn work(mut self) -> Self {
        while matches!(self.something().await, Ok(()) | Err(Cut::Failed)) {}
        self
    }

    /// Works until then, or until the server does not answer any more.
    pub async fn work_until(mut self, until: Instant) -> Self {
        while Instant::now() < until && self.something().await.is_ok() {
            if self.turn.is_multiple_of(256) {
                self.ledger.forget_the_past();
            }
        }
        self
    }

    /// Works until then, whatever fails meanwhile; how much did.
    pub async fn work_through(mut self, until: Instant) -> (Self, u64) {
        let mut failures = 0;
        while Instant::now() < until {
            failures += u64::from(self.something().await.is_err());
            if self.turn.is_multiple_of(256) {
                self.ledger.forget_the_past();
            }
        }
        (self, failures)
    }

    async fn something(&mut self) -> Done {
        self.turn += 1;
        match self.draw(100) {
            0..30 => self.push_something().await,
            30..55 => {
                let image = Arc::new(self.image());
                let tag = self.some_tag();
                self.push_image(&image, tag.as_deref()).await
            }
            55..64 => self.mount_something().await,
            64..74 => self.delete_something().await,
            74..92 => self.pull_something().await,
            92..98 => self.restore_something().await,
            _ => self.collect().await,
        }
    }

    /// A number below `bound`.
    fn draw(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.rng.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound
    }

    fn some_tag(&self) -> Option<String> {
        let number = self.draw(6);
        (number < 3).then(|| format!("tag-{number}"))
    }

    fn style(&self) -> Style {
        [Style::Single, Style::Monolithic, Style::Chunked][self.draw(3) as usize]
    }

    /// Content that nobody else has.
    fn own(&self, size_bytes: usize) -> Bytes {
        content(self.number << 40 | self.turn, size_bytes).into()
    }

    /// An image of two shared layers and one of its own.
    fn image(&self) -> Image {
        let shared = |number: u64| layer(&format!("shared-{number}"), &content(1_000 + number, 3_000));
        let own = layer("own", &self.own(100));
        Image::of(vec![shared(self.draw(LAYERS)), shared(self.draw(LAYERS)), own], "amd64")
    }

    // Pushes --------------------------------------------------------------------------------------------------------

    async fn push_something(&mut self) -> Done {
        // Most are small; some fill more than one piece of what the server writes at once.
        let bound = if self.draw(8) == 0 { 400_000 } else { 20_000 };
        let blob = self.own(1 + self.draw(bound) as usize);
        self.push_blob(&blob, self.style()).await
    }

    /// Pushes `blob`, which may be there.
    pub async fn push_blob(&mut self, blob: &Bytes, style: Style) -> Done {
        let digest = sha256(blob);
        self.ledger.blob_attempted(blob);
        let uploads = self.uploads();
        if style == Style::Single {
            let sent = Instant::now();
            self.send("POST", &format!("{uploads}?digest={digest}"), blob).await?.expect(201);
            self.ledger.blob_promised(blob, sent);
            return Ok(());
        }
        let reply = self.send("POST", &uploads, &Bytes::new()).await?.expect(202);
        let location = location(&reply);
        let third = if style == Style::Chunked { blob.len() / 3 } else { 0 };
        if third > 0 {
            for (from, to) in [(0, third), (third, 2 * third)] {
                self.append(&location, blob, from, to).await?;
            }
        }
        self.finish(&location, blob, 2 * third).await
    }

    /// Pushes content whose directory may have to be made; it is not written down.
    pub async fn push_sha512(&mut self, blob: &Bytes) -> Done {
        let target = format!("{}?digest=sha512:{}", self.uploads(), hex_sha512(blob));
        self.send("POST", &target, blob).await?.expect(201);
        Ok(())
    }

    async fn append(&mut self, location: &str, blob: &Bytes, from: usize, to: usize) -> Done {
        self.ledger.session_attempted(location, blob, to);
        self.send("PATCH", location, &blob.slice(from..to)).await?.expect(202);
        self.ledger.session_received(location, to);
        Ok(())
    }

    async fn finish(&mut self, location: &str, blob: &Bytes, from: usize) -> Done {
        self.ledger.session_ending(location);
        let sent = Instant::now();
        self.send("PUT", &with_digest(location, &sha256(blob)), &blob.slice(from..)).await?.expect(201);
        self.ledger.blob_promised(blob, sent);
        Ok(())
    }

    /// Opens a session, sends half of `blob`, and leaves it.
    pub async fn begin_upload(&mut self, blob: &Bytes) -> Done<String> {
        let reply = self.send("POST", &self.uploads(), &Bytes::new()).await?.expect(202);
        let location = location(&reply);
        self.append(&location, blob, 0, blob.len() / 2).await?;
        Ok(location)
    }

    /// Ends a session without making a blob of it.
    pub async fn cancel_upload(&mut self, location: &str) -> Done {
        self.ledger.session_ending(location);
        self.send("DELETE", location, &Bytes::new()).await?.expect(204);
        Ok(())
    }

    /// Looks first, tries to mount second, uploads third, as clients do.
    pub async fn have_blob(&mut self, blob: &Bytes) -> Done {
        let digest = sha256(blob);
        let sent = Instant::now();
        let looked = self.send("HEAD", &format!("{}/{digest}", self.blobs()), &Bytes::new()).await?;
        if looked.status == 200 {
            self.ledger.blob_seen(blob, sent);
            return Ok(());
        }
        looked.expect(404);
        self.ledger.blob_absent(&digest);
        let source = repository(self.draw(self.actors));
        if self.mount(blob, &source).await? {
            return Ok(());
        }
        self.push_blob(blob, self.style()).await
    }

    async fn mount_something(&mut self) -> Done {
        let shared = self.image().layers.swap_remove(0);
        let source = repository(self.draw(self.actors));
        self.mount(&shared.into(), &source).await?;
        Ok(())
    }

    /// Whether `source` had it; otherwise the session that was opened instead is ended.
    pub async fn mount(&mut self, blob: &Bytes, source: &str) -> Done<bool> {
        let before = self.ledger.blob_attempted(blob);
        let target = format!("{}?mount={}&from={source}", self.uploads(), sha256(blob));
        let sent = Instant::now();
        let reply = self.send("POST", &target, &Bytes::new()).await?;
        if reply.status == 201 {
            self.ledger.blob_promised(blob, sent);
            return Ok(true);
        }
        let location = location(&reply.expect(202));
        self.ledger.blob_not_mounted(&sha256(blob), before);
        self.cancel_upload(&location).await?;
        Ok(false)
    }

    /// Pushes what `image` needs and its manifest.
    pub async fn push_image(&mut self, image: &Arc<Image>, tag: Option<&str>) -> Done {
        // Another try, should this client have been too slow for a short grace period.
        loop {
            for blob in image.blobs() {
                self.have_blob(&Bytes::copy_from_slice(blob)).await?;
            }
            if !self.thinks.is_zero() && self.draw(2) == 0 {
                tokio::time::sleep(self.thinks * self.draw(100) as u32 / 100).await;
            }
            let before = self.ledger.before(&image.digest());
            self.ledger.manifest_attempted(image, tag);
            let target = format!("{}/{}", self.manifests(), tag.unwrap_or(&image.digest()));
            let reply = self.send("PUT", &target, &Bytes::copy_from_slice(&image.manifest)).await?;
            if reply.status == 201 {
                self.ledger.manifest_pushed(image, tag);
                return Ok(());
            }
            self.ledger.refused(before);
            let lost = image.digests().iter().find(|digest| !self.ledger.is_certain(digest));
            assert!(reply.status == 400 && lost.is_some(), "every blob had been promised\n{reply}");
        }
    }

    // Deletions and undo --------------------------------------------------------------------------------------------

    async fn delete_something(&mut self) -> Done {
        match self.draw(4) {
            0 => {
                let Some(digest) = self.ledger.some_blob(self.draw(1 << 32)) else { return Ok(()) };
                self.delete_blob(&digest).await
            }
            1 => {
                let Some(tag) = self.some_tag() else { return Ok(()) };
                self.delete_tag(&tag).await
            }
            _ => {
                let Some(image) = self.ledger.some_image(Fate::There, self.draw(1 << 32)) else { return Ok(()) };
                self.delete_manifest(&image.digest()).await
            }
        }
    }

    /// Takes a blob out of the repository.
    pub async fn delete_blob(&mut self, digest: &str) -> Done {
        let was_certain = self.ledger.is_certain(digest);
        self.ledger.blob_deleting(digest);
        let reply = self.send("DELETE", &format!("{}/{digest}", self.blobs()), &Bytes::new()).await?;
        assert!(reply.status == 202 || (reply.status == 404 && !was_certain), "{digest}\n{reply}");
        self.ledger.blob_deleted(digest);
        Ok(())
    }

    /// Removes a tag, if there is one.
    pub async fn delete_tag(&mut self, tag: &str) -> Done {
        let was_there = self.ledger.is_tag(tag);
        self.ledger.tag_moving(tag, None);
        let reply = self.send("DELETE", &format!("{}/{tag}", self.manifests()), &Bytes::new()).await?;
        assert!(reply.status == 202 || (reply.status == 404 && !was_there), "{tag}\n{reply}");
        self.ledger.tag_moved(tag, None);
        Ok(())
    }

    /// Removes a manifest with its tags.
    pub async fn delete_manifest(&mut self, digest: &str) -> Done {
        self.ledger.manifest_deleting(digest);
        let sent = Instant::now();
        self.send("DELETE", &format!("{}/{digest}", self.manifests()), &Bytes::new()).await?.expect(202);
        self.ledger.manifest_deleted(digest, sent);
        Ok(())
    }

    async fn restore_something(&mut self) -> Done {
        let Some(image) = self.ledger.some_image(Fate::Gone, self.draw(1 << 32)) else { return Ok(()) };
        self.restore_manifest(&image.digest()).await
    }

    /// Undoes the deletion of a manifest; it may be too late for that.
    pub async fn restore_manifest(&mut self, digest: &str) -> Done {
        let before = self.ledger.before(digest);
        self.ledger.manifest_restoring(digest);
        let reply = self.post("restore", &json!({ "digest": digest })).await?;
        if reply.status == 200 {
            let tags: Vec<String> = serde_json::from_value(reply.json()["tags"].clone()).expect("a list of tags");
            self.ledger.manifest_restored(before, &tags);
            return Ok(());
        }
        self.ledger.refused(before);
        let may_be_late = !self.ledger.is_restorable(digest);
        assert!(may_be_late && [404, 409].contains(&reply.status), "{digest} cannot be restored\n{reply}");
        Ok(())
    }

    /// Takes back the last change of a tag, which pointed at `digest` before.
    pub async fn restore_tag(&mut self, tag: &str, digest: &str) -> Done {
        self.ledger.tag_moving(tag, Some(digest.to_owned()));
        self.post("restore", &json!({ "tag": tag })).await?.expect(200);
        self.ledger.tag_moved(tag, Some(digest.to_owned()));
        Ok(())
    }

    // The rest ------------------------------------------------------------------------------------------------------

    async fn pull_something(&mut self) -> Done {
        let Some(image) = self.ledger.some_image(Fate::There, self.draw(1 << 32)) else { return Ok(()) };
        self.pull_image(&image).await
    }

    /// Pulls an image that is there; blobs of it may have been deleted by hand.
    pub async fn pull_image(&mut self, image: &Image) -> Done {
        let reply = self.send("GET", &format!("{}/{}", self.manifests(), image.digest()), &Bytes::new()).await?;
        assert!(reply.status == 200 && reply.body == image.manifest, "{}\n{reply}", image.digest());
        for (blob, digest) in image.blobs().zip(image.digests()) {
            let reply = self.send("GET", &format!("{}/{digest}", self.blobs()), &Bytes::new()).await?;
            if reply.status != 404 {
                assert!(reply.status == 200 && reply.body == *blob, "{digest}\n{reply}");
            } else if self.ledger.is_certain(digest) {
                panic!("{digest} of an image that is there\n{reply}");
            }
        }
        Ok(())
    }

    /// Asks for a collection and does not wait for it.
    pub async fn collect(&mut self) -> Done {
        let reply = self.post("gc/run", &json!({})).await?;
        assert!([202, 409].contains(&reply.status), "{reply}");
        Ok(())
    }

    /// Asks for collections until nothing waits for one.
    pub async fn collect_to_the_end(&mut self) -> Done {
        loop {
            self.collect().await?;
            let status = self.send("GET", "/api/v1/gc", &Bytes::new()).await?.expect(200).json();
            if ["reviews", "condemned", "removals"].iter().all(|member| status["backlog"][*member] == 0) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn blobs(&self) -> String {
        format!("/v2/{}/blobs", self.ledger.repository())
    }

    fn uploads(&self) -> String {
        format!("/v2/{}/blobs/uploads/", self.ledger.repository())
    }

    fn manifests(&self) -> String {
        format!("/v2/{}/manifests", self.ledger.repository())
    }

    async fn post(&mut self, what: &str, wish: &serde_json::Value) -> Done<Reply> {
        let target = format!("/api/v1/{what}?repository={}", self.ledger.repository());
        self.send("POST", &target, &wish.to_string().into()).await
    }

    /// Sends as much of the request as `left` allows, reads as much of the answer, and goes.
    async fn hang_up<T>(&mut self, mut connection: Connection, request: &Request, left: usize) -> Done<T> {
        // So that an answer that is shorter than what is left ends all the same.
        let request = request.clone().header("Connection", "close");
        let mut bytes = request.head(&self.client.host()).into_bytes();
        bytes.extend_from_slice(&request.framed_body());
        let sent = left.min(bytes.len());
        connection.send(&bytes[..sent]).await.map_err(gone)?;
        // Half of those that have said all they wanted do not wait for the answer.
        let mut unread = (left - sent).saturating_sub(Self::ANSWER_BYTES / 2);
        while unread > 0
            && let Ok(some) = connection.some(unread).await
        {
            unread -= some.len();
        }
        // At whatever step the server is by then.
        tokio::time::sleep(Duration::from_micros(self.draw(20_000))).await;
        Err(Cut::Gone)
    }

    async fn send(&mut self, method: &'static str, target: &str, body: &Bytes) -> Done<Reply> {
        let media_type = match target {
            _ if target.contains("/manifests/") => OCI_MANIFEST,
            _ if target.starts_with("/api/") => "application/json",
            _ => "application/octet-stream",
        };
        let request = Request::new(method, target).header("Content-Type", media_type).body(body.clone());
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.client.connect().await.map_err(gone)?,
        };
        let left = self.bytes_left.unwrap_or(usize::MAX);
        let length = request.head(&self.client.host()).len() + body.len();
        if left < length + Self::ANSWER_BYTES {
            return self.hang_up(connection, &request, left).await;
        }
        self.bytes_left = self.bytes_left.map(|left| left - length - Self::ANSWER_BYTES);
        self.fuse.step();
        connection.send(request.head(&self.client.host()).as_bytes()).await.map_err(gone)?;
        for piece in body.chunks(Self::PIECE_BYTES) {
            self.fuse.step();
            connection.send(piece).await.map_err(gone)?;
        }
        self.fuse.step();
        let reply = connection.reply(method == "HEAD").await.map_err(gone)?;
        if !reply.closes() {
            self.connection = Some(connection);
        }
        if reply.status < 500 {
            return Ok(reply);
        }
        assert!(self.bears_failures, "{method} {target}\n{reply}");
        let may_try_again = reply.status == 503 && reply.header("retry-after").is_some();
        assert!(may_try_again || !self.tries_again, "{method} {target}\n{reply}");
        // Whatever fails, the client learns of it in the form that it reads.
        if method != "HEAD" && target.starts_with("/v2/") {
            assert!(!reply.code().is_empty(), "{method} {target}\n{reply}");
        }
        Err(Cut::Failed)
    }
}

/// A connection that ends is one thing, and one on which nothing comes another: no request is without an answer for so long.
#[track_caller]
fn gone(error: WireError) -> Cut {
    assert!(!matches!(error, WireError::TimedOut(_)), "{error}");
    Cut::Gone
}

/// The repository that actor `number` alone changes.
pub fn repository(number: u64) -> String {
    format!("proof/r{number}")
}

fn location(reply: &Reply) -> String {
    reply.header("location").expect("a location").to_owned()
}
