//! `wharf gc`.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::print;
use super::remote::{list, pages, print_json, say};
use crate::cli::{GcCommand, RemoteArgs};
use crate::client::{Api, escape};
use crate::error::{CommandError, Exit};
use crate::table::{self, Column, text};

const PREVIEW_COLUMNS: [Column; 4] =
    [("REPOSITORY", "repository"), ("LINKS", "links"), ("BYTES", "bytes"), ("DUE SINCE", "oldest_due")];

const LOG_COLUMNS: [Column; 5] = [
    ("REMOVED", "removed_at"),
    ("DIGEST", "digest"),
    ("BYTES", "size_bytes"),
    ("LAST IN", "repository"),
    ("WHY", "reason"),
];

/// How often a run is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Carries out the command.
pub(super) fn run(command: &GcCommand) -> Result<(), CommandError> {
    match command {
        GcCommand::Status(args) => {
            let status = Api::connect(&args.remote)?.get("/gc")?.json()?;
            say(&args.remote.output, &status, &describe(&status))
        }
        GcCommand::Run { dry_run: true, remote, .. } => preview(remote),
        GcCommand::Run { dry_run: false, orphans, accept_orphans, remote } => {
            let mut wish = json!({ "orphans": orphans });
            if let Some(accepted) = accept_orphans {
                wish["accept_orphans"] = json!(accepted);
            }
            collect(&wish, remote)
        }
        GcCommand::Log { digest, limit, remote } => {
            let path = match digest {
                Some(digest) => format!("/gc/log?digest={}", escape(digest)),
                None => "/gc/log".to_owned(),
            };
            list(pages(&Api::connect(remote)?, &path, Some(*limit))?, &LOG_COLUMNS, &remote.output)
        }
        GcCommand::Hold { reason, hours, remote } => {
            let wish = json!({ "reason": reason, "hours": hours });
            let hold = Api::connect(remote)?.write(Method::POST, "/gc/holds", &wish)?.json()?;
            let line = format!("nothing is collected until {}; end it with: wharf gc release\n", text(&hold["until"]));
            say(&remote.output, &hold, &line)
        }
        GcCommand::Release { id, remote } => {
            Api::connect(remote)?.delete(&format!("/gc/holds/{}", escape(id)))?;
            say(&remote.output, &json!({ "released": id }), &format!("released {id}\n"))
        }
    }
}

fn preview(remote: &RemoteArgs) -> Result<(), CommandError> {
    let found = Api::connect(remote)?.get("/gc/preview")?.json()?;
    if remote.output.json {
        return print_json(&found);
    }
    list(found["repositories"].as_array().cloned().unwrap_or_default(), &PREVIEW_COLUMNS, &remote.output)?;
    let more = if found["complete"] == true { "" } else { ", and more that was not looked at" };
    say(
        &remote.output,
        &found,
        &format!(
            "{} blobs with {} would be freed after the trash period{more}; nothing was changed\n",
            text(&found["blobs"]),
            size(&found["bytes"])
        ),
    )
}

fn collect(wish: &Value, remote: &RemoteArgs) -> Result<(), CommandError> {
    let api = Api::connect(remote)?;
    let before = api.get("/gc")?.json()?;
    let run = api.write(Method::POST, "/gc/run", wish)?.json()?["run"].as_u64().unwrap_or(u64::MAX);
    let after = loop {
        std::thread::sleep(POLL);
        let status = api.get("/gc")?.json()?;
        if status["completed_runs"].as_u64() >= Some(run) {
            break status;
        }
    };
    let did = |member: &str| {
        let count = |status: &Value| status["totals"][member].as_u64().unwrap_or(0);
        count(&after).saturating_sub(count(&before))
    };
    if remote.output.json {
        print_json(&after)?;
    } else if !remote.output.quiet {
        print(&format!(
            "{} links ended, {} blobs condemned, {} removed ({})\n",
            did("released"),
            did("condemned"),
            did("removed"),
            table::size(did("removed_bytes"))
        ))?;
        if wish["orphans"] == true {
            print(&swept(&after["last_sweep"], did("orphans"), did("reconciled")))?;
        }
    }
    if wish["orphans"] == true && after["last_sweep"]["stopped"] == true {
        let orphans = text(&after["last_sweep"]["orphans"]);
        return Err(CommandError::new(
            Exit::Broken,
            format!("{orphans} files belong to nothing: too many to remove unasked"),
        )
        .with_hint(format!(
            "see that this is the right data directory, then run `wharf gc run --orphans --accept-orphans {orphans}`"
        )));
    }
    match after["last_error"].as_str() {
        Some(error) => Err(CommandError::new(Exit::Unexpected, format!("the run ended early: {error}"))
            .with_hint("it goes on by itself; see the registry's log")),
        None => Ok(()),
    }
}

fn swept(sweep: &Value, removed: u64, reconciled: u64) -> String {
    format!(
        "{} files listed, {} belong to nothing ({}), {removed} of them removed; {reconciled} links entered for review\n",
        text(&sweep["files"]),
        text(&sweep["orphans"]),
        size(&sweep["orphan_bytes"])
    )
}

fn describe(status: &Value) -> String {
    let (totals, backlog) = (&status["totals"], &status["backlog"]);
    let state = match (status["running"] == true, status["enabled"] == true) {
        (true, _) => "running",
        (false, true) => "waiting for something to be due",
        (false, false) => "only when asked to (gc.enabled = false)",
    };
    let mut lines = vec![
        format!("collector     {state}"),
        format!("waiting       {} links, {} of them due", text(&backlog["reviews"]), text(&backlog["reviews_due"])),
        format!("condemned     {} blobs, {}", text(&backlog["condemned"]), size(&backlog["condemned_bytes"])),
        format!(
            "since start   {} links ended, {} blobs removed, {}",
            text(&totals["released"]),
            text(&totals["removed"]),
            size(&totals["removed_bytes"])
        ),
    ];
    if let Some(at) = status["last_sweep"]["at"].as_str() {
        let sweep = &status["last_sweep"];
        let what = if sweep["stopped"] == true { "too many to remove unasked" } else { "removed" };
        let (files, orphans) = (text(&sweep["files"]), text(&sweep["orphans"]));
        lines.push(format!("listed        {at}: {files} files, {orphans} belonged to nothing, {what}"));
    }
    if let Some(due) = backlog["oldest_due"].as_str() {
        lines.insert(2, format!("next is due   {due}"));
    }
    if let Some(error) = status["last_error"].as_str() {
        lines.push(format!("last failure  {error}"));
    }
    for hold in status["holds"].as_array().into_iter().flatten() {
        let (id, reason, until) = (text(&hold["id"]), text(&hold["reason"]), text(&hold["until"]));
        lines.push(format!("on hold       {id}: {reason}, until {until}"));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn size(bytes: &Value) -> String {
    bytes.as_u64().map_or_else(String::new, table::size)
}
