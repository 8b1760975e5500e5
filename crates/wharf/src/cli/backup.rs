//! `wharf backup` and what `wharf restore` takes from one. The doc comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wharf_base::ByteSize;

use super::{OutputArgs, RemoteArgs};

/// Arguments of `wharf backup`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, arg_required_else_help = true)]
pub struct BackupArgs {
    /// Something else than making a backup.
    #[command(subcommand)]
    pub command: Option<BackupCommand>,
    /// A backup to be made.
    #[command(flatten)]
    pub create: CreateBackupArgs,
}

/// A backup to be made.
#[derive(Args, Debug)]
pub struct CreateBackupArgs {
    /// The directory that backups are kept in; made if it is not there
    #[arg(value_name = "DIR", required = true)]
    pub directory: Option<PathBuf>,
    /// Copy this data directory, of a registry that does not run
    #[arg(long, value_name = "DIR", conflicts_with_all = ["server", "ca_certificate", "insecure_http"])]
    pub data: Option<PathBuf>,
    /// The same, with the data directory that this configuration file names
    #[arg(long, value_name = "FILE", conflicts_with_all = ["server", "ca_certificate", "insecure_http"])]
    pub config: Option<PathBuf>,
    /// Make the backup even if the registry has lost or damaged content; the generation says which
    #[arg(long)]
    pub allow_damaged: bool,
    /// DIR holds backups of another store, such as the one that this registry was restored from
    #[arg(long)]
    pub allow_other_store: bool,
    /// Copy at most so many bytes a second, so that whoever pushes to the same disk notices less; 50MiB, for example
    #[arg(long, value_name = "SIZE")]
    pub rate: Option<ByteSize>,
    /// Which server.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// The other commands of `wharf backup`.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// List the generations
    List {
        /// The directory that backups are kept in
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// How it is printed.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Look whether all is as it was made; exit code 8 if not
    ///
    /// By default reads the database and the list of each generation, and looks whether all content is there with its size.
    Verify {
        /// The directory that backups are kept in
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Read every byte of content too, and restore each database to a scratch directory to try it out
        #[arg(long)]
        deep: bool,
        /// Only this generation
        #[arg(long, value_name = "NAME")]
        generation: Option<String>,
        /// Where databases are restored to for a while; by default the system's directory for temporary files
        #[arg(long, value_name = "DIR")]
        scratch: Option<PathBuf>,
        /// How it is printed.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Remove all generations but the newest, and what only they named
    Prune {
        /// The directory that backups are kept in
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// How many generations to keep
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        keep: u32,
        /// How it is printed.
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// What `wharf restore` takes from a backup, and where it puts it.
#[derive(Args, Debug)]
#[command(next_help_heading = "From a backup")]
pub struct RestoreBackupArgs {
    /// The directory that backups are kept in
    #[arg(long, value_name = "DIR", requires = "data")]
    pub from: Option<PathBuf>,
    /// This generation, as `wharf backup list` shows it; by default the newest
    #[arg(long, value_name = "NAME", requires = "from", conflicts_with = "at")]
    pub generation: Option<String>,
    /// The data directory to be made: it must be empty, or not there
    #[arg(long, value_name = "DIR", requires = "from")]
    pub data: Option<PathBuf>,
    /// Move aside what is in that directory
    #[arg(long, requires = "from", conflicts_with = "what")]
    pub force: bool,
    /// Restore all that is sound, even if the backup lacks or has damaged content
    #[arg(long, requires = "from", conflicts_with = "what")]
    pub allow_damaged: bool,
}
