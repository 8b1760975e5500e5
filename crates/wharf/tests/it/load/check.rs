//! How long a check of very many rows takes, the files beside them included.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::check::offline;
use crate::harness::{OCI_MANIFEST, Wharf, hex_sha256};

/// Blobs that each manifest names.
const BLOBS_EACH: u64 = 10;
const BLOB_BYTES: u32 = 1_000;

/// Checks a registry of `blobs` blobs and a tenth as many manifests; what is not looked into may have any content.
pub fn fast(blobs: u64) -> Duration {
    let mut server = Wharf::start();
    server.stop();
    let begun = Instant::now();
    seed(server.data(), blobs / BLOBS_EACH);
    println!("{blobs} blobs in {} manifests seeded in {:?}", blobs / BLOBS_EACH, begun.elapsed());
    let begun = Instant::now();
    let found = offline(server.data(), &["--fast"]);
    let took = begun.elapsed();
    found.is_clean();
    took
}

fn seed(data: &Path, manifests: u64) {
    let mut database = rusqlite::Connection::open(data.join("wharf.db")).unwrap();
    let tx = database.transaction().unwrap();
    tx.execute("insert into repositories (name, created_at_us) values ('seed/app', 0)", []).unwrap();
    let repository = tx.last_insert_rowid();
    for number in 0..manifests {
        let digests: Vec<String> = (0..BLOBS_EACH)
            .map(|blob| format!("sha256:{}", hex_sha256(&(number * BLOBS_EACH + blob).to_le_bytes())))
            .collect();
        let descriptors: Vec<_> =
            digests.iter().map(|digest| json!({ "digest": digest, "size": BLOB_BYTES })).collect();
        let descriptor = |index: usize, media_type: &str| {
            let mut descriptor = descriptors[index].clone();
            descriptor["mediaType"] = json!(media_type);
            descriptor
        };
        let layers: Vec<_> =
            (1..digests.len()).map(|index| descriptor(index, "application/vnd.oci.image.layer.v1.tar+gzip")).collect();
        let config = descriptor(0, "application/vnd.oci.image.config.v1+json");
        let body = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers });
        let body = body.to_string();
        tx.prepare_cached(
            "insert into manifests (repository_id, digest, media_type, artifact_type, config_digest, pushed_at_us, pushed_by, body)
             values ($1, $2, $3, 'application/vnd.oci.image.config.v1+json', $4, 0, 'seed', $5)",
        )
        .unwrap()
        .execute((
            repository,
            format!("sha256:{}", hex_sha256(body.as_bytes())),
            OCI_MANIFEST,
            &digests[0],
            body.as_bytes(),
        ))
        .unwrap();
        let manifest = tx.last_insert_rowid();
        for digest in &digests {
            blob(&tx, repository, manifest, digest);
            let hex = &digest["sha256:".len()..];
            let path = data.join("layers/sha256").join(&hex[..2]).join(hex);
            let file = File::options().write(true).create_new(true).mode(0o600).open(path).unwrap();
            file.set_len(BLOB_BYTES.into()).unwrap();
        }
    }
    tx.commit().unwrap();
}

fn blob(tx: &rusqlite::Transaction<'_>, repository: i64, manifest: i64, digest: &str) {
    tx.prepare_cached("insert into blobs (digest, size_bytes, state, created_at_us) values ($1, $2, 'live', 0)")
        .unwrap()
        .execute((digest, BLOB_BYTES))
        .unwrap();
    let blob = tx.last_insert_rowid();
    tx.prepare_cached(
        "insert into repository_blobs (repository_id, blob_id, created_at_us, created_by) values ($1, $2, 0, 'seed')",
    )
    .unwrap()
    .execute((repository, blob))
    .unwrap();
    tx.prepare_cached("insert into manifest_blobs (manifest_id, blob_id, repository_id) values ($1, $2, $3)")
        .unwrap()
        .execute((manifest, blob, repository))
        .unwrap();
}
