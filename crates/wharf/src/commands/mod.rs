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
mod gc;
mod login;
mod migrate;
mod policy;
mod remote;
pub mod serve;
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
        Command::Tag(command) => undo::tag(&command),
        Command::Manifest(command) => undo::manifest(&command),
        Command::Restore(args) => undo::restore(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Gc(command) => gc::run(&command),
        Command::Check(args) => check::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Config(args) => config::run(&args.command),
        Command::Version => print(concat!("wharf ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

/// The configuration from all its sources.
fn load(args: &SettingArgs) -> Result<Loaded, CommandError> {
    let environment = std::env::vars_os().collect();
    Ok(Sources { file: args.config.clone(), environment, flags: args.flags() }.load()?)
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
