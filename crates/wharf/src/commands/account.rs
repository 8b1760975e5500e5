//! `wharf account`.

use std::path::Path;
use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use wharf_base::{SystemClock, SystemRng};

use super::print;
use super::remote::{list, new_password, pages, say, show};
use crate::app::{self, AppError};
use crate::cli::{AccountCommand, NameArgs, RemoteArgs};
use crate::client::{Api, escape};
use crate::config::{Flag, Sources};
use crate::error::{CommandError, Exit};
use crate::table::Column;

const COLUMNS: [Column; 6] = [
    ("NAME", "name"),
    ("TYPE", "account_type"),
    ("ROLES", "roles"),
    ("ENABLED", "enabled"),
    ("CREATED", "created_at"),
    ("BY", "created_by"),
];

/// Carries out the command.
pub(super) fn run(command: &AccountCommand) -> Result<(), CommandError> {
    match command {
        AccountCommand::Ls(args) => {
            let api = Api::connect(&args.remote)?;
            list(pages(&api, "/accounts", None)?, &COLUMNS, &args.remote.output)
        }
        AccountCommand::Show(NameArgs { name, remote }) => {
            let found = Api::connect(remote)?.get(&path(name))?.json()?;
            show(&found, &COLUMNS, &remote.output)
        }
        AccountCommand::Create { name, robot, roles, password_stdin, remote } => {
            let mut body =
                json!({ "name": name, "account_type": if *robot { "system" } else { "human" }, "roles": roles });
            if !robot {
                body["password"] = new_password(*password_stdin)?.expose().as_str().into();
            }
            let made = Api::connect(remote)?.write(Method::POST, "/accounts", &body)?.json()?;
            show(&made, &COLUMNS, &remote.output)
        }
        AccountCommand::SetRoles { name, roles, remote } => change(name, &json!({ "roles": roles }), remote),
        AccountCommand::Enable(args) => change(&args.name, &json!({ "enabled": true }), &args.remote),
        AccountCommand::Disable(args) => change(&args.name, &json!({ "enabled": false }), &args.remote),
        AccountCommand::SetPassword { name, password_stdin, remote } => {
            let body = json!({ "password": new_password(*password_stdin)?.expose() });
            Api::connect(remote)?.write(Method::PUT, &format!("{}/password", path(name)), &body)?;
            say(&remote.output, &json!({ "name": name }), &format!("{name} has a new password\n"))
        }
        AccountCommand::Delete(NameArgs { name, remote }) => {
            Api::connect(remote)?.delete(&path(name))?;
            let line = format!("account {name} is deleted, and its tokens with it\n");
            say(&remote.output, &json!({ "deleted": name }), &line)
        }
        AccountCommand::ResetAdmin { data, config } => reset_admin(data, config.as_deref()),
    }
}

fn path(name: &str) -> String {
    format!("/accounts/{}", escape(name))
}

fn change(name: &str, body: &Value, remote: &RemoteArgs) -> Result<(), CommandError> {
    let changed = Api::connect(remote)?.write(Method::PATCH, &path(name), body)?.json()?;
    show(&changed, &COLUMNS, &remote.output)
}

/// On the data directory itself, which nobody else may use meanwhile.
fn reset_admin(data: &Path, config: Option<&Path>) -> Result<(), CommandError> {
    // Where the metadata and the content are says the environment, or the file.
    let data =
        data.to_str().ok_or_else(|| CommandError::new(Exit::Usage, "the path of the data directory is not UTF-8"))?;
    let sources = Sources {
        file: config.map(Path::to_owned),
        environment: std::env::vars_os().collect(),
        flags: vec![Flag::short("data", data.to_owned())],
    };
    let config = sources.load()?.config;
    app::check_data(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandError::unexpected("starting the runtime", error))?;
    let password = runtime.block_on(async {
        let clock = Arc::new(SystemClock::new());
        let rng = SystemRng;
        // The store is what keeps a second process out.
        let opened = app::open_offline(&config, clock.clone()).await?;
        let password = wharf_identity::reset_admin(&*opened.meta, &*clock, &rng).await.map_err(AppError::Identity)?;
        opened.close().await?;
        Ok::<_, CommandError>(password)
    })?;
    print(&format!("The new password of `admin`, shown this once:\n\n    {}\n", password.expose()))
}
