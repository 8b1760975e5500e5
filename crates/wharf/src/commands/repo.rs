//! `wharf repo`.

use serde_json::{Value, json};
use wharf_copy::Source as _;

use super::block_on;
use super::copying::{failed, filter, parse_name, registry};
use super::remote::{list, pages, show};
use crate::cli::{RemoteArgs, RepoCommand};
use crate::client::{Api, escape};
use crate::error::{CommandError, Exit};

/// Carries out the command.
pub(super) fn run(command: &RepoCommand) -> Result<(), CommandError> {
    match command {
        RepoCommand::Ls { pattern, remote } => ls(pattern.as_ref(), remote),
        RepoCommand::Show { repository, remote } => describe(repository, remote),
    }
}

fn ls(pattern: Option<&String>, remote: &RemoteArgs) -> Result<(), CommandError> {
    let wanted = filter(pattern.map(std::slice::from_ref).unwrap_or_default())?;
    let server = registry(remote)?;
    let names = block_on(async { server.repositories().await.map_err(failed) })?;
    let wanted = names.into_iter().filter(|name| wanted.as_ref().is_none_or(|wanted| wanted(name)));
    let items: Vec<Value> = wanted.map(|name| json!({ "name": name })).collect();
    list(items, &[("NAME", "name")], &remote.output)
}

fn describe(repository: &str, remote: &RemoteArgs) -> Result<(), CommandError> {
    let (name, None) = parse_name(repository)? else {
        return Err(CommandError::new(Exit::Usage, format!("{repository:?} names an image; name a repository")));
    };
    let server = registry(remote)?;
    let tags = block_on(async { server.tags(&name).await.map_err(failed) })?;
    let deleted = pages(&Api::connect(remote)?, &format!("/deleted?repository={}", escape(name.as_str())), None)?;
    let about = json!({ "name": name.as_str(), "tags": tags.len(), "deleted": deleted.len() });
    show(&about, &[("NAME", "name"), ("TAGS", "tags"), ("CAN BE RESTORED", "deleted")], &remote.output)
}
