//! What a copy came to.

use serde::Serialize;

/// How many problems are kept by name; more are counted.
pub(crate) const PROBLEMS_MAX: usize = 10_000;

/// Counts of what was copied and of what was there already, and what could not be copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Tags that point at the target as they do at the source.
    pub tags: u64,
    /// Manifests that were copied.
    pub manifests_copied: u64,
    /// Manifests that were at the target already.
    pub manifests_there: u64,
    /// Blobs that were copied.
    pub blobs_copied: u64,
    /// Their bytes.
    pub bytes_copied: u64,
    /// Blobs that were taken over from another repository of the target.
    pub blobs_mounted: u64,
    /// Blobs that were in the target's repository already.
    pub blobs_there: u64,
    /// What could not be copied; at most 10 000, the others are only counted.
    pub problems: Vec<Problem>,
    /// How many problems there were.
    pub problems_total: u64,
}

/// Something that could not be copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What, by its name at the source: a repository, `REPOSITORY:TAG` or `REPOSITORY@DIGEST`.
    pub what: String,
    /// Why not.
    pub why: String,
}
