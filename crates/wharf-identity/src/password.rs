//! Passwords: argon2id, off the threads that serve requests, and not more of them at once than the machine can bear.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use wharf_base::{Clock, Rng, Secret};

use crate::AuthError;

/// The shortest and longest password, in bytes (S-030).
const LENGTH_BYTES: std::ops::RangeInclusive<usize> = 12..=1_024;

/// Memory in KiB, passes and lanes of argon2id (S-028). 19 MiB and some 20 ms a password.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How many wait for a check, and for how long.
const WAITING_MAX: usize = 64;
const WAIT_MAX: Duration = Duration::from_secs(2);

/// For how long a password that was right need not be hashed again, so that a client which sends it with every request
/// can be served. Forgotten at once when the account changes, because its hash is part of the key.
const REMEMBERED_FOR: Duration = Duration::from_secs(30);

/// How many are remembered.
const REMEMBERED_MAX: usize = 1_000;

/// Why a text is no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short, or too long to be one.
    #[error("must have 12 to 1,024 bytes")]
    Length,
}

/// Hashes and checks passwords.
pub(crate) struct Passwords {
    gate: Semaphore,
    waiting: AtomicUsize,
    /// The hash that is checked when there is none, so that nobody learns from the time which accounts there are.
    nobody: Arc<str>,
    remembered: Cache<[u8; 32], Duration>,
    key: Secret<[u8; 32]>,
    clock: Arc<dyn Clock>,
}

impl Passwords {
    pub(crate) fn new(clock: Arc<dyn Clock>, rng: &dyn Rng) -> Self {
        let mut key = [0; 32];
        rng.fill(&mut key);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            gate: Semaphore::new(cores.min(4)),
            waiting: AtomicUsize::new(0),
            nobody: hash_of_nobody().into(),
            remembered: Cache::new(REMEMBERED_MAX),
            key: Secret::new(key),
            clock,
        }
    }

    /// Whether `password` has `hash`. Without one the work is done all the same and the answer is no (S-028).
    pub(crate) async fn verify(
        &self,
        hash: Option<&Secret<String>>,
        password: &Secret<String>,
    ) -> Result<bool, AuthError> {
        let remembered = hash.map(|hash| self.fingerprint(hash, password));
        let now = self.clock.monotonic();
        if let Some(key) = remembered
            && let Some(since) = self.remembered.get(&key)
            && now.saturating_sub(since) < REMEMBERED_FOR
        {
            return Ok(true);
        }
        let _waiting = Waiting::enter(&self.waiting)?;
        let place = tokio::time::timeout(WAIT_MAX, self.gate.acquire()).await;
        let _place = place.ok().and_then(Result::ok).ok_or(AuthError::Busy { retry_after: WAIT_MAX })?;
        let text: Arc<str> = hash.map_or_else(|| Arc::clone(&self.nobody), |hash| hash.expose().as_str().into());
        let password = password.clone();
        let checking = tokio::task::spawn_blocking(move || {
            PasswordHash::new(&text)
                .is_ok_and(|hash| hasher().verify_password(password.expose().as_bytes(), &hash).is_ok())
        });
        // A panic of the checker is a "no"; it has been logged where it happened.
        let is_right = checking.await.unwrap_or(false) && hash.is_some();
        if let (true, Some(key)) = (is_right, remembered) {
            self.remembered.insert(key, now);
        }
        Ok(is_right)
    }

    /// Under a key of this process: what is remembered is of no use to whoever reads it.
    fn fingerprint(&self, hash: &Secret<String>, password: &Secret<String>) -> [u8; 32] {
        let mut fingerprint = Sha256::new();
        fingerprint.update(self.key.expose());
        fingerprint.update((hash.expose().len() as u64).to_be_bytes());
        fingerprint.update(hash.expose());
        fingerprint.update(password.expose());
        fingerprint.finalize().into()
    }
}

/// A place among those that wait.
struct Waiting<'w>(&'w AtomicUsize);

impl<'w> Waiting<'w> {
    fn enter(waiting: &'w AtomicUsize) -> Result<Self, AuthError> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            return Err(AuthError::Busy { retry_after: WAIT_MAX });
        }
        Ok(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the text can be a password.
pub(crate) fn check(password: &Secret<String>) -> Result<(), PasswordError> {
    if LENGTH_BYTES.contains(&password.expose().len()) { Ok(()) } else { Err(PasswordError::Length) }
}

/// The hash of `password` in PHC form, with a salt of its own. Takes some 20 ms; not for threads that serve requests.
pub(crate) fn hash(password: &Secret<String>, rng: &dyn Rng) -> Result<Secret<String>, crate::StartError> {
    let mut salt = [0; 16];
    rng.fill(&mut salt);
    let password = password.expose().as_bytes();
    let hash = hasher().hash_password_with_salt(password, &salt).map_err(|_| crate::StartError::Hash)?;
    Ok(hash.to_string().into())
}

/// A hash in PHC form that is as much work to check as any other, and that no password has as far as anybody knows: 16 bytes of
/// salt and 32 of hash, all zero. To make a real one would be most of the time that a start takes.
fn hash_of_nobody() -> String {
    let (salt, hash) = ("A".repeat(22), "A".repeat(43));
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}")
}

/// Whether the hash was made with weaker parameters than those of today.
pub(crate) fn is_weak(hash: &Secret<String>) -> bool {
    let Ok(hash) = PasswordHash::new(hash.expose()) else { return false };
    let parameter = |name: &str| hash.params.get_decimal(name).unwrap_or(0);
    hash.algorithm.as_str() != "argon2id" || parameter("m") < MEMORY_KIB || parameter("t") < PASSES
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are in argon2's range");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::Error;
    use wharf_base::SystemRng;

    use super::*;

    /// S-028: whoever has no account costs as much as somebody who has one.
    #[test]
    fn s028_the_hash_of_nobody_is_checked_like_any_other() {
        let of_somebody = hash(&"correct horse".to_owned().into(), &SystemRng).expect("a hash");
        let (nobody, somebody) = (hash_of_nobody(), of_somebody.expose());
        let [nobody, somebody] = [&nobody, somebody].map(|text| PasswordHash::new(text).expect("a hash"));
        assert_eq!(nobody.params.to_string(), somebody.params.to_string());
        assert_eq!((nobody.algorithm, nobody.version), (somebody.algorithm, somebody.version));
        let lengths = |hash: &PasswordHash| (hash.salt.map(|salt| salt.len()), hash.hash.map(|hash| hash.len()));
        assert_eq!(lengths(&nobody), lengths(&somebody));
        assert_eq!(hasher().verify_password(b"correct horse", &nobody), Err(Error::PasswordInvalid), "it was hashed");
    }
}
