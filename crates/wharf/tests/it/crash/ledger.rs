//! What the registry promised and what it was only asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Client, sha256};

/// A repository and a digest or a tag in it.
type Place = (String, String);

/// Where something may stand after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Acknowledged and not touched since: must be there.
    There,
    /// A change was asked for and not acknowledged: either way is right.
    Open,
    /// Its removal was acknowledged: must not be there.
    Gone,
}

/// Everything that is known of one server's past.
#[derive(Default)]
pub struct Ledger {
    blobs: BTreeMap<Place, (Vec<u8>, Fate)>,
    manifests: BTreeMap<Place, (Vec<u8>, Fate)>,
    /// The digests that a tag may name; `None` for "no such tag".
    tags: BTreeMap<Place, BTreeSet<Option<String>>>,
    /// Sessions: bytes acknowledged, and bytes that may have been received; gone from here when the closing request
    /// was sent.
    sessions: BTreeMap<String, (usize, usize)>,
    acknowledged: u64,
}

impl Ledger {
    /// A blob that was there or was deleted before may be there from now on.
    pub fn blob_attempted(&mut self, repository: &str, digest: &str, bytes: &[u8]) {
        let known = self.blobs.entry(place(repository, digest)).or_insert_with(|| (bytes.to_vec(), Fate::Open));
        if known.1 == Fate::Gone {
            known.1 = Fate::Open;
        }
    }

    pub fn blob(&mut self, repository: &str, digest: &str, bytes: &[u8]) {
        self.acknowledged += 1;
        self.blobs.insert(place(repository, digest), (bytes.to_vec(), Fate::There));
    }

    pub fn blob_deleting(&mut self, repository: &str, digest: &str) {
        self.blobs.entry(place(repository, digest)).and_modify(|(_, fate)| *fate = Fate::Open);
    }

    pub fn blob_deleted(&mut self, repository: &str, digest: &str) {
        self.acknowledged += 1;
        self.blobs.entry(place(repository, digest)).and_modify(|(_, fate)| *fate = Fate::Gone);
    }

    pub fn session_attempted(&mut self, location: &str, most: usize) {
        self.sessions.insert(location.to_owned(), (0, most));
    }

    pub fn session_received(&mut self, location: &str, bytes: usize) {
        self.acknowledged += 1;
        self.sessions.insert(location.to_owned(), (bytes, bytes));
    }

    pub fn session_ending(&mut self, location: &str) {
        self.sessions.remove(location);
    }

    pub fn tag_attempted(&mut self, repository: &str, tag: &str, manifest: &[u8]) {
        let digest = sha256(manifest);
        let known = self.manifests.get(&place(repository, &digest)).is_some_and(|(_, fate)| *fate == Fate::There);
        if !known {
            self.manifests.insert(place(repository, &digest), (manifest.to_vec(), Fate::Open));
        }
        let now = self.tags.entry(place(repository, tag)).or_insert_with(|| [None].into());
        now.insert(Some(digest));
    }

    pub fn tag(&mut self, repository: &str, tag: &str, manifest: &[u8]) {
        self.acknowledged += 1;
        let digest = sha256(manifest);
        self.manifests.insert(place(repository, &digest), (manifest.to_vec(), Fate::There));
        self.tags.insert(place(repository, tag), [Some(digest)].into());
    }

    /// Some manifest that is certainly there.
    pub fn some_manifest(&self, repository: &str) -> Option<String> {
        let mut there = self.manifests.iter().filter(|((r, _), (_, fate))| r == repository && *fate == Fate::There);
        there.next().map(|((_, digest), _)| digest.clone())
    }

    pub fn manifest_deleting(&mut self, repository: &str, digest: &str) {
        self.manifests.entry(place(repository, digest)).and_modify(|(_, fate)| *fate = Fate::Open);
        for names in self.tags_of(repository, digest) {
            names.insert(None);
        }
    }

    pub fn manifest_deleted(&mut self, repository: &str, digest: &str) {
        self.acknowledged += 1;
        self.manifests.entry(place(repository, digest)).and_modify(|(_, fate)| *fate = Fate::Gone);
        for names in self.tags_of(repository, digest) {
            *names = [None].into();
        }
    }

    fn tags_of<'a>(
        &'a mut self,
        repository: &'a str,
        digest: &'a str,
    ) -> impl Iterator<Item = &'a mut BTreeSet<Option<String>>> {
        let names = move |names: &BTreeSet<Option<String>>| names.contains(&Some(digest.to_owned()));
        let here = self.tags.iter_mut().filter(move |((r, _), _)| r == repository);
        here.map(|(_, now)| now).filter(move |now| names(now))
    }

    /// Takes over what another writer knows; no two write to the same repository.
    pub fn merge(&mut self, other: Self) {
        self.blobs.extend(other.blobs);
        self.manifests.extend(other.manifests);
        self.tags.extend(other.tags);
        self.sessions.extend(other.sessions);
        self.acknowledged += other.acknowledged;
    }

    /// How many answers counted as a promise.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub fn summary(&self) -> String {
        let (blobs, manifests, tags) = (self.blobs.len(), self.manifests.len(), self.tags.len());
        format!("{} answers, {blobs} blobs, {manifests} manifests, {tags} tags", self.acknowledged)
    }

    /// Asks the registry for everything and compares. What was open is settled by what is found.
    pub async fn verify(&mut self, client: &mut Client) {
        for ((repository, digest), (bytes, fate)) in &mut self.blobs {
            settle(client, &format!("/v2/{repository}/blobs/{digest}"), bytes, fate).await;
        }
        for ((repository, digest), (bytes, fate)) in &mut self.manifests {
            settle(client, &format!("/v2/{repository}/manifests/{digest}"), bytes, fate).await;
        }
        for ((repository, tag), digests) in &mut self.tags {
            let reply = client.head(&format!("/v2/{repository}/manifests/{tag}")).await;
            let found = (reply.status == 200).then(|| reply.header("docker-content-digest").unwrap().to_owned());
            assert!(digests.contains(&found), "{repository}:{tag} is {found:?}, may be {digests:?}");
            *digests = [found].into();
        }
        for (location, (acknowledged, most)) in &self.sessions {
            let reply = client.get(location).await.expect(204);
            let last: usize = reply.header("range").unwrap().strip_prefix("0-").unwrap().parse().unwrap();
            // `0-0` is an empty session and one of a single byte.
            let received = if last == 0 { (*acknowledged).min(1) } else { last + 1 };
            assert!(
                (*acknowledged..=*most).contains(&received),
                "{location} has {received}, not {acknowledged}..={most}"
            );
        }
        // Checked once; sessions end by themselves after a day.
        self.sessions.clear();
    }
}

async fn settle(client: &mut Client, target: &str, bytes: &[u8], fate: &mut Fate) {
    let reply = client.get(target).await;
    let found = match reply.status {
        200 => Fate::There,
        404 => Fate::Gone,
        _ => panic!("{target}\n{reply}"),
    };
    assert!(*fate == Fate::Open || *fate == found, "{target} is {found:?}, was {fate:?}\n{reply}");
    assert!(found == Fate::Gone || reply.body == bytes, "{target} has other bytes\n{reply}");
    *fate = found;
}

fn place(repository: &str, name: &str) -> Place {
    (repository.to_owned(), name.to_owned())
}
