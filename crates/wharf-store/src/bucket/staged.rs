//! What an open upload has in the bucket: parts of a multipart upload, and what is in no part yet.
//!
//! A part is at least 5 MiB, a request may bring a single byte. So the bytes behind the last whole part lie in an object of
//! their own between two requests, together with the list of the parts: one object a checkpoint, named by it, so that
//! whoever has the checkpoint finds exactly what belongs to it, whatever a request that was cut off has left besides.

use bytes::{BufMut, Bytes, BytesMut};
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use wharf_base::UploadId;
use wharf_oci::{Algorithm, Digest};

use super::client::Client;
use super::keys::{ContentKey, Keys, StagedName, staged_name};
use crate::hash::Running;
use crate::{Checkpoint, Error};

/// How many objects of one upload are looked at. An upload has two or three.
const OBJECTS_MAX: usize = 10_000;

/// The multipart upload that an upload's parts belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Multipart {
    /// The key of the object that the parts become.
    key: String,
    /// What the bucket calls the upload.
    pub(super) id: String,
}

impl Multipart {
    pub(super) fn new(key: ContentKey, id: String) -> Self {
        Self { key: key.to_string(), id }
    }

    pub(super) fn key(&self) -> Result<ContentKey, Error> {
        ContentKey::parse(&self.key).ok_or(Error::StagedLost)
    }
}

/// What the parts are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parts {
    pub(super) multipart: Multipart,
    /// The size of each in bytes; all are of one size, which some servers require.
    pub(super) part_bytes: u64,
    /// What the bucket called each, in order. Completion names these and no others: should a request that nobody waits for
    /// any more replace one, completion fails.
    pub(super) ids: Vec<String>,
}

impl Parts {
    pub(super) fn len_bytes(&self) -> u64 {
        self.part_bytes * self.ids.len() as u64
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    parts: Option<Parts>,
    /// Of the bytes that follow: nobody reads them again before they are content, and what was hashed then was hashed
    /// when they arrived.
    rest: String,
}

/// What a checkpoint was taken of.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) parts: Option<Parts>,
    /// The bytes behind the last part.
    pub(super) rest: Bytes,
}

impl Standing {
    pub(super) fn len_bytes(&self) -> u64 {
        self.parts.as_ref().map_or(0, Parts::len_bytes) + self.rest.len() as u64
    }

    fn encode(parts: Option<&Parts>, rest: &[u8]) -> Result<Bytes, Error> {
        let header = Header { parts: parts.cloned(), rest: Digest::of(Algorithm::Sha256, rest).to_string() };
        let header = serde_json::to_vec(&header)
            .map_err(|error| Error::Io { doing: "describing an upload", source: error.into() })?;
        let mut object = BytesMut::with_capacity(header.len() + 1 + rest.len());
        object.put_slice(&header);
        object.put_u8(b'\n');
        object.put_slice(rest);
        Ok(object.freeze())
    }

    /// `None`: it is no such object, or not as it was written.
    fn decode(mut object: Bytes) -> Option<Self> {
        let end = object.iter().position(|byte| *byte == b'\n')?;
        let header = object.split_to(end);
        let rest = object.slice(1..);
        let header: Header = serde_json::from_slice(&header).ok()?;
        let is_whole = Digest::of(Algorithm::Sha256, &rest).to_string() == header.rest;
        is_whole.then_some(Self { parts: header.parts, rest })
    }
}

/// The objects of one upload.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    pub(super) client: Client,
    pub(super) keys: Keys,
    pub(super) upload: UploadId,
}

impl Staging {
    /// Keeps what belongs to the checkpoint, and says where.
    pub(super) async fn keep(&self, at: &Checkpoint, parts: Option<&Parts>, rest: &[u8]) -> Result<Path, Error> {
        let key = self.keys.checkpoint(self.upload, at.offset_bytes, &at.hash_state);
        self.client.put(&key, Standing::encode(parts, rest)?).await?;
        Ok(key)
    }

    /// What belongs to the checkpoint, and the hash to go on with.
    ///
    /// # Errors
    ///
    /// [`Error::StagedLost`]: it is not there.
    pub(super) async fn find(&self, at: &Checkpoint, algorithm: Algorithm) -> Result<(Standing, Running), Error> {
        let key = self.keys.checkpoint(self.upload, at.offset_bytes, &at.hash_state);
        let mut found = self.client.get(&key).await?;
        if found.is_none() {
            // The state was saved by another version, or is none: what else was kept at this offset?
            found = self.client.get(&self.one_at(at.offset_bytes).await?).await?;
        }
        let standing = found.and_then(Standing::decode).ok_or(Error::StagedLost)?;
        if standing.len_bytes() != at.offset_bytes {
            return Err(Error::StagedLost);
        }
        let running = match Running::load(&at.hash_state, algorithm, at.offset_bytes) {
            Some(running) => running,
            None if standing.parts.is_none() => {
                let mut running = Running::new(algorithm);
                running.update(&standing.rest);
                running
            }
            // Parts cannot be read before they are an object.
            None => return Err(Error::StagedLost),
        };
        Ok((standing, running))
    }

    /// The bytes and parts up to an offset, for somebody who only looks; `None`: they are not there.
    pub(super) async fn look(&self, offset_bytes: u64) -> Result<Option<Standing>, Error> {
        let key = match self.one_at(offset_bytes).await {
            Ok(key) => key,
            Err(Error::StagedLost) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(self.client.get(&key).await?.and_then(Standing::decode))
    }

    async fn one_at(&self, wanted_bytes: u64) -> Result<Path, Error> {
        let mut at_offset = self.objects().await?.into_iter().filter(
            |(_, name)| matches!(name, Some(StagedName::Checkpoint { offset_bytes }) if *offset_bytes == wanted_bytes),
        );
        match (at_offset.next(), at_offset.next()) {
            (Some((key, _)), None) => Ok(key),
            _ => Err(Error::StagedLost),
        }
    }

    /// Begins a multipart upload, and writes down which before anything is uploaded to it.
    pub(super) async fn begin_parts(&self, key: ContentKey) -> Result<Multipart, Error> {
        let id = self.client.begin_parts(&self.keys.content(key)).await?;
        wharf_base::failpoint::arrive("bucket.parts-begun").await;
        let multipart = Multipart::new(key, id);
        let noted = serde_json::to_vec(&multipart)
            .map_err(|error| Error::Io { doing: "describing an upload", source: error.into() })?;
        self.client.put(&self.keys.parts(self.upload, key), noted.into()).await?;
        Ok(multipart)
    }

    /// Removes everything of the upload, and ends its multipart uploads.
    pub(super) async fn clear(&self) -> Result<(), Error> {
        self.clear_all_but(|_, _| false).await
    }

    /// Removes the checkpoints before `offset_bytes`, which nobody goes back to. What is beyond may be of somebody who goes on
    /// with the upload while this process believes that it is the one (GR-18).
    pub(super) async fn clear_before(&self, before_bytes: u64) -> Result<(), Error> {
        let is_needed = |_: &Path, name| !matches!(name, Some(StagedName::Checkpoint { offset_bytes }) if offset_bytes < before_bytes);
        self.clear_all_but(is_needed).await
    }

    async fn clear_all_but(&self, is_kept: impl Fn(&Path, Option<StagedName>) -> bool + Send) -> Result<(), Error> {
        for (key, name) in self.objects().await? {
            if is_kept(&key, name) {
                continue;
            }
            if name == Some(StagedName::Parts) {
                self.end_parts(&key).await?;
            }
            self.client.delete(&key).await?;
        }
        Ok(())
    }

    /// Ends the multipart upload that an object describes.
    async fn end_parts(&self, noted: &Path) -> Result<(), Error> {
        let Some(noted) = self.client.get(noted).await? else { return Ok(()) };
        let Ok(multipart) = serde_json::from_slice::<Multipart>(&noted) else { return Ok(()) };
        let Ok(key) = multipart.key() else { return Ok(()) };
        match self.client.abort(&self.keys.content(key), &multipart.id).await {
            // It ended before: servers say that in different ways.
            Ok(()) | Err(Error::Io { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn objects(&self) -> Result<Vec<(Path, Option<StagedName>)>, Error> {
        let page = self.client.list(&self.keys.upload(self.upload), None, OBJECTS_MAX).await?;
        let names = page.objects.into_iter().map(|object| {
            let name = object.location.filename().and_then(staged_name);
            (object.location, name)
        });
        Ok(names.collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_kept_reads_back_and_what_was_changed_does_not() {
        let key = "0196f000-0000-7000-8000-000000000001".to_owned();
        let parts = Parts {
            multipart: Multipart { key, id: "an id\nwith a line".to_owned() },
            part_bytes: 8,
            ids: vec!["\"one\"".to_owned(), "<two>".to_owned()],
        };
        for rest in [&b""[..], b"\n", b"some bytes\n\0"] {
            let object = Standing::encode(Some(&parts), rest).unwrap();
            let standing = Standing::decode(object.clone()).unwrap();
            assert_eq!((standing.parts.as_ref(), &standing.rest[..]), (Some(&parts), rest));
            assert_eq!(standing.len_bytes(), 16 + rest.len() as u64);
            for cut in 0..object.len() {
                assert!(Standing::decode(object.slice(..cut)).is_none_or(|cut| cut.rest != rest), "cut at {cut}");
            }
            let mut longer = object.to_vec();
            longer.push(b'!');
            assert!(Standing::decode(longer.into()).is_none());
        }
    }
}
