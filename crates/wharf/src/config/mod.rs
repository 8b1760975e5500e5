//! The whole configuration: one struct made of the rooms' own structs.
//!
//! Four sources, the later wins: defaults, file, environment, flags. Each source is read into `Setting`s, a value with
//! the place it comes from. Every setting is tried on its own before they are put together, so that a complaint names the
//! line, variable or flag that is wrong, and all complaints come at once. What keys there are is read from the JSON schema
//! of the struct (`keys`), so a new key in a room's struct needs nothing here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::logging;

mod complaint;
mod credentials;
mod environment;
mod file;
mod flag;
mod keys;
mod load;
mod setting;
mod show;
mod storage;

pub use complaint::{Complaint, Invalid};
pub use credentials::Unreadable;
pub use flag::Flag;
pub use keys::schema;
pub use load::{Loaded, Sources};
pub use setting::Origin;
use setting::Setting;
pub use storage::{Redirect, Sse, Storage};

/// The configuration of Wharf, a container registry. Every key has a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "Wharf configuration")]
pub struct Config {
    /// Where Wharf listens, how it is reached, and what one connection may cost.
    pub server: wharf_http::Config,
    /// What the registry accepts, keeps and lists.
    pub registry: wharf_registry::Config,
    /// When what nobody needs any more goes.
    pub gc: wharf_registry::GcConfig,
    /// How what is stored is looked after.
    pub check: wharf_registry::CheckConfig,
    /// Who is let in, and how long what they are given lives.
    pub auth: wharf_identity::Config,
    /// Single sign-on.
    pub mcias: wharf_identity::mcias::Config,
    /// Workload identity: programs that push with a token of their own platform and no stored secret.
    pub oidc: wharf_identity::oidc::Config,
    /// The record of what happened.
    pub audit: wharf_identity::AuditConfig,
    /// Where the metadata is kept.
    pub metadata: wharf_meta::Config,
    /// Where everything is kept.
    pub storage: Storage,
    /// What is logged and how.
    pub log: logging::Config,
}

impl Config {
    /// Relations between keys that cannot hold; empty when all is well.
    pub fn check(&self) -> Vec<Complaint> {
        let rooms = [
            self.server.check(),
            self.registry.check(),
            self.gc.check(),
            self.check.check(),
            self.auth.check(),
            self.mcias.check(),
            self.oidc.check(),
            self.audit.check(),
            self.metadata.check(),
            self.storage.check(),
            self.check_across(),
        ];
        rooms.into_iter().flatten().map(Complaint::of_all).collect()
    }

    /// Relations between keys of several sections.
    fn check_across(&self) -> Vec<String> {
        let (trash, lifetime) = (self.gc.trash.get(), self.storage.redirect_lifetime.get());
        if self.storage.redirect == Redirect::Off || lifetime < trash {
            return Vec::new();
        }
        // Whoever was sent to an object finds it there for as long as the address is good.
        vec!["gc.trash must be longer than storage.redirect_lifetime where clients are sent to the bucket".to_owned()]
    }

    /// How the use cases are set.
    pub fn use_cases(&self) -> wharf_registry::Settings {
        wharf_registry::Settings {
            registry: self.registry.clone(),
            gc: self.gc.clone(),
            check: self.check.clone(),
            verify_reads: self.storage.verify_reads,
            remembered: self.storage.remembered,
            room: self.storage.room(),
        }
    }

    /// What decides who people are.
    pub fn identity(&self) -> wharf_identity::Configs {
        wharf_identity::Configs {
            auth: self.auth.clone(),
            mcias: self.mcias.clone(),
            oidc: self.oidc.clone(),
            audit: self.audit.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
