use std::sync::Arc;

use wharf_base::failpoint;
use wharf_oci::Digest;
use wharf_policy::{Authorized, Pull, Push};
use wharf_store::BlobReader;

use crate::{Error, Registry};

/// What is known of a blob without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobHead {
    /// Its length.
    pub size_bytes: u64,
}

/// A blob that is ready to be read.
#[derive(Debug)]
pub struct OpenBlob {
    /// Its length.
    pub size_bytes: u64,
    /// Its content. An open blob can be read to its end even when it is removed meanwhile.
    pub content: Arc<BlobReader>,
}

impl Registry {
    /// Whether the repository serves this blob, and how long it is (end-2). Knowing a digest is never enough (S-011).
    ///
    /// Whoever may push and is told that it is there will not upload it; so from then on the collector leaves it alone
    /// for a whole grace period (P-196).
    ///
    /// # Errors
    ///
    /// [`Error::BlobUnknown`]: the database says that this repository does not have it.
    pub async fn blob_head(&self, ok: &Authorized<Pull>, digest: &Digest) -> Result<BlobHead, Error> {
        let failed = || Error::meta("looking up a blob");
        let meta = &*self.parts.meta;
        let absent = Error::BlobUnknown(*digest);
        if self.parts.policy.authorize::<Push>(ok.asker(), ok.repository().clone()).is_ok() {
            let now = self.now();
            let not_before = now.plus(self.gc.grace.get());
            let due = meta.review_due(ok.repository(), digest).await.map_err(failed())?;
            failpoint::arrive("registry.head-looked").await;
            if due.is_some_and(|due| due < not_before) {
                failpoint::arrive("registry.head-due").await;
                let review_at = self.review_at(now);
                let kept = meta.keep_blob(ok.repository(), digest, not_before, review_at).await.map_err(failed())?;
                return kept.map(|size_bytes| BlobHead { size_bytes }).ok_or(absent);
            }
        }
        // Only now: had it been looked up before its review, a review in between could have ended both, and nothing
        // would tell (GR-10).
        let size_bytes = meta.blob(ok.repository(), digest).await.map_err(failed())?;
        size_bytes.map(|size_bytes| BlobHead { size_bytes }).ok_or(absent)
    }

    /// Opens the blob for reading (end-2).
    ///
    /// # Errors
    ///
    /// [`Error::BlobUnknown`]; [`Error::Damaged`] when the file is missing or has another length than recorded: it is
    /// never served.
    pub async fn open_blob(&self, ok: &Authorized<Pull>, digest: &Digest) -> Result<OpenBlob, Error> {
        let size_bytes = self.parts.meta.blob(ok.repository(), digest).await;
        let size_bytes = size_bytes.map_err(Error::meta("looking up a blob"))?.ok_or(Error::BlobUnknown(*digest))?;
        failpoint::arrive("registry.pull-looked").await;
        self.open_content(digest, size_bytes).await
    }

    /// Opens content that the database knows.
    pub(crate) async fn open_content(&self, digest: &Digest, size_bytes: u64) -> Result<OpenBlob, Error> {
        match self.parts.store.open(digest, size_bytes).await {
            Ok(Some(content)) => Ok(OpenBlob { size_bytes, content: Arc::new(content) }),
            Ok(None) => Err(Error::Damaged(*digest)),
            Err(wharf_store::Error::Damaged { reason, .. }) => {
                tracing::error!(blob.digest = %digest, reason, "blob {digest} is damaged: {reason}");
                Err(Error::Damaged(*digest))
            }
            Err(source) => Err(Error::Store { doing: "opening a blob", source }),
        }
    }
}
