//! One rule: written, tried out against what was asked lately, deleted.

use askama::Template;
use http::StatusCode;
use wharf_policy::{AccountType, Action, Authorized, PolicyManage, Rule};
use wharf_registry::{PolicyRule, Proposal, RuleDraft};

use super::page::{self, Frame};
use super::text;
use super::{Answer, Visit, to_mend};
use crate::api::Problem;

/// Where a rule stands unless its writer says.
const PRIORITY: i64 = 100;

/// How many audit records a trial looks at, and how many changes are shown.
const RECORDS: u32 = 1_000;
const CHANGES_SHOWN: usize = 100;

#[derive(Template)]
#[template(path = "rule.html")]
struct RulePage {
    f: Frame,
    policy_href: String,
    path: String,
    delete_path: String,
    id: String,
    version: String,
    draft: Fields,
    account_types: Vec<(&'static str, bool)>,
    actions: Vec<(&'static str, bool)>,
    problem: Option<String>,
    trial: Option<Trial>,
}

/// What the form holds.
#[derive(Default)]
struct Fields {
    is_deny: bool,
    is_enabled: bool,
    priority: String,
    description: String,
    subjects: String,
    roles: String,
    repositories: String,
    account_types: Vec<String>,
    actions: Vec<String>,
    is_for_everything: bool,
}

struct Trial {
    records: String,
    questions: String,
    changes: Vec<TrialChange>,
}

struct TrialChange {
    who: String,
    what: &'static str,
    where_to: String,
    is_allowed_then: bool,
    times: String,
}

/// The editor, empty or with a rule in it.
pub(super) async fn show(ok: Authorized<PolicyManage>, visit: Visit) -> Answer {
    let id = visit.parameter("id").to_owned();
    if id.is_empty() {
        let fields = Fields { is_enabled: true, priority: PRIORITY.to_string(), ..Fields::default() };
        return render(&visit, StatusCode::OK, "", "", fields, None, None);
    }
    let row = visit.app.parts.registry.rule(&ok, &id).await?;
    let fields = of_row(&row);
    render(&visit, StatusCode::OK, &id, &row.version.to_string(), fields, None, None)
}

fn of_row(row: &PolicyRule) -> Fields {
    let lines = |items: Vec<String>| items.join("\n");
    let known = Fields {
        is_enabled: row.enabled,
        priority: row.rule.priority.to_string(),
        description: row.rule.description.clone(),
        ..Fields::default()
    };
    let Ok(rule) = Rule::try_from(&row.rule) else { return known };
    Fields {
        is_deny: rule.effect == wharf_policy::Effect::Deny,
        subjects: lines(rule.subjects.clone()),
        roles: lines(rule.roles.clone()),
        repositories: lines(rule.repositories.iter().map(ToString::to_string).collect()),
        account_types: rule.account_types.iter().map(ToString::to_string).collect(),
        actions: rule.actions.iter().map(ToString::to_string).collect(),
        ..known
    }
}

fn of_form(visit: &Visit) -> Fields {
    let form = &visit.form;
    Fields {
        is_deny: form.text("effect") == "deny",
        is_enabled: form.is_ticked("enabled"),
        priority: form.text("priority").to_owned(),
        description: form.text("description").to_owned(),
        subjects: form.text("subjects").to_owned(),
        roles: form.text("roles").to_owned(),
        repositories: form.text("repositories").to_owned(),
        account_types: form.all("account_types").map(str::to_owned).collect(),
        actions: form.all("actions").map(str::to_owned).collect(),
        is_for_everything: form.is_ticked("matches_everything"),
    }
}

fn render(
    visit: &Visit,
    status: StatusCode,
    id: &str,
    version: &str,
    draft: Fields,
    problem: Option<String>,
    trial: Option<Trial>,
) -> Answer {
    let chosen = |all: Vec<&'static str>, chosen: &[String]| {
        all.into_iter().map(|name| (name, chosen.iter().any(|chosen| chosen == name))).collect()
    };
    let view = RulePage {
        f: Frame::of(visit, if id.is_empty() { "A new rule" } else { "A rule" }),
        policy_href: visit.href("/policy", &[]),
        path: visit.href("/policy/rule", &[]),
        delete_path: visit.href("/policy/rule/delete", &[]),
        id: id.to_owned(),
        version: version.to_owned(),
        account_types: chosen(AccountType::ALL.iter().map(|kind| kind.as_str()).collect(), &draft.account_types),
        actions: chosen(Action::ALL.iter().map(|action| action.as_str()).collect(), &draft.actions),
        draft,
        problem,
        trial,
    };
    Ok(page::answer(status, &view)?)
}

/// Writes the rule, or only says what it would change.
pub(super) async fn save(ok: Authorized<PolicyManage>, visit: Visit) -> Answer {
    let registry = &visit.app.parts.registry;
    let (id, version) = (visit.form.text("id").to_owned(), visit.form.text("version").to_owned());
    let outcome = match draft(&visit) {
        Err(problem) => Err(problem),
        Ok(draft) if visit.form.text("do") == "try" => match trial(&ok, &visit, &id, draft).await {
            Ok(trial) => return render(&visit, StatusCode::OK, &id, &version, of_form(&visit), None, Some(trial)),
            Err(problem) => Err(problem),
        },
        Ok(draft) if id.is_empty() => registry.create_rule(&ok, &draft).await.map_err(Problem::from),
        Ok(draft) => match version.parse() {
            Ok(version) => registry.replace_rule(&ok, &id, Some(version), &draft).await.map_err(Problem::from),
            Err(_) => Err(Problem::field("version", "is not one that this page gave out")),
        },
    };
    match outcome {
        Ok(_) => Ok(visit.see("/policy", &[("done", "saved")])),
        Err(problem) => {
            let (status, wrong) = to_mend(problem)?;
            render(&visit, status, &id, &version, of_form(&visit), Some(wrong), None)
        }
    }
}

/// The rule as the form says it, unchecked.
fn draft(visit: &Visit) -> Result<RuleDraft, Problem> {
    let form = &visit.form;
    let priority = form.text("priority").parse();
    let all = |name: &'static str| form.all(name).map(str::to_owned).collect::<Vec<_>>();
    let rule = serde_json::json!({
        "effect": form.text("effect"),
        "subjects": form.words("subjects"),
        "roles": form.words("roles"),
        "repositories": form.words("repositories"),
        "account_types": all("account_types"),
        "actions": all("actions"),
    });
    Ok(RuleDraft {
        priority: priority.map_err(|_| Problem::field("priority", "must be a whole number"))?,
        enabled: form.is_ticked("enabled"),
        description: form.text("description").to_owned(),
        rule_json: rule.to_string(),
        matches_everything: form.is_ticked("matches_everything"),
    })
}

async fn trial(ok: &Authorized<PolicyManage>, visit: &Visit, id: &str, draft: RuleDraft) -> Result<Trial, Problem> {
    let remove = if id.is_empty() { Vec::new() } else { vec![id.to_owned()] };
    let proposal = Proposal { rules: vec![draft], add: true, remove, records: RECORDS };
    let found = visit.app.parts.registry.simulate(ok, &proposal).await?;
    let changes = found.changes.iter().take(CHANGES_SHOWN).map(|(change, times)| TrialChange {
        who: match change.asked.principal.name() {
            "" => "anonymous".to_owned(),
            name => text::shown(name),
        },
        what: change.asked.action.as_str(),
        where_to: change.asked.repository.as_ref().map_or_else(|| "the registry".to_owned(), ToString::to_string),
        is_allowed_then: change.then.allowed,
        times: text::counted(*times as u64, "time", "times"),
    });
    Ok(Trial {
        records: text::number(found.records as u64),
        questions: text::number(found.questions as u64),
        changes: changes.collect(),
    })
}

/// Deletes the rule, if nobody has changed it since it was read.
pub(super) async fn delete(ok: Authorized<PolicyManage>, visit: Visit) -> Answer {
    let version = visit.form.text("version").parse();
    let version = version.map_err(|_| Problem::field("version", "is not one that this page gave out"))?;
    visit.app.parts.registry.delete_rule(&ok, visit.form.text("id"), Some(version)).await?;
    Ok(visit.see("/policy", &[("done", "removed")]))
}
