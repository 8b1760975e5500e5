//! What the registry promised about one repository and what it was only asked for.
//!
//! An attempt is written down before it is sent, its answer when it arrives. After a crash the registry must agree: what
//! was acknowledged is there, what was attempted is there whole or not at all, what was deleted is gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::harness::{Client, Image, Reply, Request, sha256, with_digest};

/// Where something may stand after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Acknowledged and not touched since.
    There,
    /// A change was asked for and not acknowledged: either way is right.
    Open,
    /// Its removal was acknowledged, or it was seen to be absent.
    Gone,
}

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It was killed; the operating system went on.
    Kill,
    /// So did the operating system: bytes of open sessions may be lost (PR-3).
    PowerCut,
    /// In order, after the disk had failed it: sessions may have ended.
    Fault,
}

/// Everything that is known of one repository; only the owner of this value changes it.
pub struct Ledger {
    repository: String,
    grace: Duration,
    blobs: BTreeMap<String, Blob>,
    manifests: BTreeMap<String, Manifest>,
    /// The digests that a tag may name; `None` for "no such tag".
    tags: BTreeMap<String, BTreeSet<Option<String>>>,
    /// By location; no longer here when the closing request was sent.
    sessions: BTreeMap<String, Session>,
    strays: BTreeSet<String>,
    /// What became known of each blob last, and when: for whoever reads a failure beside the server's log.
    trails: BTreeMap<String, VecDeque<(SystemTime, &'static str)>>,
    acknowledged: u64,
}

/// How much of a blob's past is kept.
const TRAIL: usize = 12;

#[derive(Clone)]
struct Blob {
    bytes: Bytes,
    fate: Fate,
    /// Until when it may not be collected even if no manifest holds it.
    kept_until: Option<Instant>,
    /// Whether something that makes it be there was begun and not answered.
    pushing: bool,
}

impl Blob {
    /// What to think of it when it is not there: a push that was not answered may come to its end later.
    fn absent(&self) -> Fate {
        if self.pushing { Fate::Open } else { Fate::Gone }
    }
}

#[derive(Clone)]
struct Manifest {
    image: Arc<Image>,
    fate: Fate,
    /// Until when its acknowledged deletion can be undone.
    restorable_until: Option<Instant>,
}

struct Session {
    blob: Bytes,
    received: usize,
    most: usize,
}

/// What was known of a blob before an attempt to have it.
pub struct BlobBefore(Option<Blob>);

/// What was known before an attempt that was then refused.
pub struct Before {
    digest: String,
    manifest: Option<Manifest>,
    blobs: BTreeMap<String, Blob>,
    tags: BTreeMap<String, BTreeSet<Option<String>>>,
}

impl Ledger {
    /// Nothing is known of `repository` yet. What nobody holds may be collected `grace` after it was promised.
    pub fn new(repository: String, grace: Duration) -> Self {
        Self {
            repository,
            grace,
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            sessions: BTreeMap::new(),
            strays: BTreeSet::new(),
            trails: BTreeMap::new(),
            acknowledged: 0,
        }
    }

    /// The repository's name.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// How many answers counted as a promise.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    // Blobs ---------------------------------------------------------------------------------------------------------

    /// A blob that was there or was deleted before may be there from now on. What was known of it before is for
    /// [`blob_not_mounted`](Self::blob_not_mounted).
    pub fn blob_attempted(&mut self, bytes: &Bytes) -> BlobBefore {
        let digest = sha256(bytes);
        self.note(&digest, "attempted");
        let before = BlobBefore(self.blobs.get(&digest).cloned());
        let nothing = || Blob { bytes: bytes.clone(), fate: Fate::Open, kept_until: None, pushing: true };
        let known = self.blobs.entry(digest).or_insert_with(nothing);
        known.pushing = true;
        if known.fate == Fate::Gone {
            known.fate = Fate::Open;
        }
        before
    }

    /// The answer to a request of `sent` says that the blob is there, and will be for a grace period.
    pub fn blob_promised(&mut self, bytes: &Bytes, sent: Instant) {
        self.acknowledged += 1;
        let kept_until = Some(sent + self.grace);
        let blob = Blob { bytes: bytes.clone(), fate: Fate::There, kept_until, pushing: false };
        let digest = sha256(bytes);
        self.note(&digest, "promised");
        self.blobs.insert(digest, blob);
    }

    /// A look of `sent` says that the blob is there, and so promises it.
    #[track_caller]
    pub fn blob_seen(&mut self, bytes: &Bytes, sent: Instant) {
        let digest = sha256(bytes);
        let fate = self.blobs.get(&digest).map_or(Fate::Open, |blob| blob.fate);
        let trail = self.trails.get(&digest);
        assert_ne!(fate, Fate::Gone, "{}@{digest} is there, but should be gone after {trail:?}", self.repository);
        self.blob_promised(bytes, sent);
    }

    /// A request says that the blob is not there; it may be right.
    #[track_caller]
    pub fn blob_absent(&mut self, digest: &str) {
        self.note(digest, "absent");
        assert!(
            !self.is_certain(digest),
            "{}@{digest} is not there, but was promised: {:?}",
            self.repository,
            self.trails.get(digest)
        );
        if let Some(blob) = self.blobs.get_mut(digest) {
            blob.fate = blob.absent();
        }
    }

    /// The blob was not to be had elsewhere, which changes nothing here: what may have been there before may be there still.
    pub fn blob_not_mounted(&mut self, digest: &str, before: BlobBefore) {
        self.note(digest, "not mounted");
        match before.0 {
            Some(before) => _ = self.blobs.insert(digest.to_owned(), before),
            None => _ = self.blobs.remove(digest),
        }
    }

    pub fn blob_deleting(&mut self, digest: &str) {
        self.note(digest, "deleting");
        self.blobs.entry(digest.to_owned()).and_modify(|blob| blob.fate = Fate::Open);
    }

    pub fn blob_deleted(&mut self, digest: &str) {
        self.note(digest, "deleted");
        self.acknowledged += 1;
        self.blobs.entry(digest.to_owned()).and_modify(|blob| blob.fate = blob.absent());
    }

    /// Whether the registry may not say any more that the blob is absent.
    pub fn is_certain(&self, digest: &str) -> bool {
        let Some(blob) = self.blobs.get(digest) else { return false };
        let is_kept = blob.kept_until.is_some_and(|until| Instant::now() < until);
        blob.fate == Fate::There && (is_kept || self.is_held(digest))
    }

    fn note(&mut self, digest: &str, what: &'static str) {
        let trail = self.trails.entry(digest.to_owned()).or_default();
        trail.push_back((SystemTime::now(), what));
        if trail.len() > TRAIL {
            trail.pop_front();
        }
    }

    fn is_held(&self, digest: &str) -> bool {
        let there = self.manifests.values().filter(|manifest| manifest.fate == Fate::There);
        there.flat_map(|manifest| manifest.image.digests()).any(|held| held == digest)
    }

    /// A blob that is promised or held at this moment, the `number`-th of them.
    pub fn some_blob(&self, number: u64) -> Option<String> {
        nth(self.blobs.keys().filter(|digest| self.is_certain(digest)), number).cloned()
    }

    // Sessions ------------------------------------------------------------------------------------------------------

    /// A session is open that shall become `blob`, of which `most` bytes may arrive with the next request.
    pub fn session_attempted(&mut self, location: &str, blob: &Bytes, most: usize) {
        let fresh = || Session { blob: blob.clone(), received: 0, most };
        self.sessions.entry(location.to_owned()).or_insert_with(fresh).most = most;
    }

    pub fn session_received(&mut self, location: &str, received: usize) {
        self.acknowledged += 1;
        self.sessions.entry(location.to_owned()).and_modify(|session| {
            session.received = received;
            session.most = received;
        });
    }

    pub fn session_ending(&mut self, location: &str) {
        self.sessions.remove(location);
    }

    // Manifests and tags --------------------------------------------------------------------------------------------

    /// What is known now, for [`refused`](Self::refused).
    pub fn before(&self, digest: &str) -> Before {
        Before {
            digest: digest.to_owned(),
            manifest: self.manifests.get(digest).cloned(),
            blobs: self.blobs.clone(),
            tags: self.tags.clone(),
        }
    }

    /// The attempt that followed `before` was refused: nothing has changed (PR-6).
    pub fn refused(&mut self, before: Before) {
        match before.manifest {
            Some(manifest) => _ = self.manifests.insert(before.digest, manifest),
            None => _ = self.manifests.remove(&before.digest),
        }
        self.blobs = before.blobs;
        self.tags = before.tags;
    }

    pub fn manifest_attempted(&mut self, image: &Arc<Image>, tag: Option<&str>) {
        let nothing = || Manifest { image: Arc::clone(image), fate: Fate::Open, restorable_until: None };
        let known = self.manifests.entry(image.digest()).or_insert_with(nothing);
        if known.fate == Fate::Gone {
            known.fate = Fate::Open;
        }
        if let Some(tag) = tag {
            self.tag_moving(tag, Some(image.digest()));
        }
    }

    pub fn manifest_pushed(&mut self, image: &Arc<Image>, tag: Option<&str>) {
        self.acknowledged += 1;
        let manifest = Manifest { image: Arc::clone(image), fate: Fate::There, restorable_until: None };
        self.manifests.insert(image.digest(), manifest);
        if let Some(tag) = tag {
            self.tags.insert(tag.to_owned(), [Some(image.digest())].into());
        }
    }

    pub fn manifest_deleting(&mut self, digest: &str) {
        let Some(manifest) = self.manifests.get_mut(digest) else { return };
        manifest.fate = Fate::Open;
        // It holds them, or its deletion has asked for a look a whole grace period from now on.
        let image = Arc::clone(&manifest.image);
        let kept_until = Instant::now() + self.grace;
        for digest in image.digests() {
            let kept = |blob: &mut Blob| blob.kept_until = blob.kept_until.max(Some(kept_until));
            self.blobs.entry(digest.clone()).and_modify(kept);
        }
        for names in self.tags_of(digest) {
            names.insert(None);
        }
    }

    pub fn manifest_deleted(&mut self, digest: &str, sent: Instant) {
        self.acknowledged += 1;
        let restorable_until = Some(sent + self.grace);
        self.manifests.entry(digest.to_owned()).and_modify(|manifest| {
            manifest.fate = Fate::Gone;
            manifest.restorable_until = restorable_until;
        });
        for names in self.tags_of(digest) {
            names.remove(&Some(digest.to_owned()));
        }
    }

    /// The manifest, blobs that were deleted, and tags that it had may come back.
    pub fn manifest_restoring(&mut self, digest: &str) {
        let Some(manifest) = self.manifests.get_mut(digest) else { return };
        if manifest.fate == Fate::Gone {
            manifest.fate = Fate::Open;
        }
        let image = Arc::clone(&manifest.image);
        for blob in image.digests() {
            self.note(blob, "restoring");
            self.blobs.entry(blob.clone()).and_modify(|blob| {
                if blob.fate == Fate::Gone {
                    (blob.fate, blob.pushing) = (Fate::Open, true);
                }
            });
        }
        for names in self.tags.values_mut() {
            names.insert(Some(digest.to_owned()));
        }
    }

    /// It is there again, and so are these of its tags; the others are as they were `before`.
    pub fn manifest_restored(&mut self, before: Before, tags: &[String]) {
        self.acknowledged += 1;
        let digest = before.digest;
        self.tags = before.tags;
        for tag in tags {
            self.tags.insert(tag.clone(), [Some(digest.clone())].into());
        }
        let Some(manifest) = self.manifests.get_mut(&digest) else { return };
        manifest.fate = Fate::There;
        for blob in manifest.image.digests() {
            self.blobs.entry(blob.clone()).and_modify(|blob| (blob.fate, blob.pushing) = (Fate::There, false));
        }
    }

    /// Whether the deletion of a manifest can certainly be undone at this moment.
    pub fn is_restorable(&self, digest: &str) -> bool {
        let manifest = self.manifests.get(digest);
        manifest.is_some_and(|m| m.fate == Fate::Gone && m.restorable_until.is_some_and(|until| Instant::now() < until))
    }

    pub fn tag_moving(&mut self, tag: &str, to: Option<String>) {
        self.tags.entry(tag.to_owned()).or_insert_with(|| [None].into()).insert(to);
    }

    pub fn tag_moved(&mut self, tag: &str, to: Option<String>) {
        self.acknowledged += 1;
        self.tags.insert(tag.to_owned(), [to].into());
    }

    /// Whether the tag certainly names something.
    pub fn is_tag(&self, tag: &str) -> bool {
        self.tags.get(tag).is_some_and(|names| !names.contains(&None))
    }

    /// Whether the manifest is there for all that is known.
    pub fn has(&self, digest: &str) -> bool {
        self.manifests.get(digest).is_some_and(|manifest| manifest.fate == Fate::There)
    }

    /// The `number`-th image whose manifest stands like this.
    pub fn some_image(&self, fate: Fate, number: u64) -> Option<Arc<Image>> {
        let standing = self.manifests.values().filter(|manifest| manifest.fate == fate);
        nth(standing, number).map(|manifest| Arc::clone(&manifest.image))
    }

    fn tags_of<'a>(&'a mut self, digest: &'a str) -> impl Iterator<Item = &'a mut BTreeSet<Option<String>>> {
        self.tags.values_mut().filter(move |names| names.contains(&Some(digest.to_owned())))
    }

    /// Forgets what nothing is promised of any more, so that a long test does not grow.
    pub fn forget_the_past(&mut self) {
        let certain: BTreeSet<String> = self.blobs.keys().filter(|digest| self.is_certain(digest)).cloned().collect();
        self.blobs.retain(|digest, blob| blob.pushing || certain.contains(digest));
        self.trails.retain(|digest, _| self.blobs.contains_key(digest));
        let now = Instant::now();
        self.manifests.retain(|_, manifest| {
            manifest.fate != Fate::Gone || manifest.restorable_until.is_some_and(|until| now < until)
        });
    }

    // The disk ------------------------------------------------------------------------------------------------------

    /// Whose content must be on the disk when nothing waits for collection.
    pub fn held(&self) -> BTreeSet<String> {
        let there = self.manifests.values().filter(|manifest| manifest.fate == Fate::There);
        there.flat_map(|manifest| manifest.image.digests().iter().cloned()).collect()
    }

    /// Whose content may be on the disk without a name: pushes that were cut off between the rename and the commit.
    pub fn strays(&self) -> &BTreeSet<String> {
        &self.strays
    }

    // The comparison ------------------------------------------------------------------------------------------------

    /// Asks the registry for everything and compares. What was open is settled by what is found; open sessions are
    /// continued from where they stand, to their end.
    pub async fn verify(&mut self, client: &mut Client, after: After) {
        self.verify_manifests(client).await;
        self.verify_tags(client).await;
        self.verify_blobs(client).await;
        for (location, session) in std::mem::take(&mut self.sessions) {
            self.verify_session(client, &location, &session, after).await;
        }
    }

    /// Compares manifests, tags, and the blobs that images need: what a copy of the registry must have as well.
    pub async fn verify_images(&mut self, client: &mut Client) {
        self.verify_manifests(client).await;
        self.verify_tags(client).await;
        for digest in self.held() {
            let Some(blob) = self.blobs.get(&digest).filter(|blob| blob.fate == Fate::There) else { continue };
            let reply = client.get(&format!("/v2/{}/blobs/{digest}", self.repository)).await.expect(200);
            assert!(reply.body == blob.bytes, "{}@{digest} has other bytes\n{reply}", self.repository);
        }
    }

    async fn verify_manifests(&mut self, client: &mut Client) {
        for (digest, manifest) in &mut self.manifests {
            let reply = client.get(&format!("/v2/{}/manifests/{digest}", self.repository)).await;
            let found = found(&reply, &self.repository, digest);
            let (fate, name) = (manifest.fate, &self.repository);
            assert!(fate == Fate::Open || fate == found, "{name}@{digest} is {found:?}, was {fate:?}\n{reply}");
            assert!(found == Fate::Gone || reply.body == manifest.image.manifest, "{name}@{digest}\n{reply}");
            manifest.fate = found;
        }
    }

    async fn verify_tags(&mut self, client: &mut Client) {
        for (tag, names) in &mut self.tags {
            let reply = client.head(&format!("/v2/{}/manifests/{tag}", self.repository)).await;
            let found = (reply.status == 200).then(|| reply.header("docker-content-digest").unwrap().to_owned());
            assert!(reply.status == 404 || found.is_some(), "{}:{tag}\n{reply}", self.repository);
            assert!(names.contains(&found), "{}:{tag} is {found:?}, may be {names:?}", self.repository);
            *names = [found].into();
        }
    }

    async fn verify_blobs(&mut self, client: &mut Client) {
        let digests: Vec<String> = self.blobs.keys().cloned().collect();
        for digest in digests {
            let reply = client.get(&format!("/v2/{}/blobs/{digest}", self.repository)).await;
            let found = found(&reply, &self.repository, &digest);
            let is_certain = self.is_certain(&digest);
            let (name, trail) = (&self.repository, self.trails.get(&digest));
            let blob = self.blobs.get_mut(&digest).expect("a blob of this ledger");
            let fate = blob.fate;
            assert!(
                !is_certain || found == Fate::There,
                "{name}@{digest} is {found:?}, was promised: {trail:?}\n{reply}"
            );
            assert!(
                fate != Fate::Gone || found == Fate::Gone,
                "{name}@{digest} is {found:?}, was {fate:?} after {trail:?}\n{reply}"
            );
            assert!(found == Fate::Gone || reply.body == blob.bytes, "{name}@{digest} has other bytes\n{reply}");
            if std::mem::take(&mut blob.pushing) && found == Fate::Gone {
                self.strays.insert(digest);
            }
            blob.fate = found;
        }
    }

    /// The session says where to go on, and going on there makes the blob (PR-3).
    async fn verify_session(&mut self, client: &mut Client, location: &str, session: &Session, after: After) {
        let reply = client.get(location).await;
        if reply.status == 404 && after == After::Fault {
            return;
        }
        assert!(reply.status == 204, "{location} is not there, but was acknowledged\n{reply}");
        let last: usize = reply.header("range").unwrap().strip_prefix("0-").unwrap().parse().unwrap();
        // `0-0` is an empty session and one of a single byte.
        let received = if last == 0 { session.received.min(1) } else { last + 1 };
        let possible = session.received..=session.most;
        assert!(possible.contains(&received), "{location} has {received} bytes, not {possible:?}");
        let digest = sha256(&session.blob);
        let rest = session.blob.slice(received..);
        let sent = Instant::now();
        let reply = client.send(Request::new("PUT", with_digest(location, &digest)).body(rest)).await;
        match (reply.status, after) {
            (201, _) => self.blob_promised(&session.blob, sent),
            (404, After::PowerCut | After::Fault) => assert_eq!(reply.code(), "BLOB_UPLOAD_UNKNOWN", "{reply}"),
            _ => panic!("{location} cannot be continued at {received}\n{reply}"),
        }
    }
}

#[track_caller]
fn found(reply: &Reply, repository: &str, digest: &str) -> Fate {
    match reply.status {
        200 => Fate::There,
        404 => Fate::Gone,
        _ => panic!("{repository}@{digest} is neither there nor absent\n{reply}"),
    }
}

fn nth<T>(mut items: impl Iterator<Item = T> + Clone, number: u64) -> Option<T> {
    let count = items.clone().count();
    let index = usize::try_from(number).unwrap_or(0).checked_rem(count)?;
    items.nth(index)
}
