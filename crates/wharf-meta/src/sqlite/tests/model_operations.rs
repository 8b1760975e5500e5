//! Random histories: every answer of the database against that of the [`Model`], and at the end everything there is
//! to ask.

use proptest::prelude::*;
use proptest::sample::select;
use wharf_base::Timestamp;
use wharf_oci::{Algorithm, AnyDigest, Digest, Reference};

use super::Place;
use super::model::Model;
use crate::contract::fixture::*;
use crate::{
    BlobMount, BlobRecord, Condition, ManifestRecord, Metadata, Missing, NewUpload, SqliteMetadata, UploadLimits,
};

const REPOSITORIES: [&str; 3] = ["a", "a/b", "c"];
const OWNERS: [&str; 2] = ["alice", "bob"];
const TAGS: [&str; 4] = ["1", "A", "a", "latest"];
const BLOBS: [&str; 5] = ["blob 0", "blob 1", "blob 2", "blob 3", "blob 4"];
const MANIFESTS: usize = 6;
const LIMITS: UploadLimits = UploadLimits { per_repository: 3, per_owner: 4, total: 5 };

#[derive(Clone, Debug)]
enum Operation {
    Begin {
        repository: &'static str,
        owner: &'static str,
        life: u64,
    },
    Upload {
        which: u64,
        repository: &'static str,
        owner: &'static str,
    },
    Advance {
        which: u64,
        from: u64,
        more: u64,
        life: u64,
    },
    End {
        which: u64,
        repository: &'static str,
        owner: &'static str,
    },
    Expired {
        limit: u32,
    },
    RemoveExpired {
        which: u64,
    },
    RecordBlob {
        repository: &'static str,
        blob: &'static str,
        upload: Option<u64>,
    },
    Mount {
        from: &'static str,
        to: &'static str,
        blob: &'static str,
    },
    DeleteBlob {
        repository: &'static str,
        blob: &'static str,
    },
    Push {
        repository: &'static str,
        manifest: usize,
        tags: Vec<&'static str>,
        condition: Option<usize>,
        sparse: bool,
        index: bool,
    },
    DeleteManifest {
        repository: &'static str,
        manifest: usize,
    },
    DeleteTag {
        repository: &'static str,
        tag: &'static str,
    },
    Tags {
        repository: &'static str,
        after: Option<&'static str>,
        limit: u32,
    },
    Catalog {
        after: Option<&'static str>,
        limit: u32,
    },
    Referrers {
        repository: &'static str,
        subject: usize,
        types: Vec<&'static str>,
        limit: u32,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation as O;
    let repository = || select(&REPOSITORIES);
    let owner = || select(&OWNERS);
    let blob = || select(&BLOBS);
    let tag = || select(&TAGS);
    let types = select(&["type 0", "type 1", "type 5"]);
    let tags = || prop::collection::vec(tag(), 0..3);
    prop_oneof![
        3 => (repository(), owner(), 1..40u64)
            .prop_map(|(repository, owner, life)| O::Begin { repository, owner, life }),
        1 => (0..6u64, repository(), owner())
            .prop_map(|(which, repository, owner)| O::Upload { which, repository, owner }),
        3 => (0..6u64, 0..3u64, 0..3u64, 1..40u64)
            .prop_map(|(which, from, more, life)| O::Advance { which, from, more, life }),
        1 => (0..6u64, repository(), owner()).prop_map(|(which, repository, owner)| O::End { which, repository, owner }),
        1 => (0..4u32).prop_map(|limit| O::Expired { limit }),
        2 => (0..6u64).prop_map(|which| O::RemoveExpired { which }),
        8 => (repository(), blob(), prop::option::weighted(0.3, 0..6u64))
            .prop_map(|(repository, blob, upload)| O::RecordBlob { repository, blob, upload }),
        2 => (repository(), repository(), blob()).prop_map(|(from, to, blob)| O::Mount { from, to, blob }),
        2 => (repository(), blob()).prop_map(|(repository, blob)| O::DeleteBlob { repository, blob }),
        12 => (repository(), 0..MANIFESTS, tags(), prop::option::weighted(0.3, 0..=MANIFESTS), prop::bool::weighted(0.3),
               prop::bool::weighted(0.1))
            .prop_map(|(repository, manifest, tags, condition, sparse, index)| {
                O::Push { repository, manifest, tags, condition, sparse, index }
            }),
        3 => (repository(), 0..MANIFESTS).prop_map(|(repository, manifest)| O::DeleteManifest { repository, manifest }),
        2 => (repository(), tag()).prop_map(|(repository, tag)| O::DeleteTag { repository, tag }),
        1 => (repository(), prop::option::of(tag()), 0..4u32)
            .prop_map(|(repository, after, limit)| O::Tags { repository, after, limit }),
        1 => (prop::option::of(repository()), 0..4u32).prop_map(|(after, limit)| O::Catalog { after, limit }),
        1 => (repository(), 0..MANIFESTS, prop::collection::vec(types, 0..3), 0..4u32)
            .prop_map(|(repository, subject, types, limit)| O::Referrers { repository, subject, types, limit }),
    ]
}

fn manifest_digest(number: usize) -> Digest {
    digest(&format!("manifest {number}"))
}

/// Images, referrers, indexes of manifests and blobs, and an index of an index.
fn manifest_number(repository: &str, number: usize, now: Timestamp) -> ManifestRecord {
    let (blobs, children, subject): (&[&str], Vec<Digest>, Option<usize>) = match number {
        0 => (&["blob 0", "blob 1"], vec![], None),
        1 => (&["blob 1", "blob 2", "blob 1"], vec![], Some(0)),
        2 => (&[], vec![manifest_digest(0), manifest_digest(1), manifest_digest(0)], None),
        3 => (&[], vec![digest("blob 3"), manifest_digest(2)], Some(0)),
        4 => (&[], vec![], Some(0)),
        _ => (&["blob 4"], vec![], Some(2)),
    };
    ManifestRecord {
        blobs: blobs.iter().map(|blob| digest(blob)).collect(),
        children,
        subject: subject.map(|number| AnyDigest::from(manifest_digest(number))),
        artifact_type: (number != 4).then(|| format!("type {number}")),
        annotations: (0..number).map(|n| (format!("key {n}"), "value".to_owned())).collect(),
        now,
        ..manifest(repository, &format!("manifest {number}"))
    }
}

/// Both sides of a history, and how far it is.
struct Pair {
    model: Model,
    metadata: SqliteMetadata,
    second: u64,
    begun: u64,
}

macro_rules! agree {
    ($model:expr, $real:expr) => {
        assert_eq!($real.await.unwrap(), $model)
    };
}

impl Pair {
    async fn run(&mut self, operation: &Operation) {
        self.second += 3;
        let now = at(self.second);
        // One that was never begun is among them.
        let session = |which: u64| upload_id((which + self.begun).saturating_sub(4));
        let (model, real) = (&mut self.model, &self.metadata);
        match operation.clone() {
            Operation::Begin { repository, owner, life } => {
                let algorithm = if life % 2 == 0 { Algorithm::Sha256 } else { Algorithm::Sha512 };
                let expires_at = at(self.second + life);
                let new = NewUpload { now, algorithm, expires_at, ..new_upload(self.begun, repository, owner) };
                agree!(model.begin_upload(&new, &LIMITS), real.begin_upload(&new, &LIMITS));
                self.begun += 1;
            }
            Operation::Upload { which, repository, owner } => {
                let (id, repository) = (session(which), name(repository));
                agree!(model.upload(id, &repository, owner, now), real.upload(id, &repository, owner, now));
            }
            Operation::Advance { which, from, more, life } => {
                let (id, to, until) = (session(which), from + more, at(self.second + life));
                let state = to.to_string();
                agree!(
                    model.advance_upload(id, from, to, until),
                    real.advance_upload(id, from, to, state.as_bytes(), until)
                );
            }
            Operation::End { which, repository, owner } => {
                let (id, repository) = (session(which), name(repository));
                agree!(model.end_upload(id, &repository, owner), real.end_upload(id, &repository, owner));
            }
            Operation::Expired { limit } => agree!(model.expired_uploads(now, limit), real.expired_uploads(now, limit)),
            Operation::RemoveExpired { which } => {
                let id = session(which);
                agree!(model.remove_expired_upload(id, now), real.remove_expired_upload(id, now));
            }
            Operation::RecordBlob { repository, blob, upload } => {
                let remember_until = at(self.second + 10);
                let upload = upload.map(session);
                let record = BlobRecord { upload, now, remember_until, ..blob_record(repository, blob) };
                agree!(model.record_blob(&record), real.record_blob(&record));
            }
            Operation::Mount { from, to, blob } => {
                let (from, to) = (name(from), name(to));
                let mount = BlobMount { from, to, digest: digest(blob), by: by("alice"), now, review_at: at(86_400) };
                agree!(model.mount_blob(&mount), real.mount_blob(&mount));
            }
            Operation::DeleteBlob { repository, blob } => {
                let (repository, digest) = (name(repository), digest(blob));
                agree!(
                    model.delete_blob(&repository, &digest),
                    real.delete_blob(&repository, &digest, &by("alice"), now, at(86_400))
                );
            }
            Operation::Push { repository, manifest, tags, condition, sparse, index } => {
                let mut record = manifest_number(repository, manifest, now);
                record.tags = tags.into_iter().map(tag).collect();
                record.condition = match condition {
                    None => Condition::None,
                    Some(MANIFESTS) => Condition::TagAbsent,
                    Some(number) => Condition::TagIs(manifest_digest(number)),
                };
                if sparse {
                    (record.missing_blobs, record.missing_children) = (Missing::Allow, Missing::Allow);
                }
                if index {
                    record.media_type = INDEX.to_owned();
                }
                agree!(model.record_manifest(&record), real.record_manifest(&record));
            }
            Operation::DeleteManifest { repository, manifest } => {
                let (repository, digest) = (name(repository), manifest_digest(manifest));
                agree!(
                    model.delete_manifest(&repository, &digest),
                    real.delete_manifest(&repository, &digest, &by("alice"), now, at(86_400))
                );
            }
            Operation::DeleteTag { repository, tag: text } => {
                let (repository, tag) = (name(repository), tag(text));
                agree!(
                    model.delete_tag(&repository, &tag),
                    real.delete_tag(&repository, &tag, &by("alice"), now, at(86_400))
                );
            }
            Operation::Tags { repository, after, limit } => {
                let repository = name(repository);
                agree!(model.tags(&repository, after, limit), real.tags(&repository, after, limit));
            }
            Operation::Catalog { after, limit } => {
                agree!(model.repositories(after, limit), real.repositories(after, limit));
            }
            Operation::Referrers { repository, subject, types, limit } => {
                let (repository, subject) = (name(repository), AnyDigest::from(manifest_digest(subject)));
                let types: Vec<String> = types.into_iter().map(str::to_owned).collect();
                let first = model.referrers(&repository, &subject, &types, None, limit);
                agree!(first, real.referrers(&repository, &subject, &types, None, limit));
                let after = first.last().map(|referrer| &referrer.cursor);
                agree!(
                    model.referrers(&repository, &subject, &types, after, limit),
                    real.referrers(&repository, &subject, &types, after, limit)
                );
            }
        }
    }

    /// Everything there is to ask.
    async fn compare_all(&self) {
        let (model, real) = (&self.model, &self.metadata);
        for repository in REPOSITORIES.map(name) {
            for digest in BLOBS.map(digest) {
                agree!(model.blob(&repository, &digest), real.blob(&repository, &digest));
            }
            let digests = (0..MANIFESTS).map(|number| Reference::Digest(manifest_digest(number)));
            for reference in digests.chain(TAGS.map(by_tag)) {
                agree!(model.manifest(&repository, &reference), real.manifest(&repository, &reference));
                agree!(model.manifest_head(&repository, &reference), real.manifest_head(&repository, &reference));
            }
            agree!(model.tags(&repository, None, 100), real.tags(&repository, None, 100));
            for number in 0..MANIFESTS {
                let subject = AnyDigest::from(manifest_digest(number));
                agree!(
                    model.referrers(&repository, &subject, &[], None, 100),
                    real.referrers(&repository, &subject, &[], None, 100)
                );
            }
            for number in 0..self.begun {
                for owner in OWNERS {
                    let (id, now) = (upload_id(number), at(self.second));
                    agree!(model.upload(id, &repository, owner, now), real.upload(id, &repository, owner, now));
                }
            }
        }
        agree!(model.repositories(None, 100), real.repositories(None, 100));
        for digest in BLOBS.map(digest) {
            let mut found = real.repositories_with_blob(&digest, 100).await.unwrap();
            found.sort();
            assert_eq!(found, model.repositories_with_blob(&digest));
        }
        agree!(model.expired_uploads(at(1_000_000), 100), real.expired_uploads(at(1_000_000), 100));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_is_answered_as_by_plain_maps(history in prop::collection::vec(operation(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let place = Place::new();
            let mut pair = Pair { model: Model::default(), metadata: place.open(), second: 0, begun: 0 };
            for operation in &history {
                pair.run(operation).await;
            }
            pair.compare_all().await;
            let broken: i64 = place
                .look()
                .query_row("select count(*) from pragma_foreign_key_check", [], |row| row.get(0))
                .unwrap();
            assert_eq!(broken, 0);
            // Nothing of it is in memory only.
            pair.metadata.close().await.unwrap();
            pair.metadata = place.open();
            pair.compare_all().await;
        });
    }
}
