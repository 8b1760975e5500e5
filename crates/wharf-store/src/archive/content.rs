//! What a backup needs of the content that it keeps, wherever that is.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use wharf_oci::Digest;

use super::{Archive, ArchiveError, ArchiveWriter, Damage, Staged, Swept, failed};

/// How much of a file is read at once.
const CHUNK_BYTES: u64 = 512 << 10;

/// Bytes on their way, in order; an error ends them.
pub type Bytewise = BoxStream<'static, io::Result<Bytes>>;

/// Content by digest that is kept and not served, for one process at a time.
#[async_trait]
pub trait ContentArchive: Send + Sync {
    /// What is wrong with each of these, as far as it can be seen without reading them; in their order. A bucket is listed
    /// once, when it is asked first, and answers for that moment.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`], [`ArchiveError::Bucket`]: then nothing is known.
    async fn look(&self, contents: &[(Digest, u64)]) -> Result<Vec<Option<Damage>>, ArchiveError>;

    /// What is wrong with the content of `digest`; `None` if it is as it should be. Every byte is read.
    ///
    /// # Errors
    ///
    /// As [`ContentArchive::look`].
    async fn examine(&self, digest: &Digest, size_bytes: u64) -> Result<Option<Damage>, ArchiveError>;

    /// The content of `digest`, which should have that size; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`ContentArchive::look`].
    async fn read(&self, digest: &Digest, size_bytes: u64) -> Result<Option<Bytewise>, ArchiveError>;

    /// Begins to take in the content of `digest`. A digest must not be taken in twice at the same time.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`], [`ArchiveError::Bucket`].
    async fn stage(&self, digest: &Digest, size_bytes: u64) -> Result<Box<dyn ContentWriter>, ArchiveError>;

    /// Gives content its names, after all of it is on stable storage.
    ///
    /// # Errors
    ///
    /// As [`ContentArchive::stage`]: some of it may have its name.
    async fn place(&self, batch: Vec<Staged>) -> Result<(), ArchiveError>;

    /// Everything that was taken in is on stable storage: bytes and names.
    ///
    /// # Errors
    ///
    /// As [`ContentArchive::stage`]: what was taken in since the last success may be lost.
    async fn sync(&self) -> Result<(), ArchiveError>;

    /// Removes content that is not `needed`. May be killed anywhere.
    ///
    /// # Errors
    ///
    /// As [`ContentArchive::stage`]: some of it may be gone.
    async fn sweep(&self, needed: &HashSet<Digest>) -> Result<Swept, ArchiveError>;

    /// Where the content of `digest` is or would be, for people.
    fn name_of(&self, digest: &Digest) -> String;
}

/// Takes in the content of one digest. Dropped before its end, it leaves nothing that could be taken for content.
#[async_trait]
pub trait ContentWriter: Send {
    /// Takes in more bytes.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::OtherBytes`] when there are more than announced; [`ArchiveError::Io`], [`ArchiveError::Bucket`].
    async fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError>;

    /// That was all.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::OtherBytes`] when it does not hash to the digest; nothing is kept then.
    async fn finish(self: Box<Self>) -> Result<Staged, ArchiveError>;
}

/// A directory. What takes no longer than handing it to another thread would is done where it is asked for.
#[async_trait]
impl ContentArchive for Arc<Archive> {
    async fn look(&self, contents: &[(Digest, u64)]) -> Result<Vec<Option<Damage>>, ArchiveError> {
        contents.iter().map(|(digest, size_bytes)| Archive::look(self, digest, *size_bytes)).collect()
    }

    async fn examine(&self, digest: &Digest, size_bytes: u64) -> Result<Option<Damage>, ArchiveError> {
        Archive::examine(self, digest, size_bytes).map_err(failed(&self.path(digest)))
    }

    async fn read(&self, digest: &Digest, _size_bytes: u64) -> Result<Option<Bytewise>, ArchiveError> {
        let opened = Archive::read(self, digest).and_then(|file| file.map(bytes_of).transpose());
        opened.map_err(failed(&self.path(digest)))
    }

    async fn stage(&self, digest: &Digest, size_bytes: u64) -> Result<Box<dyn ContentWriter>, ArchiveError> {
        Ok(Box::new(Archive::stage(self, digest, size_bytes)?))
    }

    async fn place(&self, batch: Vec<Staged>) -> Result<(), ArchiveError> {
        let archive = Self::clone(self);
        match tokio::task::spawn_blocking(move || Archive::place(&archive, batch)).await {
            Ok(placed) => placed,
            Err(error) => Err(failed(&self.content)(io::Error::other(error))),
        }
    }

    async fn sync(&self) -> Result<(), ArchiveError> {
        Archive::sync(self)
    }

    async fn sweep(&self, needed: &HashSet<Digest>) -> Result<Swept, ArchiveError> {
        Archive::sweep(self, |digest| needed.contains(digest))
    }

    fn name_of(&self, digest: &Digest) -> String {
        self.path(digest).display().to_string()
    }
}

#[async_trait]
impl ContentWriter for ArchiveWriter {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        Self::write(self, bytes)
    }

    async fn finish(self: Box<Self>) -> Result<Staged, ArchiveError> {
        Self::finish(*self)
    }
}

/// A file from its beginning to the end that it has now.
///
/// # Errors
///
/// What the operating system says of its size.
pub fn bytes_of(file: File) -> io::Result<Bytewise> {
    let size_bytes = file.metadata()?.len();
    let offsets = stream::iter((0..size_bytes).step_by(usize::try_from(CHUNK_BYTES).unwrap_or(1)));
    Ok(offsets
        .map(move |offset| {
            let length = (size_bytes - offset).min(CHUNK_BYTES);
            let mut buffer = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_exact_at(&mut buffer, offset)?;
            Ok(Bytes::from(buffer))
        })
        .boxed())
}
