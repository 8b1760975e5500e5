use std::fmt::Debug;

use async_trait::async_trait;
use wharf_base::Timestamp;

use crate::{Lease, Result, TakeLease};

/// Who of several replicas does what. [`under_lease`](crate::under_lease) is how it is used.
#[async_trait]
pub trait Leasing: Send + Sync + Debug {
    /// Whether other processes may be using the database at the same time.
    fn is_shared(&self) -> bool;

    /// What time it is for all replicas: the database's.
    async fn time(&self) -> Result<Timestamp>;

    /// Takes the lease of that name, if nobody has it.
    async fn take_lease(&self, name: &str) -> Result<TakeLease>;

    /// Lets it last longer; `false` if somebody else has taken it.
    async fn renew_lease(&self, lease: &Lease) -> Result<bool>;

    /// Gives it back.
    async fn release_lease(&self, lease: &Lease) -> Result<()>;

    /// What is told of a job that one replica does for all; `None` before anybody has.
    async fn job(&self, id: &str) -> Result<Option<String>>;

    /// Tells something else of it, unless somebody did since `before` was read; whether it was told.
    async fn change_job(&self, id: &str, before: Option<&str>, after: &str, now: Timestamp) -> Result<bool>;
}
