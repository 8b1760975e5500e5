//! Backups in a bucket: objects by their names, and content by digest.
//!
//! ```text
//! <name>                               what the caller puts there
//! content/<alg>/<aa>/<hex>             content; <aa> are the first two digits of <hex>
//! incomplete/parts/<uuid>              a large object on its way: its key, and the id of the multipart upload
//! ```

use std::collections::{HashMap, HashSet};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use tokio::sync::OnceCell;
use wharf_base::{SystemClock, SystemRng, UploadId};
use wharf_oci::Digest;

use super::client::{Client, Created};
use super::outgoing::{self, Outgoing};
use super::transport::Breaker;
use super::{BucketConfig, reader};
use crate::archive::{Bytewise, ContentArchive, ContentWriter, Proving, bytes_of};
use crate::hash::Running;
use crate::{ArchiveError, BucketError, Damage, Error, Staged, Swept};

const CONTENT: &str = "content";
const NOTES: &str = "incomplete/parts";

/// So many objects are listed at once.
const PAGE: usize = 1_000;

/// So many objects are removed at the same time.
const REMOVALS: usize = 8;

/// What a backup keeps in a bucket, below a prefix. Opening it asks the bucket nothing.
#[derive(Clone, Debug)]
pub struct BucketArchive {
    client: Client,
    prefix: Path,
    place: String,
    /// All content and its sizes, as they were when it was asked for first.
    listed: Arc<OnceCell<HashMap<Digest, u64>>>,
}

impl BucketArchive {
    /// The objects below the prefix of the bucket.
    ///
    /// # Errors
    ///
    /// [`BucketError::Settings`], [`BucketError::Certificates`].
    pub fn open(config: &BucketConfig) -> Result<Self, BucketError> {
        let breaker = Arc::new(Breaker::default());
        let client = Client { s3: Arc::new(config.client(&breaker)?), breaker };
        Ok(Self { client, prefix: config.prefix()?, place: config.place(), listed: Arc::default() })
    }

    /// The bucket and the prefix, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A small object; `None`: there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], [`Error::Io`], as all that follow.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, Error> {
        self.client.get(&self.key(name)).await
    }

    /// Writes a small object if there is none of that name; whether there was none.
    ///
    /// # Errors
    ///
    /// See [`BucketArchive::get`].
    pub async fn create(&self, name: &str, body: Bytes) -> Result<bool, Error> {
        Ok(self.client.create(&self.key(name), body).await? == Created::Yes)
    }

    /// Writes a small object, whatever is there.
    ///
    /// # Errors
    ///
    /// See [`BucketArchive::get`].
    pub async fn put(&self, name: &str, body: Bytes) -> Result<(), Error> {
        self.client.put(&self.key(name), body).await
    }

    /// Removes an object. That there is none is success.
    ///
    /// # Errors
    ///
    /// See [`BucketArchive::get`].
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        self.client.delete(&self.key(name)).await
    }

    /// The names of all objects below `folder`, or of all with "", sorted. For folders with few objects.
    ///
    /// # Errors
    ///
    /// See [`BucketArchive::get`].
    pub async fn names(&self, folder: &str) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        self.each(folder, |name, _| names.push(name)).await?;
        Ok(names)
    }

    /// The names that stand directly behind the prefix, of objects and of folders.
    ///
    /// # Errors
    ///
    /// See [`BucketArchive::get`].
    pub async fn top(&self) -> Result<Vec<String>, Error> {
        Ok(self.client.names(&self.prefix).await?.iter().filter_map(|key| self.name(key)).collect())
    }

    /// Writes an object from a file.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Bucket`]; [`ArchiveError::Io`] for the file.
    pub async fn upload(&self, name: &str, from: &std::path::Path) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::Io { path: from.to_owned(), source };
        let file = std::fs::File::open(from).map_err(failed)?;
        let size_bytes = file.metadata().map_err(failed)?.len();
        let mut outgoing = self.outgoing(self.key(name), size_bytes);
        let mut bytes = bytes_of(file).map_err(failed)?;
        while let Some(piece) = bytes.try_next().await.map_err(failed)? {
            outgoing.write(&piece).await?;
        }
        Ok(outgoing.complete().await?)
    }

    /// Writes an object to a file, for its owner alone; whether there is one.
    ///
    /// # Errors
    ///
    /// As [`BucketArchive::upload`].
    pub async fn download(&self, name: &str, to: &std::path::Path) -> Result<bool, ArchiveError> {
        let failed = |source| ArchiveError::Io { path: to.to_owned(), source };
        let key = self.key(name);
        let Some(meta) = self.client.head(&key).await? else { return Ok(false) };
        let opened = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(to);
        let mut file = opened.map_err(failed)?;
        let mut bytes = reader::open(self.client.clone(), key, meta.size, None).stream(0..meta.size);
        while let Some(piece) = bytes.try_next().await.map_err(unread)? {
            file.write_all(&piece).map_err(failed)?;
        }
        Ok(true)
    }

    /// Ends the uploads that a process that is gone has left behind.
    ///
    /// # Errors
    ///
    /// See [`BucketArchive::get`].
    pub async fn clear(&self) -> Result<(), Error> {
        for name in self.names(NOTES).await? {
            outgoing::clear(&self.client, &self.key(&name)).await?;
        }
        Ok(())
    }

    fn key(&self, name: &str) -> Path {
        name.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// What stands behind the prefix.
    fn name(&self, key: &Path) -> Option<String> {
        let parts: Vec<_> = key.prefix_match(&self.prefix)?.map(|part| part.as_ref().to_owned()).collect();
        Some(parts.join("/"))
    }

    fn content_name(digest: &Digest) -> String {
        let hex = digest.hex();
        format!("{CONTENT}/{}/{}/{hex}", digest.algorithm(), &hex[..2])
    }

    fn content_key(&self, digest: &Digest) -> Path {
        self.key(&Self::content_name(digest))
    }

    fn outgoing(&self, key: Path, size_bytes: u64) -> Outgoing {
        let note = UploadId::generate(&SystemClock::new(), &SystemRng);
        Outgoing::begin(&self.client, key, self.key(&format!("{NOTES}/{note}")), size_bytes)
    }

    /// Every object below `folder`, by name and size, in the order of names.
    async fn each(&self, folder: &str, mut each: impl FnMut(String, u64)) -> Result<(), Error> {
        let (folder, mut after) = (self.key(folder), None);
        loop {
            let page = self.client.list(&folder, after.as_ref(), PAGE).await?;
            for object in &page.objects {
                if let Some(name) = self.name(&object.location) {
                    each(name, object.size);
                }
            }
            match page.objects.last() {
                Some(last) if !page.is_last => after = Some(last.location.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// All content and its sizes, now. Takes about 150 bytes of memory for each.
    async fn contents(&self) -> Result<HashMap<Digest, u64>, Error> {
        let mut found = HashMap::new();
        self.each(CONTENT, |name, size_bytes| {
            // What is not named like content is somebody else's.
            if let Some(digest) = digest_in(&name) {
                found.insert(digest, size_bytes);
            }
        })
        .await?;
        Ok(found)
    }

    fn open_content(&self, digest: &Digest, size_bytes: u64) -> Bytewise {
        let object = reader::open(self.client.clone(), self.content_key(digest), size_bytes, None);
        object.stream(0..size_bytes).into_stream().boxed()
    }
}

fn digest_in(name: &str) -> Option<Digest> {
    let mut parts = name.strip_prefix(CONTENT)?.strip_prefix('/')?.split('/');
    let (algorithm, _, hex) = (parts.next()?, parts.next()?, parts.next()?);
    let digest: Digest = format!("{algorithm}:{hex}").parse().ok()?;
    (BucketArchive::content_name(&digest) == name).then_some(digest)
}

/// An error in the middle of an object.
fn unread(source: io::Error) -> ArchiveError {
    ArchiveError::Bucket(Error::Unavailable { doing: "reading an object of the bucket", source })
}

#[async_trait]
impl ContentArchive for BucketArchive {
    async fn look(&self, contents: &[(Digest, u64)]) -> Result<Vec<Option<Damage>>, ArchiveError> {
        let listed = self.listed.get_or_try_init(|| self.contents()).await?;
        let look = |(digest, size_bytes): &(Digest, u64)| match listed.get(digest) {
            Some(found) if found == size_bytes => None,
            Some(_) => Some(Damage::OtherSize),
            None => Some(Damage::Missing),
        };
        Ok(contents.iter().map(look).collect())
    }

    async fn examine(&self, digest: &Digest, size_bytes: u64) -> Result<Option<Damage>, ArchiveError> {
        match self.client.head(&self.content_key(digest)).await? {
            None => return Ok(Some(Damage::Missing)),
            Some(meta) if meta.size != size_bytes => return Ok(Some(Damage::OtherSize)),
            Some(_) => {}
        }
        let (mut hash, mut bytes) = (Running::new(digest.algorithm()), self.open_content(digest, size_bytes));
        while let Some(piece) = bytes.try_next().await.map_err(unread)? {
            hash.update(&piece);
        }
        Ok((hash.finish() != *digest).then_some(Damage::OtherBytes))
    }

    async fn read(&self, digest: &Digest, size_bytes: u64) -> Result<Option<Bytewise>, ArchiveError> {
        let found = self.client.head(&self.content_key(digest)).await?;
        Ok(found.map(|meta| self.open_content(digest, meta.size.min(size_bytes.saturating_add(1)))))
    }

    async fn stage(&self, digest: &Digest, size_bytes: u64) -> Result<Box<dyn ContentWriter>, ArchiveError> {
        let outgoing = self.outgoing(self.content_key(digest), size_bytes);
        let proving = Proving::new(digest, size_bytes);
        Ok(Box::new(Writer { digest: *digest, size_bytes, proving, outgoing }))
    }

    async fn place(&self, _: Vec<Staged>) -> Result<(), ArchiveError> {
        // An object has its name when it is complete.
        Ok(())
    }

    async fn sync(&self) -> Result<(), ArchiveError> {
        // And lasts when that is acknowledged.
        Ok(())
    }

    async fn sweep(&self, needed: &HashSet<Digest>) -> Result<Swept, ArchiveError> {
        let unneeded = self.contents().await?.into_iter().filter(|(digest, _)| !needed.contains(digest));
        let removals = unneeded.map(|(digest, size_bytes)| async move {
            self.client.delete(&self.content_key(&digest)).await.map(|()| size_bytes)
        });
        let removals: Vec<_> = removals.collect();
        let swept = futures_util::stream::iter(removals).buffer_unordered(REMOVALS);
        let count =
            |swept: Swept, bytes| async move { Ok(Swept { files: swept.files + 1, bytes: swept.bytes + bytes }) };
        Ok(swept.try_fold(Swept::default(), count).await?)
    }

    fn name_of(&self, digest: &Digest) -> String {
        format!("{}/{}", self.place, Self::content_name(digest))
    }
}

struct Writer {
    digest: Digest,
    size_bytes: u64,
    proving: Proving,
    outgoing: Outgoing,
}

#[async_trait]
impl ContentWriter for Writer {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.proving.update(bytes)?;
        Ok(self.outgoing.write(bytes).await?)
    }

    async fn finish(self: Box<Self>) -> Result<Staged, ArchiveError> {
        let Self { digest, size_bytes, proving, outgoing } = *self;
        if let Err(refused) = proving.finish() {
            outgoing.give_up().await?;
            return Err(refused);
        }
        outgoing.complete().await?;
        Ok(Staged::settled(&digest, size_bytes))
    }
}
