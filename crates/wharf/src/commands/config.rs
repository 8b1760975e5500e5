//! `wharf config`: what the configuration is, whether it is right, and what it could be.

use crate::cli::{ConfigCommand, SettingArgs};
use crate::commands::{load, print};
use crate::config::{Loaded, Origin, schema};
use crate::error::CommandError;
use crate::text::visible;

/// Carries out one of the commands.
///
/// # Errors
///
/// [`CommandError`] with all complaints if the configuration is not valid.
pub fn run(command: &ConfigCommand) -> Result<(), CommandError> {
    match command {
        ConfigCommand::Check(args) => check(args),
        ConfigCommand::Show(args) => print(&load(args)?.show()),
        ConfigCommand::Schema => print(&format!("{:#}\n", schema())),
    }
}

fn check(args: &SettingArgs) -> Result<(), CommandError> {
    print(&format!("configuration is valid\n{}", sources(&load(args)?)))
}

/// One line for each source, with what of it is in force.
fn sources(loaded: &Loaded) -> String {
    let (mut variables, mut flags) = (Vec::new(), Vec::new());
    for origin in loaded.origins.values() {
        match origin {
            Origin::File { .. } => {}
            Origin::Variable(name) => variables.push(visible(name).to_string()),
            Origin::Flag(name) => flags.push(visible(name).to_string()),
        }
    }
    let file = loaded.file.iter().map(|path| visible(&path.display().to_string()).to_string()).collect();
    let line = |source: &str, names: Vec<String>| {
        let names = if names.is_empty() { "nothing".into() } else { names.join(", ") };
        format!("  {source}: {names}\n")
    };
    line("file", file) + &line("environment", variables) + &line("command line", flags)
}
