use wharf_base::failpoint;
use wharf_oci::{Digest, Reference, Tag};
use wharf_policy::{Authorized, Delete};

use crate::{Error, Registry};

/// What went with a manifest, and what still names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedManifest {
    /// Indexes of the repository that still list it, at most five.
    pub parents: Vec<Digest>,
}

impl Registry {
    /// Removes a manifest, its tags and its references (F-02, end-9). Blobs and children stay.
    ///
    /// # Errors
    ///
    /// [`Error::ManifestUnknown`]; [`Error::DeletionDisabled`]; [`Error::ReadOnly`].
    pub async fn delete_manifest(&self, ok: &Authorized<Delete>, digest: &Digest) -> Result<DeletedManifest, Error> {
        self.writable()?;
        if !self.config.delete_manifests {
            return Err(Error::DeletionDisabled("manifests"));
        }
        let now = self.now();
        let by = &ok.attribution();
        failpoint::arrive("registry.manifest-deleting").await;
        let delete = || self.parts.meta.delete_manifest(ok.repository(), digest, by, now, self.review_at(now));
        let deleted = self.with_reserve(delete).await;
        failpoint::arrive("registry.manifest-deleted").await;
        let deleted = deleted.map_err(Error::meta("deleting a manifest"))?;
        let deleted = deleted.ok_or(Error::ManifestUnknown(Reference::Digest(*digest)))?;
        Ok(DeletedManifest { parents: deleted.parents })
    }

    /// Whether a tag may be deleted on its own; asked before the tag is even parsed (P-249).
    ///
    /// # Errors
    ///
    /// [`Error::DeletionDisabled`]; [`Error::ReadOnly`].
    pub fn may_delete_tags(&self) -> Result<(), Error> {
        self.writable()?;
        if self.config.delete_tags { Ok(()) } else { Err(Error::DeletionDisabled("tags")) }
    }

    /// Removes a tag; the manifest stays (end-9). Refused by default (F-01).
    ///
    /// # Errors
    ///
    /// [`Error::ManifestUnknown`]; [`Error::DeletionDisabled`]; [`Error::ReadOnly`].
    pub async fn delete_tag(&self, ok: &Authorized<Delete>, tag: &Tag) -> Result<(), Error> {
        self.may_delete_tags()?;
        let now = self.now();
        let by = &ok.attribution();
        let delete = || self.parts.meta.delete_tag(ok.repository(), tag, by, now, self.review_at(now));
        let deleted = self.with_reserve(delete).await;
        failpoint::arrive("registry.tag-deleted").await;
        if deleted.map_err(Error::meta("deleting a tag"))? {
            Ok(())
        } else {
            Err(Error::ManifestUnknown(Reference::Tag(tag.clone())))
        }
    }

    /// Takes a blob out of this repository; its bytes stay for others and for the collector (F-03, end-10).
    ///
    /// # Errors
    ///
    /// [`Error::BlobUnknown`]; [`Error::DeletionDisabled`]; [`Error::ReadOnly`].
    pub async fn delete_blob(&self, ok: &Authorized<Delete>, digest: &Digest) -> Result<(), Error> {
        self.writable()?;
        if !self.config.delete_blobs {
            return Err(Error::DeletionDisabled("blobs"));
        }
        let now = self.now();
        failpoint::arrive("registry.blob-deleting").await;
        let by = &ok.attribution();
        let delete = || self.parts.meta.delete_blob(ok.repository(), digest, by, now, self.review_at(now));
        let deleted = self.with_reserve(delete).await;
        failpoint::arrive("registry.blob-deleted").await;
        if deleted.map_err(Error::meta("deleting a blob"))? { Ok(()) } else { Err(Error::BlobUnknown(*digest)) }
    }
}
