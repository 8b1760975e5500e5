//! Who may do what. Pure: no I/O, no time.
//!
//! The heart of this room is a value, [`Authorized`]: proof that policy allowed one action on one target for the
//! request at hand. Only [`Engine::authorize`] makes one, and every use case asks for one, so a route that forgot to
//! ask does not compile (S-001).
//!
//! Until accounts and rules exist there is one policy, [`Engine::open`]: everybody may do everything, for local
//! experiments.

mod action;
mod authorized;
mod engine;
mod principal;

pub use action::{Action, Catalog, Delete, Permission, Pull, Push, VersionCheck};
pub use authorized::Authorized;
pub use engine::{Denied, Engine};
pub use principal::{AccountType, Principal};

#[cfg(test)]
mod tests;
