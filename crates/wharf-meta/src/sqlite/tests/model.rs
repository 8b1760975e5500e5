//! The registry's metadata as plain maps: what every answer should be, without a database.

use std::collections::{BTreeMap, BTreeSet};

use wharf_base::{Timestamp, UploadId};
use wharf_oci::{AnyDigest, Digest, Reference, RepositoryName, Tag};

use crate::{
    Advance, BeginUpload, BlobMount, BlobRecord, Condition, DeletedManifest, ManifestHead, ManifestRecord, Missing,
    NewUpload, RecordBlob, RecordManifest, Referrer, ReferrerCursor, StoredManifest, Upload, UploadLimits, UploadState,
};

#[derive(Default)]
pub(super) struct Model {
    uploads: BTreeMap<UploadId, Session>,
    repositories: BTreeMap<RepositoryName, Repository>,
    pushes: u64,
}

struct Session {
    new: NewUpload,
    upload: Upload,
}

#[derive(Default)]
struct Repository {
    blobs: BTreeMap<Digest, u64>,
    manifests: BTreeMap<Digest, Pushed>,
    tags: BTreeMap<Tag, Digest>,
}

struct Pushed {
    record: ManifestRecord,
    order: u64,
}

impl Session {
    fn is_open(&self) -> bool {
        matches!(self.upload.state, UploadState::Open { .. })
    }
}

impl Model {
    pub(super) fn begin_upload(&mut self, new: &NewUpload, limits: &UploadLimits) -> BeginUpload {
        let open = |belongs: &dyn Fn(&NewUpload) -> bool| {
            let open = self.uploads.values().filter(|s| s.is_open() && s.upload.expires_at > new.now);
            u32::try_from(open.filter(|session| belongs(&session.new)).count()).unwrap()
        };
        let scope = if open(&|other| other.repository == new.repository) >= limits.per_repository {
            "repository"
        } else if open(&|other| other.owner == new.owner) >= limits.per_owner {
            "principal"
        } else if open(&|_| true) >= limits.total {
            "registry"
        } else {
            let upload = Upload {
                id: new.id,
                algorithm: new.algorithm,
                started_at: new.now,
                expires_at: new.expires_at,
                state: UploadState::Open { checkpoint: None, patches: 0 },
            };
            self.uploads.insert(new.id, Session { new: new.clone(), upload });
            return BeginUpload::Started;
        };
        BeginUpload::TooMany { scope }
    }

    pub(super) fn upload(
        &self,
        id: UploadId,
        repository: &RepositoryName,
        owner: &str,
        now: Timestamp,
    ) -> Option<Upload> {
        let session = self.uploads.get(&id)?;
        let found = session.new.repository == *repository && session.new.owner == owner;
        (found && session.upload.expires_at > now).then(|| session.upload.clone())
    }

    pub(super) fn advance_upload(&mut self, id: UploadId, from: u64, to: u64, expires_at: Timestamp) -> Advance {
        let Some(session) = self.uploads.get_mut(&id) else { return Advance::Gone };
        let UploadState::Open { checkpoint, patches } = &mut session.upload.state else { return Advance::Gone };
        if checkpoint.as_ref().map_or(0, |(offset, _)| *offset) != from {
            return Advance::Moved;
        }
        *checkpoint = Some((to, to.to_string().into_bytes()));
        *patches += 1;
        session.upload.expires_at = expires_at;
        Advance::Advanced
    }

    pub(super) fn end_upload(&mut self, id: UploadId, repository: &RepositoryName, owner: &str) -> bool {
        let found = self.uploads.get(&id).is_some_and(|session| {
            session.is_open() && session.new.repository == *repository && session.new.owner == owner
        });
        found && self.uploads.remove(&id).is_some()
    }

    pub(super) fn expired_uploads(&self, now: Timestamp, limit: u32) -> Vec<UploadId> {
        let expired = self.uploads.values().map(|session| (session.upload.expires_at, session.new.id));
        let sorted: BTreeSet<_> = expired.filter(|(expires_at, _)| *expires_at <= now).collect();
        sorted.into_iter().map(|(_, id)| id).take(usize::try_from(limit).unwrap()).collect()
    }

    pub(super) fn remove_expired_upload(&mut self, id: UploadId, now: Timestamp) -> bool {
        let expired = self.uploads.get(&id).is_some_and(|session| session.upload.expires_at <= now);
        expired && self.uploads.remove(&id).is_some()
    }

    pub(super) fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Option<u64> {
        self.repositories.get(repository)?.blobs.get(digest).copied()
    }

    pub(super) fn record_blob(&mut self, record: &BlobRecord) -> RecordBlob {
        if let Some(id) = record.upload {
            let session = self.uploads.get_mut(&id).filter(|session| {
                session.new.repository == record.repository && session.upload.expires_at > record.now
            });
            let Some(session) = session else { return RecordBlob::UploadGone };
            if let UploadState::Done { digest } = session.upload.state {
                return if digest == record.digest { RecordBlob::Recorded } else { RecordBlob::UploadGone };
            }
            session.upload.state = UploadState::Done { digest: record.digest };
            session.upload.expires_at = record.remember_until;
        }
        let repository = self.repositories.entry(record.repository.clone()).or_default();
        repository.blobs.insert(record.digest, record.size_bytes);
        RecordBlob::Recorded
    }

    pub(super) fn mount_blob(&mut self, mount: &BlobMount) -> bool {
        let Some(size) = self.blob(&mount.from, &mount.digest) else { return false };
        self.repositories.entry(mount.to.clone()).or_default().blobs.insert(mount.digest, size);
        true
    }

    pub(super) fn repositories_with_blob(&self, digest: &Digest) -> Vec<RepositoryName> {
        let with = self.repositories.iter().filter(|(_, repository)| repository.blobs.contains_key(digest));
        with.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn delete_blob(&mut self, repository: &RepositoryName, digest: &Digest) -> bool {
        self.repositories.get_mut(repository).is_some_and(|repository| repository.blobs.remove(digest).is_some())
    }

    fn find(&self, repository: &RepositoryName, reference: &Reference) -> Option<&ManifestRecord> {
        let repository = self.repositories.get(repository)?;
        let digest = match reference {
            Reference::Tag(tag) => repository.tags.get(tag)?,
            Reference::Digest(digest) => digest,
        };
        repository.manifests.get(digest).map(|pushed| &pushed.record)
    }

    pub(super) fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Option<StoredManifest> {
        self.find(repository, reference).map(|record| StoredManifest {
            digest: record.digest,
            media_type: record.media_type.clone(),
            body: record.body.clone(),
            is_intact: false,
        })
    }

    pub(super) fn manifest_head(&self, repository: &RepositoryName, reference: &Reference) -> Option<ManifestHead> {
        self.find(repository, reference).map(|record| ManifestHead {
            digest: record.digest,
            media_type: record.media_type.clone(),
            size_bytes: u64::try_from(record.body.len()).unwrap(),
        })
    }

    pub(super) fn record_manifest(&mut self, record: &ManifestRecord) -> RecordManifest {
        let none = Repository::default();
        let here = self.repositories.get(&record.repository).unwrap_or(&none);
        let blobs = missing(record.missing_blobs, &record.blobs, |digest| here.blobs.contains_key(digest));
        let children = missing(record.missing_children, &record.children, |digest| {
            here.blobs.contains_key(digest) || here.manifests.contains_key(digest)
        });
        if !blobs.is_empty() || !children.is_empty() {
            return RecordManifest::Missing { blobs, children };
        }
        let known = here.manifests.get(&record.digest);
        if known.is_some_and(|pushed| pushed.record.media_type != record.media_type) {
            return RecordManifest::MediaTypeConflict;
        }
        let created = known.is_none();
        let holds = |tag: &Tag| match record.condition {
            Condition::None => true,
            Condition::TagIs(digest) => here.tags.get(tag) == Some(&digest),
            Condition::TagAbsent => !here.tags.contains_key(tag),
        };
        if !record.tags.iter().all(holds) {
            return RecordManifest::ConditionFailed;
        }
        self.pushes += 1;
        let order = self.pushes;
        let here = self.repositories.entry(record.repository.clone()).or_default();
        here.manifests.entry(record.digest).or_insert_with(|| Pushed { record: record.clone(), order });
        here.tags.extend(record.tags.iter().map(|tag| (tag.clone(), record.digest)));
        RecordManifest::Recorded { created }
    }

    pub(super) fn delete_manifest(&mut self, repository: &RepositoryName, digest: &Digest) -> Option<DeletedManifest> {
        let here = self.repositories.get_mut(repository)?;
        here.manifests.remove(digest)?;
        let tags = here.tags.iter().filter(|(_, to)| *to == digest).map(|(tag, _)| tag.clone()).collect();
        here.tags.retain(|_, to| to != digest);
        let parents = here.manifests.values().filter(|pushed| pushed.record.children.contains(digest));
        let parents: BTreeMap<u64, Digest> = parents.map(|pushed| (pushed.order, pushed.record.digest)).collect();
        Some(DeletedManifest { tags, parents: parents.into_values().take(5).collect() })
    }

    pub(super) fn delete_tag(&mut self, repository: &RepositoryName, tag: &Tag) -> bool {
        self.repositories.get_mut(repository).is_some_and(|repository| repository.tags.remove(tag).is_some())
    }

    pub(super) fn tags(&self, repository: &RepositoryName, after: Option<&str>, limit: u32) -> Option<Vec<Tag>> {
        let tags = self.repositories.get(repository)?.tags.keys();
        let after = tags.filter(|tag| after.is_none_or(|after| tag.as_str() > after));
        Some(after.take(usize::try_from(limit).unwrap()).cloned().collect())
    }

    pub(super) fn repositories(&self, after: Option<&str>, limit: u32) -> Vec<RepositoryName> {
        let names = self.repositories.iter().filter(|(_, repository)| !repository.manifests.is_empty());
        let after = names.map(|(name, _)| name).filter(|name| after.is_none_or(|after| name.as_str() > after));
        after.take(usize::try_from(limit).unwrap()).cloned().collect()
    }

    pub(super) fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &AnyDigest,
        artifact_types: &[String],
        after: Option<&ReferrerCursor>,
        limit: u32,
    ) -> Vec<Referrer> {
        let Some(repository) = self.repositories.get(repository) else { return Vec::new() };
        let referring = repository.manifests.values().map(|pushed| &pushed.record).filter(|record| {
            let of_type = record.artifact_type.as_ref().is_some_and(|of| artifact_types.contains(of));
            record.subject.as_ref() == Some(subject) && (artifact_types.is_empty() || of_type)
        });
        let sorted: BTreeMap<ReferrerCursor, Referrer> = referring
            .map(|record| {
                let cursor = ReferrerCursor { pushed_at: record.now, digest: record.digest };
                let referrer = Referrer {
                    media_type: record.media_type.clone(),
                    digest: record.digest,
                    size_bytes: u64::try_from(record.body.len()).unwrap(),
                    artifact_type: record.artifact_type.clone(),
                    annotations: record.annotations.clone(),
                    cursor,
                };
                (cursor, referrer)
            })
            .collect();
        let after = sorted.into_iter().filter(|(cursor, _)| after.is_none_or(|after| cursor > after));
        after.map(|(_, referrer)| referrer).take(usize::try_from(limit).unwrap()).collect()
    }
}

fn missing(policy: Missing, digests: &[Digest], has: impl Fn(&Digest) -> bool) -> Vec<Digest> {
    let mut seen = BTreeSet::new();
    let missing = digests.iter().filter(|digest| policy == Missing::Refuse && !has(digest) && seen.insert(**digest));
    missing.copied().collect()
}
