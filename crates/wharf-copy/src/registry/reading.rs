//! Reading from a registry.

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, LINK};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;
use wharf_oci::{Digest, MANIFEST_MAX_BYTES, ManifestKind, NextLink, Reference, RepositoryName, Tag};

use super::{Access, LIST_MAX_BYTES, Registry, Request};
use crate::{Blob, Document, Error, Source};

pub(super) const DIGEST_HEADER: HeaderName = HeaderName::from_static("docker-content-digest");

/// How many names a page is asked for.
const PAGE: u32 = 1_000;

/// Most names of one list.
const NAMES_MAX: usize = 2_000_000;

#[derive(Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Referrers {
    #[serde(default)]
    manifests: Vec<Value>,
}

#[async_trait]
impl Source for Registry {
    async fn repositories(&self) -> Result<Vec<String>, Error> {
        let doing = "list its repositories";
        let pages = self.pages(self.url(&format!("_catalog?n={PAGE}"))?, Access::Catalog, doing).await;
        let pages: Vec<Catalog> =
            pages?.ok_or_else(|| Error::Absent(format!("a list of repositories at {}", self.address())))?;
        Ok(pages.into_iter().flat_map(|page| page.repositories.unwrap_or_default()).collect())
    }

    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<String>, Error> {
        let url = self.repository_url(repository, &format!("tags/list?n={PAGE}"))?;
        let pages = self.pages(url, Access::Pull(repository), &format!("list the tags of {repository}")).await;
        let pages: Vec<Tags> = pages?.ok_or_else(|| Error::Absent(repository.to_string()))?;
        Ok(pages.into_iter().flat_map(|page| page.tags.unwrap_or_default()).collect())
    }

    async fn untagged(&self, _repository: &RepositoryName) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    fn lists_untagged(&self) -> bool {
        false
    }

    async fn resolve(&self, repository: &RepositoryName, tag: &Tag) -> Result<Digest, Error> {
        let reference = Reference::Tag(tag.clone());
        match self.find(repository, &reference).await? {
            Some(Some(digest)) => Ok(digest),
            // Some registries do not say it in an answer to HEAD.
            Some(None) => Ok(self.document(repository, &reference).await?.digest),
            None => Err(Error::Absent(format!("{repository}:{tag}"))),
        }
    }

    async fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document, Error> {
        self.document(repository, &Reference::Digest(*digest)).await
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Blob, Error> {
        let url = self.repository_url(repository, &format!("blobs/{digest}"))?;
        let doing = format!("give {repository}@{digest}");
        let response = self.send(Request::new(Method::GET, url, Access::Pull(repository), doing.clone())).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Error::Absent(format!("{repository}@{digest}"))),
            _ => return Err(self.refusal(&doing, response).await),
        }
        let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let size_bytes = length.ok_or_else(|| {
            Error::damaged(format!("{repository}@{digest}"), format!("{} does not say how long it is", self.address()))
        })?;
        let server = self.address();
        let broke_off = move |error| Error::BrokeOff { server: server.clone(), why: super::innermost(error) };
        Ok(Blob { size_bytes, bytes: response.bytes_stream().map_err(broke_off).boxed() })
    }

    async fn referrers(&self, repository: &RepositoryName, subject: &Digest) -> Result<Vec<Digest>, Error> {
        let parse = |referrer: Value| {
            let unreadable = |error| {
                Error::damaged(format!("the list of what refers to {repository}@{subject}"), format!("{error}"))
            };
            referrer["digest"].as_str().unwrap_or_default().parse().map_err(unreadable)
        };
        self.referrer_list(repository, subject).await?.into_iter().map(parse).collect()
    }
}

impl Registry {
    /// The descriptors of what refers to `subject`, as the registry writes them; empty where it keeps no such list.
    ///
    /// # Errors
    ///
    /// As those of [`Source::referrers`].
    pub async fn referrer_list(&self, repository: &RepositoryName, subject: &Digest) -> Result<Vec<Value>, Error> {
        let url = self.repository_url(repository, &format!("referrers/{subject}"))?;
        let doing = format!("list what refers to {repository}@{subject}");
        // A registry of before the specification's version 1.1 has no such list.
        let pages: Option<Vec<Referrers>> = self.pages(url, Access::Pull(repository), &doing).await?;
        Ok(pages.unwrap_or_default().into_iter().flat_map(|page| page.manifests).collect())
    }

    /// Whether the server is there, is a registry, and knows who asks, or does not want to know.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::NotLoggedIn`], [`Error::Refused`].
    pub async fn ping(&self) -> Result<(), Error> {
        let doing = "say that it is a registry";
        let request = Request::new(Method::GET, self.url("")?, Access::Catalog, doing.to_owned());
        // Nobody in particular would be given a token, too, which is good for pulling at most.
        let response = if self.is_anonymous() { self.attempt(&request).await? } else { self.send(request).await? };
        if response.status() == StatusCode::OK { Ok(()) } else { Err(self.refusal(doing, response).await) }
    }

    /// A manifest with its bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Absent`]; [`Error::Damaged`] if it is not what its digest says.
    pub async fn document(&self, repository: &RepositoryName, reference: &Reference) -> Result<Document, Error> {
        let doing = format!("give the manifest {reference} of {repository}");
        let response = self.send(self.manifest_request(Method::GET, repository, reference, &doing)?).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Error::Absent(named(repository, reference))),
            _ => return Err(self.refusal(&doing, response).await),
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok().map(str::to_owned));
        let (content_type, said) = (header(CONTENT_TYPE), header(DIGEST_HEADER));
        let body = self.read(response, MANIFEST_MAX_BYTES).await?;
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(_) => match said.map(|said| said.parse()) {
                Some(Ok(digest)) => digest,
                Some(Err(error)) => return Err(Error::damaged(named(repository, reference), format!("{error}"))),
                None => Digest::of(wharf_oci::Algorithm::Sha256, &body),
            },
        };
        // What says that it is anything is nothing in particular: then the manifest says itself what it is.
        let content_type = content_type.filter(|text| text.contains("manifest") || text.contains("image.index"));
        Document::new(digest, content_type, body)
    }

    /// Whether a manifest is there, and its digest if the server says it.
    pub(super) async fn find(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<Option<Digest>>, Error> {
        let doing = format!("say whether there is {reference} in {repository}");
        let response = self.send(self.manifest_request(Method::HEAD, repository, reference, &doing)?).await?;
        match response.status() {
            StatusCode::OK => Ok(Some(digest(response.headers()))),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(&doing, response).await),
        }
    }

    pub(super) fn manifest_request<'a>(
        &self,
        method: Method,
        repository: &'a RepositoryName,
        reference: &Reference,
        doing: &str,
    ) -> Result<Request<'a>, Error> {
        let url = self.repository_url(repository, &format!("manifests/{reference}"))?;
        let kinds =
            [ManifestKind::OciIndex, ManifestKind::DockerList, ManifestKind::OciManifest, ManifestKind::DockerManifest];
        let accepted = kinds.map(ManifestKind::as_str).join(", ");
        Ok(Request::new(method, url, Access::Pull(repository), doing.to_owned()).header(ACCEPT, &accepted))
    }

    /// All pages of a list; `None` if the server knows no such list.
    async fn pages<T: DeserializeOwned>(
        &self,
        first: Url,
        access: Access<'_>,
        doing: &str,
    ) -> Result<Option<Vec<T>>, Error> {
        let mut pages = Vec::new();
        let mut next = Some(first);
        while let Some(url) = next {
            let response = self.send(Request::new(Method::GET, url.clone(), access, doing.to_owned())).await?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND if pages.is_empty() => return Ok(None),
                _ => return Err(self.refusal(doing, response).await),
            }
            next = self.next(&url, &response)?;
            let body = self.read(response, LIST_MAX_BYTES).await?;
            let page = serde_json::from_slice(&body)
                .map_err(|error| Error::damaged(self.address(), format!("when asked to {doing} it sends: {error}")))?;
            pages.push(page);
            if pages.len() > NAMES_MAX / PAGE as usize {
                return Err(Error::damaged(self.address(), "a list has no end".to_owned()));
            }
        }
        Ok(Some(pages))
    }

    /// Where a list goes on; only ever at the same server.
    fn next(&self, page: &Url, response: &Response) -> Result<Option<Url>, Error> {
        let Some(header) = response.headers().get(LINK) else { return Ok(None) };
        let unreadable = |how: String| Error::damaged(self.address(), format!("a list goes on nowhere: {how}"));
        let header = header.to_str().map_err(|error| unreadable(error.to_string()))?;
        let Some(link) = NextLink::parse(header).map_err(|error| unreadable(error.to_string()))? else {
            return Ok(None);
        };
        let url = page.join(&link.target).map_err(|error| unreadable(error.to_string()))?;
        if url.origin() == page.origin() { Ok(Some(url)) } else { Err(unreadable(format!("{url} is another server"))) }
    }
}

pub(super) fn named(repository: &RepositoryName, reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => format!("{repository}:{tag}"),
        Reference::Digest(digest) => format!("{repository}@{digest}"),
    }
}

pub(super) fn digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(DIGEST_HEADER)?.to_str().ok()?.parse().ok()
}
