//! A layout that is read.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use async_trait::async_trait;
use wharf_oci::{AnyDigest, Digest, MANIFEST_MAX_BYTES, RepositoryName, Tag};

use super::files::Files;
use super::index::Entries;
use super::{INDEX, blob_path};
use crate::content::from_file;
use crate::{Blob, Document, Error, Source};

/// A layout in a directory or an archive.
pub struct LayoutSource {
    files: Files,
    entries: Entries,
    /// What refers to what, among the entries without a tag.
    referrers: HashMap<(RepositoryName, AnyDigest), Vec<Digest>>,
}

impl LayoutSource {
    /// The layout at `path`. Of what does not say which repository it belongs to, `fallback` is the name.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`]: it is no layout; [`Error::Unnamed`]; [`Error::Damaged`]: its index, or its
    /// archive, is not what it should be.
    pub fn open(path: &Path, fallback: Option<&RepositoryName>) -> Result<Self, Error> {
        let files = Files::open(path)?;
        let entries = Entries::read(&files.read(INDEX, MANIFEST_MAX_BYTES)?, fallback)?;
        let mut source = Self { files, entries, referrers: HashMap::new() };
        for (repository, digest) in source.entries.untagged.keys() {
            // What cannot be read is reported when it is copied.
            let subject =
                source.document(digest).and_then(|document| document.read()).ok().and_then(|read| read.subject);
            if let Some(subject) = subject {
                source.referrers.entry((repository.clone(), subject)).or_default().push(*digest);
            }
        }
        Ok(source)
    }

    fn document(&self, digest: &Digest) -> Result<Document, Error> {
        let name = blob_path(digest);
        Document::new(*digest, None, self.files.read(&name, MANIFEST_MAX_BYTES)?)
    }
}

#[async_trait]
impl Source for LayoutSource {
    async fn repositories(&self) -> Result<Vec<String>, Error> {
        let tagged = self.entries.tagged.keys().map(|(repository, _)| repository);
        let all: BTreeSet<_> = tagged.chain(self.entries.untagged.keys().map(|(repository, _)| repository)).collect();
        Ok(all.into_iter().map(ToString::to_string).collect())
    }

    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<String>, Error> {
        let tags = self.entries.tagged.keys().filter(|(of, _)| of == repository);
        Ok(tags.map(|(_, tag)| tag.to_string()).collect())
    }

    async fn untagged(&self, repository: &RepositoryName) -> Result<Vec<String>, Error> {
        let untagged = self.entries.untagged.keys().filter(|(of, _)| of == repository);
        Ok(untagged.map(|(_, digest)| digest.to_string()).collect())
    }

    fn lists_untagged(&self) -> bool {
        true
    }

    async fn resolve(&self, repository: &RepositoryName, tag: &Tag) -> Result<Digest, Error> {
        let found = self.entries.tagged.get(&(repository.clone(), tag.clone()));
        found.map(|described| described.digest).ok_or_else(|| Error::Absent(format!("{repository}:{tag}")))
    }

    async fn manifest(&self, _repository: &RepositoryName, digest: &Digest) -> Result<Document, Error> {
        self.document(digest)
    }

    async fn blob(&self, _repository: &RepositoryName, digest: &Digest) -> Result<Blob, Error> {
        let name = blob_path(digest);
        let (file, size_bytes) = self.files.find(&name)?;
        Ok(from_file(file, size_bytes, name))
    }

    async fn referrers(&self, repository: &RepositoryName, subject: &Digest) -> Result<Vec<Digest>, Error> {
        Ok(self.referrers.get(&(repository.clone(), (*subject).into())).cloned().unwrap_or_default())
    }
}
