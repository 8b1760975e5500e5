//! One file per command.

use std::io::{self, Write};

use crate::cli::{Cli, Command, SettingArgs};
use crate::config::{Loaded, Sources};
use crate::error::CommandError;
use crate::logging;

mod account;
mod audit;
mod backup;
mod bench;
mod check;
pub mod config;
mod context;
mod copying;
mod export;
mod gc;
mod import;
mod login;
mod manifest;
mod manual;
mod migrate;
mod policy;
mod remote;
mod repo;
pub mod serve;
mod tag;
mod token;
mod undo;

/// Carries out the command line.
///
/// # Errors
///
/// [`CommandError`] with the exit code to end with.
pub fn run(cli: Cli) -> Result<(), CommandError> {
    match cli.command {
        Command::Serve(args) => {
            let loaded = load(&args.settings)?;
            let _log = logging::start(&loaded.config.log)
                .map_err(|error| CommandError::unexpected("starting to write the log", error))?;
            serve::run(&loaded.config, args.open_mode())
        }
        Command::Login(args) => login::login(&args),
        Command::Logout(args) => login::logout(&args.remote),
        Command::Whoami(args) => login::whoami(&args.remote),
        Command::Account(command) => account::run(&command),
        Command::Token(command) => token::run(&command),
        Command::Policy(command) => policy::run(&command),
        Command::Audit(command) => audit::run(&command),
        Command::Keys(command) => audit::keys(&command),
        Command::Context(command) => context::run(&command),
        Command::Repo(command) => repo::run(&command),
        Command::Tag(command) => tag::run(&command),
        Command::Manifest(command) => manifest::run(&command),
        Command::Restore(args) => undo::restore(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Gc(command) => gc::run(&command),
        Command::Check(args) => check::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { directory, output } => manual::man(&directory, &output),
        Command::Config(args) => config::run(&args.command),
        Command::Version => print(concat!("wharf ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

/// The configuration from all its sources.
fn load(args: &SettingArgs) -> Result<Loaded, CommandError> {
    let environment = std::env::vars_os().collect();
    Ok(Sources { file: args.config.clone(), environment, flags: args.flags() }.load()?)
}

/// Runs long work to its end; signals are heard beside it.
fn block_on<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| CommandError::unexpected("starting the runtime", error))?.block_on(work)
}

/// Everything Wharf creates is for its own account only (S-083).
fn restrict_new_files() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Writes to standard output. A reader who has seen enough (`wharf config show | head`) is no failure.
fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::unexpected("writing to standard output", error))
        }
        _ => Ok(()),
    }
}
