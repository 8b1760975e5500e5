//! The command line. The doc comments are the help texts.

mod backup;
mod bench;
mod check;
mod content;
mod migrate;
mod remote;
mod transfer;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::config::Flag;

pub use backup::{BackupArgs, BackupBucketArgs, BackupCommand, BackupPlaceArgs, CreateBackupArgs, RestoreBackupArgs};
pub use bench::BenchArgs;
pub use check::CheckArgs;
pub use content::{ManifestCommand, RepoCommand, TagCommand};
pub use migrate::MigrateArgs;
pub use remote::{
    AccountCommand, AuditCommand, ContextCommand, EffectArg, GcCommand, IdArgs, KeysCommand, LoginArgs, NameArgs,
    OutputArgs, PolicyCommand, RemoteArgs, RestoreArgs, RuleArgs, ServerArgs, TokenCommand,
};
pub use transfer::{ExportArgs, ImportArgs, SourceArgs};

/// Wharf, a container registry: one binary and a directory.
///
/// It stores images, Helm charts, signatures and any other OCI artifact for docker, podman, skopeo, oras, helm and
/// everything else that speaks the distribution specification.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, after_help = FIRST_STEPS, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  wharf serve                             a registry on 127.0.0.1:5000, data in ./wharf-data
  docker login 127.0.0.1:5000             with the account and password that it printed
  docker tag alpine 127.0.0.1:5000/alpine
  docker push 127.0.0.1:5000/alpine

Exit codes:
  0 done                                     3 data directory in use by another process
  1 unexpected failure                       4 database of another store or version
  2 wrong configuration or command line      5 storage does not keep what is written
  6 not logged in                            7 denied by the policy
  8 something is not as it should be         9 the server refuses, as it says
 10 the server cannot be reached";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the registry until it is told to stop
    ///
    /// Needs no configuration: it listens on 127.0.0.1:5000 and keeps everything in ./wharf-data, which it creates.
    /// SIGTERM or Ctrl-C stops it after the requests in flight; a second one stops it at once.
    #[command(after_help = format!("{SERVE_EXAMPLES}\n\n{PRECEDENCE}"))]
    Serve(ServeArgs),
    /// Log in to a registry, and keep a token for the commands below
    Login(LoginArgs),
    /// Log out: delete that token, there and here
    Logout(ServerArgs),
    /// Show who one is there, and what one may do
    Whoami(ServerArgs),
    /// People and robots
    #[command(subcommand)]
    Account(AccountCommand),
    /// API tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Who may do what, and why
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// What happened
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The keys that sign bearer tokens
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Which servers one is logged in to, and as whom
    #[command(subcommand)]
    Context(ContextCommand),
    /// Repositories
    #[command(subcommand)]
    Repo(RepoCommand),
    /// Tags: what they point at, and pointed at
    #[command(subcommand)]
    Tag(TagCommand),
    /// Manifests: images, indexes, and whatever else is stored
    #[command(subcommand)]
    Manifest(ManifestCommand),
    /// Bring back a deleted manifest, what a tag pointed at, or with --from a whole registry
    ///
    /// Deletions and moves of tags can be undone until the grace period is over (gc.grace, 24 hours by default). From a
    /// backup a new registry is made in an empty directory.
    #[command(after_help = "\
Examples:
  wharf restore team/app:1.0                               undo the last change of the tag
  wharf restore team/app:1.0 --at 2027-01-31T12:00:00Z     as it was then
  wharf restore team/app@sha256:0123…                      a deleted manifest, with its tags
  wharf restore --from /backup --data /srv/wharf           a registry, from its newest backup
  wharf restore sha256:0123… --from /backup --data /srv/wharf    one damaged blob")]
    Restore(RestoreArgs),
    /// Copy everything that a registry has, while it runs
    ///
    /// Makes a generation in DIR: the database as it is at one moment, and the content that it names. Content that DIR has
    /// already is not copied again. Needs the permission backup:create, which administrators have.
    #[command(after_help = "\
Examples:
  wharf backup /backup                     of the registry that one is logged in to
  wharf backup /backup --data /srv/wharf   of a registry that does not run
  wharf backup s3://bucket/registry        in a bucket
  wharf backup list /backup
  wharf backup verify /backup --deep       read every byte, try every database
  wharf backup prune /backup --keep 14
  wharf restore --from /backup --data /srv/wharf-new")]
    Backup(BackupArgs),
    /// Copy repositories into a registry, from another one or from files
    ///
    /// SOURCE is a registry of any make, one repository or image of it, or an OCI image layout in a directory or a tar
    /// archive. Everything that an image needs comes with it, and what refers to it, such as signatures. What is there
    /// already is not copied again, so after an interruption the same command goes on. What is damaged is reported by its
    /// name and keeps nothing else from being copied; the exit code is 8 then.
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Copy images out of a registry, into a directory or a tar archive
    ///
    /// What is written is an OCI image layout, which `wharf import`, skopeo, crane and oras read, with all platforms and
    /// what refers to the images. It gets its name when it is whole. A directory can be exported to again: what is in it
    /// already is not fetched again.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Move a registry to another database, to other storage, or back
    ///
    /// Takes two configuration files: of the registry as it is, and as it shall be. What moves goes to a new place, and nothing is
    /// a registry there until all of it is. Content can be copied --ahead, while the registry serves; for the rest it must be
    /// stopped. Killed or broken off, the same command goes on. WHARF_ variables are not read.
    #[command(after_help = "\
Examples:
  wharf migrate --from old.toml --to new.toml --ahead --server https://registry.example.com
  systemctl stop wharf
  wharf migrate --from old.toml --to new.toml")]
    Migrate(MigrateArgs),
    /// Collection of what nobody needs any more
    #[command(subcommand)]
    Gc(GcCommand),
    /// Look whether everything that is stored is as it should be; exit code 8 if it is not
    ///
    /// Asks a running registry, which goes on serving meanwhile; or with --data or --config looks at the data directory of
    /// one that does not run.
    #[command(after_help = "\
Examples:
  wharf check                             everything but the bytes of blobs
  wharf check --deep                      every byte
  wharf check --repo 'team/**' --json
  wharf check --repair I-07 --dry-run
  wharf check --deep --data /srv/wharf    without a running registry")]
    Check(CheckArgs),
    /// Measure how fast registries are, of any make, side by side
    ///
    /// Pushes its own images into a new repository below wharf-bench/ and leaves them there, so use a registry that is
    /// meant for it. Servers take turns in every round. Whatever is read is hashed or compared, and an answer that is
    /// wrong ends the run.
    #[command(after_help = "\
Examples:
  wharf bench http://127.0.0.1:5000
  wharf bench wharf=http://127.0.0.1:5000 other=http://127.0.0.1:5001 --svg bench.svg
  wharf bench wharf=http://127.0.0.1:5000 --pid wharf=$(pidof wharf) --only pull-large,push-large
  WHARF_BENCH_PASSWORD=… wharf bench https://registry.example.com --user alice --json
  wharf bench http://127.0.0.1:5000 --files nginx=http://127.0.0.1:8080,/srv/files --limit")]
    Bench(BenchArgs),
    /// Print a script that makes a shell complete these commands
    #[command(after_help = "\
Examples:
  wharf completions bash > /etc/bash_completion.d/wharf
  wharf completions zsh > ~/.zfunc/_wharf
  wharf completions fish > ~/.config/fish/completions/wharf.fish")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command
    Man {
        /// The directory for them; made if it is not there
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// How it is printed.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check, show or describe the configuration
    Config(ConfigArgs),
    /// Print the version
    Version,
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  wharf import https://old.example.org                    everything, by its list of repositories
  wharf import https://old.example.org --repository 'team/**' --tag 'v*' --into archive
  wharf import docker.io/library/alpine:3                 one image
  wharf import registry.example.org/team/app --as tools/app
  wharf import images.tar                                 what `wharf export` wrote
  wharf import --distribution-dir /var/lib/docker-registry

The source's password is read from WHARF_SOURCE_PASSWORD, or from standard input
with --source-password-stdin.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  wharf export team/app:1.0 app.tar
  wharf export team/app team/base:3 images/               all tags of the first
  skopeo copy oci:images:team/base:3 docker://registry.example.org/base:3";

const SERVE_EXAMPLES: &str = "\
Examples:
  wharf serve
  wharf serve --data /srv/wharf --read-only
  wharf serve --listen 0.0.0.0:443 --tls-certificate chain.pem --tls-key key.pem
  wharf serve --config wharf.toml --set registry.delete_tags=true
  wharf serve --open                      for experiments: no accounts, everybody may do everything

The first start makes the account `admin` and prints its password, once. It can be
given in WHARF_ADMIN_PASSWORD, or in a file that WHARF_ADMIN_PASSWORD_FILE names.";

/// Arguments of `wharf serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Let everybody who reaches the registry pull, push and delete
    ///
    /// For local experiments: nobody needs an account, and no rule is asked. Only on this machine's loopback addresses;
    /// give the flag twice to listen on other addresses too.
    #[arg(long, action = ArgAction::Count)]
    pub open: u8,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub settings: SettingArgs,
}

impl ServeArgs {
    /// How far the registry is open to people without an account.
    pub fn open_mode(&self) -> OpenMode {
        match self.open {
            0 => OpenMode::Closed,
            1 => OpenMode::Loopback,
            _ => OpenMode::Everywhere,
        }
    }
}

/// To whom the registry is open who has no account (S-080).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// To nobody.
    Closed,
    /// To everybody on this machine.
    Loopback,
    /// To everybody who reaches it.
    Everywhere,
}

/// Arguments of `wharf config`.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// Which of them.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// The commands of `wharf config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read everything as `wharf serve` would, and list what is wrong with it
    #[command(after_help = PRECEDENCE)]
    Check(SettingArgs),
    /// Print the configuration in force as a TOML file, and where each value comes from
    #[command(after_help = PRECEDENCE)]
    Show(SettingArgs),
    /// Print a JSON schema of the configuration file: every key, what it means and its default
    Schema,
}

/// Where the configuration comes from; the same for all commands that read it.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Configuration")]
pub struct SettingArgs {
    /// Configuration file in TOML; none is read unless named [env: WHARF_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory that everything is kept in, created if missing [env: WHARF_DATA] [default: ./wharf-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Address to listen on; repeat it for several [env: WHARF_LISTEN] [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub listen: Vec<String>,
    /// Certificate chain in PEM; makes the registry speak TLS only [env: WHARF_TLS_CERTIFICATE]
    #[arg(long, value_name = "FILE")]
    pub tls_certificate: Option<String>,
    /// Private key in PEM of that certificate [env: WHARF_TLS_KEY]
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
    /// Serve reads and refuse every write [env: WHARF_READ_ONLY]
    #[arg(long)]
    pub read_only: bool,
    /// How log lines look: auto, human or json; auto is human on a terminal [env: WHARF_LOG_FORMAT] [default: auto]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Which log lines are written: a level, or several such as info,wharf_http=debug [env: WHARF_LOG_LEVEL] [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Any key of the configuration, such as registry.blob_size_max="20 GiB"; repeat it for several
    /// [env: WHARF_SECTION__KEY]
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
}

const PRECEDENCE: &str = "\
Flags win over environment variables, these over the file, and that over the
defaults. Every key has a variable: WHARF_SERVER__LISTEN is `listen` of the
section `[server]`. `wharf config schema` describes all keys.";

impl SettingArgs {
    /// The flags that were given, as values of configuration keys.
    pub fn flags(&self) -> Vec<Flag> {
        let short = |name: &str, value: &Option<String>| value.clone().map(|value| Flag::short(name, value));
        let listen = (!self.listen.is_empty()).then(|| self.listen.join(","));
        let named = [
            short("data", &self.data),
            short("listen", &listen),
            short("tls-certificate", &self.tls_certificate),
            short("tls-key", &self.tls_key),
            short("read-only", &self.read_only.then(|| "true".to_owned())),
            short("log-format", &self.log_format),
            short("log-level", &self.log_level),
        ];
        let set = self.set.iter().map(|(key, value)| Flag::set(key, value));
        named.into_iter().flatten().chain(set).collect()
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write SECTION.KEY=VALUE, for example registry.read_only=true".into()),
    }
}
