//! Every call we make of a bucket: with a time-out, retried where that is safe, refused at once while the breaker is open.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::transport::{Breaker, Open};
use crate::Error;

/// How long one call may take with all its tries, if it has no body that streams.
const CALL_MAX: Duration = Duration::from_secs(60);

/// How much a small object may have that is read into memory.
const SMALL_MAX: u64 = 64 << 20;

/// A bucket, as this store uses it.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) s3: Arc<AmazonS3>,
    pub(super) breaker: Arc<Breaker>,
}

/// What a conditional put came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Created {
    Yes,
    /// There is an object of that key.
    Exists,
}

/// Some objects, and whether there may be more behind the last.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) objects: Vec<ObjectMeta>,
    pub(super) is_last: bool,
}

impl Client {
    /// Writes an object whose key nothing has.
    pub(super) async fn create(&self, key: &Path, body: Bytes) -> Result<Created, Error> {
        let doing = "writing an object to the bucket";
        let put = self.s3.put_opts(key, PutPayload::from(body), PutOptions::from(PutMode::Create));
        match self.call(doing, put).await? {
            Ok(_) => Ok(Created::Yes),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Created::Exists)
            }
            Err(error) => Err(failed(doing)(error)),
        }
    }

    /// Writes an object, whatever its key has.
    pub(super) async fn put(&self, key: &Path, body: Bytes) -> Result<(), Error> {
        let doing = "writing an object to the bucket";
        let put = self.call(doing, self.s3.put(key, PutPayload::from(body))).await?;
        put.map(drop).map_err(failed(doing))
    }

    /// A whole small object; `None`: there is none.
    pub(super) async fn get(&self, key: &Path) -> Result<Option<Bytes>, Error> {
        let doing = "reading an object of the bucket";
        let get = async {
            let got = self.s3.get(key).await?;
            let size_bytes = got.meta.size;
            if size_bytes > SMALL_MAX {
                let source = format!("it has {size_bytes} bytes").into();
                return Err(object_store::Error::Generic { store: "S3", source });
            }
            let mut body = BytesMut::new();
            let mut stream = got.into_stream();
            while let Some(piece) = stream.try_next().await? {
                if (body.len() + piece.len()) as u64 > size_bytes {
                    break;
                }
                body.extend_from_slice(&piece);
            }
            if body.len() as u64 != size_bytes {
                let source = "it was cut short on its way".into();
                return Err(object_store::Error::Generic { store: "S3", source });
            }
            Ok(body.freeze())
        };
        match self.call(doing, get).await? {
            Ok(body) => Ok(Some(body)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(doing)(error)),
        }
    }

    /// What is known of an object without reading it; `None`: there is none.
    pub(super) async fn head(&self, key: &Path) -> Result<Option<ObjectMeta>, Error> {
        let doing = "looking at an object of the bucket";
        match self.call(doing, self.s3.head(key)).await? {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(doing)(error)),
        }
    }

    /// The bytes of `range` (end exclusive, not empty) as they arrive, and the size of the whole object; `None`: there is none.
    pub(super) async fn stream(
        &self,
        key: &Path,
        range: std::ops::Range<u64>,
    ) -> Result<Option<(u64, BoxStream<'static, object_store::Result<Bytes>>)>, Error> {
        let doing = "reading an object of the bucket";
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        match self.call(doing, self.s3.get_opts(key, options)).await? {
            Ok(got) => {
                let size_bytes = got.meta.size;
                Ok(Some((size_bytes, got.into_stream().boxed())))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(doing)(error)),
        }
    }

    /// That there is none is success.
    pub(super) async fn delete(&self, key: &Path) -> Result<(), Error> {
        let doing = "removing an object from the bucket";
        match self.call(doing, self.s3.delete(key)).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(doing)(error)),
        }
    }

    /// Up to `limit` objects below `prefix` whose keys come after `after`, in the order of their keys.
    pub(super) async fn list(&self, prefix: &Path, after: Option<&Path>, limit: usize) -> Result<Page, Error> {
        let doing = "listing the bucket";
        let prefix = if prefix.as_ref().is_empty() { String::new() } else { format!("{prefix}/") };
        let mut options = PaginatedListOptions {
            offset: after.map(|after| after.to_string()),
            max_keys: Some(limit),
            ..PaginatedListOptions::default()
        };
        let mut objects: Vec<ObjectMeta> = Vec::new();
        loop {
            let listed = self.s3.list_paginated(Some(&prefix), options.clone());
            let listed = self.call(doing, listed).await?.map_err(failed(doing))?;
            objects.extend(listed.result.objects);
            if listed.page_token.is_none() || objects.len() >= limit {
                objects.sort_by(|one, other| one.location.cmp(&other.location));
                return Ok(Page { objects, is_last: listed.page_token.is_none() });
            }
            options.page_token = listed.page_token;
        }
    }

    /// The names directly below `prefix`: of objects, and of what has more below it.
    pub(super) async fn names(&self, prefix: &Path) -> Result<Vec<Path>, Error> {
        let doing = "listing the bucket";
        let prefix = if prefix.as_ref().is_empty() { None } else { Some(prefix) };
        let listed = self.call(doing, self.s3.list_with_delimiter(prefix)).await?.map_err(failed(doing))?;
        let objects = listed.objects.into_iter().map(|object| object.location);
        Ok(objects.chain(listed.common_prefixes).collect())
    }

    pub(super) async fn begin_parts(&self, key: &Path) -> Result<String, Error> {
        let doing = "beginning a multipart upload";
        self.call(doing, self.s3.create_multipart(key)).await?.map_err(failed(doing))
    }

    /// Parts are counted from 0.
    pub(super) async fn put_part(&self, key: &Path, id: &str, number: usize, body: Bytes) -> Result<String, Error> {
        let doing = "uploading a part";
        let id = id.to_owned();
        let put = self.s3.put_part(key, &id, number, PutPayload::from(body));
        let put = self.call(doing, put).await?;
        put.map(|part| part.content_id).map_err(failed(doing))
    }

    /// Makes one object of the parts. What a second completion of the same is answered differs from server to server, so
    /// an error is one only if the object is not there afterwards.
    pub(super) async fn complete(
        &self,
        key: &Path,
        id: &str,
        parts: Vec<String>,
        size_bytes: u64,
    ) -> Result<(), Error> {
        let doing = "completing a multipart upload";
        let id = id.to_owned();
        let parts = parts.into_iter().map(|content_id| PartId { content_id }).collect();
        let completed = self.call(doing, self.s3.complete_multipart(key, &id, parts)).await;
        let is_there = self.head(key).await?.is_some_and(|meta| meta.size == size_bytes);
        match completed {
            _ if is_there => Ok(()),
            Ok(Ok(_)) => Err(Error::Io { doing, source: std::io::Error::other("the object has another size") }),
            Ok(Err(error)) => Err(failed(doing)(error)),
            Err(error) => Err(error),
        }
    }

    /// That there is none is success.
    pub(super) async fn abort(&self, key: &Path, id: &str) -> Result<(), Error> {
        let doing = "ending a multipart upload";
        let id = id.to_owned();
        match self.call(doing, self.s3.abort_multipart(key, &id)).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(doing)(error)),
        }
    }

    pub(super) async fn link(&self, key: &Path, content_type: &str, lifetime: Duration) -> Result<String, Error> {
        let doing = "signing an address in the bucket";
        let options = SignedUrlOptions::default().with_query([("response-content-type", content_type)]);
        let signed = self.s3.signed_url_opts(Method::GET, key, lifetime, &options);
        let signed = self.call(doing, signed).await?;
        signed.map(String::from).map_err(failed(doing))
    }

    async fn call<T>(
        &self,
        doing: &'static str,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<object_store::Result<T>, Error> {
        match tokio::time::timeout(CALL_MAX, call).await {
            Ok(answer) => Ok(answer),
            Err(_) => {
                self.breaker.failed();
                let source = std::io::Error::new(std::io::ErrorKind::TimedOut, "it took longer than a minute");
                Err(Error::Unavailable { doing, source })
            }
        }
    }
}

/// An error of the bucket as one of the store: whether it may be better in a moment, or somebody has to do something.
pub(super) fn failed(doing: &'static str) -> impl Fn(object_store::Error) -> Error {
    move |error| {
        let is_refusal = matches!(
            error,
            object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }
                | object_store::Error::NotImplemented { .. }
                | object_store::Error::NotSupported { .. }
                | object_store::Error::InvalidPath { .. }
                | object_store::Error::UnknownConfigurationKey { .. }
        );
        let is_gone = matches!(error, object_store::Error::NotFound { .. });
        let kind = match &error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                std::io::ErrorKind::PermissionDenied
            }
            object_store::Error::NotFound { .. } => std::io::ErrorKind::NotFound,
            _ => std::io::ErrorKind::Other,
        };
        let is_unsent = has_cause::<Open>(&error);
        let is_final = is_refusal || is_gone || is_client_error(&error);
        let source = std::io::Error::new(kind, error);
        if is_unsent || !is_final { Error::Unavailable { doing, source } } else { Error::Io { doing, source } }
    }
}

fn has_cause<E: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether the bucket answered that the request itself is wrong; another try gets the same answer. The library says so in
/// words only.
fn is_client_error(error: &object_store::Error) -> bool {
    let text = error.to_string();
    let Some((_, status)) = text.split_once("non-2xx status code: ") else { return false };
    let status: String = status.chars().take_while(char::is_ascii_digit).collect();
    status.starts_with('4') && status != "408" && status != "429"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_try_cannot_change_is_told_from_what_it_can() {
        for (text, is_final) in [
            (
                "Error performing PUT http://s3/b/k in 5ms - Server returned non-2xx status code: 400 Bad Request: no",
                true,
            ),
            ("Server returned non-2xx status code: 404 Not Found: NoSuchUpload", true),
            ("Server returned non-2xx status code: 429 Too Many Requests: later", false),
            ("Server returned non-2xx status code: 503 Service Unavailable: 400 non-2xx status code: 400", false),
            ("connection reset", false),
        ] {
            let error = object_store::Error::Generic { store: "S3", source: text.into() };
            let is_io = matches!(failed("testing")(error), Error::Io { .. });
            assert_eq!(is_io, is_final, "{text}");
        }
        let open = object_store::Error::Generic { store: "S3", source: Box::new(Open) };
        assert!(matches!(failed("testing")(open), Error::Unavailable { .. }));
    }
}
