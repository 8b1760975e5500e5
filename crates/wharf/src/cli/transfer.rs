//! `wharf import` and `wharf export`. The doc comments are the help texts.

use std::path::PathBuf;

use clap::Args;

use super::RemoteArgs;

/// Arguments of `wharf import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// A registry by its URL or host, with or without a repository and its tag or digest behind it; or the path of a
    /// directory or tar archive with an OCI image layout
    #[arg(required_unless_present = "distribution_dir", conflicts_with = "distribution_dir")]
    pub source: Option<String>,
    /// Take over the storage of distribution (Docker's `registry` image, Debian's docker-registry), which should not run
    /// meanwhile: the directory that its configuration calls rootdirectory
    #[arg(long, value_name = "DIR")]
    pub distribution_dir: Option<PathBuf>,
    /// Only repositories with such a name, for example 'team/**'; repeat it for several
    #[arg(long = "repository", value_name = "PATTERN")]
    pub repositories: Vec<String>,
    /// Only such tags, for example 'v1.*', and nothing that has no tag; repeat it for several
    #[arg(long = "tag", value_name = "PATTERN")]
    pub tags: Vec<String>,
    /// Put PREFIX/ before the name of every repository
    #[arg(long, value_name = "PREFIX", conflicts_with = "rename")]
    pub into: Option<String>,
    /// Call the one repository that is copied like this
    #[arg(long = "as", value_name = "REPOSITORY")]
    pub rename: Option<String>,
    /// Leave out what refers to the images: signatures, SBOMs, attestations
    #[arg(long)]
    pub no_referrers: bool,
    /// How many blobs, and how many images, are copied at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,
    /// Who one is at the source.
    #[command(flatten)]
    pub at_source: SourceArgs,
    /// Which server.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Who one is at the registry that is copied from.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Source")]
pub struct SourceArgs {
    /// The account there; by default the one of `wharf login`, or nobody
    #[arg(long, value_name = "NAME")]
    pub source_username: Option<String>,
    /// Read its password from standard input, instead of from WHARF_SOURCE_PASSWORD
    #[arg(long, requires = "source_username")]
    pub source_password_stdin: bool,
    /// Certificates in PEM of the authorities to trust there, in place of the system's
    #[arg(long, value_name = "FILE")]
    pub source_ca_certificate: Option<PathBuf>,
    /// Speak http:// to another machine, which everybody on the way could read and change; digests are verified, tags
    /// cannot be
    #[arg(long)]
    pub source_plain_http: bool,
}

/// Arguments of `wharf export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// An image, or a repository with all its tags
    #[arg(required = true, value_name = "REPOSITORY[:TAG|@DIGEST]")]
    pub what: Vec<String>,
    /// Where to: an archive if it ends with .tar, else a directory
    #[arg(required = true, value_name = "DIR|FILE.tar")]
    pub destination: PathBuf,
    /// Of whole repositories only such tags, for example 'v1.*'; repeat it for several
    #[arg(long = "tag", value_name = "PATTERN")]
    pub tags: Vec<String>,
    /// Leave out what refers to the images: signatures, SBOMs, attestations
    #[arg(long)]
    pub no_referrers: bool,
    /// How many blobs, and how many images, are copied at the same time; of an archive always one
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,
    /// Which server.
    #[command(flatten)]
    pub remote: RemoteArgs,
}
