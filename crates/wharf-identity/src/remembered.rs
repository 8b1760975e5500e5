//! The bearer token that came last over a connection. Clients send the same one with each request, and comparing it costs
//! a tenth of hashing it and looking up what it says.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use wharf_base::{Secret, Timestamp};
use wharf_policy::{Asker, Limits, Principal};

use crate::Origin;
use crate::identity;
use crate::jwt::{self, Claims};

/// What one connection remembers of whoever asks over it; gone with the connection.
#[derive(Default)]
pub struct Remembered(Mutex<Option<Recognised>>);

/// A token of ours that was good, and whose it is.
pub(crate) struct Recognised {
    pub(crate) token: Secret<String>,
    /// That of the directory, from before anything about the token was looked up: any change ends what is remembered.
    pub(crate) generation: u64,
    pub(crate) claims: Arc<Claims>,
    pub(crate) principal: Principal,
    pub(crate) limits: Limits,
}

impl Recognised {
    pub(crate) fn asker(&self, origin: &Origin) -> Asker {
        identity::asker(self.principal.clone(), self.limits.clone(), origin)
    }
}

impl Remembered {
    /// Who asks, if `token` is the one that came last and everything about it is as it was. Behind a proxy everybody's
    /// tokens come over one connection, so it is compared like any other secret.
    pub(crate) fn recall(&self, token: &str, generation: u64, now: Timestamp, origin: &Origin) -> Option<Asker> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.as_ref().filter(|last| last.generation == generation && jwt::is_alive(&last.claims, now))?;
        let is_same = verify_slices_are_equal(last.token.expose().as_bytes(), token.as_bytes()).is_ok();
        is_same.then(|| last.asker(origin))
    }

    pub(crate) fn keep(&self, recognised: Recognised) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(recognised);
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}
