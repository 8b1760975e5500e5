//! Stand-ins for the neighbours of a registry: real HTTPS servers in the process of the test, with an authority of their own
//! and the real wire formats, that count what they are asked and misbehave when told to; a bucket, a database,
//! and what stands or goes wrong before several replicas or between one and its neighbours. For tests only.
#![allow(clippy::unwrap_used, reason = "a stand-in that cannot do its part ends the test")]

mod balancer;
mod bucket;
mod fault;
mod https;
mod mcias;
mod oidc;
mod postgres;
mod proxy;
mod sign_ins;
mod weed;

pub use balancer::Balancer;
pub use bucket::FakeS3;
pub use fault::Fault;
pub use https::{Authority, Tls};
pub use mcias::FakeMcias;
pub use oidc::{FakeOidc, SigningKind, forge};
pub use postgres::{PostgresDatabase, PostgresServer};
pub use proxy::{Mood, Proxy};
pub use weed::Weed;
