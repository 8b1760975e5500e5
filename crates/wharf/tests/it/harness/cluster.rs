//! Several replicas over one PostgreSQL database and one bucket of a real server, and what spreads requests over them.

use std::sync::atomic::{AtomicU64, Ordering};

use wharf_testkit::{Balancer, PostgresDatabase, PostgresServer, Weed};

use super::{Builder, Client, Ended, Wharf};

/// Replicas that know nothing of each other but the database and the bucket.
pub struct Cluster {
    /// Each in a process of its own, with a data directory of its own.
    pub replicas: Vec<Wharf>,
    /// Before all of them.
    pub balancer: Balancer,
    /// What they share.
    pub database: PostgresDatabase,
}

impl Cluster {
    /// So many replicas with the defaults.
    pub async fn start(count: usize) -> Self {
        Self::with(count, |_, builder| builder).await
    }

    /// So many, each as `change` makes it of its number.
    pub async fn with(count: usize, change: impl Fn(usize, Builder) -> Builder) -> Self {
        Self::over(PostgresServer::shared().database(), count, change).await
    }

    /// The same over a database that may have been prepared.
    pub async fn over(database: PostgresDatabase, count: usize, change: impl Fn(usize, Builder) -> Builder) -> Self {
        let place = Place::new();
        let replicas = (0..count).map(|number| change(number, place.replica(&database)).start());
        let replicas: Vec<_> = replicas.collect();
        let balancer = Balancer::before(replicas.iter().map(Wharf::address)).await;
        Self { replicas, balancer, database }
    }

    /// A client of all of them.
    pub fn client(&self) -> Client {
        Client::new(self.balancer.address())
    }

    /// A client of one of them.
    pub fn client_of(&self, number: usize) -> Client {
        self.replicas[number].client()
    }

    /// Starts a replica again that was killed.
    pub fn restart(&mut self, number: usize) {
        self.replicas[number].restart();
        self.balancer.moved(number, self.replicas[number].address());
    }

    /// The same for one that may end before it listens.
    pub fn try_restart(&mut self, number: usize) -> Result<(), Ended> {
        self.replicas[number].try_restart()?;
        self.balancer.moved(number, self.replicas[number].address());
        Ok(())
    }

    /// As if nobody had renewed a lease for long enough. Whoever is alive renews it.
    pub fn let_leases_end(&self) {
        self.database.sql("update leases set until_us = 0");
    }

    /// As if the database's server had crashed before it had synced a lease.
    pub fn forget_leases(&self) {
        self.database.sql("delete from leases");
    }

    /// The holders' leases of uploads.
    pub fn upload_leases(&self) -> usize {
        self.database.sql("select count(*) from leases where name like 'upload %'").parse().expect("a number")
    }
}

/// Where the content of one registry is.
struct Place {
    url: String,
}

impl Place {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        Self { url: format!("s3://replicas/{}", NUMBER.fetch_add(1, Ordering::Relaxed)) }
    }

    fn replica(&self, database: &PostgresDatabase) -> Builder {
        Wharf::builder()
            .metadata_in(database)
            .env("WHARF_STORAGE__URL", self.url.clone())
            .env("WHARF_STORAGE__ENDPOINT", Weed::shared().endpoint())
            .env("WHARF_STORAGE__ALLOW_HTTP", "true")
            .env("AWS_ACCESS_KEY_ID", Weed::KEY)
            .env("AWS_SECRET_ACCESS_KEY", Weed::SECRET)
    }
}
