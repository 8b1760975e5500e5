//! Accounts and tokens as they are now, without a query for each request.
//!
//! What was read stays until anything about identities changes: each change counts up a number in the database, which is
//! looked at every second, and a change made here counts up at once. What was read under an older number counts for
//! nothing, so a read that overlaps a change cannot outlive it (S-027, S-032).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use wharf_base::{Timestamp, TokenId};
use wharf_meta::{Account, ApiToken, Metadata};
use wharf_policy::Principal;

use crate::local;

/// How many accounts, and tokens, are kept in memory.
const KEPT_MAX: usize = 10_000;

/// How many uses are remembered until they are written.
const USES_MAX: usize = 10_000;

/// Below this a later use of a token is not worth writing.
const USE_STEP_MICROS: i64 = 60_000_000;

/// What was read, and under which number.
type Known<T> = (u64, Arc<T>);

/// An account, and who it is to policy.
pub(crate) struct KnownAccount {
    pub(crate) account: Account,
    pub(crate) principal: Principal,
}

/// An API token with the account it is of.
pub(crate) type OfAccount = (ApiToken, Account);

pub(crate) struct Directory {
    meta: Arc<dyn Metadata>,
    generation: AtomicU64,
    accounts: Cache<String, Known<KnownAccount>>,
    tokens: Cache<[u8; 32], Known<OfAccount>>,
    by_id: Cache<TokenId, Known<OfAccount>>,
    uses: Mutex<HashMap<TokenId, Timestamp>>,
}

impl Directory {
    pub(crate) fn new(meta: Arc<dyn Metadata>) -> Self {
        Self {
            meta,
            generation: AtomicU64::new(0),
            accounts: Cache::new(KEPT_MAX),
            tokens: Cache::new(KEPT_MAX),
            by_id: Cache::new(KEPT_MAX),
            uses: Mutex::default(),
        }
    }

    /// Something about identities has changed.
    pub(crate) fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts what has changed; what was looked up under another number counts for nothing.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What was read, if nothing about identities has changed since.
    fn still<T>(&self, known: Option<Known<T>>) -> Option<Arc<T>> {
        known.filter(|(at, _)| *at == self.generation()).map(|(_, found)| found)
    }

    /// An account as it is now, if it was asked for since anything about identities changed.
    pub(crate) fn known_account(&self, name: &str) -> Option<Arc<KnownAccount>> {
        self.still(self.accounts.get(name))
    }

    pub(crate) async fn account(&self, name: &str) -> wharf_meta::Result<Option<Arc<KnownAccount>>> {
        // Before it is read: what changes meanwhile counts it up.
        let generation = self.generation();
        if let Some(account) = self.known_account(name) {
            return Ok(Some(account));
        }
        let Some(account) = self.meta.account(name).await? else { return Ok(None) };
        let known = Arc::new(KnownAccount { principal: local::principal(&account), account });
        self.accounts.insert(name.to_owned(), (generation, Arc::clone(&known)));
        Ok(Some(known))
    }

    pub(crate) async fn token(&self, sha256: &[u8; 32]) -> wharf_meta::Result<Option<Arc<OfAccount>>> {
        let generation = self.generation();
        if let Some(found) = self.still(self.tokens.get(sha256)) {
            return Ok(Some(found));
        }
        let Some(found) = self.meta.token_by_secret(sha256).await?.map(Arc::new) else { return Ok(None) };
        self.tokens.insert(*sha256, (generation, Arc::clone(&found)));
        Ok(Some(found))
    }

    /// A token as it is now, if it was asked for since anything about identities changed.
    pub(crate) fn known_token(&self, id: TokenId) -> Option<Arc<OfAccount>> {
        self.still(self.by_id.get(&id))
    }

    pub(crate) async fn token_by_id(&self, id: TokenId) -> wharf_meta::Result<Option<Arc<OfAccount>>> {
        let generation = self.generation();
        if let Some(found) = self.known_token(id) {
            return Ok(Some(found));
        }
        let Some(found) = self.meta.token_by_id(id).await?.map(Arc::new) else { return Ok(None) };
        self.by_id.insert(id, (generation, Arc::clone(&found)));
        Ok(Some(found))
    }

    /// The token was used. Written later, to the minute.
    pub(crate) fn used(&self, token: &ApiToken, now: Timestamp) {
        let known = token.last_used_at.map_or(i64::MIN, Timestamp::as_micros);
        if now.as_micros().saturating_sub(known) < USE_STEP_MICROS {
            return;
        }
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.len() < USES_MAX || uses.contains_key(&token.id) {
            uses.insert(token.id, now);
        }
    }

    /// Writes what was used. A failure costs nothing but a date.
    pub(crate) async fn write_uses(&self) {
        let uses = std::mem::take(&mut *self.uses.lock().unwrap_or_else(PoisonError::into_inner));
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.meta.note_tokens_used(uses.into_iter().collect()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "when tokens were last used could not be written");
        }
    }
}
