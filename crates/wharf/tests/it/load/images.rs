//! Many small images that share layers, and clients that push and pull them as the usual tools do.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;

use crate::harness::{Client, Image, OCI_MANIFEST, Request, content, layer, sha256};

/// Repositories that the images are spread over.
const REPOSITORIES: u64 = 50;

/// Base layers that all images choose from.
const BASES: u64 = 20;

/// Images that share their middle layer.
const FAMILY: u64 = 10;

/// What has been pushed: repository and tag to the manifest's digest.
#[derive(Default)]
pub struct Catalogue(Mutex<BTreeMap<(String, String), String>>);

impl Catalogue {
    fn add(&self, repository: &str, tag: &str, digest: &str) {
        let place = (repository.to_owned(), tag.to_owned());
        self.0.lock().unwrap().insert(place, digest.to_owned());
    }

    /// An image that is there, another one for each `choice`.
    fn some(&self, choice: u64) -> (String, String, String) {
        let images = self.0.lock().unwrap();
        let at = (choice as usize * 7_919) % images.len();
        let ((repository, tag), digest) = images.iter().nth(at).expect("an image");
        (repository.clone(), tag.clone(), digest.clone())
    }
}

/// Pushes the images called `numbers`; after each one pulls another that somebody has pushed.
pub async fn push_and_pull(
    mut client: Client,
    catalogue: std::sync::Arc<Catalogue>,
    numbers: impl Iterator<Item = u64>,
) {
    for number in numbers {
        let image = image(number);
        let (repository, tag) = (format!("load/app-{}", number % REPOSITORIES), format!("v{number}"));
        for blob in image.blobs() {
            push_unless_there(&mut client, &repository, blob).await;
        }
        let digest = client.put_manifest(&repository, &tag, OCI_MANIFEST, image.manifest).await;
        catalogue.add(&repository, &tag, &digest);
        let (repository, tag, digest) = catalogue.some(number);
        pull(&mut client, &repository, &tag, &digest).await;
    }
}

/// Every tag is listed once and names the digest that was pushed.
pub async fn no_tag_is_lost(client: &mut Client, catalogue: &Catalogue, images: u64) {
    let pushed = catalogue.0.lock().unwrap().clone();
    assert_eq!(pushed.len() as u64, images);
    let mut listed = 0;
    for number in 0..REPOSITORIES {
        let repository = format!("load/app-{number}");
        let reply = client.get(&format!("/v2/{repository}/tags/list")).await.expect(200);
        let tags: Vec<String> = serde_json::from_value(reply.json()["tags"].clone()).unwrap();
        let expected: Vec<_> = pushed.keys().filter(|(r, _)| *r == repository).map(|(_, tag)| tag.clone()).collect();
        assert_eq!(tags, expected, "the tags of {repository}");
        listed += tags.len() as u64;
    }
    assert_eq!(listed, images);
    for ((repository, tag), digest) in &pushed {
        pull(client, repository, tag, digest).await;
    }
}

/// Image `number`: a base that a twentieth of all share, a layer of its family, one of its own.
fn image(number: u64) -> Image {
    let base = layer("base", &content(1_000_000 + number % BASES, 192 * 1024));
    let family = layer("family", &content(2_000_000 + number / FAMILY, 32 * 1024));
    let own = layer("own", &content(3_000_000 + number, 4 * 1024));
    Image::of(vec![base, family, own], "amd64")
}

/// As docker and containerd do it: look, try to mount, push.
async fn push_unless_there(client: &mut Client, repository: &str, blob: &[u8]) {
    let digest = sha256(blob);
    if client.head(&format!("/v2/{repository}/blobs/{digest}")).await.status == 200 {
        return;
    }
    let mount = Request::new("POST", format!("/v2/{repository}/blobs/uploads/?mount={digest}")).body("");
    let reply = client.send(mount).await;
    if reply.status == 201 {
        return;
    }
    let location = reply.expect(202).header("location").expect("a location").to_owned();
    client.finish_upload(&location, &digest, Bytes::copy_from_slice(blob)).await.expect(201);
}

/// Pulls an image and checks every byte of it.
async fn pull(client: &mut Client, repository: &str, tag: &str, digest: &str) {
    let manifest = client.get(&format!("/v2/{repository}/manifests/{tag}")).await.expect(200);
    assert_eq!(sha256(&manifest.body), digest, "{repository}:{tag}");
    let json = manifest.json();
    let layers = json["layers"].as_array().expect("layers").iter();
    for descriptor in layers.chain([&json["config"]]) {
        let digest = descriptor["digest"].as_str().expect("a digest");
        let blob = client.get(&format!("/v2/{repository}/blobs/{digest}")).await.expect(200);
        assert_eq!(sha256(&blob.body), digest, "a blob of {repository}:{tag}");
    }
}
