//! Damaged content is set aside by a note that names it, and stays where it is: nothing is copied, whatever its size. A note
//! keeps the sweep away from it.

use futures_util::TryStreamExt;
use object_store::path::Path;
use wharf_base::{Location, Timestamp};
use wharf_oci::Digest;

use super::keys::{self, ContentKey};
use super::{Inner, reader};
use crate::Error;

/// How many copies of one digest are looked at when it is to be brought back.
const COPIES_MAX: usize = 100;

impl Inner {
    pub(super) async fn set_aside(&self, digest: &Digest, location: &Location, at: Timestamp) -> Result<bool, Error> {
        let Some(key) = self.key_of(location) else { return Ok(false) };
        let note = self.keys.quarantined(digest, key);
        let is_there = self.client.head(&self.keys.content(key)).await?.is_some();
        if !is_there || self.client.head(&note).await?.is_some() {
            return Ok(false);
        }
        let body = format!("{{\"digest\":\"{digest}\",\"set_aside_at\":\"{at}\"}}\n");
        self.client.put(&note, body.into()).await?;
        wharf_base::failpoint::reach("store.set_aside");
        Ok(true)
    }

    pub(super) async fn bring_back(&self, digest: &Digest, size_bytes: u64) -> Result<Option<Location>, Error> {
        for (note, key) in self.notes_of(digest).await? {
            let object = self.keys.content(key);
            let Some(meta) = self.client.head(&object).await? else { continue };
            if meta.size != size_bytes || !self.is_intact(&object, digest, size_bytes).await {
                continue;
            }
            self.client.delete(&note).await?;
            wharf_base::failpoint::reach("store.brought_back");
            return Ok(Some(key.location()));
        }
        Ok(None)
    }

    async fn notes_of(&self, digest: &Digest) -> Result<Vec<(Path, ContentKey)>, Error> {
        let of_digest = format!("{}.", digest.hex());
        // The dot of the name is the last that comes before it in the order of keys.
        let behind = self.keys.below(keys::QUARANTINE, digest.hex().as_str());
        let page = self.client.list(&self.keys.part(keys::QUARANTINE), Some(&behind), COPIES_MAX).await?;
        let notes = page.objects.into_iter().filter_map(|object| {
            let name = object.location.filename()?;
            let key = keys::quarantined_key(name).filter(|_| name.starts_with(&of_digest))?;
            Some((object.location, key))
        });
        Ok(notes.collect())
    }

    /// What cannot be read is no copy to rely on.
    async fn is_intact(&self, object: &Path, digest: &Digest, size_bytes: u64) -> bool {
        let reader = reader::open(self.client.clone(), object.clone(), size_bytes, None);
        let stream = reader.verified_stream(digest);
        stream.try_for_each(|_| std::future::ready(Ok(()))).await.is_ok()
    }
}
