//! The help of every command is the reference in `docs/commands.md`; `WHARF_UPDATE_DOCS=1` writes it anew.

use clap::{Command, CommandFactory as _};
use wharf::cli::Cli;

/// How wide the texts are.
const COLUMNS: usize = 100;

const TITLE: &str = "\
# Commands

Every command with its arguments, as `--help` prints it. `wharf man DIR` makes manual pages of the same,
[the command line](cli.md) shows a session. A test makes this page, and fails when it is not what the binary says.
";

#[test]
fn the_reference_of_commands_is_what_help_says() {
    let mut command = Cli::command().term_width(COLUMNS);
    command.build();
    let mut page = TITLE.to_owned();
    write(&mut command, "wharf", &mut page);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    if std::env::var_os("WHARF_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(page.lines()).position(|(kept, now)| kept != now);
    assert!(
        kept == page,
        "docs/commands.md is not what the commands say, from line {} on; WHARF_UPDATE_DOCS=1 writes it anew",
        differs.unwrap_or_else(|| kept.lines().count().min(page.lines().count())) + 1
    );
}

fn write(command: &mut Command, name: &str, page: &mut String) {
    let text = command.render_long_help().to_string();
    let text: Vec<&str> = text.lines().map(str::trim_end).collect();
    page.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", text.join("\n").trim_end()));
    for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
        let name = format!("{name} {}", below.get_name());
        write(below, &name, page);
    }
}
