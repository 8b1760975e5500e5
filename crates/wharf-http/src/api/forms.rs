//! What texts and numbers of the wire look like, for the document: each form once, by its name.
#![expect(dead_code, reason = "the document is made of these; what is read has types of its own")]

use utoipa::ToSchema;

/// The name of a repository.
#[derive(ToSchema)]
#[schema(
    pattern = "^(?!.*[^/]{129})[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*$",
    max_length = 255,
    example = "team/app"
)]
pub(crate) struct RepositoryForm(String);

/// A tag.
#[derive(ToSchema)]
#[schema(pattern = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", example = "1.4")]
pub(crate) struct TagForm(String);

/// A digest.
#[derive(ToSchema)]
#[schema(
    pattern = "^(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$",
    example = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)]
pub(crate) struct DigestForm(String);

/// A moment, in RFC 3339.
#[derive(ToSchema)]
#[schema(format = DateTime, example = "2027-01-31T12:00:00Z")]
pub(crate) struct TimeForm(String);

/// The name of an account of this registry.
#[derive(ToSchema)]
#[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,127}$", example = "alice")]
pub(crate) struct AccountForm(String);

/// A role.
#[derive(ToSchema)]
#[schema(pattern = "^[A-Za-z0-9._:-]{1,64}$", example = "developers")]
pub(crate) struct RoleForm(String);

/// A password: 12 to 1,024 bytes.
#[derive(ToSchema)]
#[schema(min_length = 12, max_length = 1_024, example = "correct horse battery staple")]
pub(crate) struct PasswordForm(String);

/// One line that says what something is for, at most 512 bytes.
#[derive(ToSchema)]
#[schema(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$", max_length = 512, example = "builds of team/app")]
pub(crate) struct LineForm(String);

/// What an API token is limited to.
#[derive(ToSchema)]
#[schema(
    pattern = "^(registry:catalog:\\*|repository:.{1,512}:(pull|push|delete|\\*)(,(pull|push|delete|\\*))*)$",
    example = "repository:team/**:pull,push"
)]
pub(crate) struct ScopeForm(String);

/// A network.
#[derive(ToSchema)]
#[schema(format = "cidr", example = "192.0.2.0/24")]
pub(crate) struct NetworkForm(String);

/// Repositories: `*` and `?` do not cross a slash, a whole segment `**` does.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 512, example = "team/**")]
pub(crate) struct PatternForm(String);

/// `human`, or `system` for a robot.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum AccountTypeForm {
    Human,
    System,
}

/// How many items a page has.
#[derive(ToSchema)]
#[schema(minimum = 1, maximum = 1_000, default = 100)]
pub(crate) struct PageLengthForm(u32);

/// `next` of the page before; empty for the first one.
#[derive(ToSchema)]
pub(crate) struct CursorForm(String);

/// An `ETag` as it was given out, in its quotes, or `*` for whatever it is.
#[derive(ToSchema)]
#[schema(pattern = "^(\\*|\"[0-9]{1,18}\")$", example = "\"1\"")]
pub(crate) struct EtagForm(String);

/// What a permission is for; without a colon, one of `registry:`.
#[derive(ToSchema)]
#[schema(pattern = "^([a-z_]+:)?[a-z_]+$", example = "registry:pull")]
pub(crate) struct ActionForm(String);

/// `fast` or `deep`.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum CheckModeForm {
    Fast,
    Deep,
}

/// The class of a finding that can be repaired.
#[derive(ToSchema)]
#[schema(pattern = "^I-[0-9]{2}$", example = "I-07")]
pub(crate) struct ClassForm(String);

/// What a rule says.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum EffectForm {
    Allow,
    Deny,
}

/// `human`, `system` or `anonymous`.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum AnyAccountTypeForm {
    Human,
    System,
    Anonymous,
}

/// One entry of a rule.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 512)]
pub(crate) struct EntryForm(String);

/// A rule to be written. Every populated list must match, an empty one matches everything; the whole may have 16 KiB.
#[derive(ToSchema)]
#[schema(example = json!({
    "description": "builds push to their team", "effect": "allow", "roles": ["ci"],
    "actions": ["registry:pull", "registry:push"], "repositories": ["team/**"],
}))]
pub(crate) struct NewRuleForm {
    /// Lower comes first; 100 if absent.
    priority: Option<i64>,
    /// Whether it is in force; true if absent.
    enabled: Option<bool>,
    /// What it is for.
    description: Option<LineForm>,
    /// Needed for a rule whose lists are all empty: it matches every request there is.
    matches_everything: Option<bool>,
    /// What it says.
    effect: EffectForm,
    /// Subjects: a name, or `provider:name`.
    #[schema(max_items = 256, required = false)]
    subjects: Vec<EntryForm>,
    /// Account types.
    #[schema(max_items = 256, required = false)]
    account_types: Vec<AnyAccountTypeForm>,
    /// Roles; one of them is enough.
    #[schema(max_items = 256, required = false)]
    roles: Vec<EntryForm>,
    /// Actions such as `registry:pull`.
    #[schema(max_items = 256, required = false)]
    actions: Vec<ActionForm>,
    /// Patterns such as `team/*` or `team/**`.
    #[schema(max_items = 256, required = false)]
    repositories: Vec<PatternForm>,
}
