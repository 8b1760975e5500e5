//! The race table of collection (`reliability` §4.5), row by row: the first actor stands between two of its steps while the
//! second one runs. Real database, real directory, a clock that moves only when told to.
//!
//! Rows that the table marks with ⇉ run twice: with both actors in one process, over SQLite and a directory, and each in a replica of
//! its own, over one PostgreSQL database and one bucket. Leases, which would let only one collect or write to a session at a time,
//! come on top of that: here two collectors do meet. What a replica's death and sleep may do is in the whole-product tests
//! (`replicas`).
//!
//! Rows whose second actor does not exist yet (deleted repositories, proxies) have no test.

#![allow(clippy::unwrap_used, clippy::large_futures)]

/// Each row in one process and between replicas.
macro_rules! rows {
    ($($name:ident),+ $(,)?) => {
        mod in_one_process {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Over::Directory).await;
            })+
        }

        mod between_replicas {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Over::Replicas).await;
            })+
        }
    };
}

mod collecting;
mod deleting;
mod model;
mod mounting;
mod pushing;
mod world;
