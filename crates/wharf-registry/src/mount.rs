use wharf_base::failpoint;
use wharf_meta::BlobMount;
use wharf_oci::{Algorithm, Digest, RepositoryName};
use wharf_policy::{Access, Asker, Authorized, Denied, Pull, Push, Reason};

use crate::{Error, Registry, UploadStatus};

/// How many repositories are tried when the client does not name a source (S-012).
const SOURCES_MAX: u32 = 32;

/// What became of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounted {
    /// The blob is in the repository now.
    Blob(Digest),
    /// It could not be borrowed, for whatever reason; the client uploads it.
    Upload(UploadStatus),
}

impl Registry {
    /// Borrows a blob from `source`, or from any repository that the principal may pull; opens an upload session when
    /// that is not possible (end-11). Forbidden and absent sources look the same (S-012).
    ///
    /// # Errors
    ///
    /// Those of [`begin_upload`](Self::begin_upload); [`Error::SourceScope`].
    ///
    /// # Source
    ///
    /// Protocol checklist §9, P-152 … P-160.
    pub async fn mount(
        &self,
        ok: &Authorized<Push>,
        digest: Digest,
        source: Option<&RepositoryName>,
    ) -> Result<Mounted, Error> {
        self.writable()?;
        self.guard.room_for_facts()?;
        let sources = match source {
            Some(source) => vec![source.clone()],
            None => self.sources(ok, &digest).await?,
        };
        for candidate in sources {
            let may_pull = match self.parts.policy.authorize::<Pull>(ok.asker(), candidate) {
                Ok(may_pull) => may_pull,
                Err(denied) if source.is_some() && never_asked(ok.asker(), &denied) => {
                    return Err(Error::SourceScope);
                }
                Err(_) => continue,
            };
            if self.mount_from(ok, &may_pull, digest).await? {
                return Ok(Mounted::Blob(digest));
            }
        }
        self.begin_upload(ok, Algorithm::Sha256).await.map(Mounted::Upload)
    }

    /// The target itself first: what is there already needs nobody else (P-155).
    async fn sources(&self, ok: &Authorized<Push>, digest: &Digest) -> Result<Vec<RepositoryName>, Error> {
        let others = self.parts.meta.repositories_with_blob(digest, SOURCES_MAX).await;
        let others = others.map_err(Error::meta("looking for repositories that have a blob"))?;
        Ok(std::iter::once(ok.repository().clone()).chain(others).collect())
    }

    async fn mount_from(
        &self,
        ok: &Authorized<Push>,
        source: &Authorized<Pull>,
        digest: Digest,
    ) -> Result<bool, Error> {
        let now = self.now();
        let mount = BlobMount {
            from: source.repository().clone(),
            to: ok.repository().clone(),
            digest,
            by: ok.attribution(),
            now,
            review_at: self.review_at(now),
        };
        failpoint::arrive("registry.mount-allowed").await;
        let mounted = self.parts.meta.mount_blob(&mount).await.map_err(Error::meta("mounting a blob"))?;
        failpoint::arrive("registry.mount-recorded").await;
        Ok(mounted)
    }
}

/// Whether the token does not even mention the source: then another token may do (P-154). One that was asked for it and
/// refused mentions it with no actions.
fn never_asked(asker: &Asker, denied: &Denied) -> bool {
    let mentions = |access: &[Access]| access.iter().any(|line| line.is_about(denied.repository.as_ref()));
    denied.reason == Reason::BearerScope && !asker.limits.bearer.as_deref().is_some_and(mentions)
}
