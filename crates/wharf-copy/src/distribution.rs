//! The file-system storage of `distribution`, the registry behind Docker's `registry` image and Debian's
//! `docker-registry`, read as it would serve it.
//!
//! ```text
//! docker/registry/v2/repositories/<name>/_manifests/tags/<tag>/current/link      what a tag points at
//!                                        _manifests/revisions/<alg>/<hex>/link   the manifests that were not deleted
//!                                        _layers/<alg>/<hex>/link                the blobs that may be pulled from here
//!                    blobs/<alg>/<aa>/<hex>/data                                  content
//! ```
//!
//! A link holds a digest. Nothing is followed that is a link of the file system, nothing is written, and content that is
//! not linked in a repository is not in it, because `distribution` would not give it out either. The registry should not
//! run meanwhile; if it does, what it deletes during the copy is reported as missing.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use wharf_oci::limits::NAME_COMPONENTS_MAX;
use wharf_oci::{AnyDigest, Digest, MANIFEST_MAX_BYTES, RepositoryName, Tag};

use crate::content::from_file;
use crate::layout::open_file;
use crate::{Blob, Document, Error, Source};

/// Longest content of a link, in bytes; a digest of sha512 has 135.
const LINK_MAX_BYTES: u64 = 256;

/// Most repositories, and most tags or manifests of one.
const NAMES_MAX: usize = 2_000_000;

/// A storage directory.
#[derive(Debug)]
pub struct DistributionStore {
    /// `…/docker/registry/v2`.
    root: PathBuf,
    /// What refers to what in the repository that was asked about last.
    referrers: Mutex<Option<(RepositoryName, Arc<Subjects>)>>,
}

type Subjects = HashMap<AnyDigest, Vec<Digest>>;

impl DistributionStore {
    /// The storage in `directory`, which is `rootdirectory` of the registry's configuration, or what is below it.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`]: there is none.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let below = ["docker/registry/v2", "registry/v2", "v2", "."].map(|below| directory.join(below));
        match below.into_iter().find(|root| root.join("repositories").is_dir() && root.join("blobs").is_dir()) {
            Some(root) => Ok(Self { root, referrers: Mutex::new(None) }),
            None => {
                let problem =
                    format!("{} holds no storage of distribution: it has no docker/registry/v2", directory.display());
                Err(Error::Usage(problem))
            }
        }
    }

    fn repository(&self, name: &RepositoryName) -> PathBuf {
        self.root.join("repositories").join(name.as_str())
    }

    /// Where the digest that `kind` (`_layers` or `_manifests/revisions`) links is written.
    fn link_path(&self, repository: &RepositoryName, kind: &str, digest: &Digest) -> PathBuf {
        self.repository(repository).join(kind).join(digest.algorithm().as_str()).join(digest.hex()).join("link")
    }

    /// Whether the repository has `digest`: a link that is there and says so.
    fn check_link(&self, repository: &RepositoryName, kind: &str, digest: &Digest) -> Result<(), Error> {
        let name = format!("{repository}@{digest}");
        let found = read_link(&self.link_path(repository, kind, digest), &name)?;
        if found == *digest { Ok(()) } else { Err(Error::damaged(name, format!("its link says {found}"))) }
    }

    fn content(&self, digest: &Digest, name: &str) -> Result<(fs::File, u64), Error> {
        let hex = digest.hex();
        let blobs = self.root.join("blobs").join(digest.algorithm().as_str());
        let opened = open_file(&blobs.join(&hex[..2]).join(&hex).join("data"), name);
        opened.map_err(|error| match error {
            Error::Absent(name) => Error::damaged(name, "it is linked, and its content is not there"),
            other => other,
        })
    }

    fn document(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document, Error> {
        self.check_link(repository, "_manifests/revisions", digest)?;
        let name = format!("{repository}@{digest}");
        let (file, size_bytes) = self.content(digest, &name)?;
        if size_bytes > MANIFEST_MAX_BYTES {
            return Err(Error::damaged(name, "it is too large for a manifest"));
        }
        let mut body = Vec::new();
        file.take(MANIFEST_MAX_BYTES)
            .read_to_end(&mut body)
            .map_err(|error| Error::damaged(name, error.to_string()))?;
        Document::new(*digest, None, body.into())
    }

    /// The manifests of a repository that were not deleted, as they are written.
    fn revisions(&self, repository: &RepositoryName) -> Result<Vec<String>, Error> {
        let revisions = self.repository(repository).join("_manifests/revisions");
        let mut found = Vec::new();
        for algorithm in names(&revisions)? {
            for hex in names(&revisions.join(&algorithm))? {
                // A deletion takes the link and leaves its directory.
                if fs::symlink_metadata(revisions.join(&algorithm).join(&hex).join("link")).is_ok() {
                    found.push(format!("{algorithm}:{hex}"));
                }
            }
        }
        Ok(found)
    }

    fn subjects(&self, repository: &RepositoryName) -> Result<Arc<Subjects>, Error> {
        let mut kept = self.referrers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, subjects)) = &*kept
            && of == repository
        {
            return Ok(Arc::clone(subjects));
        }
        let mut subjects = Subjects::new();
        for digest in self.revisions(repository)?.into_iter().filter_map(|text| text.parse::<Digest>().ok()) {
            // What cannot be read refers to nothing that could be known.
            let read = self.document(repository, &digest).and_then(|document| document.read());
            if let Some(subject) = read.ok().and_then(|manifest| manifest.subject) {
                subjects.entry(subject).or_default().push(digest);
            }
        }
        let subjects = Arc::new(subjects);
        *kept = Some((repository.clone(), Arc::clone(&subjects)));
        Ok(subjects)
    }
}

#[async_trait]
impl Source for DistributionStore {
    fn lists_untagged(&self) -> bool {
        true
    }

    async fn repositories(&self) -> Result<Vec<String>, Error> {
        let top = self.root.join("repositories");
        let mut repositories = Vec::new();
        let mut waiting: Vec<(PathBuf, String, usize)> = vec![(top, String::new(), 0)];
        while let Some((directory, name, depth)) = waiting.pop() {
            for part in names(&directory)? {
                let path = directory.join(&part);
                if part == "_manifests" && !name.is_empty() {
                    repositories.push(name.clone());
                }
                // Below `_manifests`, `_layers` and `_uploads` are no repositories.
                let is_directory = fs::symlink_metadata(&path).is_ok_and(|about| about.is_dir());
                if !part.starts_with('_') && is_directory && depth < NAME_COMPONENTS_MAX {
                    let name = if name.is_empty() { part } else { format!("{name}/{part}") };
                    waiting.push((path, name, depth + 1));
                }
            }
            if repositories.len() > NAMES_MAX {
                return Err(Error::damaged(self.root.display().to_string(), "it has too many repositories"));
            }
        }
        repositories.sort();
        Ok(repositories)
    }

    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<String>, Error> {
        if !self.repository(repository).join("_manifests").is_dir() {
            return Err(Error::Absent(repository.to_string()));
        }
        names(&self.repository(repository).join("_manifests/tags"))
    }

    async fn untagged(&self, repository: &RepositoryName) -> Result<Vec<String>, Error> {
        self.revisions(repository)
    }

    async fn resolve(&self, repository: &RepositoryName, tag: &Tag) -> Result<Digest, Error> {
        let path = self.repository(repository).join("_manifests/tags").join(tag.as_str()).join("current/link");
        read_link(&path, &format!("{repository}:{tag}"))
    }

    async fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document, Error> {
        self.document(repository, digest)
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Blob, Error> {
        self.check_link(repository, "_layers", digest)?;
        let name = format!("{repository}@{digest}");
        let (file, size_bytes) = self.content(digest, &name)?;
        Ok(from_file(file, size_bytes, name))
    }

    async fn referrers(&self, repository: &RepositoryName, subject: &Digest) -> Result<Vec<Digest>, Error> {
        Ok(self.subjects(repository)?.get(&(*subject).into()).cloned().unwrap_or_default())
    }
}

/// The digest in a link.
fn read_link(path: &Path, name: &str) -> Result<Digest, Error> {
    let (file, size_bytes) = open_file(path, name)?;
    if size_bytes > LINK_MAX_BYTES {
        return Err(Error::damaged(name, format!("its link has {size_bytes} bytes, which no digest has")));
    }
    let mut text = String::new();
    let read = file.take(LINK_MAX_BYTES).read_to_string(&mut text);
    read.map_err(|error| Error::damaged(name, format!("its link cannot be read: {error}")))?;
    text.trim_end_matches(['\r', '\n'])
        .parse()
        .map_err(|error| Error::damaged(name, format!("its link holds no digest: {error}")))
}

/// What is in a directory, sorted; nothing if there is no such directory.
fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let failed = |error: std::io::Error| Error::damaged(directory.display().to_string(), error.to_string());
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        if names.len() > NAMES_MAX {
            return Err(failed(std::io::Error::other("it has too many entries")));
        }
    }
    names.sort();
    Ok(names)
}
