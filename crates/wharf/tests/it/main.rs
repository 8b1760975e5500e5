//! Whole-product tests: a real `wharf serve`, real sockets, real clients.
//!
//! Each test starts its own server on a free port with its own data directory (`harness::Wharf`), so they run in
//! parallel; when one fails, the log of its server is printed beneath the failure. Nothing sleeps: a test waits for a
//! line of the log, a byte on a socket or the end of a process, and gives up after a stated time.
//!
//! Clients and the conformance suite come from `scripts/install-test-tools`; a missing tool fails the test. The load
//! tests are ignored by default: they want the release build and the machine to themselves (`scripts/test` runs them).
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::large_futures)]
#![allow(unreachable_pub, reason = "one binary: the modules' items are shared among themselves only")]

mod guard;
mod harness;

mod admin_cli;
mod api;
mod backup;
mod bad_days;
mod bench;
mod browser;
mod check;
mod cli;
mod clients;
mod collection;
mod config;
mod conformance;
mod content_cli;
mod contexts;
mod corpus;
mod crash;
mod credentials;
mod deploy;
mod embedded_run;
mod framing;
mod help;
mod kernels;
mod large;
mod limits;
mod load;
mod matrix;
mod metrics;
mod migrate;
mod overload;
mod pages;
mod proof;
mod replicas;
mod s3;
mod sign_in_with;
mod sign_on;
mod tls;
mod transfer;
mod tutorial;
mod usage;
mod write_protocol;
