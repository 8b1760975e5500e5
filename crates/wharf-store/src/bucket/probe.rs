//! Trying out a bucket: at the start whether it does what content depends on, later whether it takes writes.

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::Inner;
use super::client::Created;
use crate::Error;

/// A range of it must be exactly that range.
const PROBE_BYTES: usize = 4096;
const RANGE: std::ops::Range<u64> = 1_000..1_010;

/// Something that content depends on is not there.
pub(super) enum Probed {
    Sound {
        /// Whether completion refuses a part that has been replaced since it was named. Where it does not, an upload that
        /// several requests brought is read once more before it counts (GR-18).
        names_parts: bool,
    },
    Lacks(&'static str),
}

impl Inner {
    /// Writes an object, reads it back and removes it.
    pub(super) async fn probe(&self) -> Result<(), Error> {
        let body = self.probe_body();
        let key = self.keys.probe(self.new_id());
        self.client.put(&key, body.clone()).await?;
        let found = self.client.get(&key).await;
        let removed = self.client.delete(&key).await;
        if found? != Some(body) {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "other bytes were read than written");
            return Err(Error::Io { doing: "reading the probe object", source });
        }
        removed
    }

    /// Everything that content depends on: reading and listing what was just written, conditional writes, ranges, parts that
    /// can be given up.
    pub(super) async fn probe_all(&self) -> Result<Probed, Error> {
        let body = self.probe_body();
        let key = self.keys.probe(self.new_id());
        if self.client.create(&key, body.clone()).await? != Created::Yes {
            return Ok(Probed::Lacks("says that an object exists whose key is new"));
        }
        let probed = self.probe_object(&key, &body).await;
        self.client.delete(&key).await?;
        if let Probed::Lacks(lacks) = probed? {
            return Ok(Probed::Lacks(lacks));
        }
        if self.client.head(&key).await?.is_some() {
            return Ok(Probed::Lacks("still shows an object that was removed"));
        }
        let key = self.keys.probe(self.new_id());
        let id = self.client.begin_parts(&key).await?;
        let part = self.client.put_part(&key, &id, 0, body).await;
        self.client.abort(&key, &id).await?;
        part?;
        if self.client.head(&key).await?.is_some() {
            return Ok(Probed::Lacks("makes an object of a multipart upload that was given up"));
        }
        Ok(Probed::Sound { names_parts: self.probe_parts().await? })
    }

    /// A part is uploaded twice, and the first of the two is named in the end.
    async fn probe_parts(&self) -> Result<bool, Error> {
        let key = self.keys.probe(self.new_id());
        let (first, second) = (self.probe_body(), Bytes::from(vec![b'!'; PROBE_BYTES]));
        let id = self.client.begin_parts(&key).await?;
        let named = self.client.put_part(&key, &id, 0, first.clone()).await?;
        self.client.put_part(&key, &id, 0, second).await?;
        let completed = self.client.complete(&key, &id, vec![named], first.len() as u64).await;
        match completed {
            Ok(()) => {
                let found = self.client.get(&key).await?;
                self.client.delete(&key).await?;
                Ok(found == Some(first))
            }
            Err(Error::Io { .. }) => {
                // Some have given it up by themselves.
                match self.client.abort(&key, &id).await {
                    Ok(()) | Err(Error::Io { .. }) => Ok(true),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn probe_object(&self, key: &object_store::path::Path, body: &Bytes) -> Result<Probed, Error> {
        if self.client.create(key, body.clone()).await? != Created::Exists {
            let lacks =
                "ignores `If-None-Match`: two processes could take it for their own; use a server that knows it";
            return Ok(Probed::Lacks(lacks));
        }
        if self.client.get(key).await?.as_ref() != Some(body) {
            return Ok(Probed::Lacks("does not give back what was just written"));
        }
        let listed = self.client.list(&self.keys.part(super::keys::PROBE), None, 1_000).await?;
        if !listed.objects.iter().any(|object| object.location == *key) {
            return Ok(Probed::Lacks("does not list what was just written; a sweep could not be trusted"));
        }
        let Some((size_bytes, stream)) = self.client.stream(key, RANGE).await? else {
            return Ok(Probed::Lacks("does not give back what was just written"));
        };
        let read = stream.try_collect::<Vec<Bytes>>().await;
        let read = read.map_err(super::client::failed("reading a range of the probe object"))?.concat();
        let expected = &body[1_000..1_010];
        if size_bytes != body.len() as u64 || read != expected {
            return Ok(Probed::Lacks("does not answer requests for a range with that range"));
        }
        Ok(Probed::Sound { names_parts: false })
    }

    fn probe_body(&self) -> Bytes {
        let mut body = self.store_id.to_string().into_bytes().repeat(PROBE_BYTES / 36 + 1);
        body.truncate(PROBE_BYTES);
        body.into()
    }
}
