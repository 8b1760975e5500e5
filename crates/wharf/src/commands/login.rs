//! `wharf login`, `wharf logout`, `wharf whoami`.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use reqwest::Method;
use serde_json::json;
use url::Url;

use super::remote::{self, print_json, say, secret};
use crate::cli::{LoginArgs, RemoteArgs};
use crate::client::{self, Api, Chosen, Login};
use crate::credentials::{self, Credentials, Entry};
use crate::error::{CommandError, Exit};

/// Keeps a token for the server, made with a password that is not kept.
pub(super) fn login(args: &LoginArgs) -> Result<(), CommandError> {
    let path = credentials::path()?;
    let mut kept = credentials::read(&path)?;
    let base = match &args.address {
        Some(address) => client::parse_server(address, args.remote.insecure_http)?,
        None => Chosen::of(&args.remote, &kept)?.base,
    };
    let name = args.remote.context.clone().unwrap_or_else(|| default_name(&base, &kept));
    credentials::check_name(&name)?;
    let ca = client::ca_certificate(&args.remote);
    let server = client::key(&base);
    let entry = if args.token_stdin {
        let token = secret("Token", true)?;
        let me = Api::new(base, Login::Token(token.clone()), ca.clone())?.get("/me")?.json()?;
        let account = me["name"].as_str().unwrap_or_default().to_owned();
        Entry { server: server.clone(), account, token: token.expose().clone(), token_id: None, ca_certificate: ca }
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
            server: server.clone(),
            account,
            token: made["secret"].as_str().unwrap_or_default().to_owned(),
            token_id: made["token"]["id"].as_str().map(str::to_owned),
            ca_certificate: ca,
        }
    };
    let account = entry.account.clone();
    kept.contexts.insert(name.clone(), entry);
    kept.current = Some(name.clone());
    credentials::write(&path, &kept)?;
    let done = json!({ "context": name, "server": server, "account": account });
    let line = format!("logged in to {server} as {account}; the token is kept in {}\n", path.display());
    say(&args.remote.output, &done, &line)
}

/// The context of that server, or else a new one that is called like its host.
fn default_name(base: &Url, kept: &Credentials) -> String {
    if let Some((name, _)) = kept.of_server(&client::key(base)) {
        return name.clone();
    }
    let host = client::key(base);
    let host = host.split_once("://").map_or(host.as_str(), |(_, host)| host);
    host.to_owned()
}

/// Deletes the token, there and here.
pub(super) fn logout(args: &RemoteArgs) -> Result<(), CommandError> {
    let path = credentials::path()?;
    let mut kept = credentials::read(&path)?;
    let Chosen { base, context } = Chosen::of(args, &kept)?;
    let server = client::key(&base);
    let Some((name, entry)) = context else {
        return Err(CommandError::new(Exit::NotLoggedIn, format!("you are not logged in to {server}")));
    };
    let deleted = match &entry.token_id {
        Some(id) => {
            let api = Api::new(base, Login::Token(entry.token.as_str().into()), ca(args, &entry))?;
            api.delete(&format!("/me/tokens/{}", client::escape(id))).map(|_| ())
        }
        None => Ok(()),
    };
    kept.remove(&name);
    credentials::write(&path, &kept)?;
    let done = json!({ "context": name, "server": server });
    let line = format!("logged out of {server}\n");
    match deleted {
        Ok(()) => say(&args.output, &done, &line),
        // It is gone there already: expired, or deleted by somebody else.
        Err(error) if error.exit() == Exit::NotLoggedIn => say(&args.output, &done, &line),
        Err(error) => {
            Err(error.with_hint("the token is forgotten here; delete it on the server with `wharf token delete`"))
        }
    }
}

fn ca(args: &RemoteArgs, entry: &Entry) -> Option<PathBuf> {
    client::ca_certificate(args).or_else(|| entry.ca_certificate.clone())
}

/// Who one is there.
pub(super) fn whoami(args: &RemoteArgs) -> Result<(), CommandError> {
    let api = Api::connect(args)?;
    let me = api.get("/me")?.json()?;
    if args.output.json {
        return print_json(&me);
    }
    if me["account_type"] == "anonymous" {
        let server = client::key(api.base());
        return Err(CommandError::new(Exit::NotLoggedIn, format!("you are not logged in to {server}"))
            .with_hint(format!("run `wharf login {server}`")));
    }
    let columns =
        [("NAME", "name"), ("TYPE", "account_type"), ("PROVIDER", "provider"), ("ROLES", "roles"), ("MAY", "actions")];
    remote::show(&me, &columns, &args.output)
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
