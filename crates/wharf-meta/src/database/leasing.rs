use async_trait::async_trait;
use wharf_base::Timestamp;

use super::Database;
use crate::{Lease, Leasing, Result, TakeLease, jobs, leases};

#[async_trait]
impl<D: Database> Leasing for D {
    fn is_shared(&self) -> bool {
        Database::is_shared(self)
    }

    async fn time(&self) -> Result<Timestamp> {
        self.read("asking what time it is", leases::now).await
    }

    async fn take_lease(&self, name: &str) -> Result<TakeLease> {
        if !Database::is_shared(self) {
            return Ok(TakeLease::Needless);
        }
        let lease = Lease::new(name);
        let wanted = lease.clone();
        let taken = self.write_alone("taking a lease", move |tx| leases::take(tx, &wanted)).await?;
        Ok(if taken { TakeLease::Taken(lease) } else { TakeLease::Elsewhere })
    }

    async fn renew_lease(&self, lease: &Lease) -> Result<bool> {
        let lease = lease.clone();
        self.write_alone("renewing a lease", move |tx| leases::renew(tx, &lease)).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<()> {
        let lease = lease.clone();
        self.write_alone("releasing a lease", move |tx| leases::release(tx, &lease).map(drop)).await
    }

    async fn job(&self, id: &str) -> Result<Option<String>> {
        let id = id.to_owned();
        self.read("looking at a job", move |tx| jobs::find(tx, &id)).await
    }

    async fn change_job(&self, id: &str, before: Option<&str>, after: &str, now: Timestamp) -> Result<bool> {
        let (id, before, after) = (id.to_owned(), before.map(str::to_owned), after.to_owned());
        self.write("noting how a job does", move |tx| jobs::change(tx, &id, before.as_deref(), &after, now)).await
    }
}
