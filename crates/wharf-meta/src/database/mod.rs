//! The interface of this crate over any database that runs questions and changes: what they do stands in the file of their
//! noun, and here is which of them each method runs.

mod backing_up;
mod browsing;
mod checking;
mod collecting;
mod identities;
mod leasing;
mod mending;
mod metadata;
mod undoing;
mod usage;

use std::fmt::Debug;
use std::future::Future;

use crate::memory::Memory;
use crate::snapshot::Copied;
use crate::sql::{self, Tx};
use crate::{DatabaseFigures, DiskRefusal, Result, Snapshot, Tally};

/// A database: who answers questions, who makes changes, and what else differs.
///
/// What is asked and done owns all it needs, because it may run on another thread and more than once: a transaction that
/// gave way to another begins anew.
pub(crate) trait Database: Send + Sync + Debug + 'static {
    /// Answers `question`, which changes nothing.
    fn read<T, F>(&self, doing: &'static str, question: F) -> impl Future<Output = Result<T>> + Send
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> sql::Result<T> + Send + 'static;

    /// Runs `work` in a transaction and answers when that is on stable storage; it runs to its end even if the caller stops
    /// waiting.
    fn write<T, F>(&self, doing: &'static str, work: F) -> impl Future<Output = Result<T>> + Send
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> sql::Result<T> + Send + 'static;

    /// As [`write`](Self::write), for the last change under a lease, which ends it: `work` gives the lease back, and that shows
    /// whether it was still the same.
    fn write_last<T, F>(&self, doing: &'static str, work: F) -> impl Future<Output = Result<T>> + Send
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> sql::Result<T> + Send + 'static,
    {
        self.write(doing, work)
    }

    /// As [`write`](Self::write), for a single statement that may be run twice and is under no lease: it needs no transaction
    /// around it.
    fn write_alone<T, F>(&self, doing: &'static str, work: F) -> impl Future<Output = Result<T>> + Send
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> sql::Result<T> + Send + 'static,
    {
        self.write(doing, work)
    }

    /// What was read and still holds, where changes of other processes cannot go unnoticed.
    fn memory(&self) -> Option<&Memory> {
        None
    }

    /// As [`Leasing::is_shared`](crate::Leasing::is_shared).
    fn is_shared(&self) -> bool {
        false
    }

    /// As [`Identities::changed`](crate::Identities::changed).
    fn changed(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// As [`Metadata::storage_failed`](crate::Metadata::storage_failed).
    fn storage_failed(&self) -> impl Future<Output = ()> + Send;

    /// As [`Metadata::disk_refused`](crate::Metadata::disk_refused).
    fn disk_refused(&self) -> impl Future<Output = DiskRefusal> + Send;

    /// As [`Metadata::figures`](crate::Metadata::figures).
    fn figures(&self) -> DatabaseFigures;

    /// As [`Metadata::close`](crate::Metadata::close).
    fn close(&self) -> impl Future<Output = Result<()>> + Send;

    /// As [`Checking::check_database`](crate::Checking::check_database).
    fn check(&self, thorough: bool) -> impl Future<Output = Result<Vec<String>>> + Send;

    /// As [`BackingUp::take_snapshot`](crate::BackingUp::take_snapshot).
    fn copy(&self, what: Copied) -> impl Future<Output = Result<Snapshot>> + Send;

    /// As [`BackingUp::tally`](crate::BackingUp::tally).
    fn tally(&self) -> impl Future<Output = Result<Tally>> + Send;
}
