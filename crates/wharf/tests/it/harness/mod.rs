//! What every whole-product test leans on: a server in a value, a client that sees every byte, content from a seed.

mod accounts;
pub mod bucket;
mod client;
mod cluster;
mod content;
mod debian_registry;
mod disk;
pub mod engines;
mod fixtures;
mod gate;
mod image;
mod kept;
mod process;
mod server;
mod strace;
mod terminal;
mod tls;
pub mod tools;
mod wire;

pub use accounts::{Admin, Forge, basic, bearer_payload};
pub use client::{Body, Client, Request, with_digest};
pub use cluster::Cluster;
pub use content::{Stripes, content, hex_sha256, hex_sha512, sha256};
pub use debian_registry::DebianRegistry;
pub use disk::{Disk, Kind as DiskKind};
pub use fixtures::Fixture;
pub use gate::Gate;
pub use image::{Image, OCI_INDEX, OCI_MANIFEST, layer};
pub use kept::{Kept, flip_on_disk};
pub use process::{MIB, Memory, MemoryWatch, cpu_time};
pub use server::{ADMIN_PASSWORD, Builder, Ended, Wharf, binary, serve_expecting_failure};
pub use strace::{Call, Strace};
pub use terminal::Terminal;
pub use tls::{Authority, connector};
pub use tools::Tool;
pub use wire::{Connection, PATIENCE, Reply, WireError};
