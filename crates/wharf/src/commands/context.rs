//! `wharf context`: which servers one is logged in to, and as whom.

use serde_json::{Value, json};

use super::remote::{list, say, show};
use crate::cli::{ContextCommand, OutputArgs};
use crate::credentials::{self, Credentials, Entry};
use crate::error::{CommandError, Exit};
use crate::table::Column;

const COLUMNS: [Column; 4] = [("NAME", "name"), ("CURRENT", "current"), ("SERVER", "server"), ("ACCOUNT", "account")];

/// Carries out the command.
pub(super) fn run(command: &ContextCommand) -> Result<(), CommandError> {
    let path = credentials::path()?;
    let mut kept = credentials::read(&path)?;
    match command {
        ContextCommand::Ls(output) => ls(&kept, output),
        ContextCommand::Show { name, output } => {
            let name = name.clone().or_else(|| kept.current.clone()).ok_or_else(nothing_current)?;
            show(&describe(&kept, &name, kept.context(&name)?), &COLUMNS, output)
        }
        ContextCommand::Use { name, output } => {
            let server = kept.context(name)?.server.clone();
            kept.current = Some(name.clone());
            credentials::write(&path, &kept)?;
            let line = format!("commands are for {server} now, as {}\n", kept.context(name)?.account);
            say(output, &json!({ "current": name }), &line)
        }
        ContextCommand::Remove { name, output } => {
            kept.context(name)?;
            kept.remove(name);
            credentials::write(&path, &kept)?;
            say(output, &json!({ "removed": name }), &format!("the context {name} is forgotten here\n"))
        }
    }
}

fn ls(kept: &Credentials, output: &OutputArgs) -> Result<(), CommandError> {
    let items = kept.contexts.iter().map(|(name, entry)| {
        let mut item = describe(kept, name, entry);
        if !output.json {
            item["current"] = json!(if item["current"] == true { "*" } else { "" });
        }
        item
    });
    list(items.collect(), &COLUMNS, output)
}

/// All but the token.
fn describe(kept: &Credentials, name: &str, entry: &Entry) -> Value {
    json!({
        "name": name, "current": kept.current.as_deref() == Some(name), "server": entry.server, "account": entry.account,
        "token_id": entry.token_id, "ca_certificate": entry.ca_certificate,
    })
}

fn nothing_current() -> CommandError {
    CommandError::new(Exit::NotLoggedIn, "no context is the current one")
        .with_hint("run `wharf context use NAME`, or `wharf login SERVER`")
}
