//! `wharf audit`, `wharf keys`.

use std::fs::File;
use std::io::{self, Write};

use reqwest::Method;
use serde_json::json;

use super::remote::{list, pages, print_json, say, show};
use crate::cli::{AuditCommand, KeysCommand};
use crate::client::{Api, escape};
use crate::error::{CommandError, Exit};
use crate::table::{Column, text};

const COLUMNS: [Column; 8] = [
    ("TIME", "at"),
    ("WHO", "principal"),
    ("FROM", "source"),
    ("WHAT", "action"),
    ("REPOSITORY", "repository"),
    ("TARGET", "target"),
    ("OUTCOME", "outcome"),
    ("RULE", "rule"),
];

const KEY_COLUMNS: [Column; 4] =
    [("ID", "id"), ("CREATED", "created_at"), ("SIGNS FROM", "signs_from"), ("RETIRED", "retired_at")];

/// Carries out the command.
pub(super) fn run(command: &AuditCommand) -> Result<(), CommandError> {
    match command {
        AuditCommand::Ls { principal, repository, action, outcome, request_id, since, until, limit, remote } => {
            let filters = [
                ("principal", principal),
                ("repository", repository),
                ("action", action),
                ("outcome", outcome),
                ("request_id", request_id),
                ("since", since),
                ("until", until),
            ];
            let query =
                filters.iter().filter_map(|(name, value)| Some(format!("{name}={}", escape(value.as_deref()?))));
            let path = format!("/audit?{}", query.collect::<Vec<_>>().join("&"));
            list(pages(&Api::connect(remote)?, &path, Some(*limit))?, &COLUMNS, &remote.output)
        }
        AuditCommand::Verify(args) => {
            let found = Api::connect(&args.remote)?.get("/audit/verify")?.json()?;
            if args.remote.output.json {
                print_json(&found)?;
            }
            if found["intact"] != true {
                let problem = format!(
                    "the audit log is not as it was sealed: record {}: {}",
                    text(&found["bad_sequence"]),
                    text(&found["problem"])
                );
                return Err(CommandError::new(Exit::Broken, problem));
            }
            if args.remote.output.json {
                return Ok(());
            }
            say(
                &args.remote.output,
                &found,
                &format!(
                    "{} sealed records, all as they were sealed, up to record {}\nhead of the chain: {}\n",
                    text(&found["records"]),
                    text(&found["last_sequence"]),
                    text(&found["head"])
                ),
            )
        }
        AuditCommand::Export { output, remote } => {
            let api = Api::connect(remote)?;
            let failed = |error| CommandError::unexpected("writing the records", error);
            match output {
                Some(path) => {
                    let mut file = File::create(path).map_err(failed)?;
                    export(&api, &mut file)?;
                    file.sync_all().map_err(failed)
                }
                None => export(&api, &mut io::stdout().lock()),
            }
        }
    }
}

/// Page after page, so that no more than one is in memory.
fn export(api: &Api, out: &mut impl Write) -> Result<(), CommandError> {
    let mut path = "/audit/export".to_owned();
    loop {
        let reply = api.get(&path)?;
        match out.write_all(reply.text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.map_err(|error| CommandError::unexpected("writing the records", error))?,
        }
        match reply.headers.get("x-next").and_then(|next| next.to_str().ok()) {
            Some(next) => path = format!("/audit/export?after={}", escape(next)),
            None => return Ok(()),
        }
    }
}

/// Carries out the command.
pub(super) fn keys(command: &KeysCommand) -> Result<(), CommandError> {
    match command {
        KeysCommand::Ls(args) => {
            let found = Api::connect(&args.remote)?.get("/keys")?.json()?;
            list(found["items"].as_array().cloned().unwrap_or_default(), &KEY_COLUMNS, &args.remote.output)
        }
        KeysCommand::Rotate(args) => {
            let made = Api::connect(&args.remote)?.write(Method::POST, "/keys/rotate", &json!({}))?.json()?;
            show(&made, &KEY_COLUMNS, &args.remote.output)
        }
    }
}
