//! Everything that must last besides content: names, references, rights to serve, upload sessions.
//!
//! The database is the only truth about what exists: "absent" is an answer (`None`, `false`, an empty
//! page) and never an error; an error never means "absent". [`Metadata`] is the interface that use cases see; each of
//! its methods is one transaction, and a method that changes something returns after that transaction is on stable
//! storage. [`SqliteMetadata`] is the embedded implementation; the suite in `contract` is what every implementation
//! passes.
//!
//! One file per noun holds that noun's statements, the values that cross the interface, and the functions that run
//! inside a transaction, written once against `sql` and run by whichever database there is; `database` says which of
//! them each method runs. `tags` is the only file that moves or removes a tag, `deletion` the only one that removes a
//! manifest (S-015), and `reviews` the only one that asks the collector to look at something.
//!
//! # Order of rows
//!
//! Every transaction touches rows in one order: repository, `gc_reviews` sorted by digest, `blobs`,
//! `repository_blobs`, `manifests`, `tags`. SQLite has one writer and would not notice; a database with row locks would
//! deadlock. The one exception is the review of a manifest that a moved tag displaces, known only once the tag's row
//! has been read.

mod accounts;
mod audit;
mod audit_chain;
mod backing_up;
mod blobs;
mod browsing;
mod changes;
mod check;
mod checked;
mod checking;
mod collecting;
mod collection;
mod collection_log;
mod config;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod database;
mod deletion;
mod error;
mod identities;
mod jobs;
mod kept_answers;
mod keys;
mod leases;
mod leasing;
mod life;
mod manifests;
mod memory;
mod mend;
mod mending;
mod metadata;
mod migrations;
mod postgres;
mod push;
mod referrers;
mod repositories;
mod retention;
mod reviews;
mod rules;
mod sessions;
mod sign_ins;
mod snapshot;
mod sql;
mod sqlite;
#[cfg(test)]
mod statements;
mod tags;
mod tally;
mod tokens;
mod undo;
mod undoing;
mod uploads;
mod usage;

pub use accounts::{Account, AccountChange, ChangeAccount, CreateAccount};
pub use audit::{AuditEntry, AuditFilter, AuditRecord, Outcome, Seal};
pub use audit_chain::{BrokenChain, ChainVerifier, Hash, IntactChain};
pub use backing_up::BackingUp;
pub use blobs::{BlobMount, BlobRecord, RecordBlob};
pub use browsing::{
    Browsing, ContentPortion, HOLDERS_COUNTED_MAX, HeldBlob, ManifestDetails, NAMED_MAX, RepositorySummary,
    TAGS_COUNTED_MAX, TagSummary,
};
pub use changes::Versions;
pub use check::{CheckCursor, Page};
pub use checked::{
    Affected, CheckedBlob, CheckedChange, CheckedChild, CheckedDeleted, CheckedLink, CheckedManifest, CheckedTag,
    CheckedUpload,
};
pub use checking::Checking;
pub use collecting::Collecting;
pub use collection::{Backlog, Hold, PreviewCursor, Releasable, Removal, Reviewed};
pub use collection_log::{ParseCursorError, RemovedBlob, RemovedCursor};
pub use config::Config;
pub use deletion::DeletedManifest;
pub use error::{Error, Result};
pub use identities::{AuditLog, Identities, Rules};
pub use kept_answers::{Claimed, KeptAnswers, WriteClaim};
pub use keys::SigningKey;
pub use leases::{Lease, TakeLease, name_of_upload, under_lease};
pub use leasing::Leasing;
pub use manifests::{ManifestHead, StoredManifest};
pub use mend::Unreviewed;
pub use mending::Mending;
pub use metadata::{DatabaseFigures, DiskRefusal, Metadata};
pub use postgres::{DatabaseUrl, ParseDatabaseUrlError, PostgresConfig, PostgresMetadata, Sharing};
pub use push::{Condition, ManifestRecord, Missing, RecordManifest};
pub use referrers::{Referrer, ReferrerCursor};
pub use retention::{DueManifest, ManifestCursor, Retired, Untagged};
pub use rules::{PolicyRule, RuleText, WriteRule};
pub use sessions::{Session, Sessions};
pub use sign_ins::SignIn;
pub use snapshot::{Content, Moved, MovedContent, Restored};
pub use sqlite::{Snapshot, SqliteConfig, SqliteMetadata};
pub use tally::Tally;
pub use tokens::{ApiToken, CreateToken, NewApiToken, TokenKind};
pub use undo::{Restorable, Restore, TagChange};
pub use undoing::Undoing;
pub use uploads::{Advance, BeginUpload, NewUpload, Upload, UploadLimits, UploadState};
pub use usage::{LargeRepository, Pull, StorageSample, Usage};
