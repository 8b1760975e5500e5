//! What is copied: blobs as streams that end only if their digest is right, and manifests as documents.

use std::fs::File;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256, Sha512};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;
use wharf_oci::{Algorithm, Digest, Manifest, ManifestError};

use crate::Error;

/// How much of a file is read at once, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// A blob on its way.
pub struct Blob {
    /// How many bytes there are.
    pub size_bytes: u64,
    /// The bytes; an error ends them.
    pub bytes: BoxStream<'static, Result<Bytes, Error>>,
}

impl Blob {
    /// What is in memory already.
    #[must_use]
    pub fn of(bytes: Bytes) -> Self {
        let size_bytes = bytes.len() as u64;
        Self { size_bytes, bytes: stream::iter([Ok(bytes)]).boxed() }
    }

    /// The same bytes, but the last ones only if all of them together are what `digest` says and as many as announced.
    #[must_use]
    pub fn verified(self, digest: Digest) -> Self {
        let check = Check { digest, size_bytes: self.size_bytes, seen_bytes: 0, hash: Some(Hash::new(digest)) };
        let bytes = stream::unfold((self.bytes, check), |(mut bytes, mut check)| async move {
            let piece = match bytes.next().await {
                Some(Ok(piece)) => check.pass(piece),
                Some(Err(error)) => Err(check.give_up(error)),
                None => Err(check.end()?),
            };
            Some((piece, (bytes, check)))
        });
        Self { size_bytes: self.size_bytes, bytes: bytes.boxed() }
    }
}

/// The next `size_bytes` of a file called `name`.
pub(crate) fn from_file(file: File, size_bytes: u64, name: String) -> Blob {
    let file = tokio::fs::File::from_std(file).take(size_bytes);
    let bytes = ReaderStream::with_capacity(file, PIECE_BYTES);
    Blob { size_bytes, bytes: bytes.map_err(move |error| Error::damaged(name.clone(), error.to_string())).boxed() }
}

/// What has passed so far, and what it has to be in the end.
struct Check {
    digest: Digest,
    size_bytes: u64,
    seen_bytes: u64,
    /// Until the digest was found right, or something wrong.
    hash: Option<Hash>,
}

impl Check {
    fn pass(&mut self, piece: Bytes) -> Result<Bytes, Error> {
        self.seen_bytes += piece.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(&piece);
        }
        if self.seen_bytes > self.size_bytes {
            let how = format!("more than its {} bytes arrived", self.size_bytes);
            return Err(self.give_up(Error::damaged(self.digest.to_string(), how)));
        }
        if self.seen_bytes == self.size_bytes { self.finish().map(|()| piece) } else { Ok(piece) }
    }

    fn finish(&mut self) -> Result<(), Error> {
        match self.hash.take().map(Hash::finish) {
            Some(found) if found != self.digest => {
                Err(Error::damaged(self.digest.to_string(), format!("the content that arrived is {found}")))
            }
            _ => Ok(()),
        }
    }

    /// The error that a stream which ended here ends with, if it should not have ended.
    fn end(&mut self) -> Option<Error> {
        let is_short = self.seen_bytes < self.size_bytes;
        let hash = self.hash.take()?;
        let how = match is_short {
            true => format!("only {} of {} bytes arrived", self.seen_bytes, self.size_bytes),
            // Nothing is in an empty blob, so nothing has been checked yet.
            false if hash.finish() == self.digest => return None,
            false => "it is empty".to_owned(),
        };
        Some(Error::damaged(self.digest.to_string(), how))
    }

    fn give_up(&mut self, error: Error) -> Error {
        self.hash = None;
        error
    }
}

enum Hash {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hash {
    fn new(digest: Digest) -> Self {
        match digest.algorithm() {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::Sha256(hash.finalize().into()),
            Self::Sha512(hash) => Digest::Sha512(hash.finalize().into()),
        }
    }
}

/// A manifest as it was written, at most `wharf_oci::MANIFEST_MAX_BYTES`.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its address; `body` has been compared with it.
    pub digest: Digest,
    /// The media type that it was sent with, if it was.
    pub content_type: Option<String>,
    /// The bytes.
    pub body: Bytes,
}

impl Document {
    /// A document that has to be `digest`.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`]: it is something else.
    pub fn new(digest: Digest, content_type: Option<String>, body: Bytes) -> Result<Self, Error> {
        let found = Digest::of(digest.algorithm(), &body);
        if found == digest {
            return Ok(Self { digest, content_type, body });
        }
        Err(Error::damaged(digest.to_string(), format!("the manifest that is there is {found}")))
    }

    /// What it says.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`]: it is none of the manifests that Wharf keeps; says why.
    pub fn read(&self) -> Result<Manifest, Error> {
        Manifest::parse(self.content_type.as_deref(), &self.body).map_err(|error| {
            let how = match error {
                ManifestError::Schema1 => {
                    "it is a schema 1 manifest, which no current client reads; pull and push the image with a newer one"
                        .to_owned()
                }
                error => error.to_string(),
            };
            Error::damaged(self.digest.to_string(), how)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use futures_util::{StreamExt as _, TryStreamExt as _, stream};
    use wharf_oci::{Algorithm, Digest};

    use super::Blob;
    use crate::Error;

    /// What comes out of a verified blob of these pieces, as text, and how it ends.
    async fn passed(pieces: &[&'static str], size_bytes: u64, digest: Digest) -> (String, Option<String>) {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        let mut bytes = Blob { size_bytes, bytes: stream::iter(pieces).boxed() }.verified(digest).bytes;
        let mut text = String::new();
        loop {
            match bytes.try_next().await {
                Ok(Some(piece)) => text += std::str::from_utf8(&piece).unwrap(),
                Ok(None) => return (text, None),
                Err(error) => return (text, Some(error.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn the_last_bytes_of_a_blob_come_only_if_all_are_right() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = Digest::of(algorithm, b"hello, wharf");
            let other = Digest::of(algorithm, b"hello, world");
            assert_eq!(passed(&["hello, ", "wharf"], 12, digest).await, ("hello, wharf".to_owned(), None));
            let wrong = format!("{digest}: the content that arrived is {other}");
            assert_eq!(passed(&["hello, ", "world"], 12, digest).await, ("hello, ".to_owned(), Some(wrong)));
            let short = format!("{digest}: only 7 of 12 bytes arrived");
            assert_eq!(passed(&["hello, "], 12, digest).await, ("hello, ".to_owned(), Some(short)));
            let long = format!("{digest}: more than its 6 bytes arrived");
            assert_eq!(passed(&["hello, ", "wharf"], 6, digest).await, (String::new(), Some(long)));
            let nothing = Digest::of(algorithm, b"");
            assert_eq!(passed(&[], 0, nothing).await, (String::new(), None));
            assert_eq!(passed(&[], 0, digest).await, (String::new(), Some(format!("{digest}: it is empty"))));
        }
    }

    #[tokio::test]
    async fn what_breaks_a_stream_ends_it() {
        let broken = stream::iter([Ok(Bytes::from_static(b"he")), Err(Error::Absent("it".to_owned()))]);
        let digest = Digest::of(Algorithm::Sha256, b"hello");
        let mut bytes = Blob { size_bytes: 5, bytes: broken.boxed() }.verified(digest).bytes;
        assert!(bytes.try_next().await.is_ok());
        assert_eq!(bytes.try_next().await.unwrap_err().to_string(), "it is not there");
        assert_eq!(bytes.try_next().await.unwrap(), None);
    }
}
