//! What was deleted or moved, and bringing it back: `wharf tag history`, `wharf manifest deleted`, `wharf restore`.

use reqwest::Method;
use serde_json::json;
use wharf_oci::Reference;

use super::copying::{parse_image, parse_tag};
use super::remote::{list, pages, say};
use crate::cli::{RemoteArgs, RestoreArgs};
use crate::client::{Api, escape};
use crate::error::{CommandError, Exit};
use crate::table::{Column, text};

const HISTORY_COLUMNS: [Column; 5] =
    [("VERSION", "version"), ("TIME", "at"), ("WHO", "by"), ("FROM", "from"), ("TO", "to")];

const DELETED_COLUMNS: [Column; 5] =
    [("DIGEST", "digest"), ("TAGS", "tags"), ("DELETED", "deleted_at"), ("BY", "deleted_by"), ("UNTIL", "until")];

/// Carries out `wharf tag history`.
pub(super) fn history(image: &str, limit: u32, remote: &RemoteArgs) -> Result<(), CommandError> {
    let (repository, tag) = parse_tag(image)?;
    let path = format!("/tags/history?repository={}&tag={}", escape(repository.as_str()), escape(tag.as_str()));
    list(pages(&Api::connect(remote)?, &path, Some(limit))?, &HISTORY_COLUMNS, &remote.output)
}

/// Carries out `wharf manifest deleted`.
pub(super) fn deleted(repository: &str, remote: &RemoteArgs) -> Result<(), CommandError> {
    let path = format!("/deleted?repository={}", escape(repository));
    list(pages(&Api::connect(remote)?, &path, None)?, &DELETED_COLUMNS, &remote.output)
}

/// Carries out `wharf restore`.
pub(super) fn restore(args: &RestoreArgs) -> Result<(), CommandError> {
    if let Some(from) = &args.backup.from {
        return super::backup::restore(args, from);
    }
    let what = args.what.as_deref().unwrap_or_default();
    let (repository, wish) = match parse_image(what)? {
        (repository, Reference::Digest(digest)) => {
            if args.at.is_some() {
                return Err(CommandError::new(Exit::Usage, "--at is for tags: a digest is always the same manifest"));
            }
            (repository, json!({ "digest": digest }))
        }
        (repository, Reference::Tag(tag)) => (repository, json!({ "tag": tag.as_str(), "at": args.at })),
    };
    let path = format!("/restore?repository={}", escape(repository.as_str()));
    let restored = Api::connect(&args.remote)?.write(Method::POST, &path, &wish)?.json()?;
    let tags = text(&restored["tags"]);
    let pointing = if tags.is_empty() { String::new() } else { format!(", tagged {tags}") };
    let line = format!("{repository}@{} is there{pointing}\n", text(&restored["digest"]));
    say(&args.remote.output, &restored, &line)
}
