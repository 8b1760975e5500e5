//! The bearer token that came last over a connection. Clients send the same one with each request, and comparing it costs
//! a tenth of hashing it and looking up what it says.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use wharf_base::{Secret, Timestamp};
use wharf_policy::{Access, Asker};

use crate::Origin;
use crate::holder::Holder;
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
    pub(crate) holder: Holder,
    /// The token's own access.
    pub(crate) access: Arc<[Access]>,
}

impl Recognised {
    fn is_good(&self, generation: u64, now: Timestamp, origin: &Origin) -> bool {
        let is_as_it_was = self.generation == generation && jwt::is_alive(&self.claims, now);
        is_as_it_was && self.holder.is_good(now, origin.source)
    }

    pub(crate) fn asker(&self, origin: &Origin) -> Asker {
        self.holder.clone().asker(Arc::clone(&self.access), origin)
    }
}

impl Remembered {
    /// Who asks, if `token` is the one that came last and everything about it is as it was. Behind a proxy everybody's
    /// tokens come over one connection, so it is compared like any other secret.
    pub(crate) fn recall(&self, token: &str, generation: u64, now: Timestamp, origin: &Origin) -> Option<Asker> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.as_ref().filter(|last| last.is_good(generation, now, origin))?;
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
