use std::io;
use std::path::PathBuf;

use wharf_oci::Digest;

/// Why the store did not do what it was asked for. "Not there" is never an error, and an error never means "not
/// there" (R-025).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The uploaded bytes do not hash to the digest that the client named. The staged content is gone.
    #[error("the content has digest {actual}, not {expected}")]
    DigestMismatch {
        /// What the client named. Boxed so that results stay small.
        expected: Box<Digest>,
        /// What the bytes hash to.
        actual: Box<Digest>,
    },
    /// The disk or a quota is full (`ENOSPC`, `EDQUOT`).
    #[error("no space left in the data directory")]
    NoSpace,
    /// The staged content is gone, shorter than the checkpoint, or not what the checkpoint was taken of.
    #[error("the staged content of this upload is lost; the upload has to begin again")]
    StagedLost,
    /// Another writer of the same upload is alive.
    #[error("another request is writing to this upload")]
    Busy,
    /// The writer failed, or was abandoned in the middle of a call, and cannot go on.
    #[error("an earlier write of this upload failed; continue from its last recorded offset")]
    Broken,
    /// What is stored under the digest is not what the store put there (B-139).
    #[error("the stored content of {digest} is damaged: {reason}")]
    Damaged {
        /// Whose content.
        digest: Digest,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A sync failed: the disk may have lost what it had accepted. Whatever was to be synced has been dropped,
    /// because a second try could succeed without having written anything.
    #[error("syncing while {doing}")]
    Sync {
        /// What was being done.
        doing: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The data directory is not at its path any more: moved, removed, or something is mounted over it. What is written
    /// now would be found by nobody.
    #[error("the data directory is not at {} any more", path.display())]
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// The bucket does not answer, or says that it cannot now; later it may.
    #[error("{doing}: the bucket does not do its part now")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// What was seen of it.
        #[source]
        source: io::Error,
    },
    /// The operating system, or the bucket, refused something else.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// Why a data directory was not opened. Nothing in it has been changed, but for what was missing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns the directory (B-136).
    #[error("the data directory {} is already in use by {}", path.display(), owner(*pid))]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The process that owns it, if it left a readable number.
        pid: Option<u32>,
    },
    /// The directory does not exist and neither does its parent, so that a misspelled path creates nothing.
    #[error("the data directory {} cannot be created because its parent does not exist; create the parent first", path.display())]
    NoParent {
        /// The data directory.
        path: PathBuf,
    },
    /// The path names something else, for example a symbolic link.
    #[error("{} is not a directory; name the directory itself, not a link to it", path.display())]
    NotADirectory {
        /// The data directory.
        path: PathBuf,
    },
    /// The directory belongs to another user (S-083).
    #[error("the data directory {} belongs to user {owner}, but this process runs as user {us}; change one of them", path.display())]
    OtherOwner {
        /// The data directory.
        path: PathBuf,
        /// The numeric user id it belongs to.
        owner: u32,
        /// The effective user id of this process.
        us: u32,
    },
    /// Locks and syncs of a network file system do not hold what the store promises.
    #[error("the data directory {} is on a network file system ({kind}); use a local disk", path.display())]
    NetworkFileSystem {
        /// The data directory.
        path: PathBuf,
        /// Which file system.
        kind: &'static str,
    },
    /// A rename from `uploads` to `layers` would not be one step.
    #[error("{name} is on another file system than the data directory {}; put both on the same one", path.display())]
    SplitFileSystem {
        /// The data directory.
        path: PathBuf,
        /// The entry that is elsewhere.
        name: &'static str,
    },
    /// `wharf.id` says that this is a store, but a part of it is missing, for example not mounted or not restored.
    #[error("the data directory {} has no {name}; mount it or restore it from a backup", path.display())]
    Incomplete {
        /// The data directory.
        path: PathBuf,
        /// The entry that is missing.
        name: &'static str,
    },
    /// A later version of this program laid the directory out.
    #[error("the data directory {} has layout {found}, but this program knows layouts up to {known}; use a newer program", path.display())]
    NewerLayout {
        /// The data directory.
        path: PathBuf,
        /// The layout of the directory.
        found: u32,
        /// The newest layout that this program reads.
        known: u32,
    },
    /// A backup was being restored into the directory, and that never came to its end.
    #[error("the data directory {} is not complete: restoring a backup into it was broken off; run `wharf restore` again", path.display())]
    Unfinished {
        /// The data directory.
        path: PathBuf,
    },
    /// The file `wharf.id` does not say which store this is.
    #[error("wharf.id in {} is unreadable: {reason}; restore it from a backup", path.display())]
    BadId {
        /// The data directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The operating system refused something else.
    #[error("{doing} in the data directory {}", path.display())]
    Io {
        /// The data directory.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}

/// Why a bucket was not opened. Nothing in it has been changed, but for its name if it had none.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// What is configured makes no client of a bucket.
    #[error("the settings of the bucket {bucket} do not fit together")]
    Settings {
        /// The bucket.
        bucket: String,
        /// What is wrong with them.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The certificates that the bucket is to be known by cannot be read.
    #[error("the certificates in {} cannot be used for the bucket", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object `wharf.id` does not say which store this is.
    #[error("wharf.id in {place} is unreadable: {reason}; restore it from a backup")]
    BadId {
        /// The bucket and the prefix.
        place: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A later version of this program laid the objects out.
    #[error("{place} has layout {found}, but this program knows layouts up to {known}; use a newer program")]
    NewerLayout {
        /// The bucket and the prefix.
        place: String,
        /// The layout that is there.
        found: u32,
        /// The newest layout that this program knows.
        known: u32,
    },
    /// The bucket lacks something that content depends on.
    #[error("{place} {lacks}")]
    Lacks {
        /// The bucket and the prefix.
        place: String,
        /// What it lacks, and what follows from it.
        lacks: &'static str,
    },
    /// The bucket does not answer, or refuses.
    #[error("asking {place}")]
    Refused {
        /// The bucket and the prefix.
        place: String,
        /// What was seen.
        #[source]
        source: Error,
    },
}
