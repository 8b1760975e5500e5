//! Writing to a registry.

use async_trait::async_trait;
use futures_util::StreamExt as _;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, IF_MATCH, LOCATION};
use reqwest::{Body, Method, StatusCode};
use std::sync::{Arc, Mutex, PoisonError};
use url::Url;
use wharf_oci::{Digest, Reference, RepositoryName};

use super::reading::named;
use super::{Access, Registry, Request};
use crate::{Blob, Document, Entry, Error, Target};

#[async_trait]
impl Target for Registry {
    async fn digest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Option<Digest>, Error> {
        match (self.find(repository, reference).await?, reference) {
            (None, _) => Ok(None),
            (Some(Some(digest)), _) => Ok(Some(digest)),
            (Some(None), Reference::Digest(digest)) => Ok(Some(*digest)),
            (Some(None), Reference::Tag(_)) => Ok(Some(self.document(repository, reference).await?.digest)),
        }
    }

    async fn has_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let url = self.repository_url(repository, &format!("blobs/{digest}"))?;
        let doing = format!("say whether there is {digest} in {repository}");
        // Whoever may push is told so that it stays.
        let response = self.send(Request::new(Method::HEAD, url, Access::Push(repository), doing.clone())).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refusal(&doing, response).await),
        }
    }

    async fn mount(&self, into: &RepositoryName, digest: &Digest, from: &RepositoryName) -> Result<bool, Error> {
        let mut url = self.repository_url(into, "blobs/uploads/")?;
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from.as_str());
        let doing = format!("take over {digest} from {from} into {into}");
        let response = self.send(Request::new(Method::POST, url, Access::Push(into), doing.clone())).await?;
        match response.status() {
            StatusCode::CREATED => Ok(true),
            // An upload has begun in its place; it is not needed.
            StatusCode::ACCEPTED => {
                let session = self.location(response.headers())?;
                self.send(Request::new(Method::DELETE, session, Access::Push(into), doing)).await?;
                Ok(false)
            }
            _ => Err(self.refusal(&doing, response).await),
        }
    }

    async fn put_blob(&self, repository: &RepositoryName, digest: &Digest, blob: Blob) -> Result<(), Error> {
        let doing = format!("take {repository}@{digest}");
        let access = Access::Push(repository);
        let begin = self.repository_url(repository, "blobs/uploads/")?;
        let response = self.send(Request::new(Method::POST, begin, access, doing.clone())).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.refusal(&doing, response).await);
        }
        let mut url = self.location(response.headers())?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        // What ends the stream is what went wrong; the request only says that its body ended.
        let fault = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&fault);
        let bytes = blob.bytes.map(move |piece| {
            piece.map_err(|error| {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                std::io::Error::other("the source ended")
            })
        });
        let mut request = self.http.put(url).header(CONTENT_LENGTH, blob.size_bytes).timeout(super::TRANSFER_MAX);
        if let Some(value) = self.keyring.header(&access)? {
            request = request.header(AUTHORIZATION, value);
        }
        let sent = request.header(CONTENT_TYPE, "application/octet-stream").body(Body::wrap_stream(bytes)).send().await;
        if let Some(error) = fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        let response = sent.map_err(|error| self.unreachable(error))?;
        match response.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(self.refusal(&doing, response).await),
        }
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        document: &Document,
        media_type: &str,
        entry: &Entry,
    ) -> Result<(), Error> {
        let reference = match entry {
            Entry::Tag(tag) => Reference::Tag(tag.clone()),
            Entry::Untagged | Entry::Child => Reference::Digest(document.digest),
        };
        self.push(repository, &reference, document, media_type, None).await
    }
}

impl Registry {
    /// Keeps a manifest under a tag or its digest; with `only_if` only while the tag points there.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: something that it names is not there, or with status 412 the tag points elsewhere by now.
    pub async fn push(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        document: &Document,
        media_type: &str,
        only_if: Option<&Digest>,
    ) -> Result<(), Error> {
        let doing = format!("take the manifest {}", named(repository, reference));
        let url = self.repository_url(repository, &format!("manifests/{reference}"))?;
        let mut request = Request::new(Method::PUT, url, Access::Push(repository), doing.clone());
        request.body = document.body.clone();
        request = request.header(CONTENT_TYPE, media_type);
        if let Some(digest) = only_if {
            request = request.header(IF_MATCH, &format!("\"{digest}\""));
        }
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(self.refusal(&doing, response).await),
        }
    }

    /// Deletes a manifest or a tag.
    ///
    /// # Errors
    ///
    /// [`Error::Absent`]; [`Error::Refused`] with status 405 where tags cannot be deleted.
    pub async fn delete(&self, repository: &RepositoryName, reference: &Reference) -> Result<(), Error> {
        let doing = format!("delete {}", named(repository, reference));
        let url = self.repository_url(repository, &format!("manifests/{reference}"))?;
        let response = self.send(Request::new(Method::DELETE, url, Access::Delete(repository), doing.clone())).await?;
        match response.status() {
            StatusCode::ACCEPTED => Ok(()),
            StatusCode::NOT_FOUND => Err(Error::Absent(named(repository, reference))),
            _ => Err(self.refusal(&doing, response).await),
        }
    }

    /// Where an upload goes on; only ever at the same server.
    fn location(&self, headers: &HeaderMap) -> Result<Url, Error> {
        let text = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match self.base.join(text) {
            Ok(url) if !text.is_empty() && url.origin() == self.base.origin() => Ok(url),
            _ => Err(Error::damaged(self.address(), format!("an upload goes on at {text:?}, which is not there"))),
        }
    }
}
