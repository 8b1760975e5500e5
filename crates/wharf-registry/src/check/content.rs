//! Blobs: what their rows say, and what their files are.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use wharf_base::Location;
use wharf_meta::{CheckedBlob, CheckedLink, Unreviewed};
use wharf_oci::Digest;
use wharf_store::{Facts, Removing};

use super::{CheckOrder, Class, Depth, Finding, PAGE, Stage, Watch};
use crate::{Error, Registry};

/// How many files are read at a time: enough to keep a disk busy while others are being hashed.
const READERS: usize = 4;

/// How often a file is read before a difference counts: the first time may have met a fault of the moment.
const READS: usize = 2;

/// How often content that changes all the time is looked at.
const LOOKS_MAX: usize = 10;

/// How many blobs are remembered so that one of several repositories is looked at once. More are looked at again.
const REMEMBERED_MAX: usize = 1_000_000;

/// A live blob's file is not what its row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// There is none.
    Missing,
    /// It has another size.
    Size { recorded: u64, found: u64 },
    /// It is not a file that can be read.
    NotAFile(&'static str),
    /// Its bytes are others.
    Bytes,
    /// It could not be read; that says nothing about its bytes, and it stays where it is.
    Unreadable(String),
}

impl Damage {
    /// As a clause about the blob.
    pub(crate) fn problem(&self) -> String {
        match self {
            Self::Missing => "its file is missing".to_owned(),
            Self::Size { recorded, found } => format!("its file has {found} bytes instead of {recorded}"),
            Self::NotAFile(reason) => format!("what is in its place is {reason}"),
            Self::Bytes => "its bytes do not hash to its digest".to_owned(),
            Self::Unreadable(reason) => format!("its file cannot be read: {reason}"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Missing | Self::Size { .. } | Self::NotAFile(_) => Class::ContentThere,
            Self::Bytes | Self::Unreadable(_) => Class::ContentIntact,
        }
    }
}

/// How reading content ended, if not with damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// All of it was read, and hashes to its digest.
    Intact,
    /// Whoever asked for it wants no more.
    Stopped,
}

/// Damage that was seen with the digest locked, and that lock: as long as it is held, nothing changes about it.
#[derive(Debug)]
pub(crate) struct Confirmed {
    pub(crate) damage: Damage,
    /// Where it was seen.
    pub(crate) location: Location,
    pub(crate) locked: Removing,
}

/// A live row as it was looked at, and what was found where it says that its content lies.
struct Look {
    size_bytes: u64,
    location: Location,
    found: Result<Facts, Damage>,
}

/// A live row, and what was found in the place of its file.
struct Suspect {
    digest: Digest,
    size_bytes: u64,
}

impl Registry {
    /// Every content row.
    pub(super) async fn check_content(self: &Arc<Self>, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        watch.enter(Stage::Content);
        let mut after = None;
        while !watch.is_stopped() {
            let page = self.parts.meta.check_blobs(after.as_ref(), PAGE).await;
            let page = page.map_err(Error::meta("checking blobs"))?;
            let mut live = Vec::new();
            for row in &page.rows {
                if let Some(suspect) = self.check_row(row, order, watch).await? {
                    live.push(suspect);
                }
            }
            self.check_files(live, order, watch).await?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Every association; and the content itself, if the check is about some repositories only.
    pub(super) async fn check_links(self: &Arc<Self>, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        watch.enter(Stage::Links);
        let (mut after, mut seen) = (None, HashSet::new());
        while !watch.is_stopped() {
            let page = self.parts.meta.check_links(after.as_ref(), PAGE).await;
            let page = page.map_err(Error::meta("checking associations"))?;
            watch.advance(|progress| progress.rows += page.rows.len() as u64);
            let mut live = Vec::new();
            for link in page.rows.iter().filter(|link| order.is_about(&link.repository)) {
                self.check_link(link, order, watch).await?;
                let (Ok(digest), Some(size_bytes)) = (link.digest.parse::<Digest>(), link.size_bytes) else { continue };
                let is_wanted = order.repositories.is_some() && link.state == "live";
                if is_wanted && (seen.len() >= REMEMBERED_MAX || seen.insert(digest)) {
                    live.push(Suspect { digest, size_bytes });
                }
            }
            self.check_files(live, order, watch).await?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn check_link(&self, link: &CheckedLink, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        let Some(finding) = link_finding(link) else { return Ok(()) };
        let repair = async {
            let Some(link) = unreviewed(link) else { return Ok(false) };
            Ok(self.review_links(&[link], &order.by).await? == 1)
        };
        self.found(finding, "entered for review", repair, order, watch).await
    }

    /// What the row itself contradicts; if its file is to be looked at, which one.
    async fn check_row(&self, row: &CheckedBlob, order: &CheckOrder, watch: &Watch) -> Result<Option<Suspect>, Error> {
        let digest: Digest = match row.digest.parse() {
            Ok(digest) => digest,
            Err(error) => {
                let advice = "restore the database from a backup";
                let problem = format!("the row of a blob has a digest that is none: {error}");
                watch.found(Finding::error(Class::Database, row.digest.as_str(), problem).advise(advice));
                return Ok(None);
            }
        };
        let affected = || async { if row.is_referenced { self.affected(&digest).await } else { Ok(Vec::new()) } };
        let finding = match row.state.as_str() {
            "live" => match row.size_bytes {
                Some(size_bytes) => return Ok(Some(Suspect { digest, size_bytes })),
                None => Some(Finding::error(Class::ContentThere, &row.digest, "its row has no size")),
            },
            "quarantined" => {
                let finding = set_aside(row).affecting(affected().await?);
                let repair = self.recover(&digest, row.size_bytes, &order.by);
                self.found(finding, "brought back", repair, order, watch).await?;
                return Ok(None);
            }
            "deleting" if row.is_referenced || row.is_associated => {
                let problem = "it is about to be removed, and a manifest or repository needs it";
                let advice = "hold collection (`wharf gc hold`) and run `wharf check --repair I-06`";
                let finding = Finding::error(Class::LinkedLive, &row.digest, problem).advise(advice);
                let repair = self.rescue(&digest, row.size_bytes, &order.by);
                self.found(finding.affecting(affected().await?), "kept", repair, order, watch).await?;
                return Ok(None);
            }
            "missing" if row.is_associated => {
                Some(Finding::error(Class::LinkedLive, &row.digest, "a repository has it, and nobody has pushed it"))
            }
            "missing" if row.is_referenced => Some(
                Finding::note(Class::ReferencedLive, &row.digest, "manifests name it, and nobody has pushed it")
                    .advise("that was allowed when they were pushed; push it if they are to be pulled"),
            ),
            _ => None,
        };
        if let Some(finding) = finding {
            watch.found(finding.affecting(affected().await?));
        }
        Ok(None)
    }

    /// Looks at the files of live rows, all of them at once, and reads them if the check is deep.
    async fn check_files(self: &Arc<Self>, live: Vec<Suspect>, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        if live.is_empty() {
            return Ok(());
        }
        watch.advance(|progress| progress.blobs += live.len() as u64);
        wharf_base::failpoint::arrive("check.rows_read").await;
        let digests: Vec<Digest> = live.iter().map(|suspect| suspect.digest).collect();
        let places = self.places(&digests).await?;
        let survey = self.parts.store.survey(&places).await.map_err(Error::store("inspecting blobs"))?;
        let mut readable = Vec::new();
        for (suspect, facts) in live.into_iter().zip(survey) {
            match facts {
                Ok(Some(facts)) if facts.size_bytes == suspect.size_bytes => {
                    if facts.is_exposed {
                        watch.found(exposed(suspect.digest.to_string()));
                    }
                    readable.push(suspect);
                }
                _ => self.settle(&suspect, Depth::Fast, order, watch).await?,
            }
        }
        if order.depth == Depth::Fast {
            return Ok(());
        }
        let reading = readable.into_iter().map(|suspect| self.check_bytes(suspect, order, watch));
        let mut reading = stream::iter(reading).buffer_unordered(READERS);
        while let Some(read) = reading.next().await {
            read?;
        }
        Ok(())
    }

    async fn check_bytes(&self, suspect: Suspect, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        if watch.is_stopped() {
            return Ok(());
        }
        let count = |bytes| {
            watch.advance(|progress| progress.bytes += bytes);
            std::future::ready(!watch.is_stopped())
        };
        match self.read_content(&suspect.digest, suspect.size_bytes, count).await {
            Ok(_) => Ok(()),
            Err(_) => self.settle(&suspect, Depth::Deep, order, watch).await,
        }
    }

    /// Decides whether a blob is damaged, and reports it if it is.
    async fn settle(&self, suspect: &Suspect, depth: Depth, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        let Some(confirmed) = self.confirm_damage(&suspect.digest, depth).await? else { return Ok(()) };
        let affected = self.affected(&suspect.digest).await?;
        let damage = &confirmed.damage;
        let finding = Finding::error(damage.class(), suspect.digest.to_string(), damage.problem()).affecting(affected);
        if let Damage::Unreadable(_) = damage {
            watch.found(finding.advise("look at the disk and its log; check again when it can be read"));
            return Ok(());
        }
        let advice = "run `wharf check --repair I-01 --repair I-02`, then push again what is affected";
        let repair = async {
            self.set_aside(&suspect.digest, confirmed, &order.by).await?;
            Ok(true)
        };
        self.found(finding.advise(advice), "set aside", repair, order, watch).await
    }

    /// Looks again at content that did not look as it should, so that nothing that is being placed, replaced or removed
    /// counts as damage; `None`: it is as its row says by now, or is not to be served any more.
    ///
    /// Long reads happen without the lock: what is read is the file that `facts` describes, and the lock is taken only to
    /// see that the row still names that very file.
    pub(crate) async fn confirm_damage(&self, digest: &Digest, depth: Depth) -> Result<Option<Confirmed>, Error> {
        let mut tries = 0;
        for _ in 0..LOOKS_MAX {
            tries += 1;
            let before = self.look(digest).await?;
            let Some(Look { size_bytes, found, .. }) = before else { return Ok(None) };
            let (damage, facts) = match found {
                Err(damage) => (Some(damage), None),
                Ok(facts) if depth == Depth::Fast => (None, Some(facts)),
                Ok(facts) => {
                    let read = self.read_content(digest, size_bytes, |_| std::future::ready(true)).await;
                    (read.err(), Some(facts))
                }
            };
            let Some(damage) = damage else { return Ok(None) };
            if tries < READS {
                continue;
            }
            wharf_base::failpoint::arrive("check.doubted").await;
            let locked = self.parts.store.begin_removal(digest).await;
            let now = self.look(digest).await?;
            let Some(Look { found, location, .. }) = now else { return Ok(None) };
            match (found, facts) {
                (Ok(now), Some(before)) if now == before => return Ok(Some(Confirmed { damage, location, locked })),
                (Err(damage), _) => return Ok(Some(Confirmed { damage, location, locked })),
                // Another file has taken its place.
                (Ok(_), _) => tries = 0,
            }
        }
        // It changes faster than it can be looked at; whoever comes next will see.
        Ok(None)
    }

    /// A live row, and its file; `None`: it is not live.
    async fn look(&self, digest: &Digest) -> Result<Option<Look>, Error> {
        let row = self.parts.meta.check_blob(digest).await.map_err(Error::meta("checking a blob"))?;
        let size = row.filter(|row| row.state == "live").and_then(|row| row.size_bytes);
        let Some(size_bytes) = size else { return Ok(None) };
        let place = self.place(digest).await?;
        let survey = self.parts.store.survey(std::slice::from_ref(&place)).await;
        let mut survey = survey.map_err(Error::store("inspecting a blob"))?;
        let found = match survey.pop() {
            Some(Ok(Some(facts))) if facts.size_bytes == size_bytes => Ok(facts),
            Some(Ok(Some(facts))) => Err(Damage::Size { recorded: size_bytes, found: facts.size_bytes }),
            Some(Ok(None)) => Err(Damage::Missing),
            Some(Err(wharf_store::Error::Damaged { reason, .. })) => Err(Damage::NotAFile(reason)),
            Some(Err(error)) => Err(Damage::Unreadable(crate::error::with_causes(&error))),
            None => Err(Damage::Unreadable("the store did not answer".to_owned())),
        };
        Ok(Some(Look { size_bytes, location: place.location, found }))
    }

    /// Reads and hashes content; `pace` is told of each piece, may take its time, and says whether to go on.
    pub(crate) async fn read_content<P: Future<Output = bool>>(
        &self,
        digest: &Digest,
        size_bytes: u64,
        pace: impl Fn(u64) -> P,
    ) -> Result<ReadEnd, Damage> {
        let unreadable = |error: &dyn std::error::Error| Damage::Unreadable(crate::error::with_causes(error));
        let place = self.place(digest).await.map_err(|error| unreadable(&error))?;
        wharf_base::failpoint::arrive("check.place_read").await;
        let reader = match self.parts.store.open(&place, size_bytes).await {
            Ok(Some(reader)) => reader,
            Ok(None) => return Err(Damage::Missing),
            Err(wharf_store::Error::Damaged { reason, .. }) => return Err(Damage::NotAFile(reason)),
            Err(error) => return Err(unreadable(&error)),
        };
        let mut rehash = reader.rehash(digest.algorithm());
        loop {
            match rehash.step().await {
                Ok(0) => break,
                Ok(bytes) => {
                    if !pace(bytes).await {
                        return Ok(ReadEnd::Stopped);
                    }
                }
                Err(error) => return Err(unreadable(&error)),
            }
        }
        if rehash.is(digest) { Ok(ReadEnd::Intact) } else { Err(Damage::Bytes) }
    }
}

fn set_aside(row: &CheckedBlob) -> Finding {
    let problem = "it was damaged or lost, and is set aside";
    if row.is_referenced {
        let advice = "push again what is affected; that brings it back";
        return Finding::error(Class::ReferencedLive, &row.digest, problem).advise(advice);
    }
    Finding::note(Class::ReferencedLive, &row.digest, problem).advise("nothing names it; the collector will remove it")
}

pub(super) fn exposed(subject: String) -> Finding {
    let problem = "others than its owner may open it, or it belongs to somebody else";
    let advice = "give the data directory to the account that the registry runs as: chown -R, chmod -R go=";
    Finding::warning(Class::Foreign, subject, problem).advise(advice)
}

/// An association that no manifest names and that the collector does not know of.
pub(crate) fn unreviewed(link: &CheckedLink) -> Option<Unreviewed> {
    let is_one = !link.is_referenced && !link.has_review;
    let (Ok(repository), Ok(digest)) = (link.repository.parse(), link.digest.parse()) else { return None };
    is_one.then_some(Unreviewed { repository, digest })
}

fn link_finding(link: &CheckedLink) -> Option<Finding> {
    if matches!(link.state.as_str(), "deleting" | "missing") {
        // Reported with the content itself, unless only some repositories are looked at.
        return None;
    }
    if link.is_referenced || link.has_review {
        return None;
    }
    let subject = format!("{}@{}", link.repository, link.digest);
    let problem = "no manifest of the repository names it, and the collector does not know that: it stays for ever";
    let advice = "run `wharf check --repair I-07`; nothing is lost by it";
    Some(Finding::warning(Class::Reviewed, subject, problem).advise(advice))
}
