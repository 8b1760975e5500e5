//! Backups in a directory or a bucket, and registries made of them (R-060 … R-066).
//!
//! ```text
//! DIR/wharf-backup                    format and store id
//! DIR/wharf-backup.lock               held by whoever adds or removes
//! DIR/wharf-backup.readers            shared by those who read, held by whoever removes
//! DIR/content/<alg>/<aa>/<hex>        content of all generations
//! DIR/generations/<time>/wharf.db     the database as it was
//! DIR/generations/<time>/content      the digests and sizes that it names, sorted
//! DIR/generations/<time>/generation.json   what this generation is
//! DIR/generations/<time>/SHA256SUMS   of these three; `sha256sum --check` reads it
//! DIR/incomplete/                     what is being made or removed
//! ```
//!
//! Three orders make it safe to be killed anywhere. *Making*: content, then the generation that names it, which is
//! complete and on stable storage before it gets its name. *Removing*: the generation loses its name, then content goes
//! that no generation names. *Restoring*: the new data directory says that it is not complete until it is.
//!
//! Content never changes, so a generation costs a database and the content that was not there yet (R-062).

mod bucket;
mod create;
mod directory;
mod generation;
mod pace;
mod place;
mod prune;
mod restore;
mod scratch;
mod source;
mod verify;

use std::fs::File;
use std::io;
use std::path::Path;

use wharf_base::Timestamp;
use wharf_meta::{AuditRecord, Outcome};
use wharf_policy::AccountType;

use crate::error::{CommandError, Exit};

pub(crate) use bucket::BackupBucket;
pub(crate) use create::{Created, Wish, create, fetch_database, holding};
pub(crate) use directory::BackupDirectory;
pub(crate) use generation::{Choice, Generation, portions};
pub(crate) use pace::Pace;
pub(crate) use place::{Access, BackupPlace, at_place};
pub(crate) use prune::prune;
pub(crate) use restore::{Target, restore, return_blob};
pub(crate) use source::{Blob, Offline, Server, Source};
pub(crate) use verify::{Depth, Verified, verify};

/// What the audit log says about what somebody did who has the machine, and needs no account.
pub(crate) fn record(now: Timestamp, action: &'static str, target: impl ToString) -> AuditRecord {
    AuditRecord {
        at: now,
        request_id: String::new(),
        principal: "wharf".to_owned(),
        account_type: AccountType::System,
        source: None,
        action,
        repository: None,
        target: Some(target.to_string()),
        outcome: Outcome::Done,
        rule_id: None,
        detail: None,
    }
}

/// The error for a file or directory that could not be dealt with.
pub(crate) fn failed(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> CommandError {
    let doing = format!("{doing} {}", path.display());
    move |error| {
        let failed = CommandError::because(exit_of(&error), doing, &error);
        if is_full(&error) { failed.with_hint(MAKE_ROOM) } else { failed }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn exit_of(error: &io::Error) -> Exit {
    if is_full(error) { Exit::NotSynced } else { Exit::Unexpected }
}

/// What helps a full disk.
const MAKE_ROOM: &str = "make room, or prune old generations: wharf backup prune DIR --keep N; then try again";

/// The error of a database in a backup.
pub(crate) fn of_database(error: wharf_meta::Error) -> CommandError {
    use wharf_meta::Error;
    match &error {
        Error::NewerSchema { .. } => CommandError::from_source(Exit::WrongStore, error)
            .with_hint("use the version of Wharf that made the backup, or a newer one"),
        Error::Full { .. } => CommandError::from_source(Exit::NotSynced, error).with_hint(MAKE_ROOM),
        Error::Unavailable { .. } | Error::Closed | Error::StorageFailed { .. } => {
            CommandError::from_source(Exit::Unexpected, error)
        }
        Error::Corrupt { .. }
        | Error::Refused { .. }
        | Error::Server { .. }
        | Error::InUse { .. }
        | Error::OlderReplicas { .. }
        | Error::LeaseLost { .. }
        | Error::OtherStore { .. } => CommandError::from_source(Exit::Broken, error),
    }
}

/// Makes the names in a directory last.
pub(crate) fn sync_directory(path: &Path) -> Result<(), CommandError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("syncing", path))
}

impl From<wharf_store::ArchiveError> for CommandError {
    fn from(error: wharf_store::ArchiveError) -> Self {
        match &error {
            wharf_store::ArchiveError::OtherBytes { .. } => Self::from_source(Exit::Broken, error),
            wharf_store::ArchiveError::Io { source, .. } if is_full(source) => {
                Self::from_source(Exit::NotSynced, error).with_hint(MAKE_ROOM)
            }
            wharf_store::ArchiveError::Bucket(wharf_store::Error::Unavailable { .. }) => {
                Self::from_source(Exit::Unreachable, error).with_hint(bucket::REACH)
            }
            wharf_store::ArchiveError::Io { .. } | wharf_store::ArchiveError::Bucket(_) => {
                Self::from_source(Exit::Unexpected, error)
            }
        }
    }
}
