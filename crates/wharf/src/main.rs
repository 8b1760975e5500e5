//! Wharf, a container registry: parse the command line, run the command, end with its exit code.

use std::process::ExitCode;

use clap::Parser;
use wharf::cli::Cli;
use wharf::commands;

/// Faster than the system's under many threads, and gives memory back after a burst of uploads.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            ExitCode::from(error.exit().code())
        }
    }
}
