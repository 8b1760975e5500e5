//! What copying needs to know of a place.

use async_trait::async_trait;
use wharf_oci::{Digest, Reference, RepositoryName, Tag};

use crate::{Blob, Document, Error};

/// A place that is copied from. Names are as the place writes them, because some are none of ours.
#[async_trait]
pub trait Source: Send + Sync {
    /// All repositories.
    async fn repositories(&self) -> Result<Vec<String>, Error>;

    /// All tags of a repository.
    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<String>, Error>;

    /// The digests of manifests of the repository that a tag need not lead to; empty where the place cannot tell.
    async fn untagged(&self, repository: &RepositoryName) -> Result<Vec<String>, Error>;

    /// Whether `untagged` has everything that no tag leads to, so that nobody needs to ask for referrers.
    fn lists_untagged(&self) -> bool;

    /// What a tag points at.
    ///
    /// # Errors
    ///
    /// [`Error::Absent`]: there is no such tag.
    async fn resolve(&self, repository: &RepositoryName, tag: &Tag) -> Result<Digest, Error>;

    /// A manifest, of which the digest has been checked.
    async fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document, Error>;

    /// A blob. Whoever reads it checks it ([`Blob::verified`]).
    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Blob, Error>;

    /// The manifests that refer to `subject`; empty where the place keeps no list of them.
    async fn referrers(&self, repository: &RepositoryName, subject: &Digest) -> Result<Vec<Digest>, Error>;
}

/// Under what a manifest is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Under a tag.
    Tag(Tag),
    /// By its digest, for its own sake.
    Untagged,
    /// By its digest, because an index lists it.
    Child,
}

/// A place that is copied to.
#[async_trait]
pub trait Target: Send + Sync {
    /// The digest of a manifest that is there, complete with everything that it names; `None` if it is not.
    async fn digest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<Digest>, Error>;

    /// Whether a blob is there.
    async fn has_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error>;

    /// Takes over a blob from another repository of the place; `false` if it would not.
    async fn mount(&self, into: &RepositoryName, digest: &Digest, from: &RepositoryName) -> Result<bool, Error>;

    /// Keeps a verified blob. Nothing is left of one whose stream ends with an error.
    async fn put_blob(&self, repository: &RepositoryName, digest: &Digest, blob: Blob) -> Result<(), Error>;

    /// Keeps a manifest, after everything that it names.
    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        document: &Document,
        media_type: &str,
        entry: &Entry,
    ) -> Result<(), Error>;
}
