//! Everybody at once: pushers, deleters and collectors on few names and little content, with hardly any grace. What the rows say
//! about each other afterwards must hold, whoever met whom.

use std::sync::Arc;
use std::time::Duration;

use wharf_base::{Rng as _, SeededRng, Timestamp};
use wharf_oci::{Digest, Reference};

use super::Place;
use crate::contract::fixture::*;
use crate::postgres::PostgresMetadata;
use crate::{
    AuditLog as _, BlobMount, ChainVerifier, Collecting as _, ManifestRecord, Metadata as _, RecordManifest,
    Undoing as _,
};

const REPOSITORIES: [&str; 3] = ["a", "b", "c/d"];
const BLOBS: u64 = 6;
const ACTORS: u64 = 8;
const STEPS: u64 = 150;

fn random(rng: &SeededRng, below: u64) -> u64 {
    let mut bytes = [0; 8];
    rng.fill(&mut bytes);
    u64::from_le_bytes(bytes) % below
}

/// A time that goes on with the steps; what is due is due very soon.
fn soon(step: u64) -> Timestamp {
    at(1000 + step)
}

struct Actor {
    metadata: Arc<PostgresMetadata>,
    rng: SeededRng,
}

impl Actor {
    fn repository(&self) -> &'static str {
        REPOSITORIES[usize::try_from(random(&self.rng, 3)).unwrap()]
    }

    fn blob(&self) -> Digest {
        digest(&format!("blob {}", random(&self.rng, BLOBS)))
    }

    /// A manifest whose references follow from its bytes, as they do.
    fn manifest(&self, repository: &str, step: u64) -> ManifestRecord {
        let number = random(&self.rng, 8);
        let blobs = (0..3).map(|n| digest(&format!("blob {}", (number + n) % BLOBS))).collect();
        let tag = format!("t{}", random(&self.rng, 3));
        ManifestRecord {
            blobs,
            now: soon(step),
            review_at: soon(step + 1),
            ..tagged(repository, &format!("manifest {number}"), &[&tag])
        }
    }

    async fn step(&self, step: u64) {
        let (now, later, by) = (soon(step), soon(step + 1), by("alice"));
        let repository = self.repository();
        let name = name(repository);
        match random(&self.rng, 12) {
            0..=2 => {
                let record =
                    crate::BlobRecord { digest: self.blob(), now, review_at: later, ..blob_record(repository, "") };
                self.metadata.record_blob(&record).await.unwrap();
            }
            3 => {
                let from = crate::contract::fixture::name(self.repository());
                let mount = BlobMount { from, to: name, digest: self.blob(), by, now, review_at: later };
                self.metadata.mount_blob(&mount).await.unwrap();
            }
            4..=6 => {
                let answer = self.metadata.record_manifest(&self.manifest(repository, step)).await.unwrap();
                assert!(
                    matches!(answer, RecordManifest::Recorded { .. } | RecordManifest::Missing { .. }),
                    "{answer:?}"
                );
            }
            7 => {
                let digest = self.manifest(repository, step).digest;
                self.metadata.delete_manifest(&name, &digest, &by, now, later).await.unwrap();
            }
            8 => _ = self.metadata.delete_blob(&name, &self.blob(), &by, now, later).await.unwrap(),
            9 => _ = self.metadata.restore_manifest(&self.manifest(repository, step)).await.unwrap(),
            10 => {
                self.metadata.review_blobs(now, later, 5).await.unwrap();
                for digest in self.metadata.condemned(now, 5).await.unwrap() {
                    self.metadata.forget_blob(&digest, now, now).await.unwrap();
                }
            }
            _ => {
                let digest = self.manifest(repository, step).digest;
                let reference = Reference::Digest(digest);
                _ = self.metadata.manifest(&name, &reference).await.unwrap();
                _ = self.metadata.keep_blob(&name, &self.blob(), later, soon(step + 3)).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft13_whoever_meets_whom_the_rows_agree() {
    for seed in 0..2 {
        let place = Place::new();
        let metadata = Arc::new(place.open().await);
        let actors: Vec<_> = (0..ACTORS)
            .map(|number| {
                let actor = Actor { metadata: Arc::clone(&metadata), rng: SeededRng::new(seed * ACTORS + number) };
                tokio::spawn(async move {
                    for step in 0..STEPS {
                        actor.step(step).await;
                    }
                })
            })
            .collect();
        for actor in actors {
            actor.await.unwrap();
        }
        for (what, count) in [
            (
                "associations with content that is not live",
                "select count(*) from repository_blobs a join blobs b on b.id = a.blob_id where b.state <> 'live'",
            ),
            (
                "references to content that is to go",
                "select count(*) from manifest_blobs x join blobs b on b.id = x.blob_id where b.state <> 'live'",
            ),
            (
                "associations that nothing needs and nobody will look at",
                "select count(*) from repository_blobs a join blobs b on b.id = a.blob_id
                  where not exists (select 1 from manifest_blobs x
                                     where x.blob_id = a.blob_id and x.repository_id = a.repository_id)
                    and not exists (select 1 from gc_reviews g where g.repository_id = a.repository_id
                                       and g.kind = 'blob' and g.digest = b.digest)",
            ),
            (
                "content that nobody has and nobody will look at",
                "select count(*) from blobs b
                  where b.state = 'live'
                    and not exists (select 1 from repository_blobs a where a.blob_id = b.id)
                    and not exists (select 1 from manifest_blobs x where x.blob_id = b.id)
                    and not exists (select 1 from gc_reviews g where g.kind = 'blob' and g.digest = b.digest)",
            ),
            (
                "tags whose history says something else",
                "select count(*) from tags t join manifests m on m.id = t.manifest_id
                  where (select h.to_digest from tag_history h
                          where h.repository_id = t.repository_id and h.name = t.name
                          order by h.version desc limit 1) is distinct from m.digest",
            ),
        ] {
            assert_eq!(place.database.sql(count), "0", "{what} (seed {seed})");
        }
        assert_ne!(place.database.sql("select count(*) from gc_log"), "0", "something was collected (seed {seed})");
        metadata.close().await.unwrap();
    }
}

/// A record's place is taken before its transaction ends; no seal passes one that is still to come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s078_no_record_appears_behind_a_seal() {
    let place = Place::new();
    let metadata = Arc::new(place.open().await);
    let writing: Vec<_> = (0..6)
        .map(|writer| {
            let metadata = Arc::clone(&metadata);
            tokio::spawn(async move {
                for number in 0..60 {
                    have_blob(&*metadata, &format!("r{writer}"), &format!("{writer} {number}")).await;
                }
            })
        })
        .collect();
    while !writing.iter().all(tokio::task::JoinHandle::is_finished) {
        metadata.seal_audit(at(1)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for writer in writing {
        writer.await.unwrap();
    }
    metadata.seal_audit(at(2)).await.unwrap();
    assert_eq!(place.database.sql("select count(*) from audit_log where sha256 is null"), "0");
    let seals = metadata.audit_seals(i64::MIN, 100_000).await.unwrap();
    assert!(seals.len() > 2, "{} seals", seals.len());
    let entries = metadata.audit_in_order(0, 100_000).await.unwrap();
    assert_eq!(entries.len(), 6 * 60);
    let mut verifier = ChainVerifier::new(seals, entries.first().map(|entry| entry.sequence)).unwrap();
    entries.iter().for_each(|entry| verifier.record(entry).unwrap());
    verifier.finish().unwrap();
}
