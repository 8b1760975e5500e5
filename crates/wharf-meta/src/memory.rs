//! What was read and still holds: manifests by tag and digest, and which repository serves which blob.
//!
//! What is kept carries the *generation* of its repository from before it was read. Whatever could make it untrue makes the
//! next generation before its commit, and the one after that when it is over ([`Memory::changing`]); in between, in an odd
//! generation, nothing of the repository is given or kept, and everybody asks the database. So an answer that raced with
//! a change is kept with a generation that is over, and is never given: a change that anybody has seen is seen by every
//! later request. Only what is there is kept, never that something is not; so what is added makes nothing untrue.
//!
//! Generations are counted for a few thousand groups of repositories, by the hash of their names: two that share one only
//! forget a little more than they had to.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use wharf_base::ByteSize;
use wharf_oci::{Digest, Reference, RepositoryName};

use crate::StoredManifest;

/// Larger manifests are read each time: few are, and each would push out very many others.
const MANIFEST_MAX_BYTES: usize = 64 << 10;

/// What an entry takes besides a manifest's bytes and its names, about.
const ENTRY_BYTES: u64 = 256;

/// How much of the memory is for manifests, in hundredths. The rest is for blobs, of which only the size is kept.
const FOR_MANIFESTS: u64 = 80;

/// Groups of repositories.
const GROUPS: usize = 4096;

/// What was read, with what it is worth.
#[derive(Debug)]
pub(crate) struct Memory {
    manifests: Cache<ManifestKey, Kept<StoredManifest>, Weight>,
    blobs: Cache<BlobKey, Kept<u64>, Weight>,
    generations: Box<[AtomicU64]>,
    hasher: RandomState,
}

#[derive(Clone, Debug)]
struct Kept<T> {
    generation: u64,
    value: T,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ManifestKey {
    repository: RepositoryName,
    reference: Reference,
}

/// The same, borrowed; it hashes to the same.
#[derive(Hash)]
struct ManifestLookup<'a> {
    repository: &'a RepositoryName,
    reference: &'a Reference,
}

impl Equivalent<ManifestKey> for ManifestLookup<'_> {
    fn equivalent(&self, key: &ManifestKey) -> bool {
        *self.repository == key.repository && *self.reference == key.reference
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct BlobKey {
    repository: RepositoryName,
    digest: Digest,
}

#[derive(Hash)]
struct BlobLookup<'a> {
    repository: &'a RepositoryName,
    digest: &'a Digest,
}

impl Equivalent<BlobKey> for BlobLookup<'_> {
    fn equivalent(&self, key: &BlobKey) -> bool {
        *self.repository == key.repository && *self.digest == key.digest
    }
}

/// An entry weighs what it takes, in bytes.
#[derive(Clone, Debug)]
struct Weight;

impl Weighter<ManifestKey, Kept<StoredManifest>> for Weight {
    fn weight(&self, key: &ManifestKey, kept: &Kept<StoredManifest>) -> u64 {
        let names = key.repository.as_str().len() + kept.value.media_type.len();
        ENTRY_BYTES + (names + kept.value.body.len()) as u64
    }
}

impl Weighter<BlobKey, Kept<u64>> for Weight {
    fn weight(&self, key: &BlobKey, _: &Kept<u64>) -> u64 {
        ENTRY_BYTES + key.repository.as_str().len() as u64
    }
}

/// The generation of a repository at a moment; taken before what is to be kept is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generation(pub(crate) u64);

impl Generation {
    /// Somebody is changing what is read now.
    fn is_changing(self) -> bool {
        self.0 % 2 == 1
    }
}

/// A change that is being committed; over when dropped, well or not.
#[derive(Debug)]
#[must_use = "nothing of the repositories is remembered until this is dropped"]
pub(crate) struct Changing<'a> {
    memory: &'a Memory,
    groups: Vec<usize>,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.memory.step(&self.groups);
    }
}

impl Memory {
    /// That takes about `size` at most.
    pub(crate) fn new(size: ByteSize) -> Self {
        let manifests = size.as_u64() / 100 * FOR_MANIFESTS;
        let blobs = size.as_u64() - manifests;
        let items = |bytes: u64, each: u64| usize::try_from(bytes / each).unwrap_or(usize::MAX);
        Self {
            manifests: Cache::with_weighter(items(manifests, 2_048), manifests, Weight),
            blobs: Cache::with_weighter(items(blobs, 300), blobs, Weight),
            generations: std::iter::repeat_with(AtomicU64::default).take(GROUPS).collect(),
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn generation(&self, repository: &RepositoryName) -> Generation {
        Generation(self.group(repository.as_str()).load(Ordering::Acquire))
    }

    /// A change that takes something away from these repositories, or changes it, is about to be committed; without
    /// `repositories`, from any. One at a time.
    pub(crate) fn changing(&self, repositories: Option<&[String]>) -> Changing<'_> {
        let mut groups = match repositories {
            Some(names) => names.iter().map(|name| self.group_number(name)).collect(),
            None => (0..GROUPS).collect::<Vec<_>>(),
        };
        groups.sort_unstable();
        groups.dedup();
        self.step(&groups);
        Changing { memory: self, groups }
    }

    fn step(&self, groups: &[usize]) {
        for group in groups {
            self.generations[*group].fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Option<StoredManifest> {
        let kept = self.manifests.get(&ManifestLookup { repository, reference })?;
        self.is_current(repository, &kept).then_some(kept.value)
    }

    /// Keeps what was read of `repository` at `generation`, if it is intact.
    pub(crate) fn keep_manifest(
        &self,
        generation: Generation,
        repository: &RepositoryName,
        reference: &Reference,
        manifest: &mut StoredManifest,
    ) {
        // What is damaged is read again, by somebody who may have mended it.
        if generation.is_changing() || manifest.body.len() > MANIFEST_MAX_BYTES || !manifest.verify() {
            return;
        }
        let key = ManifestKey { repository: repository.clone(), reference: reference.clone() };
        self.manifests.insert(key, Kept { generation: generation.0, value: manifest.clone() });
    }

    pub(crate) fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Option<u64> {
        let kept = self.blobs.get(&BlobLookup { repository, digest })?;
        self.is_current(repository, &kept).then_some(kept.value)
    }

    /// Keeps what was read of `repository` at `generation`.
    pub(crate) fn keep_blob(
        &self,
        generation: Generation,
        repository: &RepositoryName,
        digest: &Digest,
        size_bytes: u64,
    ) {
        if generation.is_changing() {
            return;
        }
        let key = BlobKey { repository: repository.clone(), digest: *digest };
        self.blobs.insert(key, Kept { generation: generation.0, value: size_bytes });
    }

    fn is_current<T>(&self, repository: &RepositoryName, kept: &Kept<T>) -> bool {
        kept.generation == self.generation(repository).0
    }

    fn group(&self, repository: &str) -> &AtomicU64 {
        &self.generations[self.group_number(repository)]
    }

    fn group_number(&self, repository: &str) -> usize {
        usize::try_from(self.hasher.hash_one(repository) % GROUPS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().expect("a name")
    }

    fn manifest(body: &'static str) -> StoredManifest {
        let body = Bytes::from_static(body.as_bytes());
        let digest = Digest::of(wharf_oci::Algorithm::Sha256, &body);
        StoredManifest { digest, media_type: "a/b".to_owned(), body, is_intact: false }
    }

    #[test]
    fn what_was_read_before_a_change_is_not_given_after_it() {
        let memory = Memory::new(ByteSize::mib(1));
        let (repository, tag) = (name("team/app"), "1.0".parse().expect("a tag"));
        let before = memory.generation(&repository);
        memory.keep_manifest(before, &repository, &tag, &mut manifest("old"));
        assert_eq!(memory.manifest(&repository, &tag).map(|kept| kept.body), Some("old".into()));

        let changing = memory.changing(Some(&["team/app".to_owned(), "team/app".to_owned()]));
        assert_eq!(memory.manifest(&repository, &tag), None, "it may have been committed already");
        memory.keep_manifest(memory.generation(&repository), &repository, &tag, &mut manifest("new or old"));
        assert_eq!(memory.manifest(&repository, &tag), None, "nobody knows which it is");
        drop(changing);
        assert_eq!(memory.manifest(&repository, &tag), None);
        // Somebody who read before the change comes late.
        memory.keep_manifest(before, &repository, &tag, &mut manifest("old"));
        assert_eq!(memory.manifest(&repository, &tag), None);

        memory.keep_manifest(memory.generation(&repository), &repository, &tag, &mut manifest("new"));
        assert_eq!(memory.manifest(&repository, &tag).map(|kept| kept.body), Some("new".into()));
        drop(memory.changing(None));
        assert_eq!(memory.manifest(&repository, &tag), None);
    }

    #[test]
    fn a_blob_is_kept_for_its_repository_alone() {
        let memory = Memory::new(ByteSize::mib(1));
        let digest = manifest("x").digest;
        memory.keep_blob(memory.generation(&name("a/a")), &name("a/a"), &digest, 7);
        assert_eq!(memory.blob(&name("a/a"), &digest), Some(7));
        assert_eq!(memory.blob(&name("a/b"), &digest), None);
    }

    #[test]
    fn what_is_damaged_or_large_is_not_kept() {
        let memory = Memory::new(ByteSize::mib(64));
        let (repository, tag) = (name("team/app"), "1.0".parse().expect("a tag"));
        let mut damaged = StoredManifest { body: "other".into(), ..manifest("one") };
        memory.keep_manifest(memory.generation(&repository), &repository, &tag, &mut damaged);
        assert_eq!(memory.manifest(&repository, &tag), None);
        let body: Bytes = vec![b' '; MANIFEST_MAX_BYTES + 1].into();
        let digest = Digest::of(wharf_oci::Algorithm::Sha256, &body);
        let mut large = StoredManifest { digest, body, ..manifest("one") };
        memory.keep_manifest(memory.generation(&repository), &repository, &tag, &mut large);
        assert_eq!(memory.manifest(&repository, &tag), None);
    }

    #[test]
    fn a_size_of_nothing_keeps_nothing() {
        let memory = Memory::new(ByteSize::bytes(0));
        let (repository, tag) = (name("team/app"), "1.0".parse().expect("a tag"));
        memory.keep_manifest(memory.generation(&repository), &repository, &tag, &mut manifest("one"));
        assert_eq!(memory.manifest(&repository, &tag), None);
    }
}
