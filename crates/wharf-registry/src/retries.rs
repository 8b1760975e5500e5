//! Changes that a client may ask for again, because it has not heard what became of them: the same one under the same key is
//! carried out once, and answered as the first one was.

use std::time::Duration;

use wharf_base::Timestamp;
use wharf_meta::{Claimed, WriteClaim};

use crate::{Error, Registry};

/// How long an answer is kept, and how many of one principal.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);
const KEPT_MAX: u32 = 1_000;

/// What is to be done with a change that came with a key.
#[derive(Debug)]
pub enum Retried {
    /// It is carried out; what comes of it is told with the claim.
    First(WriteClaim),
    /// It was carried out, and this is its answer, sealed.
    Answered(Vec<u8>),
    /// It was begun, and what became of it is not known here, or not yet.
    Begun,
    /// The key was given to another change.
    Another,
}

impl Registry {
    /// What is to be done with a change of `principal`, given the SHA-256 of its key and of all that it says.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn claim_write(
        &self,
        principal: &str,
        key_sha256: [u8; 32],
        request_sha256: [u8; 32],
    ) -> Result<Retried, Error> {
        let claim = WriteClaim { principal: principal.to_owned(), key_sha256, request_sha256, at: self.now() };
        let claimed = self.parts.meta.claim_write(&claim, KEPT_MAX).await.map_err(Error::meta("claiming a change"))?;
        Ok(match claimed {
            Claimed::New => Retried::First(claim),
            Claimed::Before { request_sha256: before, .. } if before != request_sha256 => Retried::Another,
            Claimed::Before { answer: Some(answer), .. } => Retried::Answered(answer),
            Claimed::Before { answer: None, .. } => Retried::Begun,
        })
    }

    /// Keeps the answer of a change that was carried out, sealed by its client's key.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`]: whoever asks again will be told that it was begun.
    pub async fn keep_answer(&self, claim: &WriteClaim, sealed: Vec<u8>) -> Result<(), Error> {
        self.parts.meta.keep_answer(claim, sealed).await.map_err(Error::meta("keeping an answer"))
    }

    /// Nothing was changed, so the key is free again.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn release_write(&self, claim: &WriteClaim) -> Result<(), Error> {
        self.parts.meta.release_write(claim).await.map_err(Error::meta("releasing a change"))
    }

    pub(crate) async fn forget_answers(&self, now: Timestamp) -> Result<u64, Error> {
        self.parts.meta.forget_answers(now.minus(KEPT_FOR)).await.map_err(Error::meta("forgetting answers"))
    }
}
