//! `wharf tag`, `wharf manifest`, `wharf restore`.

use reqwest::Method;
use serde_json::json;

use super::print;
use super::remote::{list, pages, print_json};
use crate::cli::{ManifestCommand, RestoreArgs, TagCommand};
use crate::client::{Api, escape};
use crate::error::{CommandError, Exit};
use crate::table::{Column, text};

const HISTORY_COLUMNS: [Column; 5] =
    [("VERSION", "version"), ("TIME", "at"), ("WHO", "by"), ("FROM", "from"), ("TO", "to")];

const DELETED_COLUMNS: [Column; 5] =
    [("DIGEST", "digest"), ("TAGS", "tags"), ("DELETED", "deleted_at"), ("BY", "deleted_by"), ("UNTIL", "until")];

/// What somebody names on the command line.
enum Named<'a> {
    Tag { repository: &'a str, tag: &'a str },
    Digest { repository: &'a str, digest: &'a str },
}

impl<'a> Named<'a> {
    /// `REPOSITORY@DIGEST` or `REPOSITORY:TAG`.
    fn parse(text: &'a str) -> Result<Self, CommandError> {
        if let Some((repository, digest)) = text.split_once('@') {
            return Ok(Self::Digest { repository, digest });
        }
        match text.rsplit_once(':') {
            Some((repository, tag)) if !repository.is_empty() && !tag.contains('/') => {
                Ok(Self::Tag { repository, tag })
            }
            _ => {
                Err(CommandError::new(Exit::Usage, format!("{text:?} is neither REPOSITORY:TAG nor REPOSITORY@DIGEST"))
                    .with_hint("write for example team/app:1.0"))
            }
        }
    }
}

/// Carries out `wharf tag`.
pub(super) fn tag(command: &TagCommand) -> Result<(), CommandError> {
    let TagCommand::History { tag, limit, remote } = command;
    let Named::Tag { repository, tag } = Named::parse(tag)? else {
        return Err(CommandError::new(Exit::Usage, "a digest has no history; name a tag as REPOSITORY:TAG"));
    };
    let path = format!("/tags/history?repository={}&tag={}", escape(repository), escape(tag));
    list(pages(&Api::connect(remote)?, &path, Some(*limit))?, &HISTORY_COLUMNS, remote.json)
}

/// Carries out `wharf manifest`.
pub(super) fn manifest(command: &ManifestCommand) -> Result<(), CommandError> {
    let ManifestCommand::Deleted { repository, remote } = command;
    let path = format!("/deleted?repository={}", escape(repository));
    list(pages(&Api::connect(remote)?, &path, None)?, &DELETED_COLUMNS, remote.json)
}

/// Carries out `wharf restore`.
pub(super) fn restore(args: &RestoreArgs) -> Result<(), CommandError> {
    if let Some(from) = &args.backup.from {
        return super::backup::restore(args, from);
    }
    let what = args.what.as_deref().unwrap_or_default();
    let (repository, wish) = match Named::parse(what)? {
        Named::Digest { repository, digest } => {
            if args.at.is_some() {
                return Err(CommandError::new(Exit::Usage, "--at is for tags: a digest is always the same manifest"));
            }
            (repository, json!({ "digest": digest }))
        }
        Named::Tag { repository, tag } => (repository, json!({ "tag": tag, "at": args.at })),
    };
    let path = format!("/restore?repository={}", escape(repository));
    let restored = Api::connect(&args.remote)?.write(Method::POST, &path, &wish)?.json()?;
    if args.remote.json {
        return print_json(&restored);
    }
    let tags = text(&restored["tags"]);
    let pointing = if tags.is_empty() { String::new() } else { format!(", tagged {tags}") };
    print(&format!("{repository}@{} is there{pointing}\n", text(&restored["digest"])))
}
