//! `wharf completions` and `wharf man`: what shells and `man` read, made from the command line itself.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::print;
use super::remote::say;
use crate::cli::{Cli, OutputArgs};
use crate::error::CommandError;

/// The script that makes `shell` complete command lines.
pub(super) fn completions(shell: Shell) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wharf", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// A page for each command, in `directory`.
pub(super) fn man(directory: &Path, output: &OutputArgs) -> Result<(), CommandError> {
    let failed = |error| CommandError::unexpected(format!("writing to {}", directory.display()), error);
    fs::create_dir_all(directory).map_err(failed)?;
    let mut command = Cli::command();
    command.build();
    let mut names = Vec::new();
    pages(&command, "wharf", &mut |name, page| {
        let name = format!("{name}.1");
        fs::write(directory.join(&name), page)?;
        names.push(name);
        Ok(())
    })
    .map_err(failed)?;
    let place = directory.display();
    let line = format!("{} pages are in {place}; read one with: man -l {place}/wharf.1\n", names.len());
    say(output, &serde_json::json!(names), &line)
}

/// `command` and everything below it.
fn pages(
    command: &clap::Command,
    name: &str,
    write: &mut impl FnMut(&str, &[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().name(name.to_owned())).render(&mut page)?;
    write(name, &page)?;
    for below in command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set()) {
        pages(below, &format!("{name}-{}", below.get_name()), write)?;
    }
    Ok(())
}
