//! `wharf backup` and what `wharf restore` takes from one. The doc comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wharf_base::ByteSize;

use wharf_store::BucketConfig;

use super::{OutputArgs, RemoteArgs};
use crate::config::Storage;
use crate::error::{CommandError, Exit};

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

/// Where backups are kept.
#[derive(Args, Clone, Debug)]
pub struct BackupPlaceArgs {
    /// Where backups are kept: a directory, or `s3://bucket/prefix`
    #[arg(value_name = "PLACE")]
    pub place: PathBuf,
    /// How a bucket is reached.
    #[command(flatten)]
    pub bucket: BackupBucketArgs,
}

/// How a bucket with backups is reached. Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from a web
/// identity, from AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials, or from the machine's own role.
#[derive(Args, Clone, Debug, Default)]
pub struct BackupBucketArgs {
    /// The address of the service; Amazon's own for the region if not given
    #[arg(long, help_heading = "A bucket", value_name = "URL")]
    pub s3_endpoint: Option<String>,
    /// The region that requests are signed for; AWS_REGION, or us-east-1, if not given
    #[arg(long, help_heading = "A bucket", value_name = "REGION")]
    pub s3_region: Option<String>,
    /// Whether the bucket is named in the path of addresses and not in the host; yes where an endpoint is given
    #[arg(long, help_heading = "A bucket", value_name = "true|false")]
    pub s3_path_style: Option<bool>,
    /// A file of PEM certificates that the endpoint may be known by besides the system's
    #[arg(long, help_heading = "A bucket", value_name = "FILE")]
    pub s3_ca_certificate: Option<PathBuf>,
    /// The endpoint may be a plain http:// one, over which everybody can read
    #[arg(long, help_heading = "A bucket")]
    pub s3_insecure_http: bool,
    /// Go on although another process seems to be at work in the bucket: it is certain that it is dead
    #[arg(long, help_heading = "A bucket")]
    pub break_lock: bool,
    /// Where databases are kept while they are made or looked at; by default the system's directory for temporary files
    #[arg(long, help_heading = "A bucket", value_name = "DIR")]
    pub scratch: Option<PathBuf>,
}

/// A backup to be made.
#[derive(Args, Debug)]
pub struct CreateBackupArgs {
    /// Where backups are kept: a directory, made if it is not there, or `s3://bucket/prefix`
    #[arg(value_name = "PLACE", required = true)]
    pub place: Option<PathBuf>,
    /// Copy this data directory, of a registry that does not run
    #[arg(long, value_name = "DIR", conflicts_with_all = ["server", "ca_certificate", "insecure_http"])]
    pub data: Option<PathBuf>,
    /// The same, with the data directory that this configuration file names
    #[arg(long, value_name = "FILE", conflicts_with_all = ["server", "ca_certificate", "insecure_http"])]
    pub config: Option<PathBuf>,
    /// Make the backup even if the registry has lost or damaged content; the generation says which
    #[arg(long)]
    pub allow_damaged: bool,
    /// PLACE holds backups of another store, such as the one that this registry was restored from
    #[arg(long)]
    pub allow_other_store: bool,
    /// Copy at most so many bytes a second, so that whoever pushes to the same disk notices less; 50MiB, for example
    #[arg(long, value_name = "SIZE")]
    pub rate: Option<ByteSize>,
    /// How a bucket is reached.
    #[command(flatten)]
    pub bucket: BackupBucketArgs,
    /// Which server.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// The other commands of `wharf backup`.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// List the generations
    List {
        /// Where backups are kept.
        #[command(flatten)]
        place: BackupPlaceArgs,
        /// How it is printed.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Look whether all is as it was made; exit code 8 if not
    ///
    /// By default reads the database and the list of each generation, and looks whether all content is there with its size.
    Verify {
        /// Where backups are kept.
        #[command(flatten)]
        place: BackupPlaceArgs,
        /// Read every byte of content too, and restore each database to a scratch directory to try it out
        #[arg(long)]
        deep: bool,
        /// Only this generation
        #[arg(long, value_name = "NAME")]
        generation: Option<String>,
        /// How it is printed.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Remove all generations but the newest, and what only they named
    Prune {
        /// Where backups are kept.
        #[command(flatten)]
        place: BackupPlaceArgs,
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
    /// Where backups are kept: a directory, or `s3://bucket/prefix`
    #[arg(long, value_name = "PLACE", requires = "data")]
    pub from: Option<PathBuf>,
    /// How a bucket is reached.
    #[command(flatten)]
    pub bucket: BackupBucketArgs,
    /// This generation, as `wharf backup list` shows it; by default the newest
    #[arg(long, value_name = "NAME", requires = "from", conflicts_with = "at")]
    pub generation: Option<String>,
    /// The data directory to be made: it must be empty, or not there
    #[arg(long, value_name = "DIR", requires = "from")]
    pub data: Option<PathBuf>,
    /// With a DIGEST: the configuration of the registry that it is put back into
    #[arg(long, value_name = "FILE", requires_all = ["from", "what"])]
    pub config: Option<PathBuf>,
    /// Move aside what is in that directory
    #[arg(long, requires = "from", conflicts_with = "what")]
    pub force: bool,
    /// Restore all that is sound, even if the backup lacks or has damaged content
    #[arg(long, requires = "from", conflicts_with = "what")]
    pub allow_damaged: bool,
}

impl BackupPlaceArgs {
    /// The bucket, if it is one.
    ///
    /// # Errors
    ///
    /// Why that cannot be the name of a bucket, or what does not fit together.
    pub(crate) fn bucket(&self) -> Result<Option<BucketConfig>, CommandError> {
        let Some(url) = self.place.to_str().filter(|text| text.contains("://")) else { return Ok(None) };
        let storage = Storage {
            url: Some(url.to_owned()),
            endpoint: self.bucket.s3_endpoint.clone(),
            region: self.bucket.s3_region.clone(),
            path_style: self.bucket.s3_path_style,
            ca_file: self.bucket.s3_ca_certificate.clone(),
            allow_http: self.bucket.s3_insecure_http,
            ..Storage::default()
        };
        let complaints = storage.check();
        if !complaints.is_empty() {
            // They name keys of the configuration, which here are the place and options.
            let lines = complaints.iter().map(|line| {
                let line = line.replace("storage.url", url).replace("storage.allow_http", "--s3-insecure-http");
                line.replace("storage.endpoint", "--s3-endpoint")
            });
            return Err(CommandError::new(Exit::Usage, format!("{url} cannot be used for backups")).with_lines(lines));
        }
        storage.bucket(OBJECT_MAX).map_err(|error| CommandError::from_source(Exit::Usage, error))
    }

    /// Where databases are for a while.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.bucket.scratch.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// No service takes larger objects (5 TiB).
const OBJECT_MAX: u64 = 5 << 40;
