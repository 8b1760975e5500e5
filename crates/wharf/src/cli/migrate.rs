//! `wharf migrate`. The doc comments are the help texts.

use std::path::PathBuf;

use clap::Args;

use super::RemoteArgs;

/// Arguments of `wharf migrate`.
#[derive(Args, Debug)]
pub struct MigrateArgs {
    /// The configuration file of the registry as it is
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// The configuration file of the registry as it shall be
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Copy content ahead, while the registry serves, and nothing else; needs the permission backup:create
    #[arg(long)]
    pub ahead: bool,
    /// Move without content that the registry has lost or damaged
    #[arg(long, conflicts_with = "ahead")]
    pub allow_damaged: bool,
    /// Which server, with --ahead.
    #[command(flatten)]
    pub remote: RemoteArgs,
}
