//! What was said about tokens lately. The key is the token's SHA-256; the token itself is never kept (F-12).

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wharf_base::{Clock, Secret};

use super::Vouched;
use crate::provider::Unavailable;
use crate::secret_text::sha256;

/// How long a yes, and a no, is remembered (F-12, S-032).
const YES_FOR: Duration = Duration::from_secs(30);
const NO_FOR: Duration = Duration::from_secs(5);

/// How many tokens are remembered; the least used are forgotten.
const TOKENS_MAX: usize = 10_000;

/// What those are told who waited for an answer that did not come.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// By token.
pub(super) struct Cache {
    slots: quick_cache::sync::Cache<[u8; 32], Arc<Slot>>,
}

/// What is known of one token, and who is finding out.
#[derive(Default)]
struct Slot {
    known: Mutex<Option<Known>>,
    asking: tokio::sync::Mutex<()>,
    /// How many questions were given up: whoever waited for one that was need not ask again.
    failures: AtomicU64,
}

#[derive(Clone)]
struct Known {
    answer: Option<Vouched>,
    since: Duration,
}

impl Known {
    /// Never beyond 30 s, nor beyond the token's own end, by either clock.
    fn is_fresh(&self, clock: &dyn Clock) -> bool {
        let age = clock.monotonic().saturating_sub(self.since);
        match &self.answer {
            Some(vouched) => age < YES_FOR && clock.now() < vouched.expires_at,
            None => age < NO_FOR,
        }
    }
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { slots: quick_cache::sync::Cache::new(TOKENS_MAX) }
    }

    /// What is known, or what `ask` says. Of many who want to know at once one asks.
    pub(super) async fn get_or_ask<F>(
        &self,
        token: &Secret<String>,
        clock: &dyn Clock,
        ask: impl FnOnce() -> F,
    ) -> Result<Option<Vouched>, Unavailable>
    where
        F: Future<Output = Result<Option<Vouched>, Unavailable>>,
    {
        let slot = self.slot(&sha256(token.expose()));
        if let Some(known) = slot.fresh(clock) {
            return Ok(known.answer);
        }
        let failures = slot.failures.load(Ordering::Acquire);
        let _asking = slot.asking.lock().await;
        if let Some(known) = slot.fresh(clock) {
            return Ok(known.answer);
        }
        if slot.failures.load(Ordering::Acquire) != failures {
            return Err(super::unavailable(RETRY_AFTER, super::wire::Problem::Open));
        }
        // An answer is as old as its question: what happens while it is on its way is not in it.
        let since = clock.monotonic();
        let answer = match ask().await {
            Ok(answer) => answer,
            Err(error) => {
                slot.failures.fetch_add(1, Ordering::AcqRel);
                return Err(error);
            }
        };
        let known = Known { answer: answer.filter(|vouched| clock.now() < vouched.expires_at), since };
        *slot.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known.answer)
    }

    fn slot(&self, key: &[u8; 32]) -> Arc<Slot> {
        let made: Result<_, std::convert::Infallible> = self.slots.get_or_insert_with(key, || Ok(Arc::default()));
        match made {
            Ok(slot) => slot,
            Err(never) => match never {},
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

impl Slot {
    fn fresh(&self, clock: &dyn Clock) -> Option<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| !known.is_fresh(clock)) {
            *known = None;
        }
        known.clone()
    }
}
