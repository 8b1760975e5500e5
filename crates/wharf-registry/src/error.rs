use wharf_oci::{Digest, ManifestError, Reference, RepositoryName};

use crate::{BodyError, Trouble};

/// Why a use case was not carried out. One variant per thing that a caller would do differently.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository has no such blob.
    #[error("blob {0} is not in this repository")]
    BlobUnknown(Digest),
    /// The repository has this blob, and it is damaged or lost; a push of the same bytes brings it back.
    #[error("the content of blob {0} was damaged and is set aside; push it again")]
    BlobSetAside(Digest),
    /// The repository has no such manifest or tag.
    #[error("{0} is not a manifest of this repository")]
    ManifestUnknown(Reference),
    /// There is no such repository.
    #[error("repository {0} does not exist")]
    RepositoryUnknown(RepositoryName),
    /// No such upload session for this principal in this repository, or it has ended.
    #[error("this upload session does not exist or has ended; begin another one")]
    UploadUnknown,
    /// The bearer token does not mention the repository to mount from; another one may (P-154).
    #[error("the token does not cover the repository to mount from; fetch one with the scope named")]
    SourceScope,
    /// The chunk does not continue the session; nothing was written.
    #[error("the chunk must begin at byte {offset_bytes}; go on from there")]
    OutOfOrder {
        /// Where the session stands.
        offset_bytes: u64,
    },
    /// Another request is writing to the session; nothing was written.
    #[error("another request is writing to this upload session; ask for its status and go on from there")]
    UploadBusy {
        /// Where the session stands, without what the other request is sending.
        offset_bytes: u64,
    },
    /// The database does not know any more that this request is the one that writes to the session; nothing of it was kept.
    #[error("the upload session was interrupted and stands where it was; ask for its status and go on from there")]
    UploadInterrupted,
    /// The body is not as long as announced; nothing of it was kept.
    #[error("the chunk was announced with {announced_bytes} bytes and has {found_bytes}")]
    SizeInvalid {
        /// From `Content-Range`.
        announced_bytes: u64,
        /// From `Content-Length` or the body itself.
        found_bytes: u64,
    },
    /// The blob would exceed the limit; the session has ended.
    #[error("a blob may have at most {limit_bytes} bytes")]
    BlobTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The session has had as many chunks as it may have; it stands where it was.
    #[error("an upload may have at most {limit} chunks; send larger ones")]
    TooManyChunks {
        /// The limit.
        limit: u32,
    },
    /// Too many open upload sessions.
    #[error("too many uploads are open for this {scope}; finish or cancel some, or try again later")]
    TooManyUploads {
        /// Counted over what: repository, principal or registry.
        scope: &'static str,
    },
    /// Others have had the memory for uploads for too long.
    #[error("the registry is busy with other uploads; try again in a moment")]
    OutOfMemory,
    /// The content is not what the digest says; the session has ended and nothing was kept.
    #[error("the content has digest {actual}, not {expected}")]
    DigestMismatch {
        /// What the client said.
        expected: Box<Digest>,
        /// What the bytes say.
        actual: Box<Digest>,
    },
    /// The body broke off; what had arrived of an upload is kept, the session can go on.
    #[error("reading the request's body")]
    Body(#[from] BodyError),
    /// The manifest is not one.
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestError),
    /// The repository lacks what the manifest names.
    #[error("{} of the blobs and manifests it names are not in this repository; push them first", .0.len())]
    ReferencesMissing(Vec<Digest>),
    /// The same bytes are stored under another media type.
    #[error("manifest {0} is stored with another media type, which never changes")]
    MediaTypeConflict(Digest),
    /// `If-Match` or `If-None-Match` did not hold; nothing was changed.
    #[error("the tag is not in the state that the condition of the request asks for")]
    ConditionFailed,
    /// The registry was configured to take no writes.
    #[error("this registry is read-only")]
    ReadOnly,
    /// The registry takes no writes until somebody has mended what is wrong.
    #[error(
        "the registry takes no writes for now: {0}; reading goes on, and so will writing when an administrator has mended that"
    )]
    WriteProtected(Trouble),
    /// Configuration forbids this deletion.
    #[error("deleting {0} is turned off on this registry")]
    DeletionDisabled(&'static str),
    /// There is no room for it, or less than is kept free; an upload session stands at its last recorded offset.
    #[error(
        "the registry's disk is full; nothing more is taken until images are deleted and collected, or space is added"
    )]
    StorageFull,
    /// Stored content is not what it was.
    #[error("the stored content of {0} is damaged")]
    Damaged(Digest),
    /// There is nothing that could be restored.
    #[error("{0} cannot be restored: it has no such past, or the time to undo it is over")]
    NothingToRestore(Reference),
    /// What a deleted manifest needs is gone as well.
    #[error("{} of the blobs and manifests it needs are gone; push or restore them first", .0.len())]
    ContentGone(Vec<Digest>),
    /// A hold keeps the collector from running.
    #[error("collection is on hold ({id}): {reason}; release the hold first")]
    CollectionHeld {
        /// What it is released by.
        id: String,
        /// Why it was set.
        reason: String,
    },
    /// There is one backup at a time.
    #[error("another backup is being made; wait for its end, at most {} seconds if nobody attends to it", .renewed_within.as_secs())]
    BackupRunning {
        /// How long it lives if nobody renews it.
        renewed_within: std::time::Duration,
    },
    /// There is no such backup: it was ended, it was not renewed in time, or the registry was restarted.
    #[error("this backup has ended; begin another one, which copies only what is missing")]
    BackupUnknown,
    /// What keeps content from being collected was taken away while the backup was being made.
    #[error("the hold on collection was released or ran out while the backup was being made; begin another one")]
    BackupHoldGone,
    /// The database has not been copied yet, or could not be.
    #[error("the snapshot of this backup is not there: {0}")]
    NoSnapshot(String),
    /// The metadata database did not answer; a retry is safe.
    #[error("{doing}")]
    Meta {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: wharf_meta::Error,
    },
    /// The metadata database has been too slow for half a minute.
    #[error("the metadata database has not answered in time for half a minute")]
    DatabaseSlow,
    /// The store did not do its work; a retry is safe.
    #[error("{doing}")]
    Store {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: wharf_store::Error,
    },
    /// Content could not be read.
    #[error("{doing}")]
    Read {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// A check is running already.
    #[error("a check is running; wait for its end, or stop it with `wharf check --stop`")]
    CheckRunning,
    /// A task of ours ended without an answer.
    #[error("a task that carried out the request broke off")]
    TaskLost,
}

impl Error {
    pub(crate) fn meta(doing: &'static str) -> impl FnOnce(wharf_meta::Error) -> Self {
        move |source| match source {
            wharf_meta::Error::Full { .. } => Self::StorageFull,
            source => Self::Meta { doing, source },
        }
    }

    pub(crate) fn store(doing: &'static str) -> impl FnOnce(wharf_store::Error) -> Self {
        move |source| match source {
            wharf_store::Error::DigestMismatch { expected, actual } => Self::DigestMismatch { expected, actual },
            wharf_store::Error::NoSpace => Self::StorageFull,
            wharf_store::Error::StagedLost => Self::UploadUnknown,
            source => Self::Store { doing, source },
        }
    }
}

/// The error and what lies below it, on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}
