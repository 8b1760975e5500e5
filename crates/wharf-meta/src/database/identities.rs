use async_trait::async_trait;
use wharf_base::{RuleId, Secret, Timestamp, TokenId};
use wharf_policy::{Attribution, StoredRule};

use super::Database;
use crate::{
    Account, AccountChange, ApiToken, AuditEntry, AuditFilter, AuditLog, AuditRecord, ChangeAccount, CreateAccount,
    CreateToken, Identities, NewApiToken, PolicyRule, Result, RuleText, Rules, Seal, SigningKey, TokenKind, Versions,
    WriteRule, accounts, audit, changes, keys, rules, tokens,
};

#[async_trait]
impl<D: Database> Identities for D {
    async fn account(&self, name: &str) -> Result<Option<Account>> {
        let name = name.to_owned();
        self.read("looking up an account", move |tx| accounts::find(tx, &name)).await
    }

    async fn accounts(&self, after: Option<&str>, limit: u32) -> Result<Vec<Account>> {
        let after = after.map(str::to_owned);
        self.read("listing accounts", move |tx| accounts::page(tx, after.as_deref(), limit)).await
    }

    async fn create_account(&self, new: &Account, by: &Attribution) -> Result<CreateAccount> {
        let (new, by) = (new.clone(), by.clone());
        self.write("making an account", move |tx| accounts::create(tx, &new, &by)).await
    }

    async fn change_account(
        &self,
        name: &str,
        change: &AccountChange,
        by: &Attribution,
        now: Timestamp,
    ) -> Result<ChangeAccount> {
        let (name, change, by) = (name.to_owned(), change.clone(), by.clone());
        self.write("changing an account", move |tx| accounts::change(tx, &name, &change, &by, now)).await
    }

    async fn rehash(&self, name: &str, old: &Secret<String>, new: &Secret<String>) -> Result<bool> {
        let (name, old, new) = (name.to_owned(), old.clone(), new.clone());
        self.write("storing a stronger hash", move |tx| accounts::rehash(tx, &name, &old, &new)).await
    }

    async fn delete_account(
        &self,
        name: &str,
        version: Option<i64>,
        by: &Attribution,
        now: Timestamp,
    ) -> Result<ChangeAccount> {
        let (name, by) = (name.to_owned(), by.clone());
        self.write("deleting an account", move |tx| accounts::delete(tx, &name, version, &by, now)).await
    }

    async fn token_by_secret(&self, sha256: &[u8; 32]) -> Result<Option<(ApiToken, Account)>> {
        let sha256 = *sha256;
        self.read("looking up a token", move |tx| tokens::by_secret(tx, &sha256)).await
    }

    async fn token_by_id(&self, id: TokenId) -> Result<Option<(ApiToken, Account)>> {
        self.read("looking up a token", move |tx| tokens::by_id(tx, id)).await
    }

    async fn tokens(&self, after: Option<TokenId>, limit: u32) -> Result<Vec<ApiToken>> {
        self.read("listing tokens", move |tx| tokens::page(tx, after, limit)).await
    }

    async fn tokens_of(
        &self,
        account: &str,
        kind: TokenKind,
        after: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<ApiToken>> {
        let account = account.to_owned();
        self.read("listing tokens", move |tx| tokens::page_of(tx, &account, kind, after, limit)).await
    }

    async fn create_token(&self, new: &NewApiToken, by: &Attribution) -> Result<CreateToken> {
        let (new, by) = (new.clone(), by.clone());
        self.write("making a token", move |tx| tokens::create(tx, &new, &by)).await
    }

    async fn delete_token(&self, account: Option<&str>, id: TokenId, by: &Attribution, now: Timestamp) -> Result<bool> {
        let (account, by) = (account.map(str::to_owned), by.clone());
        self.write("deleting a token", move |tx| tokens::delete(tx, account.as_deref(), id, &by, now)).await
    }

    async fn note_tokens_used(&self, used: Vec<(TokenId, Timestamp)>) -> Result<()> {
        self.write("noting when tokens were used", move |tx| tokens::note_used(tx, &used)).await
    }

    async fn remove_expired_tokens(&self, before: Timestamp) -> Result<u64> {
        self.write("forgetting expired tokens", move |tx| tokens::remove_expired(tx, before)).await
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKey>> {
        self.read("reading the signing keys", keys::all).await
    }

    async fn add_signing_key(
        &self,
        key: &SigningKey,
        unless_made_since: Option<Timestamp>,
        by: &Attribution,
    ) -> Result<bool> {
        let (key, by) = (key.clone(), by.clone());
        self.write("adding a signing key", move |tx| keys::add(tx, &key, unless_made_since, &by)).await
    }

    async fn remove_retired_keys(&self, before: Timestamp) -> Result<u64> {
        self.write("forgetting retired keys", move |tx| keys::remove_retired(tx, before)).await
    }

    async fn changed(&self) {
        Database::changed(self).await;
    }

    async fn versions(&self) -> Result<Versions> {
        self.read("asking what has changed", changes::read).await
    }
}

#[async_trait]
impl<D: Database> Rules for D {
    async fn load_enabled_policy_rules(&self) -> Result<Vec<StoredRule>> {
        self.read("loading the policy's rules", rules::enabled).await
    }

    async fn rules(&self, after: Option<(i64, String)>, limit: u32) -> Result<Vec<PolicyRule>> {
        self.read("listing rules", move |tx| {
            rules::page(tx, after.as_ref().map(|(priority, id)| (*priority, id.as_str())), limit)
        })
        .await
    }

    async fn rule(&self, id: &str) -> Result<Option<PolicyRule>> {
        let id = id.to_owned();
        self.read("looking up a rule", move |tx| rules::find(tx, &id)).await
    }

    async fn create_rule(&self, id: RuleId, text: &RuleText, by: &Attribution, now: Timestamp) -> Result<WriteRule> {
        let (text, by) = (text.clone(), by.clone());
        self.write("making a rule", move |tx| rules::create(tx, id, &text, &by, now)).await
    }

    async fn replace_rule(
        &self,
        id: &str,
        version: Option<i64>,
        text: &RuleText,
        by: &Attribution,
        now: Timestamp,
    ) -> Result<WriteRule> {
        let (id, text, by) = (id.to_owned(), text.clone(), by.clone());
        self.write("changing a rule", move |tx| rules::replace(tx, &id, version, &text, &by, now)).await
    }

    async fn delete_rule(&self, id: &str, version: Option<i64>, by: &Attribution, now: Timestamp) -> Result<WriteRule> {
        let (id, by) = (id.to_owned(), by.clone());
        self.write("deleting a rule", move |tx| rules::delete(tx, &id, version, &by, now)).await
    }
}

#[async_trait]
impl<D: Database> AuditLog for D {
    async fn append_audit(&self, records: Vec<AuditRecord>) -> Result<()> {
        self.write("writing audit records", move |tx| audit::append_all(tx, &records)).await
    }

    async fn audit(&self, filter: &AuditFilter, before: Option<i64>, limit: u32) -> Result<Vec<AuditEntry>> {
        let filter = filter.clone();
        self.read("reading the audit log", move |tx| audit::page(tx, &filter, before, limit)).await
    }

    async fn audit_in_order(&self, after: i64, limit: u32) -> Result<Vec<AuditEntry>> {
        self.read("reading the audit log", move |tx| audit::in_order(tx, after, limit)).await
    }

    async fn audit_seals(&self, after: i64, limit: u32) -> Result<Vec<Seal>> {
        self.read("reading the seals of the audit log", move |tx| audit::seals(tx, after, limit)).await
    }

    async fn seal_audit(&self, now: Timestamp) -> Result<Option<Seal>> {
        self.write("sealing the audit log", move |tx| audit::seal(tx, now)).await
    }

    async fn trim_audit(&self, before: Timestamp, now: Timestamp) -> Result<u64> {
        self.write("trimming the audit log", move |tx| audit::trim(tx, before, now)).await
    }
}
