//! `/v2/<name>/blobs/uploads/` (end-4a … end-6, end-11, end-13, end-14; protocol checklist §9 … §12).

use http::StatusCode;
use http::header::{CONTENT_RANGE, HeaderName, LOCATION, RANGE};
use wharf_base::UploadId;
use wharf_oci::{Algorithm, Code, ContentRange, Digest, DigestError, RepositoryName};
use wharf_policy::{Authorized, Push};
use wharf_registry::{Chunk, Error, Mounted, UploadStatus};

use super::blobs::DIGEST;
use super::{Answer, Call, Failure, blob_path};
use crate::body::RequestBody;
use crate::reply::{Reply, header_value};

const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// POST: opens a session, or mounts a blob, or takes a whole one. `mount` wins over `digest` (P-159).
pub(super) async fn begin(ok: &Authorized<Push>, call: &Call, body: RequestBody) -> Answer {
    if let Some(digest) = call.query.first("mount") {
        return mount(ok, call, parse(digest)?).await;
    }
    if let Some(digest) = call.query.first("digest") {
        let digest = parse(digest)?;
        // Without a body this is a client that will PUT it, unless the blob is the empty one (P-149, P-150).
        if !body.is_empty() || digest == Digest::of(digest.algorithm(), &[]) {
            let finished = call.app.parts.registry.push_blob(ok, digest, chunk(call, body, None)).await?;
            return Ok(created(call, ok.repository(), &finished.digest));
        }
    }
    let algorithm = match call.query.first("digest-algorithm") {
        Some(name) => name.parse().map_err(|error| Failure::digest_invalid(&error))?,
        None => Algorithm::Sha256,
    };
    let status = call.app.parts.registry.begin_upload(ok, algorithm).await?;
    Ok(session(StatusCode::ACCEPTED, call, ok.repository(), status))
}

/// A `from` that is no name is a source that does not exist (P-153); it must not turn into "from anywhere".
async fn mount(ok: &Authorized<Push>, call: &Call, digest: Digest) -> Answer {
    let registry = &call.app.parts.registry;
    let mounted = match call.query.first("from").map(str::parse::<RepositoryName>) {
        Some(Ok(source)) => registry.mount(ok, digest, Some(&source)).await,
        None => registry.mount(ok, digest, None).await,
        Some(Err(_)) => registry.begin_upload(ok, Algorithm::Sha256).await.map(Mounted::Upload),
    };
    let mounted = mounted.map_err(|error| match error {
        Error::SourceScope => call.demand().scope_missing(),
        error => error.into(),
    });
    match mounted? {
        Mounted::Blob(digest) => Ok(created(call, ok.repository(), &digest)),
        Mounted::Upload(status) => Ok(session(StatusCode::ACCEPTED, call, ok.repository(), status)),
    }
}

/// PATCH: appends a chunk.
pub(super) async fn append(ok: &Authorized<Push>, call: &Call, session_id: &str, body: RequestBody) -> Answer {
    let id = upload_id(session_id)?;
    let range = chunk_range(ok, call, id).await?;
    match call.app.parts.registry.append(ok, id, chunk(call, body, range)).await {
        Ok(status) => Ok(session(StatusCode::ACCEPTED, call, ok.repository(), status)),
        Err(error) => Err(refused(error, call, ok.repository(), id)),
    }
}

/// PUT: takes the last chunk, if any, and makes the blob part of the repository. Without a usable digest the session
/// stays as it is, for another try (P-179).
pub(super) async fn finish(ok: &Authorized<Push>, call: &Call, session_id: &str, body: RequestBody) -> Answer {
    let id = upload_id(session_id)?;
    let Some(digest) = call.query.first("digest") else {
        let message = "the query parameter digest is missing; name the digest of the whole blob";
        return Err(Failure::new(StatusCode::BAD_REQUEST, Code::DigestInvalid, message));
    };
    let digest = parse(digest)?;
    let range = chunk_range(ok, call, id).await?;
    match call.app.parts.registry.finish_upload(ok, id, digest, chunk(call, body, range)).await {
        Ok(finished) => Ok(created(call, ok.repository(), &finished.digest)),
        Err(error) => Err(refused(error, call, ok.repository(), id)),
    }
}

/// GET and HEAD: where the session stands.
pub(super) async fn status(ok: &Authorized<Push>, call: &Call, session_id: &str) -> Answer {
    let status = call.app.parts.registry.upload_status(ok, upload_id(session_id)?).await?;
    Ok(session(StatusCode::NO_CONTENT, call, ok.repository(), status))
}

/// DELETE: ends the session.
pub(super) async fn cancel(ok: &Authorized<Push>, call: &Call, session_id: &str) -> Answer {
    call.app.parts.registry.cancel_upload(ok, upload_id(session_id)?).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// Text that is no id names no session (B-045).
fn upload_id(text: &str) -> Result<UploadId, Failure> {
    text.parse().map_err(|_| Error::UploadUnknown.into())
}

/// A digest that something is to be written under (P-047).
fn parse(digest: &str) -> Result<Digest, Failure> {
    digest.parse().map_err(|error: DigestError| Failure::digest_invalid(&error))
}

fn chunk(call: &Call, body: RequestBody, range: Option<ContentRange>) -> Chunk {
    Chunk { range, length_bytes: call.length_bytes(), body: body.into_stream() }
}

/// The chunk's `Content-Range`. One that cannot be read is out of order, and the answer says where to go on (P-166).
async fn chunk_range(ok: &Authorized<Push>, call: &Call, id: UploadId) -> Result<Option<ContentRange>, Failure> {
    let Some(value) = call.inbound.headers.get(CONTENT_RANGE) else { return Ok(None) };
    if let Some(range) = value.to_str().ok().and_then(|value| value.parse().ok()) {
        return Ok(Some(range));
    }
    let status = call.app.parts.registry.upload_status(ok, id).await?;
    let error = Error::OutOfOrder { offset_bytes: status.offset_bytes };
    Err(refused(error, call, ok.repository(), id))
}

/// The failure; if the client can go on somewhere else in the session, it says where (P-164).
fn refused(error: Error, call: &Call, repository: &RepositoryName, id: UploadId) -> Failure {
    let offset_bytes = match &error {
        Error::OutOfOrder { offset_bytes } | Error::UploadBusy { offset_bytes } => *offset_bytes,
        _ => return error.into(),
    };
    let mut failure = Failure::from(error);
    for (name, value) in session_headers(call, repository, UploadStatus { id, offset_bytes }) {
        failure = failure.with(name, value);
    }
    failure
}

fn session(status_code: StatusCode, call: &Call, repository: &RepositoryName, status: UploadStatus) -> Reply {
    let mut reply = Reply::empty(status_code);
    reply.headers.extend(session_headers(call, repository, status));
    reply
}

/// `Range` counts from 0 to the last byte received; an empty session says `0-0`, as clients expect (P-162).
fn session_headers(
    call: &Call,
    repository: &RepositoryName,
    status: UploadStatus,
) -> [(HeaderName, http::HeaderValue); 3] {
    let last = status.offset_bytes.saturating_sub(1);
    [
        (LOCATION, call.reference(&format!("/v2/{repository}/blobs/uploads/{}", status.id))),
        (RANGE, header_value(&format!("0-{last}"))),
        (UPLOAD_UUID, header_value(&status.id.to_string())),
    ]
}

fn created(call: &Call, repository: &RepositoryName, digest: &Digest) -> Reply {
    Reply::empty(StatusCode::CREATED)
        .with(LOCATION, call.reference(&blob_path(repository, digest)))
        .with(DIGEST, header_value(&digest.to_string()))
}
