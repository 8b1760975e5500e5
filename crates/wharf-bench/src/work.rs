//! The kinds of work that are measured.

use sha2::{Digest as _, Sha256};

use crate::content::{Recipe, digest_text};
use crate::fixture::{Fixture, MANIFEST, Manifest, push_blob, push_manifest};
use crate::target::Target;
use crate::wire::Connection;
use crate::{Error, Sizes};

/// How much of a large blob one range request wants.
const RANGE_BYTES: u64 = 1 << 20;

/// How much one request of a chunked push carries.
const CHUNK_BYTES: usize = 8 << 20;

/// Bodies up to this are compared with what they should be, each of them.
const COMPARED_BYTES: usize = 64 << 10;

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Pull a large blob, or a huge one, over so many connections.
    PullBlob {
        /// Whether it is the huge one.
        huge: bool,
        /// How many connections pull at the same time.
        connections: usize,
    },
    /// Pull small blobs.
    PullSmall,
    /// Pull parts of a large blob.
    PullRange,
    /// Get manifests by tag.
    ManifestByTag,
    /// Get manifests by digest.
    ManifestByDigest,
    /// Ask for the head of manifests by tag.
    ManifestHead,
    /// List the first hundred tags.
    TagPage,
    /// List the first hundred repositories.
    CatalogPage,
    /// Push a large blob, or a huge one, in one request.
    PushBlob {
        /// Whether it is the huge one.
        huge: bool,
    },
    /// Push a large blob in chunks.
    PushChunked,
    /// Push small blobs.
    PushSmall,
    /// Push images of five small layers.
    PushImage,
    /// Push manifests, each under a tag of its own.
    PushManifest,
    /// What continuous integration does: mostly asks for manifests, pulls layers, now and then pushes an image.
    Mixed,
}

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Operations: blobs, manifests, pages, images.
    Operations,
}

/// All there are, in the order in which they are measured.
pub const WORKS: [Work; 17] = [
    Work::PullBlob { huge: false, connections: 1 },
    Work::PullBlob { huge: false, connections: 4 },
    Work::PullBlob { huge: true, connections: 1 },
    Work::PullSmall,
    Work::PullRange,
    Work::ManifestByTag,
    Work::ManifestByDigest,
    Work::ManifestHead,
    Work::TagPage,
    Work::CatalogPage,
    Work::PushBlob { huge: false },
    Work::PushBlob { huge: true },
    Work::PushChunked,
    Work::PushSmall,
    Work::PushImage,
    Work::PushManifest,
    Work::Mixed,
];

impl Work {
    /// The word that it is chosen by.
    pub fn name(self) -> &'static str {
        match self {
            Self::PullBlob { huge: false, connections: 1 } => "pull-large",
            Self::PullBlob { huge: false, .. } => "pull-large-4",
            Self::PullBlob { huge: true, .. } => "pull-huge",
            Self::PullSmall => "pull-small",
            Self::PullRange => "pull-range",
            Self::ManifestByTag => "manifest-tag",
            Self::ManifestByDigest => "manifest-digest",
            Self::ManifestHead => "manifest-head",
            Self::TagPage => "tags",
            Self::CatalogPage => "catalog",
            Self::PushBlob { huge: false } => "push-large",
            Self::PushBlob { huge: true } => "push-huge",
            Self::PushChunked => "push-chunked",
            Self::PushSmall => "push-small",
            Self::PushImage => "push-image",
            Self::PushManifest => "push-manifest",
            Self::Mixed => "mixed",
        }
    }

    /// What it is, in a few words.
    pub fn title(self, sizes: &Sizes) -> String {
        let (large, huge, small) = (size(sizes.large_bytes), size(sizes.huge_bytes), size(sizes.small_bytes));
        match self {
            Self::PullBlob { huge: false, .. } => format!("pull a blob of {large}"),
            Self::PullBlob { huge: true, .. } => format!("pull a blob of {huge}"),
            Self::PullSmall => format!("pull blobs of {small}"),
            Self::PullRange => format!("pull ranges of 1 MiB of a blob of {large}"),
            Self::ManifestByTag => "get a manifest by tag".to_owned(),
            Self::ManifestByDigest => "get a manifest by digest".to_owned(),
            Self::ManifestHead => "ask for a manifest by tag (HEAD)".to_owned(),
            Self::TagPage => format!("list 100 of {} tags", sizes.tags),
            Self::CatalogPage => "list 100 repositories".to_owned(),
            Self::PushBlob { huge: false } => format!("push a blob of {large}, one PUT"),
            Self::PushBlob { huge: true } => format!("push a blob of {huge}, one PUT"),
            Self::PushChunked => format!("push a blob of {large}, chunks of 8 MiB"),
            Self::PushSmall => format!("push blobs of {small}"),
            Self::PushImage => format!("push images of 5 layers of {}", size(sizes.layer_bytes)),
            Self::PushManifest => "push a manifest with a tag".to_owned(),
            Self::Mixed => "mixed: 20 manifests, 4 blobs, 1 image".to_owned(),
        }
    }

    /// How many connections do it at the same time.
    pub fn connections(self) -> usize {
        match self {
            Self::PullBlob { connections, .. } => connections,
            Self::PushBlob { .. } | Self::PushChunked => 1,
            Self::PullRange | Self::PushImage => 4,
            Self::PushManifest => 16,
            _ => 8,
        }
    }

    /// What its rate counts.
    pub fn unit(self) -> Unit {
        match self {
            Self::PullBlob { .. } | Self::PullRange | Self::PushBlob { .. } | Self::PushChunked => Unit::Bytes,
            _ => Unit::Operations,
        }
    }

    /// Whether a web server of files can do it.
    pub(crate) fn is_for_files(self) -> bool {
        use Work::{ManifestByDigest, ManifestByTag, PullBlob, PullRange, PullSmall};
        matches!(self, PullBlob { .. } | PullSmall | PullRange | ManifestByTag | ManifestByDigest | Self::ManifestHead)
    }
}

/// A number of bytes, in the largest unit that fits.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        bytes if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        bytes if bytes >= 1 << 10 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

/// One connection that does one kind of work.
pub(crate) struct Worker<'a> {
    pub(crate) work: Work,
    pub(crate) target: &'a Target,
    pub(crate) fixture: &'a Fixture,
    pub(crate) recipes: &'a Recipes,
    pub(crate) connection: Connection,
    /// Makes what it pushes different from what everybody else does.
    mark: String,
    turn: usize,
    authorization: String,
}

/// What pushes are made from.
pub(crate) struct Recipes {
    large: Recipe,
    huge: Recipe,
    small: Recipe,
    layer: Recipe,
}

impl Recipes {
    pub(crate) fn new(sizes: &Sizes) -> Self {
        Self {
            large: Recipe::new(sizes.large_bytes),
            huge: Recipe::new(sizes.huge_bytes),
            small: Recipe::new(sizes.small_bytes),
            layer: Recipe::new(sizes.layer_bytes),
        }
    }
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        work: Work,
        target: &'a Target,
        fixture: &'a Fixture,
        recipes: &'a Recipes,
        mark: String,
        index: usize,
    ) -> Result<Self, Error> {
        let authorization = target.authorization(&fixture.repository)?;
        let connection = target.connect();
        Ok(Self { work, target, fixture, recipes, connection, mark, turn: index, authorization })
    }

    /// Looks at the whole of an answer before the clock starts: what it reads has the digest that was asked for.
    pub(crate) fn verify(&mut self) -> Result<(), Error> {
        let fixture = self.fixture;
        match self.work {
            Work::PullBlob { huge, .. } => {
                let blob = fixture.huge.as_ref().filter(|_| huge).unwrap_or(&fixture.large);
                self.read_and_hash(&fixture.blob_path(&blob.digest), &blob.digest)
            }
            Work::PullRange => self.read_and_hash(&fixture.blob_path(&fixture.large.digest), &fixture.large.digest),
            Work::PullSmall => fixture
                .small
                .iter()
                .try_for_each(|blob| self.read_and_hash(&fixture.blob_path(&blob.digest), &blob.digest)),
            Work::ManifestByTag | Work::ManifestByDigest | Work::ManifestHead => {
                fixture.images.iter().take(32).try_for_each(|(tag, manifest)| {
                    self.read_and_hash(&fixture.manifest_path(tag), &manifest.digest)?;
                    self.read_and_hash(&fixture.manifest_path(&manifest.digest), &manifest.digest)
                })
            }
            // Each of their answers is looked at.
            _ => self.step().map(|_| ()),
        }
    }

    fn read_and_hash(&mut self, path: &str, digest: &str) -> Result<(), Error> {
        let head = self.get(path, "")?;
        let answer = self.connection.ask(&head, &[], true)?;
        let mut hash = Sha256::new();
        self.connection.read_body(&answer, |bytes| hash.update(bytes))?;
        let found = digest_text(&hash.finalize());
        if answer.status != 200 {
            return Err(self.target.address.wrong(format!("GET {path} was answered {}", answer.status)));
        }
        if found != digest {
            return Err(self.target.address.wrong(format!("GET {path} gave bytes that hash to {found}")));
        }
        Ok(())
    }

    fn get(&self, path: &str, more: &str) -> Result<String, Error> {
        Ok(self.target.request("GET", path, &format!("{}Accept: {MANIFEST}\r\n{more}", self.authorization)))
    }

    /// Does the work once; how many bytes of content that moved.
    pub(crate) fn step(&mut self) -> Result<u64, Error> {
        self.turn += 1;
        let fixture = self.fixture;
        match self.work {
            Work::PullBlob { huge, .. } => {
                let blob = fixture.huge.as_ref().filter(|_| huge).unwrap_or(&fixture.large);
                self.pull(&fixture.blob_path(&blob.digest), "", 200, blob.len_bytes as u64)
            }
            Work::PullRange => {
                let whole = fixture.large.len_bytes as u64;
                let len = RANGE_BYTES.min(whole);
                let from = (self.turn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % (whole - len + 1);
                let range = format!("Range: bytes={from}-{}\r\n", from + len - 1);
                self.pull(&fixture.blob_path(&fixture.large.digest), &range, 206, len)
            }
            Work::PullSmall => self.pull_small(),
            Work::ManifestByTag | Work::ManifestByDigest => self.pull_manifest(self.work == Work::ManifestByTag),
            Work::ManifestHead => self.manifest_head(),
            Work::TagPage => self.page(&format!("/v2/{}/tags/list?n=100", fixture.repository), "tags"),
            Work::CatalogPage => self.page("/v2/_catalog?n=100", "repositories"),
            Work::PushBlob { huge } => {
                let recipe = if huge { &self.recipes.huge } else { &self.recipes.large };
                self.push(recipe, None)
            }
            Work::PushChunked => self.push(&self.recipes.large, Some(CHUNK_BYTES)),
            Work::PushSmall => self.push(&self.recipes.small, None),
            Work::PushImage => self.push_image(),
            Work::PushManifest => {
                let mark = self.next_mark();
                let manifest = Manifest::new(&fixture.layers[0], &fixture.layers[1..], &mark);
                push_manifest(self.target, &mut self.connection, &fixture.repository, &mark, &manifest)?;
                Ok(manifest.body.len() as u64)
            }
            Work::Mixed => self.mixed(),
        }
    }

    fn next_mark(&self) -> String {
        format!("{}-{}", self.mark, self.turn)
    }

    fn pull(&mut self, path: &str, more: &str, status: u16, len_bytes: u64) -> Result<u64, Error> {
        let head = self.get(path, more)?;
        let answer = self.connection.ask(&head, &[], true)?;
        let read = self.connection.discard(&answer)?;
        if (answer.status, read) == (status, len_bytes) {
            return Ok(read);
        }
        Err(self.target.address.wrong(format!("GET {path} was answered {} with {read} bytes", answer.status)))
    }

    fn pull_small(&mut self) -> Result<u64, Error> {
        let blob = &self.fixture.small[self.turn % self.fixture.small.len()];
        let head = self.get(&self.fixture.blob_path(&blob.digest), "")?;
        let answer = self.connection.ask(&head, &[], true)?;
        if blob.len_bytes > COMPARED_BYTES {
            return self.connection.discard(&answer);
        }
        let body = self.connection.collect(&answer)?;
        if answer.status != 200 || body != blob.parts().concat() {
            return Err(self.target.address.wrong(format!("blob {} came with other bytes", blob.digest)));
        }
        Ok(body.len() as u64)
    }

    fn pull_manifest(&mut self, by_tag: bool) -> Result<u64, Error> {
        let (tag, manifest) = &self.fixture.images[self.turn % self.fixture.images.len()];
        let path = self.fixture.manifest_path(if by_tag { tag } else { &manifest.digest });
        let head = self.get(&path, "")?;
        let answer = self.connection.ask(&head, &[], true)?;
        let body = self.connection.collect(&answer)?;
        if answer.status != 200 || body != manifest.body {
            return Err(self
                .target
                .address
                .wrong(format!("GET {path} was answered {} with other bytes", answer.status)));
        }
        Ok(body.len() as u64)
    }

    fn manifest_head(&mut self) -> Result<u64, Error> {
        let (tag, manifest) = &self.fixture.images[self.turn % self.fixture.images.len()];
        let path = self.fixture.manifest_path(tag);
        let more = format!("{}Accept: {MANIFEST}\r\n", self.authorization);
        let answer = self.connection.ask(&self.target.request("HEAD", &path, &more), &[], false)?;
        let is_right = answer.header("docker-content-digest").is_none_or(|digest| digest == manifest.digest);
        if answer.status != 200 || !is_right {
            return Err(self.target.address.wrong(format!("HEAD {path} was answered {}", answer.status)));
        }
        Ok(0)
    }

    fn page(&mut self, path: &str, member: &str) -> Result<u64, Error> {
        let answer = self.connection.ask(&self.get(path, "")?, &[], true)?;
        let body = self.connection.collect(&answer)?;
        let page: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let count = page[member].as_array().map(Vec::len);
        if answer.status != 200 || count.is_none_or(|count| count == 0) {
            return Err(self.target.address.wrong(format!("GET {path} was answered {} without a page", answer.status)));
        }
        Ok(body.len() as u64)
    }

    fn push(&mut self, recipe: &Recipe, chunk_bytes: Option<usize>) -> Result<u64, Error> {
        let blob = recipe.make(&self.next_mark());
        push_blob(self.target, &mut self.connection, &self.fixture.repository, &blob, chunk_bytes)?;
        Ok(blob.len_bytes as u64)
    }

    fn push_image(&mut self) -> Result<u64, Error> {
        let mark = self.next_mark();
        let repository = &self.fixture.repository;
        let layers: Vec<_> = (0..5).map(|n| self.recipes.layer.make(&format!("{mark}-{n}"))).collect();
        let config = self.recipes.small.make(&format!("{mark}-config"));
        for blob in layers.iter().chain([&config]) {
            push_blob(self.target, &mut self.connection, repository, blob, None)?;
        }
        let manifest = Manifest::new(&config, &layers, &mark);
        push_manifest(self.target, &mut self.connection, repository, &mark, &manifest)?;
        Ok(layers.iter().map(|layer| layer.len_bytes as u64).sum())
    }

    fn mixed(&mut self) -> Result<u64, Error> {
        match self.turn % 25 {
            0 => self.push_image(),
            turn if turn % 6 == 0 => self.pull_small(),
            turn if turn % 2 == 0 => self.manifest_head(),
            _ => self.pull_manifest(true),
        }
    }
}
