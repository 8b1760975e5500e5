//! `wharf repo`, `wharf tag` and `wharf manifest`: what is stored. The doc comments are the help texts.

use clap::{Args, Subcommand};

use super::RemoteArgs;

/// The commands of `wharf repo`.
#[derive(Debug, Subcommand)]
pub enum RepoCommand {
    /// List the repositories that one may pull from
    #[command(visible_alias = "list")]
    Ls {
        /// Only names like this, for example 'team/**'
        pattern: Option<String>,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Show a repository: how many tags it has, and how many deleted manifests can still be restored
    Show {
        /// The repository
        repository: String,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// The commands of `wharf tag`.
#[derive(Debug, Subcommand)]
pub enum TagCommand {
    /// List the tags of a repository and what they point at
    #[command(
        visible_alias = "list",
        after_help = "\
Examples:
  wharf tag ls team/app
  wharf tag ls team/app 'v1.*'
  wharf tag ls team/app --quiet           names only, all of them"
    )]
    Ls {
        /// The repository
        repository: String,
        /// Only tags like this, for example 'v1.*'
        pattern: Option<String>,
        /// Look at most at so many tags; names alone are always all
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Show what a tag points at
    Show(TagArgs),
    /// Let a tag point at what another tag, or a digest, of the repository names
    #[command(after_help = "\
Examples:
  wharf tag set team/app:stable 1.4
  wharf tag set team/app:stable sha256:0123…")]
    Set {
        /// The tag; it is made if it is not there
        #[arg(value_name = "REPOSITORY:TAG")]
        tag: String,
        /// What it is to point at
        #[arg(value_name = "TAG|DIGEST")]
        reference: String,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Delete a tag, and keep what it points at; servers refuse that unless registry.delete_tags is set
    Delete(TagArgs),
    /// Show what a tag has pointed at, the latest change first
    #[command(after_help = "\
Examples:
  wharf tag history team/app:1.0")]
    History {
        /// REPOSITORY:TAG
        #[arg(value_name = "REPOSITORY:TAG")]
        tag: String,
        /// Show at most this many changes
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// Arguments of commands that are about one tag.
#[derive(Args, Debug)]
pub struct TagArgs {
    /// The tag
    #[arg(value_name = "REPOSITORY:TAG")]
    pub tag: String,
    /// Which server.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// The commands of `wharf manifest`.
#[derive(Debug, Subcommand)]
pub enum ManifestCommand {
    /// Show what a manifest names; with --json its bytes as they are
    Show(ImageArgs),
    /// List what refers to a manifest: signatures, SBOMs, attestations
    Referrers(ImageArgs),
    /// Write annotations into a manifest and let the tag point at the new one
    ///
    /// Annotations are part of a manifest, so it has another digest then. What refers to the old one, such as a signature,
    /// does not refer to the new one.
    #[command(after_help = "\
Examples:
  wharf manifest annotate team/app:1.0 org.opencontainers.image.source=https://git.example.org/app
  wharf manifest annotate team/app:1.0 --remove org.opencontainers.image.vendor")]
    Annotate {
        /// The image
        #[arg(value_name = "REPOSITORY:TAG")]
        tag: String,
        /// An annotation to be written
        #[arg(value_name = "KEY=VALUE", value_parser = annotation, required_unless_present = "remove")]
        annotations: Vec<(String, String)>,
        /// An annotation to be taken away; repeat it for several
        #[arg(long, value_name = "KEY")]
        remove: Vec<String>,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Delete a manifest with all its tags; it can be restored for a while
    Delete {
        /// The manifest
        #[arg(value_name = "REPOSITORY@DIGEST")]
        manifest: String,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// List the deleted manifests of a repository that can still be restored
    Deleted {
        /// The repository
        repository: String,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// Arguments of commands that are about one manifest.
#[derive(Args, Debug)]
pub struct ImageArgs {
    /// The manifest
    #[arg(value_name = "REPOSITORY:TAG|@DIGEST")]
    pub image: String,
    /// Which server.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, for example org.opencontainers.image.vendor=Example".into()),
    }
}
