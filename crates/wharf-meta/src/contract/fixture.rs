use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wharf_base::{Location, ManualClock, SeededRng, Timestamp, UploadId};
use wharf_oci::{Algorithm, Digest, Reference, RepositoryName, Tag};
use wharf_policy::{AccountType, Action, Attribution, Principal, Provider};

use crate::{
    BeginUpload, BlobRecord, Condition, ManifestRecord, Metadata, Missing, NewUpload, RecordBlob, RecordManifest,
    UploadLimits,
};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const BLOB_BYTES: u64 = 1000;
pub(crate) const NO_LIMITS: UploadLimits = UploadLimits { per_repository: 10_000, per_owner: 10_000, total: 10_000 };

/// `seconds` after an arbitrary beginning.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000).plus(Duration::from_secs(seconds))
}

pub(crate) fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

pub(crate) fn by_tag(text: &str) -> Reference {
    Reference::Tag(tag(text))
}

/// A person of that name, in some request.
pub(crate) fn by(subject: &str) -> Attribution {
    Attribution {
        principal: Principal::new(Provider::Local, subject, AccountType::Human, Vec::new()),
        source: Some([192, 0, 2, 1].into()),
        request_id: "r-1".into(),
        action: Action::Push,
        rule: "builtin:human".into(),
    }
}

/// The digest of some content.
pub(crate) fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

pub(crate) fn upload_id(number: u64) -> UploadId {
    UploadId::generate(&ManualClock::at(at(0)), &SeededRng::new(number))
}

/// Session `number` of `owner`, from second 0 to second 100.
pub(crate) fn new_upload(number: u64, repository: &str, owner: &str) -> NewUpload {
    NewUpload {
        id: upload_id(number),
        repository: name(repository),
        owner: owner.to_owned(),
        algorithm: Algorithm::Sha256,
        now: at(0),
        expires_at: at(100),
    }
}

pub(crate) async fn begin(metadata: &dyn Metadata, number: u64, repository: &str, owner: &str) -> UploadId {
    let new = new_upload(number, repository, owner);
    assert_eq!(metadata.begin_upload(&new, &NO_LIMITS).await.unwrap(), BeginUpload::Started);
    new.id
}

/// Blob `content`, recorded at second 1, of no session.
pub(crate) fn blob_record(repository: &str, content: &str) -> BlobRecord {
    BlobRecord {
        repository: name(repository),
        digest: digest(content),
        size_bytes: BLOB_BYTES,
        location: Location::BY_DIGEST,
        replaced_go_at: at(90_000),
        upload: None,
        by: by("alice"),
        now: at(1),
        review_at: at(86_400),
        remember_until: at(3600),
    }
}

pub(crate) async fn have_blob(metadata: &dyn Metadata, repository: &str, content: &str) -> Digest {
    let record = blob_record(repository, content);
    assert_eq!(metadata.record_blob(&record).await.unwrap(), RecordBlob::Recorded);
    record.digest
}

/// An image manifest of this body without references or tags, pushed at second 10.
pub(crate) fn manifest(repository: &str, body: &str) -> ManifestRecord {
    ManifestRecord {
        repository: name(repository),
        digest: digest(body),
        media_type: MANIFEST.to_owned(),
        artifact_type: None,
        subject: None,
        config: None,
        annotations: BTreeMap::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        blobs: Vec::new(),
        children: Vec::new(),
        missing_blobs: Missing::Refuse,
        missing_children: Missing::Refuse,
        tags: Vec::new(),
        condition: Condition::None,
        by: by("alice"),
        now: at(10),
        review_at: at(86_400),
    }
}

pub(crate) fn tagged(repository: &str, body: &str, tags: &[&str]) -> ManifestRecord {
    ManifestRecord { tags: tags.iter().map(|text| tag(text)).collect(), ..manifest(repository, body) }
}

pub(crate) fn index(repository: &str, body: &str, children: &[Digest]) -> ManifestRecord {
    ManifestRecord { media_type: INDEX.to_owned(), children: children.to_vec(), ..manifest(repository, body) }
}

pub(crate) async fn push(metadata: &dyn Metadata, record: ManifestRecord) -> Digest {
    let answer = metadata.record_manifest(&record).await.unwrap();
    assert!(matches!(answer, RecordManifest::Recorded { .. }), "{answer:?}");
    record.digest
}

/// What the tag points at.
pub(crate) async fn resolve(metadata: &dyn Metadata, repository: &str, tag: &str) -> Option<Digest> {
    metadata.manifest_head(&name(repository), &by_tag(tag)).await.unwrap().map(|head| head.digest)
}

pub(crate) async fn has_manifest(metadata: &dyn Metadata, repository: &str, digest: Digest) -> bool {
    metadata.manifest(&name(repository), &Reference::Digest(digest)).await.unwrap().is_some()
}

/// All tags of a repository that exists.
pub(crate) async fn all_tags(metadata: &dyn Metadata, repository: &str) -> Vec<String> {
    let tags = metadata.tags(&name(repository), None, 10_000).await.unwrap().expect("the repository exists");
    tags.iter().map(Tag::to_string).collect()
}
