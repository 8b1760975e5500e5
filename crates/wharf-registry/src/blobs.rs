use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use wharf_base::failpoint;
use wharf_oci::Digest;
use wharf_policy::{Authorized, Pull, Push};
use wharf_store::{BlobReader, ContentFile, Place};

use crate::check::{Depth, Verdict, itself};
use crate::{Error, Registry, VerifyReads};

/// Blobs up to this are read into memory and hashed before they are sent.
const HASHED_FIRST_BYTES: u64 = 1 << 20;

/// How many verified blobs are remembered; those beyond are verified again.
const VERIFIED_MAX: usize = 100_000;

/// How often content that changes while it is being opened is looked at again.
const OPENINGS: usize = 3;

/// What is known of a blob without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobHead {
    /// Its length.
    pub size_bytes: u64,
}

/// A blob that is ready to be read. An open blob can be read to its end even when it is removed meanwhile.
#[derive(Clone, Debug)]
pub struct OpenBlob {
    /// Its length.
    pub size_bytes: u64,
    place: Place,
    content: BlobReader,
    verify: VerifyReads,
    registry: Arc<Registry>,
}

/// Which large blobs have been read in full and were right, since the start.
#[derive(Debug, Default)]
pub(crate) struct Verified(Mutex<HashSet<Digest>>);

impl Verified {
    fn contains(&self, digest: &Digest) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    fn add(&self, digest: Digest) {
        let mut verified = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() < VERIFIED_MAX {
            verified.insert(digest);
        }
    }
}

impl OpenBlob {
    /// Whether it is sent whole or not at all, because its hash is to be seen each time.
    pub fn is_whole_only(&self) -> bool {
        self.verify == VerifyReads::Always
    }

    /// An address from which whoever has it can read the content for so long; `None`: it is passed on here, because it is
    /// small, is to be verified on its way, or lies in a directory.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]: the address could not be signed.
    pub async fn link(&self, content_type: &str, lifetime: Duration) -> Result<Option<String>, Error> {
        if self.size_bytes <= HASHED_FIRST_BYTES || self.verify != VerifyReads::Scrub {
            return Ok(None);
        }
        let link = self.registry.parts.store.link(&self.place, content_type, lifetime).await;
        link.map_err(Error::store("signing an address in the bucket"))
    }

    /// The file that `range` (end exclusive) can be sent from by the kernel, if there is one and the bytes need not be hashed on
    /// their way.
    pub fn file(&self, range: &Range<u64>) -> Option<ContentFile> {
        let is_whole = *range == (0..self.size_bytes);
        if range.end > self.size_bytes || (is_whole && self.verify != VerifyReads::Scrub) {
            return None;
        }
        self.content.file()
    }

    /// The bytes of `range` (end exclusive), if they are in memory, where they have been hashed.
    pub fn bytes(&self, range: &Range<u64>) -> Option<Bytes> {
        self.content.bytes(range)
    }

    /// Takes note that its file could not be sent: it is looked at, and set aside if it is damaged.
    pub fn broke(&self) {
        self.registry.suspect(self.place.digest, Depth::Fast);
    }

    /// The bytes of `range` (end exclusive).
    ///
    /// # Errors
    ///
    /// The stream ends with an error item when the content turns out to be damaged, and never early without one. The blob
    /// is then looked at, and set aside if it is.
    pub fn stream(&self, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        let is_whole = range == (0..self.size_bytes);
        let is_verified = is_whole && self.verify != VerifyReads::Scrub;
        let digest = self.place.digest;
        let bytes = if is_verified { self.content.verified_stream(&digest) } else { self.content.stream(range) };
        let (registry, mut left) = (Arc::clone(&self.registry), self.size_bytes);
        let watched = bytes.inspect(move |piece| match piece {
            Ok(bytes) if is_verified => {
                left -= bytes.len() as u64;
                if left == 0 {
                    registry.verified.add(digest);
                }
            }
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::InvalidData => registry.suspect(digest, Depth::Deep),
                _ => registry.suspect(digest, Depth::Fast),
            },
        });
        watched.boxed()
    }
}

impl Registry {
    /// Whether the repository serves this blob, and how long it is (end-2). Knowing a digest is never enough (S-011).
    ///
    /// Whoever may push and is told that it is there will not upload it; so from then on the collector leaves it alone
    /// for a whole grace period (P-196).
    ///
    /// # Errors
    ///
    /// [`Error::BlobUnknown`]: the database says that this repository does not have it; [`Error::BlobSetAside`].
    pub async fn blob_head(&self, ok: &Authorized<Pull>, digest: &Digest) -> Result<BlobHead, Error> {
        let failed = || Error::meta("looking up a blob");
        let meta = &*self.parts.meta;
        let now = self.now();
        let not_before = now.plus(self.gc.grace.get());
        let mut is_nearly_due = false;
        if self.parts.policy.authorize::<Push>(ok.asker(), ok.repository().clone()).is_ok() {
            let due = meta.review_due(ok.repository(), digest).await.map_err(failed())?;
            failpoint::arrive("registry.head-looked").await;
            is_nearly_due = due.is_some_and(|due| due < not_before);
        }
        let found = if is_nearly_due {
            failpoint::arrive("registry.head-due").await;
            meta.keep_blob(ok.repository(), digest, not_before, self.review_at(now)).await
        } else {
            // Only now: had it been looked up before its review, a review in between could have ended both, and nothing
            // would tell (GR-10).
            meta.blob(ok.repository(), digest).await
        };
        match found.map_err(failed())? {
            Some(size_bytes) => Ok(BlobHead { size_bytes }),
            None => Err(self.why_not_served(ok, digest).await?),
        }
    }

    /// Opens the blob for reading (end-2).
    ///
    /// # Errors
    ///
    /// [`Error::BlobUnknown`]; [`Error::BlobSetAside`] when its file is missing, has another length than recorded or, if
    /// it is small or its turn to be verified, does not hash to its digest: it is never served.
    pub async fn open_blob(self: &Arc<Self>, ok: &Authorized<Pull>, digest: &Digest) -> Result<OpenBlob, Error> {
        for _ in 0..OPENINGS {
            let Some((size_bytes, place)) = self.find_blob(ok, digest).await? else {
                return Err(Box::pin(self.why_not_served(ok, digest)).await?);
            };
            failpoint::arrive("registry.pull-looked").await;
            if let Some(content) = self.small.get(digest, size_bytes) {
                return Ok(self.opened(place, content));
            }
            // Boxed, because what is in memory would have to be moved with as many bytes.
            let doubt = match Box::pin(self.open_content(&place, size_bytes)).await? {
                Ok(content) => {
                    self.small.keep(*digest, &content);
                    return Ok(self.opened(place, content));
                }
                Err(doubt) => doubt,
            };
            match Box::pin(self.judge(digest, doubt, &itself("read"))).await? {
                // It was being placed, replaced or removed.
                Verdict::Sound => {}
                Verdict::SetAside(_) => return Err(Error::BlobSetAside(*digest)),
                Verdict::Unreadable(reason) => {
                    let source = io::Error::other(reason);
                    return Err(Error::Read { doing: "reading a blob", source });
                }
            }
        }
        Err(Error::Damaged(*digest))
    }

    /// The size of a blob that this repository may serve, and where its content lies.
    async fn find_blob(&self, ok: &Authorized<Pull>, digest: &Digest) -> Result<Option<(u64, Place)>, Error> {
        let (meta, digest) = (&self.parts.meta, *digest);
        let found = if self.parts.store.is_by_digest() {
            let size_bytes = meta.blob(ok.repository(), &digest).await;
            size_bytes.map(|found| found.map(|size_bytes| (size_bytes, Place::by_digest(digest))))
        } else {
            let located = meta.located_blob(ok.repository(), &digest).await;
            located.map(|found| found.map(|(size_bytes, location)| (size_bytes, Place { digest, location })))
        };
        found.map_err(Error::meta("looking up a blob"))
    }

    /// Opens content that the database knows, for somebody who hashes all of it himself.
    pub(crate) async fn open_known(self: &Arc<Self>, digest: &Digest, size_bytes: u64) -> Result<OpenBlob, Error> {
        let place = self.place(digest).await?;
        match self.open_content(&place, size_bytes).await? {
            Ok(content) => Ok(OpenBlob { verify: VerifyReads::Scrub, ..self.opened(place, content) }),
            Err(_) => Err(Error::Damaged(*digest)),
        }
    }

    fn opened(self: &Arc<Self>, place: Place, content: BlobReader) -> OpenBlob {
        let size_bytes = content.size_bytes();
        let verify = match self.verify_reads {
            _ if size_bytes <= HASHED_FIRST_BYTES => VerifyReads::Scrub,
            VerifyReads::First if self.verified.contains(&place.digest) => VerifyReads::Scrub,
            verify => verify,
        };
        OpenBlob { size_bytes, place, content, verify, registry: Arc::clone(self) }
    }

    /// The content, hashed if it is small; or how closely it is to be looked at, because it is not what it should be.
    async fn open_content(&self, place: &Place, size_bytes: u64) -> Result<Result<BlobReader, Depth>, Error> {
        let content = match self.parts.store.open(place, size_bytes).await {
            Ok(Some(content)) => content,
            Ok(None) | Err(wharf_store::Error::Damaged { .. }) => return Ok(Err(Depth::Fast)),
            Err(source) => return Err(Error::Store { doing: "opening a blob", source }),
        };
        if size_bytes > HASHED_FIRST_BYTES {
            return Ok(Ok(content));
        }
        match content.verified(&place.digest).await {
            Ok(Some(content)) => Ok(Ok(content)),
            // Its bytes are others, or fewer since it was opened.
            Ok(None) => Ok(Err(Depth::Deep)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(Depth::Fast)),
            Err(source) => Err(Error::Read { doing: "reading a blob", source }),
        }
    }

    /// Where the content of the digest lies.
    pub(crate) async fn place(&self, digest: &Digest) -> Result<Place, Error> {
        let mut places = self.places(std::slice::from_ref(digest)).await?;
        Ok(places.pop().unwrap_or_else(|| Place::by_digest(*digest)))
    }

    /// Where the content of each digest lies. The database is asked only if the store does not know it by itself.
    pub(crate) async fn places(&self, digests: &[Digest]) -> Result<Vec<Place>, Error> {
        if self.parts.store.is_by_digest() {
            return Ok(digests.iter().copied().map(Place::by_digest).collect());
        }
        let locations = self.parts.meta.locations(digests).await.map_err(Error::meta("looking up where blobs lie"))?;
        Ok(digests.iter().zip(locations).map(|(digest, location)| Place { digest: *digest, location }).collect())
    }

    /// For whoever asks for a blob that is not served: whether pushing it would bring it back.
    async fn why_not_served(&self, ok: &Authorized<Pull>, digest: &Digest) -> Result<Error, Error> {
        let is_set_aside = self.parts.meta.is_set_aside(ok.repository(), digest).await;
        let is_set_aside = is_set_aside.map_err(Error::meta("looking up a blob"))?;
        Ok(if is_set_aside { Error::BlobSetAside(*digest) } else { Error::BlobUnknown(*digest) })
    }
}
