//! The race table of collection (`reliability` §4.5), row by row: the first actor stands between two of its steps while the
//! second one runs. Real database, real directory, a clock that moves only when told to.
//!
//! Rows whose second actor does not exist yet (deleted repositories, reconciliation, quarantine, proxies) have no test
//! here, and neither have those that need replicas or a bucket.

#![allow(clippy::unwrap_used, clippy::large_futures)]

mod collecting;
mod deleting;
mod model;
mod mounting;
mod pushing;
mod world;
