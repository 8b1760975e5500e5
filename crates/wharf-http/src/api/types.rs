//! The wire of the administration API: what goes in and what comes out. Times are RFC 3339 in UTC; a `…_days` is a whole
//! number of days. Unknown members of what goes in are refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use wharf_base::Secret;

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// In the order of the list.
    pub(crate) items: Vec<T>,
    /// What `after` has to be for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// A secret on its way in: never printed, wiped when dropped.
#[derive(Clone, Debug)]
pub(crate) struct SecretText(pub(crate) Secret<String>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// Who asks.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// The name that records know; empty for anonymous.
    pub(crate) name: String,
    /// `human`, `system` or `anonymous`.
    pub(crate) account_type: &'static str,
    /// Who vouches: `local`, `mcias`, `oidc`, or empty for anonymous.
    pub(crate) provider: &'static str,
    /// Its roles.
    pub(crate) roles: Vec<String>,
    /// What it may do with the registry as a whole.
    pub(crate) actions: Vec<&'static str>,
}

/// A change of one's own password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnPassword {
    /// The one in force.
    #[schema(value_type = String)]
    pub(crate) current: SecretText,
    /// The new one: 12 to 1,024 bytes.
    #[schema(value_type = String)]
    pub(crate) new: SecretText,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    /// 12 to 1,024 bytes.
    #[schema(value_type = String)]
    pub(crate) password: SecretText,
}

/// An account of this registry.
#[derive(Serialize, ToSchema)]
pub(crate) struct Account {
    /// Its name, unique.
    pub(crate) name: String,
    /// `human`, or `system` for a robot.
    pub(crate) account_type: &'static str,
    /// Its roles; `admin` may do everything.
    pub(crate) roles: Vec<String>,
    /// Whether it can be logged into.
    pub(crate) enabled: bool,
    /// Whether it has a password; robots have tokens instead.
    pub(crate) has_password: bool,
    /// When it was made.
    pub(crate) created_at: String,
    /// By whom.
    pub(crate) created_by: String,
    /// When it was last changed.
    pub(crate) updated_at: String,
}

/// An account to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    /// Lower-case letters, digits, `.`, `_`, `-`; at most 128.
    pub(crate) name: String,
    /// `human` (the default), or `system` for a robot.
    #[serde(default)]
    pub(crate) account_type: Option<String>,
    /// Its roles; whoever grants a role must have it, or be `admin`.
    #[serde(default)]
    pub(crate) roles: Vec<String>,
    /// 12 to 1,024 bytes; needed for a human, not allowed for a robot.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(crate) password: Option<SecretText>,
}

/// A change of an account; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountChange {
    /// All of its roles from now on.
    #[serde(default)]
    pub(crate) roles: Option<Vec<String>>,
    /// Whether it can be logged into.
    #[serde(default)]
    pub(crate) enabled: Option<bool>,
}

/// An API token, without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct Token {
    /// Its id; not a secret.
    pub(crate) id: String,
    /// Whose it is.
    pub(crate) account: String,
    /// `api`, or `refresh` for one that `docker login` keeps.
    pub(crate) kind: &'static str,
    /// What it is for.
    pub(crate) description: String,
    /// What it is limited to, such as `repository:team/**:pull,push`; empty: whatever its account may do.
    pub(crate) scopes: Vec<String>,
    /// Networks it may be used from; empty: any.
    pub(crate) networks: Vec<String>,
    /// When it was made.
    pub(crate) created_at: String,
    /// By whom.
    pub(crate) created_by: String,
    /// When it ends.
    pub(crate) expires_at: String,
    /// When it was last used, to the minute; absent if never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_used_at: Option<String>,
}

/// An API token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// What it is for.
    #[serde(default)]
    pub(crate) description: String,
    /// What it is limited to, such as `repository:team/**:pull,push`; empty: whatever its account may do.
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    /// Networks it may be used from, such as `192.0.2.0/24`; empty: any.
    #[serde(default)]
    pub(crate) networks: Vec<String>,
    /// How long it lives; absent: what the configuration says.
    #[serde(default)]
    pub(crate) life_days: Option<u32>,
}

/// A token that was just made. Its secret is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedToken<'s> {
    /// The token.
    pub(crate) token: Token,
    /// What to log in with: as the password beside the account's name, or as a bearer token.
    pub(crate) secret: &'s str,
}

/// A key that signs tokens, without its secret half.
#[derive(Serialize, ToSchema)]
pub(crate) struct Key {
    /// The `kid` of the tokens it signs.
    pub(crate) id: String,
    /// Always `EdDSA`.
    pub(crate) algorithm: String,
    /// When it was made.
    pub(crate) created_at: String,
    /// When it begins to sign.
    pub(crate) signs_from: String,
    /// When it stopped signing; it verifies for the longest life of a token after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retired_at: Option<String>,
}

/// A rule of the policy. Every populated list must match, an empty one matches everything.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rule {
    /// Its id; built-in ones begin with `builtin:` and cannot be changed.
    pub(crate) id: String,
    /// Lower comes first. Order explains; it never lets an allow win over a deny.
    pub(crate) priority: i64,
    /// Whether it is in force.
    pub(crate) enabled: bool,
    /// What it is for.
    pub(crate) description: String,
    /// What it says; absent if the row is damaged.
    #[serde(flatten)]
    pub(crate) rule: Option<RuleText>,
    /// What is wrong with the row; it neither allows nor denies until that is mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    /// Changes with each change of the rule; also in the header `ETag`. Absent for built-in rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<i64>,
    /// By whom it was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) updated_by: Option<String>,
    /// When it was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) updated_at: Option<String>,
}

/// What a rule says.
#[derive(Serialize, ToSchema)]
pub(crate) struct RuleText {
    /// `allow` or `deny`.
    pub(crate) effect: String,
    /// Subjects: a name, or `provider:name`.
    pub(crate) subjects: Vec<String>,
    /// `human`, `system`, `anonymous`.
    pub(crate) account_types: Vec<String>,
    /// Roles; one of them is enough.
    pub(crate) roles: Vec<String>,
    /// Actions such as `registry:pull`.
    pub(crate) actions: Vec<String>,
    /// Patterns such as `team/*` or `team/**`.
    pub(crate) repositories: Vec<String>,
}

/// A rule to be written. The members that a rule consists of are checked by the policy itself, which names what is wrong.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewRule {
    /// Lower comes first; 100 if absent.
    #[serde(default)]
    pub(crate) priority: Option<i64>,
    /// Whether it is in force; true if absent.
    #[serde(default)]
    pub(crate) enabled: Option<bool>,
    /// What it is for.
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// Needed for a rule whose lists are all empty: it matches every request there is.
    #[serde(default)]
    pub(crate) matches_everything: Option<bool>,
    /// `effect`, `subjects`, `account_types`, `roles`, `actions`, `repositories`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub(crate) rule: serde_json::Map<String, serde_json::Value>,
}

/// A question to the policy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainRequest {
    /// Who: a local account's name, `provider:subject`, or empty for anonymous.
    pub(crate) principal: String,
    /// For a principal that is not a local account: `human` or `system`.
    #[serde(default)]
    pub(crate) account_type: Option<String>,
    /// For a principal that is not a local account: its roles.
    #[serde(default)]
    pub(crate) roles: Option<Vec<String>>,
    /// Such as `registry:pull`, or `pull` for short.
    pub(crate) action: String,
    /// On which repository; absent for actions on the registry as a whole.
    #[serde(default)]
    pub(crate) repository: Option<String>,
}

/// The answer, and why.
#[derive(Serialize, ToSchema)]
pub(crate) struct Explanation {
    /// Whether it is allowed.
    pub(crate) allowed: bool,
    /// The rule that decided; absent when none matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    /// The reason in a sentence.
    pub(crate) summary: String,
    /// Who was asked about.
    pub(crate) principal: Me,
    /// Every rule in force, in priority order.
    pub(crate) considered: Vec<ConsideredRule>,
    /// Rows that are no rules and therefore not in force.
    pub(crate) broken: Vec<BrokenRule>,
}

/// A rule, and whether it matches.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConsideredRule {
    /// Its id.
    pub(crate) id: String,
    /// Its priority.
    pub(crate) priority: i64,
    /// `allow` or `deny`.
    pub(crate) effect: &'static str,
    /// What it is for.
    pub(crate) description: String,
    /// Whether it matches.
    pub(crate) matched: bool,
    /// Why, or why not.
    pub(crate) why: String,
}

/// A row that is no rule.
#[derive(Serialize, ToSchema)]
pub(crate) struct BrokenRule {
    /// Its id.
    pub(crate) id: String,
    /// What is wrong with it.
    pub(crate) problem: String,
}

/// What would be if: the audit log's recent requests against other rules.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimulateRequest {
    /// Rules to put in place of all that are stored, or with `add` beside them.
    pub(crate) rules: Vec<NewRule>,
    /// Whether they come beside the stored rules rather than in their place.
    #[serde(default)]
    pub(crate) add: bool,
    /// Stored rules to leave out, by id.
    #[serde(default)]
    pub(crate) remove: Vec<String>,
    /// How many of the newest records are looked at; 1 to 10,000, 1,000 if absent.
    #[serde(default)]
    pub(crate) records: Option<u32>,
}

/// What would be different.
#[derive(Serialize, ToSchema)]
pub(crate) struct Simulation {
    /// How many records of the audit log were looked at.
    pub(crate) records: usize,
    /// How many different questions they hold.
    pub(crate) questions: usize,
    /// The questions with another answer.
    pub(crate) changes: Vec<Change>,
}

/// A question with another answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Change {
    /// Who.
    pub(crate) principal: String,
    /// What.
    pub(crate) action: &'static str,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    /// The answer by the rules in force.
    pub(crate) allowed_now: bool,
    /// The rule that decides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule_now: Option<String>,
    /// The answer by the proposed rules.
    pub(crate) allowed_then: bool,
    /// The rule that would decide it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule_then: Option<String>,
    /// How often the records ask it.
    pub(crate) times: usize,
}

/// A record of the audit log.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditRecord {
    /// Its place in the log.
    pub(crate) sequence: i64,
    /// When.
    pub(crate) at: String,
    /// In which request.
    pub(crate) request_id: String,
    /// Who.
    pub(crate) principal: String,
    /// What kind of account.
    pub(crate) account_type: String,
    /// From which address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// What, such as `manifest.push`.
    pub(crate) action: String,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    /// To what: a digest, a tag, an account, a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    /// `done`, `denied` or `failed`.
    pub(crate) outcome: String,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) detail: Option<serde_json::Value>,
    /// SHA-256 of the chain up to this record; absent until it is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
}

/// Whether the chain of the audit log holds.
#[derive(Serialize, ToSchema)]
pub(crate) struct Verification {
    /// Whether it does.
    pub(crate) intact: bool,
    /// How many sealed records were checked.
    pub(crate) records: u64,
    /// The last sealed record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_sequence: Option<i64>,
    /// The hash of the chain's head: keep it elsewhere, and a log that is cut short later is found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) head: Option<String>,
    /// The first record that is not as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bad_sequence: Option<i64>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

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
    /// For whoever finds it: at most 200 characters.
    pub(crate) reason: String,
    /// How long: 1 to 8,760.
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
    pub(crate) mode: String,
    /// Only what belongs to repositories with such a name.
    pub(crate) repository: Option<String>,
    /// Findings of these classes are repaired, such as `I-07`.
    #[serde(default)]
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
    pub(crate) digest: Option<String>,
    /// A tag that was moved or removed.
    pub(crate) tag: Option<String>,
    /// With a tag: when it pointed where it shall point again (RFC 3339); before its last change if absent.
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
