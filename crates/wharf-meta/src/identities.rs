use std::fmt::Debug;

use async_trait::async_trait;
use wharf_base::{RuleId, Secret, Timestamp, TokenId};
use wharf_policy::{Attribution, StoredRule};

use crate::{
    Account, AccountChange, ApiToken, AuditEntry, AuditFilter, AuditRecord, ChangeAccount, CreateAccount, CreateToken,
    NewApiToken, PolicyRule, Result, RuleText, Seal, SigningKey, TokenKind, Versions, WriteRule,
};

/// Who there is: accounts, tokens, signing keys. As with [`Metadata`](crate::Metadata), each method is one transaction; one
/// that changes something records in it who did it (S-077).
#[async_trait]
pub trait Identities: Send + Sync + Debug {
    /// The account of that name.
    async fn account(&self, name: &str) -> Result<Option<Account>>;

    /// At most `limit` accounts by name, strictly after `after`.
    async fn accounts(&self, after: Option<&str>, limit: u32) -> Result<Vec<Account>>;

    /// Makes an account.
    async fn create_account(&self, new: &Account, by: &Attribution) -> Result<CreateAccount>;

    /// Changes an account. The last one that can administer stays one that can.
    async fn change_account(
        &self,
        name: &str,
        change: &AccountChange,
        by: &Attribution,
        now: Timestamp,
    ) -> Result<ChangeAccount>;

    /// Stores a stronger hash of the same password, if `old` is still in force.
    async fn rehash(&self, name: &str, old: &Secret<String>, new: &Secret<String>) -> Result<bool>;

    /// Deletes an account with its tokens, if it is still in `version`; `None`: whatever it is. The last one that can
    /// administer stays.
    async fn delete_account(
        &self,
        name: &str,
        version: Option<i64>,
        by: &Attribution,
        now: Timestamp,
    ) -> Result<ChangeAccount>;

    /// The token whose secret has this SHA-256, with its account.
    async fn token_by_secret(&self, sha256: &[u8; 32]) -> Result<Option<(ApiToken, Account)>>;

    /// The token of that id, with its account.
    async fn token_by_id(&self, id: TokenId) -> Result<Option<(ApiToken, Account)>>;

    /// At most `limit` tokens of all accounts in the order they were made, strictly after `after`.
    async fn tokens(&self, after: Option<TokenId>, limit: u32) -> Result<Vec<ApiToken>>;

    /// The same of one account and kind.
    async fn tokens_of(
        &self,
        account: &str,
        kind: TokenKind,
        after: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<ApiToken>>;

    /// Makes a token.
    async fn create_token(&self, new: &NewApiToken, by: &Attribution) -> Result<CreateToken>;

    /// Deletes a token; one of another account than `account` is answered like one that is not there.
    async fn delete_token(&self, account: Option<&str>, id: TokenId, by: &Attribution, now: Timestamp) -> Result<bool>;

    /// Notes when tokens were last used. Not recorded, and no change to replicas.
    async fn note_tokens_used(&self, used: Vec<(TokenId, Timestamp)>) -> Result<()>;

    /// Forgets tokens that ended before `before`. How many.
    async fn remove_expired_tokens(&self, before: Timestamp) -> Result<u64>;

    /// All signing keys, at most a handful.
    async fn signing_keys(&self) -> Result<Vec<SigningKey>>;

    /// Adds a key and retires those before it; nothing happens if one was made at `unless_made_since` or later. Whether it was
    /// added.
    async fn add_signing_key(
        &self,
        key: &SigningKey,
        unless_made_since: Option<Timestamp>,
        by: &Attribution,
    ) -> Result<bool>;

    /// Forgets keys that were retired before `before`. How many.
    async fn remove_retired_keys(&self, before: Timestamp) -> Result<u64>;

    /// Resolves when another replica has said that something changed which replicas keep in memory, once for all that it said since
    /// the last time. It may be missed: look at [`versions`](Self::versions) now and then as well. For one caller at a time.
    async fn changed(&self);

    /// How often rules, identities and keys have changed.
    async fn versions(&self) -> Result<Versions>;
}

/// The policy's rules.
#[async_trait]
pub trait Rules: Send + Sync + Debug {
    /// The rules with `enabled = 1`, by priority and then id (F-08).
    async fn load_enabled_policy_rules(&self) -> Result<Vec<StoredRule>>;

    /// At most `limit` rules by priority and then id, strictly after `after`.
    async fn rules(&self, after: Option<(i64, String)>, limit: u32) -> Result<Vec<PolicyRule>>;

    /// The rule of that id.
    async fn rule(&self, id: &str) -> Result<Option<PolicyRule>>;

    /// Makes a rule.
    async fn create_rule(&self, id: RuleId, text: &RuleText, by: &Attribution, now: Timestamp) -> Result<WriteRule>;

    /// Changes a rule, if it is still in `version`; `None`: whatever it is.
    async fn replace_rule(
        &self,
        id: &str,
        version: Option<i64>,
        text: &RuleText,
        by: &Attribution,
        now: Timestamp,
    ) -> Result<WriteRule>;

    /// Deletes a rule, if it is still in `version`; `None`: whatever it is. Answers with what it was.
    async fn delete_rule(&self, id: &str, version: Option<i64>, by: &Attribution, now: Timestamp) -> Result<WriteRule>;
}

/// What happened.
#[async_trait]
pub trait AuditLog: Send + Sync + Debug {
    /// Writes records of what changes nothing in the database.
    async fn append_audit(&self, records: Vec<AuditRecord>) -> Result<()>;

    /// At most `limit` records that pass `filter`, the newest first, strictly before the sequence `before`.
    async fn audit(&self, filter: &AuditFilter, before: Option<i64>, limit: u32) -> Result<Vec<AuditEntry>>;

    /// At most `limit` records in their order, strictly after the sequence `after`.
    async fn audit_in_order(&self, after: i64, limit: u32) -> Result<Vec<AuditEntry>>;

    /// At most `limit` seals in their order, strictly after the one of the sequence `after`.
    async fn audit_seals(&self, after: i64, limit: u32) -> Result<Vec<Seal>>;

    /// Seals the records that are not sealed yet, at most 10,000; `None` if there are none (S-078).
    async fn seal_audit(&self, now: Timestamp) -> Result<Option<Seal>>;

    /// Forgets whole sealed segments that ended before `before`. How many records.
    async fn trim_audit(&self, before: Timestamp, now: Timestamp) -> Result<u64>;
}
