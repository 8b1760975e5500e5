//! The wire of the administration API: what goes in and what comes out. Times are RFC 3339 in UTC; a `…_days` is a whole
//! number of days. Unknown members of what goes in are refused.

mod upkeep;

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use wharf_base::Secret;

use super::forms::{
    AccountForm, AccountTypeForm, ActionForm, LineForm, NetworkForm, NewRuleForm, PasswordForm, RepositoryForm,
    RoleForm, ScopeForm,
};

pub(crate) use upkeep::*;

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
    #[schema(value_type = String, min_length = 1, max_length = 1_024)]
    pub(crate) current: SecretText,
    /// The new one: 12 to 1,024 bytes.
    #[schema(value_type = PasswordForm)]
    pub(crate) new: SecretText,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    /// 12 to 1,024 bytes.
    #[schema(value_type = PasswordForm)]
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
    #[schema(value_type = AccountForm)]
    pub(crate) name: String,
    /// `human` (the default), or `system` for a robot.
    #[serde(default)]
    #[schema(value_type = Option<AccountTypeForm>)]
    pub(crate) account_type: Option<String>,
    /// Its roles; whoever grants a role must have it, or be `admin`.
    #[serde(default)]
    #[schema(value_type = Vec<RoleForm>, max_items = 64)]
    pub(crate) roles: Vec<String>,
    /// 12 to 1,024 bytes; needed for a human, not allowed for a robot.
    #[serde(default)]
    #[schema(value_type = Option<PasswordForm>)]
    pub(crate) password: Option<SecretText>,
}

/// A change of an account; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountChange {
    /// All of its roles from now on.
    #[serde(default)]
    #[schema(value_type = Option<Vec<RoleForm>>, max_items = 64)]
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
    #[schema(value_type = LineForm)]
    pub(crate) description: String,
    /// What it is limited to, such as `repository:team/**:pull,push`; empty: whatever its account may do.
    #[serde(default)]
    #[schema(value_type = Vec<ScopeForm>, max_items = 64)]
    pub(crate) scopes: Vec<String>,
    /// Networks it may be used from, such as `192.0.2.0/24`; empty: any.
    #[serde(default)]
    #[schema(value_type = Vec<NetworkForm>, max_items = 64)]
    pub(crate) networks: Vec<String>,
    /// How long it lives, 1 to 365; absent: what the configuration says.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 365)]
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
#[derive(Deserialize)]
pub(crate) struct NewRule {
    #[serde(default)]
    pub(crate) priority: Option<i64>,
    #[serde(default)]
    pub(crate) enabled: Option<bool>,
    #[serde(default)]
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) matches_everything: Option<bool>,
    #[serde(flatten)]
    pub(crate) rule: serde_json::Map<String, serde_json::Value>,
}

impl PartialSchema for NewRule {
    fn schema() -> RefOr<Schema> {
        let mut schema = NewRuleForm::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
        schema
    }
}

impl ToSchema for NewRule {
    fn name() -> Cow<'static, str> {
        "NewRule".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        NewRuleForm::schemas(schemas);
    }
}

/// A question to the policy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainRequest {
    /// Who: a local account's name, `provider:subject`, or empty for anonymous.
    pub(crate) principal: String,
    /// For a principal that is not a local account: `human` or `system`.
    #[serde(default)]
    #[schema(value_type = Option<AccountTypeForm>)]
    pub(crate) account_type: Option<String>,
    /// For a principal that is not a local account: its roles.
    #[serde(default)]
    pub(crate) roles: Option<Vec<String>>,
    /// Such as `registry:pull`, or `pull` for short.
    #[schema(value_type = ActionForm)]
    pub(crate) action: String,
    /// On which repository; absent for actions on the registry as a whole.
    #[serde(default)]
    #[schema(value_type = Option<RepositoryForm>)]
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
    #[schema(minimum = 1, maximum = 10_000)]
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
