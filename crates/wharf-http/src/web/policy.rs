//! The rules, and why they say what they say.

use askama::Template;
use wharf_policy::{Action, Authorized, PolicyManage, Principal, Provider, Rule};
use wharf_registry::{Listing, PolicyRule};

use super::page::{self, Frame};
use super::text::{self, Time};
use super::{Answer, Visit, to_mend};
use crate::api::policy::{cursor, read_cursor};
use crate::api::{self, Problem};

/// How many rules are on a page.
const PAGE: u32 = 100;

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage {
    f: Frame,
    new_href: String,
    explain_href: String,
    is_open: bool,
    lines: Vec<RuleLine>,
    next: Option<String>,
}

struct RuleLine {
    href: Option<String>,
    priority: i64,
    effect: &'static str,
    description: String,
    who: String,
    what: String,
    where_to: String,
    is_enabled: bool,
    problem: Option<String>,
    changed: Option<(Time, String)>,
}

/// Stored rules by priority, and on the last page the built-in ones.
pub(super) async fn show(ok: Authorized<PolicyManage>, visit: Visit) -> Answer {
    let registry = &visit.app.parts.registry;
    let after = match visit.after() {
        None => None,
        Some(text) => Some(read_cursor(text).ok_or_else(|| Problem::field("after", "is not where a list goes on"))?),
    };
    let found = registry.rules(&ok, after, PAGE + 1).await?;
    let found = Listing::cut(found, PAGE);
    let next = found.next(cursor);
    let mut lines: Vec<RuleLine> = found.items.iter().map(|row| stored_line(&visit, row)).collect();
    if next.is_none() {
        lines.extend(registry.builtin_rules(&ok).iter().map(line));
    }
    let view = PolicyPage {
        f: Frame::of(&visit, "Policy"),
        new_href: visit.href("/policy/rule", &[]),
        explain_href: visit.href("/policy/explain", &[]),
        is_open: visit.app.parts.policy.is_open(),
        lines,
        next: page::next_page(&visit, "/policy", &[], next.as_deref()),
    };
    page::ok(&view)
}

fn stored_line(visit: &Visit, row: &PolicyRule) -> RuleLine {
    let shown = match Rule::try_from(&row.rule) {
        Ok(rule) => line(&rule),
        Err(problem) => RuleLine {
            href: None,
            priority: row.rule.priority,
            effect: "broken",
            description: text::shown(&row.rule.description),
            who: String::new(),
            what: String::new(),
            where_to: String::new(),
            is_enabled: row.enabled,
            problem: Some(text::shown(&problem.to_string())),
            changed: None,
        },
    };
    RuleLine {
        href: Some(visit.href("/policy/rule", &[("id", &row.rule.id)])),
        is_enabled: row.enabled,
        changed: Some((visit.time(row.updated_at), text::shown(&row.updated_by))),
        ..shown
    }
}

fn line(rule: &Rule) -> RuleLine {
    let list = |items: Vec<String>, all: &str| if items.is_empty() { all.to_owned() } else { items.join(", ") };
    let who: Vec<String> = rule
        .subjects
        .iter()
        .cloned()
        .chain(rule.roles.iter().map(|role| format!("role {role}")))
        .chain(rule.account_types.iter().map(|kind| format!("any {kind}")))
        .collect();
    RuleLine {
        href: None,
        priority: rule.priority,
        effect: rule.effect.as_str(),
        description: text::shown(&rule.description),
        who: text::shown(&list(who, "everybody")),
        what: list(rule.actions.iter().map(ToString::to_string).collect(), "everything"),
        where_to: text::shown(&list(rule.repositories.iter().map(ToString::to_string).collect(), "everywhere")),
        is_enabled: true,
        problem: None,
        changed: None,
    }
}

#[derive(Template)]
#[template(path = "explain.html")]
struct ExplainPage {
    f: Frame,
    policy_href: String,
    path: String,
    principal: String,
    repository: String,
    actions: Vec<(&'static str, bool)>,
    problem: Option<String>,
    explained: Option<Explained>,
}

struct Explained {
    is_allowed: bool,
    summary: String,
    considered: Vec<Considered>,
}

struct Considered {
    description: String,
    effect: &'static str,
    priority: i64,
    is_matching: bool,
    why: String,
}

/// What the rules say about somebody who wants something, rule by rule.
pub(super) async fn explain(ok: Authorized<PolicyManage>, visit: Visit) -> Answer {
    let wanted = visit.parameter("action").to_owned();
    let (explained, problem) = if wanted.is_empty() {
        (None, None)
    } else {
        match explained(&ok, &visit, &wanted).await {
            Ok(explained) => (Some(explained), None),
            Err(problem) => (None, Some(to_mend(problem)?.1)),
        }
    };
    let is_chosen = |action: &Action| {
        if wanted.is_empty() { *action == Action::Pull } else { action.as_str() == wanted }
    };
    let view = ExplainPage {
        f: Frame::of(&visit, "Explain a decision"),
        policy_href: visit.href("/policy", &[]),
        path: visit.href("/policy/explain", &[]),
        principal: text::shown(visit.parameter("principal")),
        repository: text::shown(visit.parameter("repository")),
        actions: Action::ALL.iter().map(|action| (action.as_str(), is_chosen(action))).collect(),
        problem,
        explained,
    };
    page::ok(&view)
}

async fn explained(ok: &Authorized<PolicyManage>, visit: &Visit, action: &str) -> Result<Explained, Problem> {
    let action: Action = action
        .parse()
        .map_err(|error: wharf_policy::UnknownAction| Problem::field("action", format!("is unknown: {error}")))?;
    let repository = match visit.parameter("repository") {
        "" => None,
        name => Some(api::repository(name)?),
    };
    let principal = whom(visit, visit.parameter("principal")).await?;
    let (found, broken) = visit.app.parts.registry.explain(ok, &principal, action, repository.as_ref());
    let mut considered: Vec<Considered> = found
        .considered
        .into_iter()
        .map(|considered| Considered {
            description: text::shown(if considered.rule.description.is_empty() {
                &considered.rule.id
            } else {
                &considered.rule.description
            }),
            effect: considered.rule.effect.as_str(),
            priority: considered.rule.priority,
            is_matching: considered.matched,
            why: text::shown(&considered.why),
        })
        .collect();
    considered.extend(broken.into_iter().map(|rule| Considered {
        description: text::shown(&rule.id),
        effect: "broken",
        priority: 0,
        is_matching: false,
        why: text::shown(&rule.problem.to_string()),
    }));
    Ok(Explained { is_allowed: found.decision.allowed, summary: text::shown(&found.summary), considered })
}

/// An account with its roles of now, or nobody in particular.
async fn whom(visit: &Visit, name: &str) -> Result<Principal, Problem> {
    if name.is_empty() {
        return Ok(Principal::anonymous());
    }
    if let Some((provider, subject)) = name.split_once(':') {
        let provider = match provider {
            "mcias" => Provider::Mcias,
            "oidc" => Provider::Oidc,
            _ => return Err(Problem::field("principal", "must be an account, or begin with mcias: or oidc:")),
        };
        return Ok(Principal::new(provider, subject, wharf_policy::AccountType::Human, Vec::new()));
    }
    let found = visit.identity()?.principal_of(name).await?;
    found.ok_or_else(|| Problem::field("principal", format!("{name:?} is no account here")))
}
