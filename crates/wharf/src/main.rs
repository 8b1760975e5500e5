//! Wharf, a container registry: parse the command line, run the command, end with its exit code.

use std::process::ExitCode;

use clap::Parser;
use wharf::cli::Cli;
use wharf::commands;

fn main() -> ExitCode {
    wharf::allocator::give_back_what_is_large();
    match commands::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            ExitCode::from(error.exit().code())
        }
    }
}
