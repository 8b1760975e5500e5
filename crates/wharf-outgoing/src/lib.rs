//! The only door out: every connection that this registry opens to hosts which configuration, a rule or another server
//! names (S-050 … S-053).
//!
//! A [`Client`] speaks HTTPS only, follows no redirect, ignores the proxy variables of its surroundings, reads no more of
//! an answer than it was told to expect, waits no longer than it was told to wait, and connects only to addresses that
//! it may connect to: the check is made on the address that is then used, so a name cannot resolve to something else in
//! between.

mod address;
mod client;

pub use address::{Reach, is_public};
pub use client::{Answer, BuildError, Client, Error, Options, TlsMin};

#[cfg(test)]
mod tests;
