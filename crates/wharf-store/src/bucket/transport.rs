//! Every single attempt of every request goes through here, retries included: what the breaker counts, and where a bucket
//! that does not answer is not asked again and again.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use tokio::time::Instant;

/// So many failures …
const FAILURES_MAX: usize = 5;
/// … within this time open the breaker.
const FAILURES_WITHIN: Duration = Duration::from_secs(10);
/// While it is open, one request is let through so often.
const TRY_EVERY: Duration = Duration::from_secs(2);

/// A retry takes one of these, a success gives back a tenth: so at most a tenth of all requests are retries …
const BUDGET_MAX: f64 = 20.0;
const BUDGET_PER_SUCCESS: f64 = 0.1;

/// Whether the bucket is asked at all.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug)]
struct State {
    failures: Vec<Instant>,
    /// When the next request is let through; `None`: all are.
    open_until: Option<Instant>,
    budget: f64,
}

impl Default for State {
    fn default() -> Self {
        Self { failures: Vec::new(), open_until: None, budget: BUDGET_MAX }
    }
}

/// The bucket is not asked, because it did not answer just now.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the bucket did not answer several times in a row and is not asked for a moment")]
pub(super) struct Open;

impl Breaker {
    /// # Errors
    ///
    /// [`Open`]
    fn admit(&self) -> Result<(), Open> {
        let mut state = self.state();
        let now = Instant::now();
        match state.open_until {
            Some(until) if now < until => Err(Open),
            Some(_) => {
                state.open_until = Some(now + TRY_EVERY);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn succeeded(&self) {
        let mut state = self.state();
        state.failures.clear();
        if state.open_until.take().is_some() {
            tracing::info!("the bucket answers again");
        }
        state.budget = (state.budget + BUDGET_PER_SUCCESS).min(BUDGET_MAX);
    }

    /// Whether it may be tried again.
    pub(super) fn failed(&self) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        state.failures.retain(|at| now.duration_since(*at) < FAILURES_WITHIN);
        state.failures.push(now);
        if state.failures.len() >= FAILURES_MAX && state.open_until.is_none() {
            state.open_until = Some(now + TRY_EVERY);
            tracing::error!("the bucket does not answer; requests that need it are answered 503 until it does");
        }
        let may_retry = state.open_until.is_none() && state.budget >= 1.0;
        if may_retry {
            state.budget -= 1.0;
        }
        may_retry
    }

    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.state().open_until.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes clients whose attempts the breaker sees.
#[derive(Debug)]
pub(super) struct Watching {
    pub(super) breaker: Arc<Breaker>,
}

impl HttpConnector for Watching {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Watched { inner, breaker: Arc::clone(&self.breaker) }))
    }
}

struct Watched {
    inner: HttpClient,
    breaker: Arc<Breaker>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

/// An answer of the server that is not worth another try.
#[derive(Debug, thiserror::Error)]
#[error("the bucket answered {0}")]
struct Refused(u16);

#[async_trait]
impl HttpService for Watched {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.breaker.admit().map_err(|open| HttpError::new(HttpErrorKind::Unknown, open))?;
        match self.inner.execute(request).await {
            Ok(answer) => {
                let status = answer.status();
                let is_failure = status.is_server_error() || status.as_u16() == 429 || status.as_u16() == 408;
                if !is_failure {
                    self.breaker.succeeded();
                    return Ok(answer);
                }
                if self.breaker.failed() {
                    return Ok(answer);
                }
                Err(HttpError::new(HttpErrorKind::Unknown, Refused(status.as_u16())))
            }
            Err(error) => {
                let may_retry = self.breaker.failed();
                if may_retry { Err(error) } else { Err(HttpError::new(HttpErrorKind::Unknown, error)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn r086_it_opens_after_five_failures_and_tries_every_two_seconds() {
        let breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            assert!(breaker.admit().is_ok());
            breaker.failed();
        }
        assert!(breaker.admit().is_err());
        tokio::time::advance(TRY_EVERY).await;
        assert!(breaker.admit().is_ok(), "one is let through");
        assert!(breaker.admit().is_err(), "and only one");
        breaker.failed();
        assert!(breaker.admit().is_err());
        tokio::time::advance(TRY_EVERY).await;
        assert!(breaker.admit().is_ok());
        breaker.succeeded();
        assert!(breaker.admit().is_ok());
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn r086_failures_far_apart_do_not_open_it() {
        let breaker = Breaker::default();
        for _ in 0..3 * FAILURES_MAX {
            breaker.failed();
            tokio::time::advance(FAILURES_WITHIN / 4).await;
        }
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn r031_at_most_a_tenth_of_all_requests_are_retries() {
        let breaker = Breaker::default();
        let mut retries = 0;
        for _ in 0..1_000 {
            tokio::time::advance(FAILURES_WITHIN).await;
            if breaker.failed() {
                retries += 1;
            }
            breaker.succeeded();
        }
        assert!(retries <= 120, "{retries} retries of 1000 requests");
    }
}
