//! The entries of a layout: which manifest is which image of which repository.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::{Value, json};
use wharf_oci::{Descriptor, Digest, Manifest, ManifestKind, RepositoryName, Tag};

use crate::Error;

/// Where an entry comes from: `HOST/REPOSITORY:TAG` or `HOST/REPOSITORY@DIGEST`.
const ORIGIN: &str = "io.containerd.image.name";

/// What an entry is found by.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Most entries of a layout: as many as an index lists.
pub(super) const ENTRIES_MAX: usize = wharf_oci::limits::CHILDREN_MAX;

/// All entries; what is in one repository has one tag each, and untagged it is there once.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) tagged: BTreeMap<(RepositoryName, Tag), Described>,
    pub(super) untagged: BTreeMap<(RepositoryName, Digest), Described>,
}

/// What the index says of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) size_bytes: u64,
}

impl Entries {
    /// Reads `index.json`. What does not say where it comes from is of the repository `fallback`.
    pub(super) fn read(body: &Bytes, fallback: Option<&RepositoryName>) -> Result<Self, Error> {
        let index = Manifest::parse(Some(ManifestKind::OciIndex.as_str()), body)
            .map_err(|error| Error::damaged(super::INDEX, error.to_string()))?;
        let mut entries = Self::default();
        for child in &index.children {
            let (repository, tag) = name(child, fallback)?;
            let described =
                Described { digest: child.digest, media_type: child.media_type.clone(), size_bytes: child.size };
            match tag {
                Some(tag) => _ = entries.tagged.insert((repository, tag), described),
                None => _ = entries.untagged.insert((repository, child.digest), described),
            }
        }
        Ok(entries)
    }

    /// Whether all entries of an index say where they come from.
    pub(super) fn are_named(body: &Bytes) -> bool {
        let index = Manifest::parse(Some(ManifestKind::OciIndex.as_str()), body);
        index.is_ok_and(|index| index.children.iter().all(|child| child.annotations.contains_key(ORIGIN)))
    }

    pub(super) fn len(&self) -> usize {
        self.tagged.len() + self.untagged.len()
    }

    /// `index.json`, the same for the same entries; `host` is the registry that they come from.
    pub(super) fn write(&self, host: &str) -> Vec<u8> {
        let repositories: BTreeSet<&RepositoryName> = self
            .tagged
            .keys()
            .map(|(repository, _)| repository)
            .chain(self.untagged.keys().map(|(name, _)| name))
            .collect();
        let tagged = self.tagged.iter().map(|((repository, tag), described)| {
            let short = if repositories.len() > 1 { format!("{repository}:{tag}") } else { tag.to_string() };
            described.entry(json!({ REF_NAME: short, ORIGIN: format!("{host}/{repository}:{tag}") }))
        });
        let tags: BTreeSet<(&RepositoryName, Digest)> =
            self.tagged.iter().map(|((repository, _), described)| (repository, described.digest)).collect();
        let untagged =
            self.untagged.iter().filter(|((repository, digest), _)| !tags.contains(&(repository, *digest))).map(
                |((repository, digest), described)| {
                    described.entry(json!({ ORIGIN: format!("{host}/{repository}@{digest}") }))
                },
            );
        let manifests: Vec<Value> = tagged.chain(untagged).collect();
        let index = json!({
            "schemaVersion": 2, "mediaType": ManifestKind::OciIndex.as_str(), "manifests": manifests,
        });
        index.to_string().into_bytes()
    }
}

impl Described {
    fn entry(&self, annotations: Value) -> Value {
        json!({
            "mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes, "annotations": annotations,
        })
    }
}

/// Repository and tag of an entry.
fn name(entry: &Descriptor, fallback: Option<&RepositoryName>) -> Result<(RepositoryName, Option<Tag>), Error> {
    let annotation = |key| entry.annotations.get(key).map(String::as_str);
    let (origin, short) = (annotation(ORIGIN), annotation(REF_NAME));
    let named = origin.map(|origin| split(without_host(origin)));
    let from_short = short.filter(|short| short.contains(':')).map(split);
    let repository = named.or(from_short).and_then(|(repository, _)| repository.parse().ok());
    let tag = match short {
        Some(short) => short.parse().ok().or_else(|| split(short).1.and_then(|tag| tag.parse().ok())),
        None => named.and_then(|(_, tag)| tag?.parse().ok()),
    };
    if short.is_some() && tag.is_none() {
        let how = format!("{short:?} is not a tag, nor does it end with one");
        return Err(Error::damaged(format!("the entry {} of {}", entry.digest, super::INDEX), how));
    }
    match repository.or_else(|| fallback.cloned()) {
        Some(repository) => Ok((repository, tag)),
        None => Err(Error::Unnamed(entry.digest)),
    }
}

/// `REPOSITORY:TAG`, `REPOSITORY@DIGEST` or `REPOSITORY`.
fn split(name: &str) -> (&str, Option<&str>) {
    if let Some((repository, _)) = name.split_once('@') {
        return (repository, None);
    }
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

/// A host has a dot or a port, or is this one.
fn without_host(name: &str) -> &str {
    match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => rest,
        _ => name,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use wharf_oci::{Algorithm, Digest};

    use super::{Bytes, Described, Descriptor, Entries, ORIGIN, REF_NAME, name};

    #[test]
    fn an_entry_says_its_repository_and_tag_in_several_ways() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let told = |origin: Option<&str>, short: Option<&str>, fallback: Option<&str>| {
            let pairs = [(ORIGIN, origin), (REF_NAME, short)];
            let annotations: BTreeMap<String, String> =
                pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
            let entry = Descriptor {
                media_type: String::new(),
                digest,
                size: 1,
                urls: Vec::new(),
                artifact_type: None,
                annotations,
                data: None,
                platform: None,
            };
            let fallback = fallback.map(|name| name.parse().unwrap());
            name(&entry, fallback.as_ref()).ok().map(|(repository, tag)| {
                format!("{repository}{}", tag.map_or_else(String::new, |tag| format!(":{tag}")))
            })
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(told(Some("127.0.0.1:5000/team/app:1.0"), Some("1.0"), None), some("team/app:1.0"));
        assert_eq!(told(Some("docker.io/library/alpine:3"), None, None), some("library/alpine:3"));
        assert_eq!(told(Some("team/app:1.0"), None, None), some("team/app:1.0"));
        assert_eq!(told(Some(&format!("r.example/team/app@{digest}")), None, None), some("team/app"));
        assert_eq!(told(None, Some("team/app:1.0"), None), some("team/app:1.0"));
        assert_eq!(told(None, Some("1.0"), Some("other/name")), some("other/name:1.0"));
        assert_eq!(told(None, None, Some("other/name")), some("other/name"));
        assert_eq!(told(None, Some("1.0"), None), None);
        assert_eq!(told(None, Some("no tag!"), Some("other/name")), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let described = |content: &[u8]| Described {
            digest: Digest::of(Algorithm::Sha256, content),
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            size_bytes: content.len() as u64,
        };
        let mut entries = Entries::default();
        entries.tagged.insert(("team/app".parse().unwrap(), "1.0".parse().unwrap()), described(b"a"));
        entries.untagged.insert(("team/app".parse().unwrap(), described(b"b").digest), described(b"b"));
        let one = entries.write("r.example:5000");
        assert!(String::from_utf8_lossy(&one).contains(r#""org.opencontainers.image.ref.name":"1.0""#));
        entries.tagged.insert(("team/other".parse().unwrap(), "1.0".parse().unwrap()), described(b"c"));
        let two: Bytes = entries.write("r.example:5000").into();
        assert!(String::from_utf8_lossy(&two).contains(r#""org.opencontainers.image.ref.name":"team/other:1.0""#));
        let read = Entries::read(&two, None).unwrap();
        assert_eq!((&read.tagged, &read.untagged), (&entries.tagged, &entries.untagged));
        assert!(Entries::are_named(&two));
    }
}
