//! `wharf migrate`: to another database, to other storage, and back.

use std::path::Path;

use serde_json::json;

use super::remote::say;
use super::{block_on, check};
use crate::cli::MigrateArgs;
use crate::client::Api;
use crate::config::{Config, Sources};
use crate::error::CommandError;
use crate::migrate::{self, Copied, Migrated};
use crate::table;

/// Carries out the command.
pub(super) fn run(args: &MigrateArgs) -> Result<(), CommandError> {
    super::restrict_new_files();
    let (from, to) = (read(&args.from)?, read(&args.to)?);
    if args.ahead {
        let api = Api::connect(&args.remote)?;
        let copied = block_on(migrate::ahead(&from, &to, api))?;
        return say(&args.remote.output, &describe(Some(&copied)), &tell_ahead(&copied));
    }
    let (migrated, checked) = block_on(async {
        let migrated = migrate::migrate(&from, &to, args.allow_damaged).await?;
        let checked = check::whole(&to).await?;
        Ok((migrated, checked))
    })?;
    let mut outcome = describe(migrated.content.as_ref());
    outcome["rows"] = json!(migrated.rows);
    outcome["check"] = checked.clone();
    say(&args.remote.output, &outcome, &tell(&migrated, &args.from, &args.to))?;
    migrate::conclude(&to)?;
    check::verdict(&checked).map_err(|error| {
        error.with_lines([
            "everything has moved, and the target was checked: wharf check --config FILE says more".to_owned()
        ])
    })
}

/// The environment is not read: it would be the same for both.
fn read(file: &Path) -> Result<Config, CommandError> {
    Ok(Sources { file: Some(file.to_owned()), ..Sources::default() }.load()?.config)
}

fn describe(copied: Option<&Copied>) -> serde_json::Value {
    let count = |figure: fn(&Copied) -> u64| copied.map(figure);
    json!({
        "blobs": count(|copied| copied.blobs),
        "bytes": count(|copied| copied.bytes),
        "copied_blobs": count(|copied| copied.copied_blobs),
        "copied_bytes": count(|copied| copied.copied_bytes),
        "lost": copied.map(|copied| copied.lost.iter().map(ToString::to_string).collect::<Vec<_>>()),
    })
}

fn tell_ahead(copied: &Copied) -> String {
    let (blobs, bytes) = (copied.copied_blobs, table::size(copied.copied_bytes));
    format!(
        "{blobs} blobs ({bytes}) copied, {} of {} are there\n\
         stop the registry, and run the same without --ahead: it copies what has come since, and moves the rest\n",
        copied.blobs - copied.lost.len() as u64,
        copied.blobs
    )
}

fn tell(migrated: &Migrated, from: &Path, to: &Path) -> String {
    let content = match &migrated.content {
        Some(copied) => format!(
            "{} blobs ({}), {} of them copied now",
            copied.blobs,
            table::size(copied.bytes),
            copied.copied_blobs
        ),
        None if migrated.content_stays => "content where it was".to_owned(),
        None => "content (by an earlier attempt)".to_owned(),
    };
    let rows = migrated.rows.map_or_else(String::new, |rows| format!(", {rows} rows"));
    let source = match migrated.content_stays {
        true => format!("the database that {} names was given up; no registry uses it any more", from.display()),
        false => format!("what {} names is as it was; do not start it again", from.display()),
    };
    format!("moved: {content}{rows}\n{source}\nstart it: wharf serve --config {}\n", to.display())
}
