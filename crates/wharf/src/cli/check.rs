use std::path::PathBuf;

use clap::Args;

use super::{RemoteArgs, SettingArgs};

/// Arguments of `wharf check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Look at everything but the bytes of blobs; that they are there, and how long they are, is looked at. The default
    #[arg(long, conflicts_with = "deep")]
    pub fast: bool,
    /// Read and hash every byte as well
    #[arg(long)]
    pub deep: bool,
    /// Only what belongs to repositories with such a name, for example 'team/**'
    #[arg(long, value_name = "PATTERN")]
    pub repo: Option<String>,
    /// Repair findings of this class, as far as that can be done; repeat it for several
    #[arg(long, value_name = "CLASS")]
    pub repair: Vec<String>,
    /// Only say what would be repaired
    #[arg(long, requires = "repair")]
    pub dry_run: bool,
    /// Show how what the server stores is doing: the last check, the scrub, how much is damaged
    #[arg(long, conflicts_with_all = ["fast", "deep", "repo", "repair", "stop", "data", "config", "set"])]
    pub status: bool,
    /// Stop the check that runs on the server
    #[arg(long, conflicts_with_all = ["fast", "deep", "repo", "repair", "data", "config", "set"])]
    pub stop: bool,
    /// Check the data directory of a registry that does not run
    #[arg(long, value_name = "DIR", help_heading = "Without a server", conflicts_with = "server")]
    pub data: Option<String>,
    /// The same, with the directory that this configuration file names
    #[arg(long, value_name = "FILE", help_heading = "Without a server", conflicts_with = "server")]
    pub config: Option<PathBuf>,
    /// Any key of the configuration; repeat it for several
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = super::assignment, help_heading = "Without a server", conflicts_with = "server")]
    pub set: Vec<(String, String)>,
    /// Which server.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

impl CheckArgs {
    /// The configuration, if no server is to be asked.
    pub fn offline(&self) -> Option<SettingArgs> {
        let is_offline = self.data.is_some() || self.config.is_some() || !self.set.is_empty();
        is_offline.then(|| SettingArgs {
            config: self.config.clone(),
            data: self.data.clone(),
            set: self.set.clone(),
            ..SettingArgs::default()
        })
    }
}
