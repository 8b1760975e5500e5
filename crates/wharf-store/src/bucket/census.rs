//! Listing what lies below the prefix. A page is of one part of the layout.

use std::collections::HashSet;

use object_store::ObjectMeta;
use wharf_base::{Timestamp, UploadId};

use super::Inner;
use super::keys::{self, ContentKey};
use crate::Error;
use crate::census::{Entry, Facts, ListCursor, Listing};

/// The parts, in the order in which they are listed.
const PARTS: [&str; 4] = ["", keys::BLOBS, keys::UPLOADS, keys::QUARANTINE];

/// Behind all objects of an upload, in the order of keys.
const BEHIND: &str = "zz";

impl Inner {
    pub(super) async fn list(&self, after: Option<&ListCursor>, limit: usize) -> Result<Listing, Error> {
        let part = after.map_or(0, |after| after.directory);
        let name = after.and_then(|after| std::str::from_utf8(&after.name).ok()).unwrap_or_default();
        let Some(listed) = PARTS.get(part) else { return Ok(Listing { entries: Vec::new(), next: None }) };
        let next_part = || (part + 1 < PARTS.len()).then(|| ListCursor { directory: part + 1, name: Vec::new() });
        if listed.is_empty() {
            return Ok(Listing { entries: self.foreign().await?, next: next_part() });
        }
        let behind = (!name.is_empty()).then(|| self.keys.below(listed, name));
        let page = self.client.list(&self.keys.part(listed), behind.as_ref(), limit.max(1)).await?;
        let names: Vec<String> =
            page.objects.iter().filter_map(|object| self.keys.name_below(listed, &object.location)).collect();
        let entries = match *listed {
            keys::BLOBS => self.content(&names).await?,
            keys::UPLOADS => uploads(&names),
            _ => names.iter().map(|name| quarantined(name)).collect(),
        };
        let next = match names.last() {
            Some(last) if !page.is_last => {
                let name = if *listed == keys::UPLOADS { behind_upload(last) } else { last.clone() };
                Some(ListCursor { directory: part, name: name.into_bytes() })
            }
            _ => next_part(),
        };
        Ok(Listing { entries, next })
    }

    /// What lies beside the parts of the layout.
    async fn foreign(&self) -> Result<Vec<Entry>, Error> {
        let ours = [keys::ID, keys::BLOBS, keys::UPLOADS, keys::QUARANTINE, keys::PROBE];
        let names = self.client.names(self.keys.root()).await?;
        let foreign = names.iter().filter_map(|name| {
            let name = name.filename()?;
            (!ours.contains(&name)).then(|| Entry::Foreign { place: name.to_owned() })
        });
        Ok(foreign.collect())
    }

    /// Content that was set aside lies where it lay.
    async fn content(&self, names: &[String]) -> Result<Vec<Entry>, Error> {
        let aside = self.keys_set_aside(names).await?;
        let entries = names.iter().filter_map(|name| match ContentKey::parse(name) {
            Some(_) if aside.contains(name) => None,
            Some(key) => Some(Entry::Located(key.location())),
            None => Some(Entry::Foreign { place: format!("{}/{name}", keys::BLOBS) }),
        });
        Ok(entries.collect())
    }

    /// Which of these keys have been set aside.
    async fn keys_set_aside(&self, names: &[String]) -> Result<HashSet<String>, Error> {
        let wanted: HashSet<&String> = names.iter().collect();
        let mut aside = HashSet::new();
        let part = self.keys.part(keys::QUARANTINE);
        let mut after = None;
        loop {
            let page = self.client.list(&part, after.as_ref(), 1_000).await?;
            let names = page.objects.iter().filter_map(|object| object.location.filename());
            let keys = names.filter_map(keys::quarantined_key).map(|key| key.to_string());
            aside.extend(keys.filter(|key| wanted.contains(key)));
            after = page.objects.last().map(|object| object.location.clone());
            if page.is_last || after.is_none() {
                return Ok(aside);
            }
        }
    }

    /// What is staged for an upload: as much as its last checkpoint has.
    pub(super) async fn staged_facts(&self, upload: UploadId) -> Result<Option<Facts>, Error> {
        let page = self.client.list(&self.keys.upload(upload), None, 1_000).await?;
        let staged = page.objects.iter().map(|object| {
            let size_bytes = match object.location.filename().and_then(keys::staged_name) {
                Some(keys::StagedName::Checkpoint { offset_bytes }) => offset_bytes,
                _ => 0,
            };
            Facts { size_bytes, ..facts(object) }
        });
        Ok(staged.reduce(|one, other| Facts {
            size_bytes: one.size_bytes.max(other.size_bytes),
            modified_at: one.modified_at.max(other.modified_at),
            number: 0,
            is_exposed: false,
        }))
    }
}

pub(super) fn facts(object: &ObjectMeta) -> Facts {
    let modified_at = Timestamp::from_micros(object.last_modified.timestamp_micros());
    Facts { size_bytes: object.size, modified_at, number: 0, is_exposed: false }
}

/// Each upload once, whatever it has.
fn uploads(names: &[String]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for name in names {
        let upload = name.split('/').next().unwrap_or_default().parse::<UploadId>();
        let entry = match upload {
            Ok(upload) => Entry::Staged(upload),
            Err(_) => Entry::Foreign { place: format!("{}/{name}", keys::UPLOADS) },
        };
        if entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    entries
}

fn behind_upload(name: &str) -> String {
    match name.split_once('/') {
        Some((upload, _)) => format!("{upload}/{BEHIND}"),
        None => name.to_owned(),
    }
}

fn quarantined(name: &str) -> Entry {
    match keys::quarantined_key(name) {
        Some(_) => Entry::Quarantined { name: name.to_owned() },
        None => Entry::Foreign { place: format!("{}/{name}", keys::QUARANTINE) },
    }
}
