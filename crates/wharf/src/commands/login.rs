//! `wharf login`, `wharf logout`, `wharf whoami`.

use std::io::{BufRead, Write};

use reqwest::Method;
use serde_json::json;

use super::remote::{print_json, secret};
use super::{print, remote};
use crate::cli::{LoginArgs, RemoteArgs};
use crate::client::{self, Api, Login};
use crate::credentials::{self, Entry};
use crate::error::{CommandError, Exit};

/// Keeps a token for the server, made with a password that is not kept.
pub(super) fn login(args: &LoginArgs) -> Result<(), CommandError> {
    let base = match &args.address {
        Some(address) => client::parse_server(address, args.remote.insecure_http)?,
        None => client::server(&args.remote)?,
    };
    let ca = client::ca_certificate(&args.remote);
    let server = client::key(&base);
    let entry = if args.token_stdin {
        let token = secret("Token", true)?;
        let me = Api::new(base, Login::Token(token.clone()), ca.clone())?.get("/me")?.json()?;
        let account = me["name"].as_str().unwrap_or_default().to_owned();
        Entry { account, token: token.expose().clone(), token_id: None, ca_certificate: ca }
    } else {
        let username = match &args.username {
            Some(name) => name.clone(),
            None => ask("Username")?,
        };
        let password = secret("Password", args.password_stdin)?;
        let api = Api::new(base, Login::Password(username, password), ca.clone())?;
        let me = api.get("/me")?.json()?;
        let account = me["name"].as_str().unwrap_or_default().to_owned();
        if me["provider"] != "local" {
            let problem = format!("{account} is not an account of {server}, so the registry keeps no tokens for it");
            return Err(CommandError::new(Exit::Usage, problem)
                .with_hint("give a token of the single sign-on on standard input with --token-stdin"));
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let description = format!("wharf login on {}", host.trim());
        let made = api.write(Method::POST, "/me/tokens", &json!({ "description": description }))?.json()?;
        Entry {
            account,
            token: made["secret"].as_str().unwrap_or_default().to_owned(),
            token_id: made["token"]["id"].as_str().map(str::to_owned),
            ca_certificate: ca,
        }
    };
    let path = credentials::path()?;
    let mut kept = credentials::read(&path)?;
    let account = entry.account.clone();
    kept.servers.insert(server.clone(), entry);
    kept.default = Some(server.clone());
    credentials::write(&path, &kept)?;
    print(&format!("logged in to {server} as {account}; the token is kept in {}\n", path.display()))
}

/// Deletes the token, there and here.
pub(super) fn logout(args: &RemoteArgs) -> Result<(), CommandError> {
    let server = client::key(&client::server(args)?);
    let path = credentials::path()?;
    let mut kept = credentials::read(&path)?;
    let Some(entry) = kept.servers.remove(&server) else {
        return Err(CommandError::new(Exit::NotLoggedIn, format!("you are not logged in to {server}")));
    };
    let deleted = match &entry.token_id {
        Some(id) => Api::connect(args)?.delete(&format!("/me/tokens/{}", client::escape(id))).map(|_| ()),
        None => Ok(()),
    };
    kept.default = kept.default.filter(|default| *default != server);
    credentials::write(&path, &kept)?;
    match deleted {
        Ok(()) => print(&format!("logged out of {server}\n")),
        // It is gone there already: expired, or deleted by somebody else.
        Err(error) if error.exit() == Exit::NotLoggedIn => print(&format!("logged out of {server}\n")),
        Err(error) => {
            Err(error.with_hint("the token is forgotten here; delete it on the server with `wharf token delete`"))
        }
    }
}

/// Who one is there.
pub(super) fn whoami(args: &RemoteArgs) -> Result<(), CommandError> {
    let api = Api::connect(args)?;
    let me = api.get("/me")?.json()?;
    if args.json {
        return print_json(&me);
    }
    if me["account_type"] == "anonymous" {
        let server = client::key(api.base());
        return Err(CommandError::new(Exit::NotLoggedIn, format!("you are not logged in to {server}"))
            .with_hint(format!("run `wharf login {server}`")));
    }
    let columns =
        [("NAME", "name"), ("TYPE", "account_type"), ("PROVIDER", "provider"), ("ROLES", "roles"), ("MAY", "actions")];
    remote::show(&me, &columns, false)
}

fn ask(question: &str) -> Result<String, CommandError> {
    let failed = |error| CommandError::unexpected("reading from the terminal", error);
    let mut out = anstream::stderr().lock();
    write!(out, "{question}: ").and_then(|()| out.flush()).map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
    let line = line.trim();
    if line.is_empty() { Err(CommandError::new(Exit::Usage, "no name was given")) } else { Ok(line.to_owned()) }
}
