//! The copy itself: what is wanted, in which order, how much of it at once.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;
use wharf_oci::{Descriptor, Digest, Manifest, ManifestKind, Reference, RepositoryName, Tag};

use crate::patience::{ATTEMPTS_MAX, Patience};
use crate::report::PROBLEMS_MAX;
use crate::{Blob, Document, Entry, Error, Problem, Report, Source, Target};

/// Most blobs, and most images, that are copied at the same time.
pub const JOBS_MAX: usize = 64;

/// How deep indexes may list indexes, and referrers refer to referrers.
const DEPTH_MAX: u8 = 8;

/// Of how many blobs it is remembered in which repository of the target they are.
const PLACED_MAX: usize = 200_000;

/// Locks by digest: two images that share a layer do not copy it twice. More than can be wanted at once.
const STRIPES: usize = 1_024;

/// What follows the digest in the tags that name signatures and the like, and the list of referrers of registries that
/// have none. They are no referrers, so they are looked for by name where not all tags are copied anyway.
const COMPANIONS: [&str; 4] = ["", ".sig", ".att", ".sbom"];

/// A pattern of names.
pub type Filter = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// A name at the target for one at the source.
pub type Rename = Box<dyn Fn(&RepositoryName) -> Option<RepositoryName> + Send + Sync>;

/// Which repositories are copied.
pub enum Names {
    /// All that the filter lets through.
    All(Filter),
    /// These; of a name with a reference only that manifest.
    These(Vec<(RepositoryName, Option<Reference>)>),
}

/// What is copied, and how.
pub struct Options {
    /// Which repositories.
    pub names: Names,
    /// Only tags that the filter lets through, and nothing untagged; without it everything.
    pub tags: Option<Filter>,
    /// What a repository is called at the target; `None` if that is no name.
    pub rename: Rename,
    /// Whether what refers to an image goes with it: signatures, SBOMs, attestations.
    pub referrers: bool,
    /// How many blobs, and how many images, at the same time; 1 to [`JOBS_MAX`].
    pub jobs: usize,
}

/// Who is told how far it is.
pub trait Watch: Send + Sync {
    /// So many bytes more are to be copied.
    fn found(&self, bytes: u64);
    /// So many bytes more have been copied.
    fn moved(&self, bytes: u64);
    /// An image is at the target, under its name at the source.
    fn copied(&self, name: &str);
    /// Something is not.
    fn problem(&self, problem: &Problem);
}

/// Copies what `options` say from `source` to `target`.
///
/// # Errors
///
/// What makes it pointless to go on: a list of repositories that cannot be had, a server that cannot be reached, a file
/// that cannot be written. Everything else is in the report. What has been copied by then is complete, and the next run
/// finds it there.
pub async fn copy(
    source: &dyn Source,
    target: &dyn Target,
    options: &Options,
    watch: Arc<dyn Watch>,
) -> Result<Report, Error> {
    let copying = Copying {
        source,
        target,
        options,
        watch,
        transfers: Semaphore::new(options.jobs.clamp(1, JOBS_MAX)),
        stripes: (0..STRIPES).map(|_| tokio::sync::Mutex::new(())).collect(),
        placed: Mutex::default(),
        report: Mutex::default(),
    };
    copying.run().await?;
    Ok(copying.report.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// One image, or whatever else a manifest is the root of.
struct Item {
    from: RepositoryName,
    to: RepositoryName,
    reference: Reference,
}

impl Item {
    fn name(&self) -> String {
        let sign = match self.reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        format!("{}{sign}{}", self.from, self.reference)
    }
}

struct Copying<'a> {
    source: &'a dyn Source,
    target: &'a dyn Target,
    options: &'a Options,
    watch: Arc<dyn Watch>,
    transfers: Semaphore,
    stripes: Vec<tokio::sync::Mutex<()>>,
    placed: Mutex<HashMap<Digest, RepositoryName>>,
    report: Mutex<Report>,
}

type Doing<'f, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'f>>;

impl Copying<'_> {
    async fn run(&self) -> Result<(), Error> {
        let jobs = self.options.jobs.clamp(1, JOBS_MAX);
        let repositories = self.repositories().await?;
        stream::iter(repositories)
            .map(|(name, reference)| self.items(name, reference))
            .buffered(jobs.min(4))
            .map_ok(|items| stream::iter(items.into_iter().map(Ok::<_, Error>)))
            .try_flatten()
            .try_for_each_concurrent(jobs, |item| self.copy_item(item))
            .await
    }

    async fn repositories(&self) -> Result<Vec<(RepositoryName, Option<Reference>)>, Error> {
        let wanted = match &self.options.names {
            Names::These(these) => return Ok(these.clone()),
            Names::All(wanted) => wanted,
        };
        let mut repositories = Vec::new();
        for name in self.source.repositories().await?.into_iter().filter(|name| wanted(name)) {
            match name.parse() {
                Ok(parsed) => repositories.push((parsed, None)),
                Err(error) => self.problem(name, format!("not a name that Wharf can keep: {error}")),
            }
        }
        Ok(repositories)
    }

    /// What there is to copy of a repository; empty, with a problem reported, if its lists cannot be read.
    async fn items(&self, from: RepositoryName, reference: Option<Reference>) -> Result<Vec<Item>, Error> {
        let Some(to) = (self.options.rename)(&from) else {
            self.problem(from.to_string(), "its name would be too long".to_owned());
            return Ok(Vec::new());
        };
        let references = match reference {
            Some(reference) => Ok(vec![reference]),
            None => self.references(&from).await,
        };
        match references {
            Ok(references) => {
                let item = |reference| Item { from: from.clone(), to: to.clone(), reference };
                Ok(references.into_iter().map(item).collect())
            }
            // Registries list repositories that nothing is left in, and then say that they have no tags.
            Err(Error::Absent(_)) if matches!(self.options.names, Names::All(_)) => Ok(Vec::new()),
            Err(error) => self.note(from.to_string(), error).map(|()| Vec::new()),
        }
    }

    async fn references(&self, repository: &RepositoryName) -> Result<Vec<Reference>, Error> {
        let wanted = |tag: &String| self.options.tags.as_ref().is_none_or(|wanted| wanted(tag));
        let mut references = Vec::new();
        for tag in self.source.tags(repository).await?.into_iter().filter(wanted) {
            match tag.parse::<Tag>() {
                Ok(parsed) => references.push(Reference::Tag(parsed)),
                Err(error) => self.problem(format!("{repository}:{tag}"), error.to_string()),
            }
        }
        if self.options.tags.is_none() {
            for digest in self.source.untagged(repository).await? {
                match digest.parse() {
                    Ok(parsed) => references.push(Reference::Digest(parsed)),
                    Err(error) => self.problem(format!("{repository}@{digest}"), error.to_string()),
                }
            }
        }
        Ok(references)
    }

    async fn copy_item(&self, item: Item) -> Result<(), Error> {
        match self.copy_image(&item).await {
            Ok(()) => {
                self.watch.copied(&item.name());
                Ok(())
            }
            Err(error) => self.note(item.name(), error),
        }
    }

    async fn copy_image(&self, item: &Item) -> Result<(), Error> {
        let Item { from, to, reference } = item;
        let (digest, entry) = match reference {
            Reference::Digest(digest) => (*digest, Entry::Untagged),
            Reference::Tag(tag) => (self.source.resolve(from, tag).await?, Entry::Tag(tag.clone())),
        };
        self.copy_manifest(from, to, digest, entry, 0).await?;
        if let Reference::Tag(_) = reference {
            self.count(|report| report.tags += 1);
        }
        if !self.is_everything() {
            self.copy_companions(from, to, &digest).await?;
        }
        Ok(())
    }

    /// Whether all tags of the repositories are copied.
    fn is_everything(&self) -> bool {
        let whole = match &self.options.names {
            Names::All(_) => true,
            Names::These(these) => these.iter().all(|(_, reference)| reference.is_none()),
        };
        whole && self.options.tags.is_none()
    }

    fn follows_referrers(&self) -> bool {
        self.options.referrers && !(self.is_everything() && self.source.lists_untagged())
    }

    async fn copy_companions(&self, from: &RepositoryName, to: &RepositoryName, digest: &Digest) -> Result<(), Error> {
        if !self.options.referrers {
            return Ok(());
        }
        for suffix in COMPANIONS {
            let name = format!("{}-{}{suffix}", digest.algorithm(), digest.hex());
            let Ok(tag) = name.parse::<Tag>() else { continue };
            match self.source.resolve(from, &tag).await {
                Ok(found) => self.copy_manifest(from, to, found, Entry::Tag(tag), 0).await?,
                Err(Error::Absent(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A manifest with everything below it, and then what refers to it.
    fn copy_manifest<'f>(
        &'f self,
        from: &'f RepositoryName,
        to: &'f RepositoryName,
        digest: Digest,
        entry: Entry,
        depth: u8,
    ) -> Doing<'f, ()> {
        Box::pin(async move {
            if depth > DEPTH_MAX {
                return Err(Error::damaged(format!("{from}@{digest}"), "indexes or referrers are nested too deeply"));
            }
            let document = self.source.manifest(from, &digest).await?;
            let manifest = document.read()?;
            let is_there = self.target.digest(to, &Reference::Digest(digest)).await?.is_some();
            if !is_there {
                self.copy_contents(from, to, &manifest, depth).await?;
            }
            self.enter(to, &document, manifest.kind, &entry, is_there).await?;
            if self.follows_referrers() {
                if is_there {
                    self.copy_referrers_of_children(from, to, &manifest, depth).await?;
                }
                self.copy_referrers(from, to, &digest, depth).await?;
            }
            Ok(())
        })
    }

    async fn copy_contents(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        manifest: &Manifest,
        depth: u8,
    ) -> Result<(), Error> {
        let (manifests, blobs): (Vec<_>, Vec<_>) = manifest.children.iter().partition(|child| is_manifest(child));
        let blobs: Vec<_> = manifest.blobs().chain(blobs).collect();
        let jobs = self.options.jobs.clamp(1, JOBS_MAX);
        stream::iter(blobs.into_iter().map(Ok))
            .try_for_each_concurrent(jobs, |blob| self.copy_blob(from, to, blob))
            .await?;
        for child in manifests {
            self.copy_manifest(from, to, child.digest, Entry::Child, depth + 1).await?;
        }
        Ok(())
    }

    /// Enters the manifest at the target, unless all of that is there.
    async fn enter(
        &self,
        to: &RepositoryName,
        document: &Document,
        kind: ManifestKind,
        entry: &Entry,
        is_there: bool,
    ) -> Result<(), Error> {
        let is_entered = match entry {
            Entry::Tag(tag) if is_there => {
                self.target.digest(to, &Reference::Tag(tag.clone())).await? == Some(document.digest)
            }
            _ => is_there,
        };
        if !is_entered {
            self.target.put_manifest(to, document, kind.as_str(), entry).await?;
        }
        self.count(|report| {
            if is_there {
                report.manifests_there += 1;
            } else {
                report.manifests_copied += 1;
            }
        });
        Ok(())
    }

    /// What was signed after the image had been copied is found the next time.
    async fn copy_referrers_of_children(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        manifest: &Manifest,
        depth: u8,
    ) -> Result<(), Error> {
        for child in manifest.children.iter().filter(|child| is_manifest(child)) {
            self.copy_referrers(from, to, &child.digest, depth).await?;
        }
        Ok(())
    }

    async fn copy_referrers(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        subject: &Digest,
        depth: u8,
    ) -> Result<(), Error> {
        for referrer in self.source.referrers(from, subject).await? {
            self.copy_manifest(from, to, referrer, Entry::Untagged, depth + 1).await?;
        }
        Ok(())
    }

    async fn copy_blob(&self, from: &RepositoryName, to: &RepositoryName, blob: &Descriptor) -> Result<(), Error> {
        let _alone = self.stripe(&blob.digest).lock().await;
        let placed = self.placed().get(&blob.digest).cloned();
        if placed.as_ref() == Some(to) || self.target.has_blob(to, &blob.digest).await? {
            self.count(|report| report.blobs_there += 1);
        } else if let Some(other) = placed
            && self.target.mount(to, &blob.digest, &other).await?
        {
            self.count(|report| report.blobs_mounted += 1);
        } else {
            self.transfer(from, to, blob).await?;
            self.count(|report| {
                report.blobs_copied += 1;
                report.bytes_copied += blob.size;
            });
        }
        let mut placed = self.placed();
        if placed.len() < PLACED_MAX {
            placed.insert(blob.digest, to.clone());
        }
        Ok(())
    }

    async fn transfer(&self, from: &RepositoryName, to: &RepositoryName, blob: &Descriptor) -> Result<(), Error> {
        let _turn = self.transfers.acquire().await.map_err(|error| Error::Usage(error.to_string()))?;
        self.watch.found(blob.size);
        let mut patience = Patience::new();
        for attempt in 1.. {
            let moved = Arc::new(AtomicU64::new(0));
            match self.transfer_once(from, to, blob, &moved).await {
                Err(error) if error.is_transient() && attempt < ATTEMPTS_MAX => {
                    // All of it has to come again.
                    self.watch.found(moved.load(Ordering::Relaxed));
                    patience.wait(&error).await;
                }
                end => return end,
            }
        }
        Ok(())
    }

    async fn transfer_once(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        wanted: &Descriptor,
        moved: &Arc<AtomicU64>,
    ) -> Result<(), Error> {
        let blob = self.source.blob(from, &wanted.digest).await?;
        if blob.size_bytes != wanted.size {
            let how = format!("it has {} bytes, and the manifest says {}", blob.size_bytes, wanted.size);
            return Err(Error::damaged(format!("{from}@{}", wanted.digest), how));
        }
        let blob = blob.verified(wanted.digest);
        let (watch, moved) = (Arc::clone(&self.watch), Arc::clone(moved));
        let bytes = blob.bytes.inspect_ok(move |piece| {
            moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
            watch.moved(piece.len() as u64);
        });
        let blob = Blob { size_bytes: blob.size_bytes, bytes: bytes.boxed() };
        self.target.put_blob(to, &wanted.digest, blob).await
    }

    fn stripe(&self, digest: &Digest) -> &tokio::sync::Mutex<()> {
        let bytes = digest.as_bytes();
        &self.stripes[usize::from(u16::from_be_bytes([bytes[0], bytes[1]])) % STRIPES]
    }

    fn placed(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, RepositoryName>> {
        self.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A problem of `what`, unless `error` ends the copy.
    fn note(&self, what: String, error: Error) -> Result<(), Error> {
        if error.ends_the_copy() {
            return Err(error);
        }
        self.problem(what, error.to_string());
        Ok(())
    }

    fn problem(&self, what: String, why: String) {
        let problem = Problem { what, why };
        self.watch.problem(&problem);
        self.count(|report| {
            report.problems_total += 1;
            if report.problems.len() < PROBLEMS_MAX {
                report.problems.push(problem);
            }
        });
    }
}

fn is_manifest(child: &Descriptor) -> bool {
    ManifestKind::from_media_type(&child.media_type).is_some()
}
