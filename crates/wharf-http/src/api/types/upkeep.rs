//! What keeps the registry: collection, checks, undo, backups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::forms::{CheckModeForm, ClassForm, DigestForm, PatternForm, TagForm, TimeForm};

/// What was collected.
#[derive(Serialize, ToSchema)]
pub(crate) struct CollectionTotals {
    /// Entries looked at.
    pub(crate) reviewed: u64,
    /// Links of a repository to a blob that ended.
    pub(crate) released: u64,
    /// Blobs that nothing needs any more; they go after the trash period.
    pub(crate) condemned: u64,
    /// Their bytes.
    pub(crate) condemned_bytes: u64,
    /// Blobs whose bytes are gone.
    pub(crate) removed: u64,
    /// How many bytes that were.
    pub(crate) removed_bytes: u64,
    /// Deleted manifests that cannot be restored any more.
    pub(crate) forgotten: u64,
    /// Manifests without a tag that a rule let go.
    pub(crate) retired: u64,
    /// Links that the collector had not known of.
    pub(crate) reconciled: u64,
    /// Files that belonged to nothing and are gone.
    pub(crate) orphans: u64,
    /// Their bytes.
    pub(crate) orphan_bytes: u64,
}

/// What waits for the collector. Counts end at 100,000.
#[derive(Serialize, ToSchema)]
pub(crate) struct CollectionBacklog {
    /// Links that will be looked at.
    pub(crate) reviews: u64,
    /// Those whose time has come.
    pub(crate) reviews_due: u64,
    /// When the first of all is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oldest_due: Option<String>,
    /// Blobs that go after the trash period.
    pub(crate) condemned: u64,
    /// Their bytes.
    pub(crate) condemned_bytes: u64,
    /// Blobs that are being removed.
    pub(crate) removals: u64,
}

/// Why nothing is collected.
#[derive(Serialize, ToSchema)]
pub(crate) struct CollectionHold {
    /// What it is released by.
    pub(crate) id: String,
    /// For people.
    pub(crate) reason: String,
    /// When it ends by itself.
    pub(crate) until: String,
}

/// Content that was removed.
#[derive(Serialize, ToSchema)]
pub(crate) struct CollectionRemoval {
    /// Its digest.
    pub(crate) digest: String,
    /// How large it was.
    pub(crate) size_bytes: u64,
    /// The repository that had it last, by its name then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    /// Why it went.
    pub(crate) reason: String,
    /// When nothing needed it any more and nobody could undo that.
    pub(crate) condemned_at: String,
    /// When its bytes went.
    pub(crate) removed_at: String,
}

/// A hold to be set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewHold {
    /// For whoever finds it: at most 200 characters, not all of them blanks.
    #[schema(min_length = 1, max_length = 200, pattern = "\\S")]
    pub(crate) reason: String,
    /// How long: 1 to 8,760.
    #[schema(minimum = 1, maximum = 8_760)]
    pub(crate) hours: u32,
}

/// What the collector is doing.
#[derive(Serialize, ToSchema)]
pub(crate) struct Collection {
    /// Whether it runs by itself.
    pub(crate) enabled: bool,
    /// Whether it is running now.
    pub(crate) running: bool,
    /// How many runs have ended since the start.
    pub(crate) completed_runs: u64,
    /// When the last one ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_run_at: Option<String>,
    /// What the last one failed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
    /// What was done since the start.
    pub(crate) totals: CollectionTotals,
    /// What listing everything came to, the last time since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_sweep: Option<CollectionSweep>,
    /// What waits.
    pub(crate) backlog: CollectionBacklog,
    /// Why nothing is collected; empty when nothing is in the way.
    pub(crate) holds: Vec<CollectionHold>,
}

/// What a run shall do besides collecting what is due.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCollectionRun {
    /// Whether it lists everything and removes files that belong to nothing.
    #[serde(default)]
    pub(crate) orphans: bool,
    /// How many files may go then; without it at most 1,000, and 1 % of all.
    pub(crate) accept_orphans: Option<u64>,
}

/// What listing everything came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct CollectionSweep {
    /// When.
    pub(crate) at: String,
    /// Files with content.
    pub(crate) files: u64,
    /// Files that belonged to nothing.
    pub(crate) orphans: u64,
    /// Their bytes.
    pub(crate) orphan_bytes: u64,
    /// Whether these were so many that nothing was removed.
    pub(crate) stopped: bool,
}

/// A run that was asked for.
#[derive(Serialize, ToSchema)]
pub(crate) struct CollectionRun {
    /// It is over when `completed_runs` has reached this.
    pub(crate) run: u64,
}

/// What a run would do if it began now.
#[derive(Serialize, ToSchema)]
pub(crate) struct CollectionPreview {
    /// By repository.
    pub(crate) repositories: Vec<CollectionPreviewLine>,
    /// Blobs whose bytes would be freed, after the trash period.
    pub(crate) blobs: u64,
    /// How many bytes that are.
    pub(crate) bytes: u64,
    /// Whether all that is due was looked at: at most a million links are.
    pub(crate) complete: bool,
}

/// What a run would do in one repository.
#[derive(Serialize, ToSchema)]
pub(crate) struct CollectionPreviewLine {
    /// Its name.
    pub(crate) repository: String,
    /// Links that would end.
    pub(crate) links: u64,
    /// Bytes that would be freed; content of several repositories counts in the first.
    pub(crate) bytes: u64,
    /// Since when the first of them is due.
    pub(crate) oldest_due: String,
}

/// A check to be begun.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCheck {
    /// `fast` looks at everything but the bytes of blobs, `deep` reads these as well.
    #[schema(value_type = CheckModeForm)]
    pub(crate) mode: String,
    /// Only what belongs to repositories with such a name.
    #[schema(value_type = Option<PatternForm>)]
    pub(crate) repository: Option<String>,
    /// Findings of these classes are repaired, such as `I-07`.
    #[serde(default)]
    #[schema(value_type = Vec<ClassForm>)]
    pub(crate) repair: Vec<String>,
    /// Only say what would be repaired.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// A check that has begun.
#[derive(Serialize, ToSchema)]
pub(crate) struct CheckRun {
    /// Its number since the start.
    pub(crate) number: u64,
}

/// What a check has looked at.
#[derive(Serialize, ToSchema)]
pub(crate) struct CheckTotals {
    /// Blobs.
    pub(crate) blobs: u64,
    /// Bytes of blobs that were read.
    pub(crate) bytes: u64,
    /// Manifests.
    pub(crate) manifests: u64,
    /// Other rows.
    pub(crate) rows: u64,
    /// Files in the data directory.
    pub(crate) files: u64,
}

/// A check.
#[derive(Serialize, ToSchema)]
pub(crate) struct Check {
    /// Its number since the start.
    pub(crate) number: u64,
    /// `fast` or `deep`.
    pub(crate) mode: &'static str,
    /// Only what belongs to repositories with such a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    /// Whether it runs now.
    pub(crate) running: bool,
    /// When it began.
    pub(crate) begun_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<String>,
    /// Why it ended early; then it says nothing about what it had not reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// What it is doing, or did last.
    pub(crate) stage: &'static str,
    /// What it has looked at.
    pub(crate) totals: CheckTotals,
    /// Whether it has found nothing but notes.
    pub(crate) clean: bool,
    /// How many findings that are worth repairing, by class.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// How many notes.
    pub(crate) notes: u64,
    /// How many findings were repaired; they count nowhere else.
    pub(crate) repaired: u64,
}

/// What the scrub, which reads and hashes everything in the background, has done.
#[derive(Serialize, ToSchema)]
pub(crate) struct ScrubStatus {
    /// In which time it reads everything; `0s` when it is turned off.
    pub(crate) period: String,
    /// All content has been read and hashed since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verified_since: Option<String>,
    /// Blobs that it has read since the start.
    pub(crate) blobs: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Blobs that it has found damaged since the start.
    pub(crate) set_aside: u64,
}

/// How what is stored is doing.
#[derive(Serialize, ToSchema)]
pub(crate) struct StoredHealth {
    /// The check that runs or ran last since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<Check>,
    /// Blobs that are damaged or lost and wait for a push. Counting ends at 100,000.
    pub(crate) set_aside: u64,
    /// The scrub.
    pub(crate) scrub: ScrubStatus,
}

/// Something that is not as it should be.
#[derive(Serialize, ToSchema)]
pub(crate) struct CheckFinding {
    /// Which invariant does not hold: `I-01` to `I-21`.
    pub(crate) class: &'static str,
    /// `error`, `warning` or `note`.
    pub(crate) severity: &'static str,
    /// A digest, `repository:tag`, `repository@digest` or a path in the data directory.
    pub(crate) subject: String,
    /// What is wrong.
    pub(crate) problem: String,
    /// The first few tags, or manifests without one, that cannot be pulled because of it.
    pub(crate) affected: Vec<String>,
    /// What to do.
    pub(crate) advice: String,
    /// What the repair that was asked for does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repair: Option<&'static str>,
    /// Whether it has been done.
    pub(crate) repaired: bool,
}

/// Some findings.
#[derive(Serialize, ToSchema)]
pub(crate) struct CheckFindings {
    /// The findings.
    pub(crate) items: Vec<CheckFinding>,
    /// `after` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// A move, creation or removal of a tag.
#[derive(Serialize, ToSchema)]
pub(crate) struct TagChange {
    /// Grows by one with each.
    pub(crate) version: i64,
    /// When.
    pub(crate) at: String,
    /// By whom.
    pub(crate) by: String,
    /// What it pointed at before; absent if it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// What it has pointed at since; absent if it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
}

/// A deleted manifest that can be restored.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeletedManifest {
    /// Its digest.
    pub(crate) digest: String,
    /// Its media type.
    pub(crate) media_type: String,
    /// The tags that it had.
    pub(crate) tags: Vec<String>,
    /// When it was deleted.
    pub(crate) deleted_at: String,
    /// By whom.
    pub(crate) deleted_by: String,
    /// Until when it can be restored.
    pub(crate) until: String,
}

/// What shall be as it was: one of `digest` and `tag`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restoration {
    /// A deleted manifest.
    #[schema(value_type = Option<DigestForm>)]
    pub(crate) digest: Option<String>,
    /// A tag that was moved or removed.
    #[schema(value_type = Option<TagForm>)]
    pub(crate) tag: Option<String>,
    /// With a tag: when it pointed where it shall point again (RFC 3339); before its last change if absent.
    #[schema(value_type = Option<TimeForm>)]
    pub(crate) at: Option<String>,
}

/// What is as it was.
#[derive(Serialize, ToSchema)]
pub(crate) struct Restored {
    /// The manifest.
    pub(crate) digest: String,
    /// The tags that point at it again.
    pub(crate) tags: Vec<String>,
    /// Whether the manifest itself had been deleted.
    pub(crate) was_deleted: bool,
}

/// A backup to be begun.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBackup {
    /// It ends by itself if it is not renewed within this time: 1 to 3,600.
    #[schema(minimum = 1, maximum = 3_600)]
    pub(crate) renew_seconds: u32,
}

/// A backup that is being made.
#[derive(Serialize, ToSchema)]
pub(crate) struct BackupState {
    /// It is renewed, read from and ended by this.
    pub(crate) id: String,
    /// It ends by itself if it is not renewed within this time.
    pub(crate) renew_seconds: u64,
    /// The version of the registry.
    pub(crate) version: &'static str,
    /// The copied database; absent until it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<BackupDatabase>,
}

/// The copied database of a backup.
#[derive(Serialize, ToSchema)]
pub(crate) struct BackupDatabase {
    /// Everything that was acknowledged before is in it.
    pub(crate) taken_at: String,
    /// How many bytes it has.
    pub(crate) bytes: u64,
    /// Their SHA-256 in hexadecimal.
    pub(crate) sha256: String,
}
