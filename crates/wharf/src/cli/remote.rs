//! The commands that speak to a running registry. The doc comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::RestoreBackupArgs;

/// Which server, and how what it says is shown.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Server")]
pub struct RemoteArgs {
    /// The registry's address; by default that of the current context [env: WHARF_SERVER]
    #[arg(long, value_name = "URL", conflicts_with = "context")]
    pub server: Option<String>,
    /// A server and an account by the name that `wharf context ls` shows [env: WHARF_CONTEXT]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Certificates in PEM of the authorities to trust, in place of the system's [env: WHARF_CA_CERTIFICATE]
    #[arg(long, value_name = "FILE")]
    pub ca_certificate: Option<PathBuf>,
    /// Send credentials over http:// to another machine
    #[arg(long)]
    pub insecure_http: bool,
    /// How it is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How results are printed.
#[derive(Args, Clone, Copy, Debug, Default)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// Print only the names or ids of what is listed, made or changed, one a line; of everything else nothing
    #[arg(long, short, conflicts_with = "json")]
    pub quiet: bool,
}

/// Arguments of `wharf login`.
#[derive(Args, Debug)]
pub struct LoginArgs {
    /// The registry's address, such as registry.example.org
    #[arg(value_name = "SERVER")]
    pub address: Option<String>,
    /// The account; asked for if it is not given
    #[arg(long, short)]
    pub username: Option<String>,
    /// Read the password from standard input instead of asking
    #[arg(long, conflicts_with = "token_stdin")]
    pub password_stdin: bool,
    /// Keep the token that standard input holds, instead of making one with a password
    #[arg(long)]
    pub token_stdin: bool,
    /// Which server.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// The commands of `wharf context`.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List the contexts; the current one has a star
    #[command(visible_alias = "list")]
    Ls(OutputArgs),
    /// Show one context; the current one, if none is named. Its token is not shown
    Show {
        /// The context
        name: Option<String>,
        /// How it is printed.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make a context the current one
    Use {
        /// The context
        name: String,
        /// How it is printed.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Forget a context; its token stays good until it expires. `wharf logout --context NAME` deletes both
    Remove {
        /// The context
        name: String,
        /// How it is printed.
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// Arguments of commands that are only about a server.
#[derive(Args, Debug)]
pub struct ServerArgs {
    /// Which server.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// The commands of `wharf account`.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// List the accounts
    Ls(ServerArgs),
    /// Show one account
    Show(NameArgs),
    /// Make an account for a person, or with --robot for a program
    #[command(after_help = "\
Examples:
  wharf account create alice
  wharf account create bob --role dev --password-stdin < password.txt
  wharf account create ci --robot          then: wharf token create --account ci")]
    Create {
        /// Lower-case letters, digits, '.', '_' and '-'
        name: String,
        /// For a program: it has tokens and no password, and may do nothing until a rule allows it
        #[arg(long, conflicts_with = "password_stdin")]
        robot: bool,
        /// A role; repeat it for several
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// Read the password from standard input instead of asking
        #[arg(long)]
        password_stdin: bool,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Give an account other roles; all of them from now on
    SetRoles {
        /// The account
        name: String,
        /// Its roles
        roles: Vec<String>,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Let an account be logged into again
    Enable(NameArgs),
    /// Keep an account, and let nobody log into it; its tokens mean nothing meanwhile
    Disable(NameArgs),
    /// Give an account a new password
    SetPassword {
        /// The account
        name: String,
        /// Read the password from standard input instead of asking
        #[arg(long)]
        password_stdin: bool,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Delete an account with its tokens
    Delete(NameArgs),
    /// Give `admin` a new password, on the data directory of a registry that does not run
    ///
    /// For whoever has lost the password and has the machine. It also gives back the role, and the permission to log in.
    ResetAdmin {
        /// The registry's data directory
        #[arg(long, value_name = "DIR", default_value = "./wharf-data")]
        data: PathBuf,
        /// The registry's configuration file; needed where content lies in a bucket
        #[arg(long, value_name = "FILE", env = "WHARF_CONFIG")]
        config: Option<PathBuf>,
    },
}

/// Arguments of commands that are about one name.
#[derive(Args, Debug)]
pub struct NameArgs {
    /// The account
    pub name: String,
    /// Which server.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Arguments of commands that are about one id.
#[derive(Args, Debug)]
pub struct IdArgs {
    /// The id
    pub id: String,
    /// Which server.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// The commands of `wharf token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// List one's own API tokens
    Ls {
        /// Those of this account, for administrators
        #[arg(long, conflicts_with = "all")]
        account: Option<String>,
        /// Those of all accounts, for administrators
        #[arg(long)]
        all: bool,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Make an API token; its secret is printed once, alone on standard output
    #[command(after_help = "\
Examples:
  wharf token create --description laptop
  wharf token create --account ci --scope 'repository:team/**:pull,push' --days 30
  docker login -u ci -p \"$(wharf token create --account ci)\" registry.example.org")]
    Create {
        /// For this account instead of one's own
        #[arg(long)]
        account: Option<String>,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        /// What it is limited to, such as repository:team/**:pull,push; repeat it for several
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// A network it may be used from, such as 192.0.2.0/24; repeat it for several
        #[arg(long = "network", value_name = "CIDR")]
        networks: Vec<String>,
        /// How long it lives
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Delete a token, from now on
    Delete(IdArgs),
}

/// What a rule says.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum EffectArg {
    /// It may be done
    Allow,
    /// It may not
    Deny,
}

/// The members of a rule; those that are not given match everything.
#[derive(Args, Debug, Default)]
pub struct RuleArgs {
    /// Read the rule as JSON from a file; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["effect", "subjects", "account_types", "roles", "actions", "repositories"])]
    pub file: Option<PathBuf>,
    /// Whether it allows or denies
    #[arg(long, value_enum)]
    pub effect: Option<EffectArg>,
    /// A name, or provider:name; repeat it for several
    #[arg(long = "subject", value_name = "NAME")]
    pub subjects: Vec<String>,
    /// human, system or anonymous; repeat it for several
    #[arg(long = "account-type", value_name = "TYPE")]
    pub account_types: Vec<String>,
    /// A role; repeat it for several
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
    /// Such as pull or registry:pull; repeat it for several
    #[arg(long = "action", value_name = "ACTION")]
    pub actions: Vec<String>,
    /// A pattern such as team/* or team/**; repeat it for several
    #[arg(long = "repository", value_name = "PATTERN")]
    pub repositories: Vec<String>,
    /// Lower comes first
    #[arg(long)]
    pub priority: Option<i64>,
    /// What it is for
    #[arg(long)]
    pub description: Option<String>,
    /// Needed for a rule that matches every request there is
    #[arg(long)]
    pub matches_everything: bool,
}

/// The commands of `wharf policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// List the rules, in their order
    Ls(ServerArgs),
    /// Show one rule as JSON
    Show(IdArgs),
    /// Write a rule; it is in force at once
    #[command(after_help = "\
Examples:
  wharf policy create --effect allow --subject ci --action pull --action push --repository 'team/**'
  wharf policy create --effect allow --account-type anonymous --action pull --repository 'public/**'
  wharf policy create --effect deny --action delete --repository 'prod/**' --description 'prod is kept'")]
    Create {
        /// The rule.
        #[command(flatten)]
        rule: RuleArgs,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Put a rule in force again
    Enable(IdArgs),
    /// Keep a rule, out of force
    Disable(IdArgs),
    /// Delete a rule
    Delete(IdArgs),
    /// What somebody may do, and why
    #[command(after_help = "\
Examples:
  wharf policy explain --as alice push team/app
  wharf policy explain pull public/app                nobody in particular
  wharf policy explain --as mcias:carol --role dev pull team/app")]
    Explain {
        /// Such as pull, push, delete, catalog, or policy:manage
        action: String,
        /// The repository, for actions that are about one
        repository: Option<String>,
        /// Whom: an account, or provider:name; nobody in particular if it is not given
        #[arg(long = "as", value_name = "WHO", default_value = "")]
        whom: String,
        /// human or system, for somebody who has no account here
        #[arg(long, value_name = "TYPE")]
        account_type: Option<String>,
        /// A role, for somebody who has no account here; repeat it for several
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// End with exit code 7 if it is denied
        #[arg(long)]
        exit_code: bool,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// What other rules would have said to the requests in the audit log
    Simulate {
        /// The rules to try: a JSON file with a list of them; - is standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Beside the stored rules rather than in their place
        #[arg(long)]
        add: bool,
        /// A stored rule to leave out; repeat it for several
        #[arg(long = "remove", value_name = "ID")]
        remove: Vec<String>,
        /// How many of the newest records are looked at
        #[arg(long, value_name = "NUMBER")]
        records: Option<u32>,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// The commands of `wharf audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List what happened, the newest first
    Ls {
        /// Only this principal
        #[arg(long)]
        principal: Option<String>,
        /// Only this repository
        #[arg(long)]
        repository: Option<String>,
        /// Only this action, such as manifest.push, login or denied
        #[arg(long)]
        action: Option<String>,
        /// Only this outcome: done, denied or failed
        #[arg(long)]
        outcome: Option<String>,
        /// Only this request, by the id in the log and in X-Request-Id
        #[arg(long)]
        request_id: Option<String>,
        /// From this time on, such as 2027-01-31T12:00:00Z
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Before this time
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// How many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Whether the log is as it was sealed; exit code 8 if it is not
    Verify(ServerArgs),
    /// Print all records in their order, one JSON object a line
    Export {
        /// Into this file instead of standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// The commands of `wharf keys`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the keys that sign bearer tokens
    Ls(ServerArgs),
    /// Make a new key; what the old ones have signed stays good
    Rotate(ServerArgs),
}

/// The commands of `wharf gc`.
#[derive(Debug, Subcommand)]
pub enum GcCommand {
    /// Show what the collector is doing, what waits for it, and what keeps it from running
    Status(ServerArgs),
    /// Collect what is due, now, and wait until that is done
    #[command(after_help = "\
Examples:
  wharf gc run --dry-run                  what would go
  wharf gc run
  wharf gc run --orphans                  what crashes have left behind, too")]
    Run {
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
        /// Also list everything, and remove files that belong to nothing
        #[arg(long, conflicts_with = "dry_run")]
        orphans: bool,
        /// How many such files may go; without it at most 1,000, and 1 % of all
        #[arg(long, value_name = "N", requires = "orphans")]
        accept_orphans: Option<u64>,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Show what was removed in the last 30 days, the latest first
    #[command(after_help = "\
Examples:
  wharf gc log
  wharf gc log --digest sha256:0123…      where did it go")]
    Log {
        /// Only content with this digest
        #[arg(long, value_name = "DIGEST")]
        digest: Option<String>,
        /// Show at most this many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Let nothing be collected for a while
    Hold {
        /// Why, for whoever finds the hold
        #[arg(long, value_name = "TEXT", default_value = "held by hand")]
        reason: String,
        /// For how many hours
        #[arg(long, default_value_t = 24)]
        hours: u32,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// End a hold
    Release {
        /// Which one, as `wharf gc status` shows it
        #[arg(default_value = "operator")]
        id: String,
        /// Which server.
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// Arguments of `wharf restore`.
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// REPOSITORY@DIGEST for a deleted manifest, REPOSITORY:TAG for a tag that was moved or removed; with --from a DIGEST,
    /// whose content is put back into a registry that does not run
    #[arg(value_name = "WHAT", required_unless_present = "from")]
    pub what: Option<String>,
    /// For a tag: restore what it pointed at then, such as 2027-01-31T12:00:00Z; by default before its last change. With
    /// --from: the newest generation that is as old
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// From a backup.
    #[command(flatten)]
    pub backup: RestoreBackupArgs,
    /// Which server.
    #[command(flatten)]
    pub remote: RemoteArgs,
}
