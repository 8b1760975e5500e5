//! Small images from a seed, as bytes and as an OCI image layout on disk.

use std::path::Path;

use serde_json::{Value, json};

use super::{Client, content, hex_sha256, sha256};

/// The media type of an image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A single-platform image: real layers, a config that names their contents, a manifest.
#[derive(Clone)]
pub struct Image {
    pub layers: Vec<Vec<u8>>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
    architecture: String,
    digest: String,
    blobs: Vec<String>,
}

impl Image {
    /// An image of one layer with one file of `size_bytes` random bytes.
    pub fn small(seed: u64, architecture: &str, size_bytes: usize) -> Self {
        Self::of(vec![layer(&format!("data-{seed}"), &content(seed, size_bytes))], architecture)
    }

    /// An image of these layers, which are tar archives.
    pub fn of(archives: Vec<Vec<u8>>, architecture: &str) -> Self {
        let diff_ids: Vec<_> = archives.iter().map(|archive| sha256(archive)).collect();
        let layers: Vec<_> = archives.iter().map(|archive| gzip(archive)).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, &config),
            "layers": layers.iter().map(|layer| descriptor(OCI_LAYER, layer)).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let digest = sha256(&manifest);
        let blobs = std::iter::once(&config).chain(&layers).map(|blob| sha256(blob)).collect();
        Self { layers, config, manifest, architecture: architecture.to_owned(), digest, blobs }
    }

    /// The same blobs under another manifest.
    pub fn with_manifest(self, manifest: Vec<u8>) -> Self {
        Self { digest: sha256(&manifest), manifest, ..self }
    }

    /// The same under another config, which the manifest does not name yet.
    pub fn with_config(mut self, config: Vec<u8>) -> Self {
        self.blobs[0] = sha256(&config);
        Self { config, ..self }
    }

    /// The manifest's digest.
    pub fn digest(&self) -> String {
        self.digest.clone()
    }

    /// The digest of every blob that the manifest names.
    pub fn digests(&self) -> &[String] {
        &self.blobs
    }

    /// Every blob that the manifest names.
    pub fn blobs(&self) -> impl Iterator<Item = &Vec<u8>> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// Pushes blobs and manifest.
    pub async fn push(&self, client: &mut Client, repository: &str, reference: &str) -> String {
        for blob in self.blobs() {
            client.put_blob(repository, blob.clone()).await;
        }
        client.put_manifest(repository, reference, OCI_MANIFEST, self.manifest.clone()).await
    }

    /// Writes an image layout of this image alone.
    pub fn write_layout(&self, directory: &Path) {
        self.write_blobs(directory);
        write_index(directory, &json!([descriptor(OCI_MANIFEST, &self.manifest)]));
    }

    /// An index of `images` as bytes.
    pub fn index(images: &[Image]) -> Vec<u8> {
        let children = images.iter().map(Image::platform_descriptor).collect::<Vec<_>>();
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children });
        index.to_string().into_bytes()
    }

    /// Writes an image layout whose one entry is an index of `images`; the index's digest.
    pub fn write_multi_platform_layout(images: &[Image], directory: &Path) -> String {
        let index = Self::index(images);
        for image in images {
            image.write_blobs(directory);
        }
        write_blob(directory, &index);
        write_index(directory, &json!([descriptor(OCI_INDEX, &index)]));
        sha256(&index)
    }

    fn platform_descriptor(&self) -> Value {
        let mut descriptor = descriptor(OCI_MANIFEST, &self.manifest);
        descriptor["platform"] = json!({ "architecture": self.architecture, "os": "linux" });
        descriptor
    }

    fn write_blobs(&self, directory: &Path) {
        for blob in self.blobs().chain([&self.manifest]) {
            write_blob(directory, blob);
        }
    }
}

/// A tar archive with one file.
pub fn layer(name: &str, bytes: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut header = [0_u8; BLOCK];
    let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(0, name);
    field(100, "0000644\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, &format!("{:011o}\0", bytes.len()));
    field(136, "00000000000\0");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(bytes);
    // The file fills whole blocks; two empty blocks end the archive.
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive
}

/// A gzip stream that holds `bytes` as they are: enough for every client, and no compressor needed.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    const STORED_BYTES_MAX: usize = u16::MAX as usize;
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut blocks = bytes.chunks(STORED_BYTES_MAX).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(&(!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend_from_slice(&crc32(bytes).to_le_bytes());
    stream.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    stream
}

fn crc32(bytes: &[u8]) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0xedb8_8320;
    let shift = |rest: u32| (rest >> 1) ^ (REVERSED_POLYNOMIAL & (rest & 1).wrapping_neg());
    let table: Vec<u32> = (0..256).map(|byte| (0..8).fold(byte, |rest, _| shift(rest))).collect();
    let step = |crc: u32, &byte: &u8| (crc >> 8) ^ table[((crc ^ u32::from(byte)) & 0xff) as usize];
    !bytes.iter().fold(!0, step)
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

fn write_blob(directory: &Path, bytes: &[u8]) {
    let blobs = directory.join("blobs").join("sha256");
    std::fs::create_dir_all(&blobs).expect("creating the layout");
    std::fs::write(blobs.join(hex_sha256(bytes)), bytes).expect("writing a blob of the layout");
}

fn write_index(directory: &Path, manifests: &Value) {
    let mut manifests = manifests.clone();
    manifests[0]["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    std::fs::write(directory.join("index.json"), index.to_string()).expect("writing the layout's index");
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("marking the layout");
}
