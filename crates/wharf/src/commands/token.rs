//! `wharf token`.

use reqwest::Method;
use serde_json::json;

use super::print;
use super::remote::{list, pages, print_json, say};
use crate::cli::{IdArgs, TokenCommand};
use crate::client::{Api, escape};
use crate::error::{CommandError, Exit};
use crate::table::{Column, text};

const COLUMNS: [Column; 8] = [
    ("ID", "id"),
    ("ACCOUNT", "account"),
    ("KIND", "kind"),
    ("DESCRIPTION", "description"),
    ("SCOPES", "scopes"),
    ("NETWORKS", "networks"),
    ("EXPIRES", "expires_at"),
    ("LAST USED", "last_used_at"),
];

/// Carries out the command.
pub(super) fn run(command: &TokenCommand) -> Result<(), CommandError> {
    match command {
        TokenCommand::Ls { account, all, remote } => {
            let api = Api::connect(remote)?;
            let path = match (account, all) {
                (Some(account), _) => format!("/tokens?account={}", escape(account)),
                (None, true) => "/tokens".to_owned(),
                (None, false) => "/me/tokens".to_owned(),
            };
            list(pages(&api, &path, None)?, &COLUMNS, &remote.output)
        }
        TokenCommand::Create { account, description, scopes, networks, days, remote } => {
            let body = json!({
                "description": description, "scopes": scopes, "networks": networks, "life_days": days,
            });
            let path = match account {
                Some(account) => format!("/accounts/{}/tokens", escape(account)),
                None => "/me/tokens".to_owned(),
            };
            let made = Api::connect(remote)?.write(Method::POST, &path, &body)?.json()?;
            if remote.output.json {
                return print_json(&made);
            }
            let token = &made["token"];
            if !remote.output.quiet {
                anstream::eprintln!(
                    "token {} for {}, good until {}; its secret is shown this once:",
                    text(&token["id"]),
                    text(&token["account"]),
                    text(&token["expires_at"])
                );
            }
            print(&format!("{}\n", text(&made["secret"])))
        }
        TokenCommand::Delete(IdArgs { id, remote }) => {
            let api = Api::connect(remote)?;
            let id_in_path = escape(id);
            // One's own first; who may, deletes other people's as well.
            match api.delete(&format!("/me/tokens/{id_in_path}")) {
                Err(error) if matches!(error.exit(), Exit::Refused) => {
                    _ = api.delete(&format!("/tokens/{id_in_path}"))?
                }
                other => _ = other?,
            }
            say(&remote.output, &json!({ "deleted": id }), &format!("token {id} is deleted\n"))
        }
    }
}
