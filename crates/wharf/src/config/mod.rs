//! The whole configuration: one struct made of the rooms' own structs.
//!
//! Four sources, the later wins: defaults, file, environment, flags. Each source is read into `Setting`s, a value with
//! the place it comes from. Every setting is tried on its own before they are put together, so that a complaint names the
//! line, variable or flag that is wrong, and all complaints come at once. What keys there are is read from the JSON schema
//! of the struct (`keys`), so a new key in a room's struct needs nothing here.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharf_base::ByteSize;

use crate::logging;

mod complaint;
mod environment;
mod file;
mod flag;
mod keys;
mod load;
mod setting;
mod show;

pub use complaint::{Complaint, Invalid};
pub use flag::Flag;
pub use keys::schema;
pub use load::{Loaded, Sources};
pub use setting::Origin;
use setting::Setting;

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

/// `[storage]`: where everything is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Storage {
    /// The data directory, on a local disk. Created if missing; relative to the directory that Wharf is started in.
    pub data: PathBuf,
    /// While less than this is free on the data directory's file system, uploads are answered 507; pulls and deletions go on.
    /// Default: the larger of 1 GiB and 2 % of the file system, but at most a tenth of it.
    pub min_free: Option<ByteSize>,
    /// How much is set aside in the data directory, for the day on which the database has no room left to record a deletion;
    /// at most a twentieth of the file system. 0 for nothing.
    pub reserve: ByteSize,
    /// When a large blob is hashed because somebody reads it: "scrub" for never, because the scrub reads all of them by and
    /// by; "first" for its first full read since the start; "always".
    pub verify_reads: wharf_registry::VerifyReads,
}

impl Default for Storage {
    fn default() -> Self {
        let room = wharf_registry::Room::default();
        Self {
            data: PathBuf::from("./wharf-data"),
            min_free: room.min_free,
            reserve: room.reserve,
            verify_reads: wharf_registry::VerifyReads::default(),
        }
    }
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
        ];
        rooms.into_iter().flatten().map(Complaint::of_all).collect()
    }

    /// How the use cases are set.
    pub fn use_cases(&self) -> wharf_registry::Settings {
        wharf_registry::Settings {
            registry: self.registry.clone(),
            gc: self.gc.clone(),
            check: self.check.clone(),
            verify_reads: self.storage.verify_reads,
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

impl Storage {
    /// What is kept free, and what is set aside.
    pub fn room(&self) -> wharf_registry::Room {
        wharf_registry::Room { min_free: self.min_free, reserve: self.reserve }
    }

    fn check(&self) -> Vec<String> {
        if self.data.as_os_str().is_empty() { vec!["storage.data must name a directory".into()] } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests;
