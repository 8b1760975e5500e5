//! What the servers of the suite keep their registries in: everything in the data directory, or what `WHARF_TEST_METADATA=postgres`
//! and `WHARF_TEST_STORAGE=s3` name, each server in a database or below a prefix of its own.
//!
//! A test that cannot be told on other engines, or that names its engines itself, ends there at once
//! ([`only_in_the_embedded_run!`](crate::only_in_the_embedded_run)); `embedded_run` keeps the list of these.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use wharf_testkit::{PostgresDatabase, PostgresServer};

use super::bucket::Shelf;

/// Ends the test unless the suite runs on the embedded default. The reason is for readers of `embedded_run.txt`.
#[macro_export]
macro_rules! only_in_the_embedded_run {
    ($reason:literal) => {
        if $crate::harness::engines::are_elsewhere() {
            return;
        }
    };
}

/// Where a registry's metadata and content are, if not in its data directory.
#[derive(Clone, Debug, Default)]
pub struct Engines {
    pub metadata: Option<PostgresDatabase>,
    pub content: Option<Shelf>,
}

impl Engines {
    /// What commands are told of them.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let metadata = self.metadata.as_ref().map(|database| ("WHARF_METADATA__URL", OsString::from(&database.url)));
        metadata.into_iter().chain(self.content.iter().flat_map(Shelf::environment)).collect()
    }

    /// Whether several processes may use the registry at the same time.
    pub fn are_shared(&self) -> bool {
        self.metadata.is_some() && self.content.is_some()
    }
}

/// Data directories that a server of the suite has begun, and what it keeps elsewhere.
static BEGUN: LazyLock<Mutex<HashMap<PathBuf, Engines>>> = LazyLock::new(Mutex::default);

fn begun() -> MutexGuard<'static, HashMap<PathBuf, Engines>> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the suite runs on anything but the embedded default.
pub fn are_elsewhere() -> bool {
    is_metadata_elsewhere() || is_content_elsewhere()
}

fn is_content_elsewhere() -> bool {
    is_chosen("WHARF_TEST_STORAGE", "directory", "s3")
}

fn is_metadata_elsewhere() -> bool {
    is_chosen("WHARF_TEST_METADATA", "embedded", "postgres")
}

fn is_chosen(variable: &str, default: &str, other: &str) -> bool {
    match std::env::var(variable) {
        Ok(chosen) if chosen == other => true,
        Ok(chosen) if chosen != default => panic!("{variable} is {chosen}; it may be {default} or {other}"),
        _ => false,
    }
}

/// The engines of a server that starts on this data directory: those that it was begun with, or its first. What is being restored, or
/// was, has its content in the directory, and a database that PostgreSQL takes over.
pub fn begin(data: &Path) -> Engines {
    begun().entry(data.to_owned()).or_insert_with(|| of_a_new_one(data)).clone()
}

fn of_a_new_one(data: &Path) -> Engines {
    let is_restored = data.join("wharf.id").exists();
    Engines {
        metadata: is_metadata_elsewhere().then(|| PostgresServer::shared().database()),
        content: (is_content_elsewhere() && !is_restored).then(|| Shelf::of(data)),
    }
}

/// The engines of a server that has begun; none if nobody has.
pub fn of(data: &Path) -> Engines {
    begun().get(data).cloned().unwrap_or_default()
}

/// Lets nobody wait for a process that is gone: until its leases have run out, other replicas do nothing that it did. That they wait
/// so long, and not longer, is what the tests of replicas are about.
pub fn nobody_else_is_there(data: &Path) {
    let engines = of(data);
    if let Some(database) = engines.metadata.as_ref().filter(|_| engines.are_shared()) {
        // A process may have died before it made the table.
        let end = "if to_regclass('leases') is not null then update leases set until_us = 0; end if;";
        database.sql(&format!("do $$ begin {end} end $$"));
    }
}
