//! What has to be in a registry before it can be measured.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::content::{Content, Recipe, digest_of};
use crate::target::{Kind, Target};
use crate::wire::{Connection, Head};
use crate::work::Work;
use crate::{Error, Sizes};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// How many different small blobs and manifests are read.
const VARIETY: usize = 32;

/// A manifest that can be pushed.
#[derive(Clone)]
pub(crate) struct Manifest {
    pub(crate) body: Vec<u8>,
    pub(crate) digest: String,
}

impl Manifest {
    /// Of an image with these layers.
    pub(crate) fn new(config: &Content, layers: &[Content], mark: &str) -> Self {
        let descriptor = |kind: &str, content: &Content| json!({ "mediaType": kind, "digest": content.digest, "size": content.len_bytes });
        let layers: Vec<_> = layers.iter().map(|layer| descriptor(LAYER, layer)).collect();
        let body = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config),
            "layers": layers,
            "annotations": { "org.opencontainers.image.ref.name": mark },
        });
        let body = body.to_string().into_bytes();
        Self { digest: digest_of(&body), body }
    }
}

/// What a target holds.
pub(crate) struct Fixture {
    pub(crate) repository: String,
    pub(crate) large: Content,
    pub(crate) huge: Option<Content>,
    pub(crate) small: Vec<Content>,
    /// Tag and manifest.
    pub(crate) images: Vec<(String, Manifest)>,
    /// The blobs that all images share.
    pub(crate) layers: Vec<Content>,
}

impl Fixture {
    pub(crate) fn new(run: &str, sizes: &Sizes, works: &[Work]) -> Self {
        let repository = format!("wharf-bench/{run}");
        let small = Recipe::new(sizes.small_bytes);
        let layers: Vec<Content> = (0..5).map(|n| small.make(&format!("{run} layer {n}"))).collect();
        let lists_tags = works.iter().any(|work| matches!(work, Work::TagPage));
        let tags = if lists_tags { sizes.tags.max(VARIETY) } else { VARIETY };
        // As many tags as are to be listed, but few manifests.
        let manifests: Vec<Manifest> =
            (0..VARIETY).map(|n| Manifest::new(&layers[0], &layers[1..], &format!("{run} image {n}"))).collect();
        let images = (0..tags).map(|n| (format!("v{n:07}"), manifests[n % VARIETY].clone())).collect();
        let reads_huge = works.iter().any(|work| matches!(work, Work::PullBlob { huge: true, .. }));
        Self {
            large: Recipe::new(sizes.large_bytes).make(&format!("{run} large")),
            huge: reads_huge.then(|| Recipe::new(sizes.huge_bytes).make(&format!("{run} huge"))),
            small: (0..VARIETY).map(|n| small.make(&format!("{run} small {n}"))).collect(),
            images,
            layers,
            repository,
        }
    }

    /// Brings everything to `target`; `step` is called after each object.
    pub(crate) fn place(&self, target: &Target, mut step: impl FnMut()) -> Result<(), Error> {
        let mut connection = target.connect();
        let blobs = self.small.iter().chain(&self.layers).chain([&self.large]).chain(&self.huge);
        for blob in blobs {
            self.place_blob(target, &mut connection, blob)?;
            step();
        }
        for (tag, manifest) in &self.images {
            self.place_manifest(target, &mut connection, tag, manifest)?;
            step();
        }
        Ok(())
    }

    /// How many objects [`place`](Self::place) brings.
    pub(crate) fn objects(&self) -> usize {
        self.small.len() + self.layers.len() + 1 + usize::from(self.huge.is_some()) + self.images.len()
    }

    fn place_blob(&self, target: &Target, connection: &mut Connection, blob: &Content) -> Result<(), Error> {
        match &target.kind {
            Kind::Files(root) => write(root, &self.blob_path(&blob.digest), &blob.parts().concat()),
            Kind::Registry => push_blob(target, connection, &self.repository, blob, None),
        }
    }

    fn place_manifest(
        &self,
        target: &Target,
        connection: &mut Connection,
        tag: &str,
        manifest: &Manifest,
    ) -> Result<(), Error> {
        match &target.kind {
            Kind::Files(root) => {
                write(root, &self.manifest_path(tag), &manifest.body)?;
                write(root, &self.manifest_path(&manifest.digest), &manifest.body)
            }
            Kind::Registry => push_manifest(target, connection, &self.repository, tag, manifest),
        }
    }

    pub(crate) fn blob_path(&self, digest: &str) -> String {
        format!("/v2/{}/blobs/{digest}", self.repository)
    }

    pub(crate) fn manifest_path(&self, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.repository)
    }
}

fn write(root: &Path, path: &str, bytes: &[u8]) -> Result<(), Error> {
    let path = root.join(path.trim_start_matches('/'));
    let directory = path.parent().unwrap_or(root);
    let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, bytes));
    written.map_err(|source| Error::Write { path: path.clone(), source })
}

/// Pushes a blob: a session, and then all of it at once, or in chunks of so many bytes.
pub(crate) fn push_blob(
    target: &Target,
    connection: &mut Connection,
    repository: &str,
    blob: &Content,
    chunk_bytes: Option<usize>,
) -> Result<(), Error> {
    let authorization = target.authorization(repository)?;
    let begin = target.request(
        "POST",
        &format!("/v2/{repository}/blobs/uploads/"),
        &format!("{authorization}Content-Length: 0\r\n"),
    );
    let mut place = location(target, &ask(target, connection, &begin, &[], 202)?)?;
    let mut parts = blob.parts();
    if let Some(chunk_bytes) = chunk_bytes {
        let mut at = 0;
        while let Some(chunk) = take_chunk(&mut parts, chunk_bytes) {
            let len: usize = chunk.iter().map(|part| part.len()).sum();
            let head = target.request(
                "PATCH",
                &place,
                &format!(
                    "{authorization}Content-Type: application/octet-stream\r\nContent-Length: {len}\r\nContent-Range: {at}-{}\r\n",
                    at + len - 1
                ),
            );
            place = location(target, &ask(target, connection, &head, &chunk, 202)?)?;
            at += len;
        }
    }
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let separator = if place.contains('?') { '&' } else { '?' };
    let head = target.request(
        "PUT",
        &format!("{place}{separator}digest={}", blob.digest),
        &format!("{authorization}Content-Type: application/octet-stream\r\nContent-Length: {len}\r\n"),
    );
    ask(target, connection, &head, &parts, 201).map(|_| ())
}

/// About `chunk_bytes` bytes from the front of `parts`; `None` at their end.
fn take_chunk<'a>(parts: &mut Vec<&'a [u8]>, chunk_bytes: usize) -> Option<Vec<&'a [u8]>> {
    let mut len = 0;
    let whole = parts.iter().take_while(|part| {
        len += part.len();
        len <= chunk_bytes
    });
    let count = whole.count().max(1).min(parts.len());
    (count > 0).then(|| parts.drain(..count).collect())
}

/// Pushes a manifest under a tag or its digest.
pub(crate) fn push_manifest(
    target: &Target,
    connection: &mut Connection,
    repository: &str,
    reference: &str,
    manifest: &Manifest,
) -> Result<(), Error> {
    let authorization = target.authorization(repository)?;
    let head = target.request(
        "PUT",
        &format!("/v2/{repository}/manifests/{reference}"),
        &format!("{authorization}Content-Type: {MANIFEST}\r\nContent-Length: {}\r\n", manifest.body.len()),
    );
    let answer = ask(target, connection, &head, &[&manifest.body], 201)?;
    match answer.header("docker-content-digest") {
        Some(digest) if digest != manifest.digest => {
            Err(target.address.wrong(format!("a manifest was stored as {digest}, not as {}", manifest.digest)))
        }
        _ => Ok(()),
    }
}

fn ask(target: &Target, connection: &mut Connection, head: &str, body: &[&[u8]], wanted: u16) -> Result<Head, Error> {
    let answer = connection.ask(head, body, true)?;
    let text = connection.collect(&answer)?;
    if answer.status == wanted {
        return Ok(answer);
    }
    let request = head.lines().next().unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..text.len().min(300)]).into_owned();
    Err(target.address.wrong(format!("{request} was answered {} instead of {wanted}: {text}", answer.status)))
}

/// Where the next request of an upload goes, as path and query.
fn location(target: &Target, answer: &Head) -> Result<String, Error> {
    let location = answer.header("location").ok_or_else(|| target.address.wrong("an upload has no Location"))?;
    let url = target.address.url.join(location).map_err(|error| target.address.wrong(error.to_string()))?;
    Ok(match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    })
}
