//! `wharf policy`.

use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde_json::{Map, Value, json};

use super::print;
use super::remote::{json_file, list, pages, print_json, say};
use crate::cli::{EffectArg, IdArgs, PolicyCommand, RemoteArgs, RuleArgs};
use crate::client::{Api, escape};
use crate::error::{CommandError, Exit};
use crate::table::{self, Column, text};

const COLUMNS: [Column; 10] = [
    ("ID", "id"),
    ("PRIORITY", "priority"),
    ("IN FORCE", "enabled"),
    ("EFFECT", "effect"),
    ("SUBJECTS", "subjects"),
    ("TYPES", "account_types"),
    ("ROLES", "roles"),
    ("ACTIONS", "actions"),
    ("REPOSITORIES", "repositories"),
    ("DESCRIPTION", "description"),
];

/// Carries out the command.
pub(super) fn run(command: &PolicyCommand) -> Result<(), CommandError> {
    match command {
        PolicyCommand::Ls(args) => ls(&args.remote),
        PolicyCommand::Show(IdArgs { id, remote }) => print_json(&Api::connect(remote)?.get(&path(id))?.json()?),
        PolicyCommand::Create { rule, remote } => {
            let made = Api::connect(remote)?.write(Method::POST, "/policy/rules", &body(rule)?)?.json()?;
            list(vec![made], &COLUMNS, &remote.output)
        }
        PolicyCommand::Enable(args) => set_enabled(args, true),
        PolicyCommand::Disable(args) => set_enabled(args, false),
        PolicyCommand::Delete(IdArgs { id, remote }) => {
            Api::connect(remote)?.delete(&path(id))?;
            say(&remote.output, &json!({ "deleted": id }), &format!("rule {id} is deleted\n"))
        }
        PolicyCommand::Explain { .. } => explain(command),
        PolicyCommand::Simulate { .. } => simulate(command),
    }
}

fn path(id: &str) -> String {
    format!("/policy/rules/{}", escape(id))
}

fn ls(remote: &RemoteArgs) -> Result<(), CommandError> {
    let rules = pages(&Api::connect(remote)?, "/policy/rules", None)?;
    for rule in rules.iter().filter(|rule| !rule["problem"].is_null()) {
        anstream::eprintln!("warning: rule {} is not in force: {}", text(&rule["id"]), text(&rule["problem"]));
    }
    list(rules, &COLUMNS, &remote.output)
}

fn body(rule: &RuleArgs) -> Result<Value, CommandError> {
    let mut body = match &rule.file {
        Some(path) => match json_file(path)? {
            Value::Object(members) => members,
            _ => return Err(CommandError::new(Exit::Usage, "a rule is a JSON object")),
        },
        None => members(rule)?,
    };
    if let Some(priority) = rule.priority {
        body.insert("priority".into(), priority.into());
    }
    if let Some(description) = &rule.description {
        body.insert("description".into(), description.as_str().into());
    }
    if rule.matches_everything {
        body.insert("matches_everything".into(), true.into());
    }
    Ok(Value::Object(body))
}

fn members(rule: &RuleArgs) -> Result<Map<String, Value>, CommandError> {
    let effect = match rule.effect {
        Some(EffectArg::Allow) => "allow",
        Some(EffectArg::Deny) => "deny",
        None => return Err(CommandError::new(Exit::Usage, "say --effect allow or --effect deny, or --file FILE")),
    };
    let actions: Vec<String> = rule.actions.iter().map(|action| long(action)).collect();
    let members = json!({
        "effect": effect, "subjects": rule.subjects, "account_types": rule.account_types, "roles": rule.roles,
        "actions": actions, "repositories": rule.repositories,
    });
    Ok(members.as_object().cloned().unwrap_or_default())
}

/// `pull` is short for `registry:pull`.
fn long(action: &str) -> String {
    if action.contains(':') { action.to_owned() } else { format!("registry:{action}") }
}

/// Everything else stays as it was read, and nobody else's change is lost.
fn set_enabled(IdArgs { id, remote }: &IdArgs, enabled: bool) -> Result<(), CommandError> {
    let api = Api::connect(remote)?;
    let found = api.get(&path(id))?;
    let version = found.headers.get("etag").and_then(|value| value.to_str().ok()).unwrap_or("*").to_owned();
    let mut rule = found.json()?;
    let read = rule.as_object_mut().cloned().unwrap_or_default();
    let kept = ["effect", "subjects", "account_types", "roles", "actions", "repositories", "priority", "description"];
    let mut body: Map<String, Value> = read.into_iter().filter(|(name, _)| kept.contains(&name.as_str())).collect();
    body.insert("enabled".into(), enabled.into());
    body.insert("matches_everything".into(), true.into());
    let changed = api.send(Method::PUT, &path(id), Some(&Value::Object(body)), &[(IF_MATCH, &version)])?.json()?;
    list(vec![changed], &COLUMNS, &remote.output)
}

fn explain(command: &PolicyCommand) -> Result<(), CommandError> {
    let PolicyCommand::Explain { action, repository, whom, account_type, roles, exit_code, remote } = command else {
        return Ok(());
    };
    let mut body =
        json!({ "principal": whom, "action": action, "repository": repository, "account_type": account_type });
    if !roles.is_empty() {
        body["roles"] = json!(roles);
    }
    let found = Api::connect(remote)?.write(Method::POST, "/policy/explain", &body)?.json()?;
    if remote.output.json {
        print_json(&found)?;
    } else if !remote.output.quiet {
        let columns =
            [("RULE", "id"), ("PRIORITY", "priority"), ("EFFECT", "effect"), ("MATCHES", "matched"), ("WHY", "why")];
        let considered = found["considered"].as_array().cloned().unwrap_or_default();
        print(&format!("{}\n\n{}", text(&found["summary"]), table::render(&columns, &considered)))?;
        for rule in found["broken"].as_array().into_iter().flatten() {
            anstream::eprintln!("warning: rule {} is not in force: {}", text(&rule["id"]), text(&rule["problem"]));
        }
    }
    if *exit_code && found["allowed"] != true {
        return Err(CommandError::new(Exit::Denied, text(&found["summary"])));
    }
    Ok(())
}

fn simulate(command: &PolicyCommand) -> Result<(), CommandError> {
    let PolicyCommand::Simulate { file, add, remove, records, remote } = command else { return Ok(()) };
    let rules = match file.as_deref().map(json_file).transpose()? {
        Some(Value::Array(rules)) => Value::Array(rules),
        Some(rule @ Value::Object(_)) => Value::Array(vec![rule]),
        None if !remove.is_empty() => json!([]),
        Some(_) | None => {
            return Err(CommandError::new(Exit::Usage, "give the rules to try with --file FILE, or --remove ID"));
        }
    };
    let body = json!({ "rules": rules, "add": add, "remove": remove, "records": records });
    let found = Api::connect(remote)?.write(Method::POST, "/policy/simulate", &body)?.json()?;
    if remote.output.json || remote.output.quiet {
        return say(&remote.output, &found, "");
    }
    let columns = [
        ("WHO", "principal"),
        ("ACTION", "action"),
        ("REPOSITORY", "repository"),
        ("ALLOWED NOW", "allowed_now"),
        ("BY", "rule_now"),
        ("THEN", "allowed_then"),
        ("BY", "rule_then"),
        ("TIMES", "times"),
    ];
    let changes = found["changes"].as_array().cloned().unwrap_or_default();
    let looked =
        format!("{} records with {} different questions: ", text(&found["records"]), text(&found["questions"]));
    if changes.is_empty() {
        return print(&format!("{looked}nothing would be different\n"));
    }
    print(&format!("{looked}{} would be answered differently\n\n{}", changes.len(), table::render(&columns, &changes)))
}
