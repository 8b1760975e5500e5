//! `/api/v1/policy`: rules, why, and what if.

use http::StatusCode;
use wharf_oci::RepositoryName;
use wharf_policy::{Action, Authorized, PolicyManage, Principal, Provider};
use wharf_registry::{Listing, PolicyRule, Proposal, RuleDraft};

use super::forms::{CursorForm, EtagForm, PageLengthForm};
use super::types::{
    BrokenRule, Change, ConsideredRule, ExplainRequest, Explanation, NewRule, Page, Rule, RuleText, SimulateRequest,
    Simulation,
};
use super::{Answer, Call, Problem, done, json, me, ok, with_etag};

/// Where a rule stands unless its writer says.
const PRIORITY: i64 = 100;

/// How many audit records a simulation looks at, and at most.
const RECORDS: u32 = 1_000;
const RECORDS_MAX: u32 = 10_000;

impl From<PolicyRule> for Rule {
    fn from(row: PolicyRule) -> Self {
        let (rule, problem) = match wharf_policy::Rule::try_from(&row.rule) {
            Ok(rule) => (Some(RuleText::from(&rule)), None),
            Err(problem) => (None, Some(problem.to_string())),
        };
        Self {
            id: row.rule.id,
            priority: row.rule.priority,
            enabled: row.enabled,
            description: row.rule.description,
            rule,
            problem,
            version: Some(row.version),
            updated_by: Some(row.updated_by),
            updated_at: Some(row.updated_at.to_string()),
        }
    }
}

impl From<&wharf_policy::Rule> for RuleText {
    fn from(rule: &wharf_policy::Rule) -> Self {
        Self {
            effect: rule.effect.as_str().to_owned(),
            subjects: rule.subjects.clone(),
            account_types: rule.account_types.iter().map(ToString::to_string).collect(),
            roles: rule.roles.clone(),
            actions: rule.actions.iter().map(ToString::to_string).collect(),
            repositories: rule.repositories.iter().map(ToString::to_string).collect(),
        }
    }
}

fn builtin(rule: &wharf_policy::Rule) -> Rule {
    Rule {
        id: rule.id.to_string(),
        priority: rule.priority,
        enabled: true,
        description: rule.description.clone(),
        rule: Some(RuleText::from(rule)),
        problem: None,
        version: None,
        updated_by: None,
        updated_at: None,
    }
}

impl From<NewRule> for RuleDraft {
    fn from(new: NewRule) -> Self {
        Self {
            priority: new.priority.unwrap_or(PRIORITY),
            enabled: new.enabled.unwrap_or(true),
            description: new.description.unwrap_or_default(),
            rule_json: serde_json::Value::Object(new.rule).to_string(),
            matches_everything: new.matches_everything.unwrap_or(false),
        }
    }
}

/// Where a list of rules goes on behind this one.
pub(crate) fn cursor(rule: &PolicyRule) -> String {
    format!("{}.{}", rule.rule.priority, rule.rule.id)
}

/// Priority and id, as [`cursor`] wrote them.
pub(crate) fn read_cursor(text: &str) -> Option<(i64, String)> {
    let (priority, id) = text.split_once('.')?;
    Some((priority.parse().ok()?, id.to_owned()))
}

/// The rules by priority: stored ones, and on the last page the built-in ones.
#[utoipa::path(get, path = "/api/v1/policy/rules", operation_id = "listRules", tag = "policy", params(("limit" = inline(Option<PageLengthForm>), Query), ("after" = inline(Option<CursorForm>), Query)), responses((status = 200, body = Page<Rule>)))]
pub(crate) async fn list(proof: Authorized<PolicyManage>, call: Call) -> Answer {
    let limit = call.limit()?;
    let after = match call.after::<String>()? {
        None => None,
        Some(text) => Some(
            read_cursor(&text).ok_or_else(|| Problem::field("after", "is not a cursor that this registry gave out"))?,
        ),
    };
    let registry = &call.app.parts.registry;
    let found = registry.rules(&proof, after, limit + 1).await?;
    let found = Listing::cut(found, limit);
    let next = found.next(cursor);
    let mut items: Vec<Rule> = found.items.into_iter().map(Rule::from).collect();
    if next.is_none() {
        items.extend(registry.builtin_rules(&proof).iter().map(builtin));
    }
    ok(&Page { items, next })
}

/// Write a rule. It is in force from the answer on.
#[utoipa::path(post, path = "/api/v1/policy/rules", operation_id = "createRule", tag = "policy", request_body = NewRule, responses((status = 201, body = Rule, headers(("ETag" = String, description = "For `If-Match`; built-in rules have none")))))]
pub(crate) async fn create(proof: Authorized<PolicyManage>, mut call: Call) -> Answer {
    let body: NewRule = call.json().await?;
    let written = call.app.parts.registry.create_rule(&proof, &body.into()).await?;
    let version = written.version;
    with_etag(json(StatusCode::CREATED, &Rule::from(written)), version)
}

/// One rule.
#[utoipa::path(get, path = "/api/v1/policy/rules/{id}", operation_id = "getRule", tag = "policy", params(("id" = String, Path)), responses((status = 200, body = Rule, headers(("ETag" = String, description = "For `If-Match`; built-in rules have none")))))]
pub(crate) async fn get(proof: Authorized<PolicyManage>, call: Call) -> Answer {
    let registry = &call.app.parts.registry;
    let id = call.parameter(0);
    if let Some(rule) = registry.builtin_rules(&proof).iter().find(|rule| &*rule.id == id) {
        return ok(&builtin(rule));
    }
    let found = registry.rule(&proof, id).await?;
    let version = found.version;
    with_etag(ok(&Rule::from(found)), version)
}

/// Put another rule in the place of one. With `If-Match`, only if nobody has changed it since.
#[utoipa::path(put, path = "/api/v1/policy/rules/{id}", operation_id = "replaceRule", tag = "policy", params(("id" = String, Path), ("If-Match" = inline(Option<EtagForm>), Header)), request_body = NewRule, responses((status = 200, body = Rule, headers(("ETag" = String, description = "For `If-Match`; built-in rules have none"))), (status = 409)))]
pub(crate) async fn replace(proof: Authorized<PolicyManage>, mut call: Call) -> Answer {
    let expected = call.expected_version()?;
    let body: NewRule = call.json().await?;
    let written = call.app.parts.registry.replace_rule(&proof, call.parameter(0), expected, &body.into()).await?;
    let version = written.version;
    with_etag(ok(&Rule::from(written)), version)
}

/// Delete a rule. With `If-Match`, only if nobody has changed it since.
#[utoipa::path(delete, path = "/api/v1/policy/rules/{id}", operation_id = "deleteRule", tag = "policy", params(("id" = String, Path), ("If-Match" = inline(Option<EtagForm>), Header)), responses((status = 204), (status = 409)))]
pub(crate) async fn delete(proof: Authorized<PolicyManage>, call: Call) -> Answer {
    let expected = call.expected_version()?;
    call.app.parts.registry.delete_rule(&proof, call.parameter(0), expected).await?;
    done()
}

/// Ask the policy what somebody may do, and why.
#[utoipa::path(post, path = "/api/v1/policy/explain", operation_id = "explainPolicy", tag = "policy", request_body = ExplainRequest, responses((status = 200, body = Explanation)))]
pub(crate) async fn explain(proof: Authorized<PolicyManage>, mut call: Call) -> Answer {
    let body: ExplainRequest = call.json().await?;
    let principal = whom(&call, &body).await?;
    let action = action(&body.action)?;
    let repository: Option<RepositoryName> = match &body.repository {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|error: wharf_oci::NameError| Problem::field("repository", format!("is no name: {error}")))?,
        ),
    };
    let (found, broken) = call.app.parts.registry.explain(&proof, &principal, action, repository.as_ref());
    let considered = found.considered.into_iter().map(|considered| ConsideredRule {
        id: considered.rule.id.to_string(),
        priority: considered.rule.priority,
        effect: considered.rule.effect.as_str(),
        description: considered.rule.description,
        matched: considered.matched,
        why: considered.why,
    });
    let asker = wharf_policy::Asker::new(principal, None, call.asker.request_id.clone());
    ok(&Explanation {
        allowed: found.decision.allowed,
        rule: found.decision.rule.map(|rule| rule.to_string()),
        summary: found.summary,
        principal: me::about(&call, &asker),
        considered: considered.collect(),
        broken: broken.into_iter().map(|rule| BrokenRule { id: rule.id, problem: rule.problem }).collect(),
    })
}

/// The action of that name; `pull` is short for `registry:pull`.
fn action(text: &str) -> Result<Action, Problem> {
    let long = if text.contains(':') { text.to_owned() } else { format!("registry:{text}") };
    long.parse().map_err(|error: wharf_policy::UnknownAction| Problem::field("action", format!("is unknown: {error}")))
}

/// Whom the question is about: an account with its roles of now, or whoever the question describes.
async fn whom(call: &Call, body: &ExplainRequest) -> Result<Principal, Problem> {
    if body.principal.is_empty() {
        return Ok(Principal::anonymous());
    }
    let (provider, subject) = match body.principal.split_once(':') {
        Some(("mcias", subject)) => (Provider::Mcias, subject),
        Some(("oidc", subject)) => (Provider::Oidc, subject),
        Some(("local", subject)) => (Provider::Local, subject),
        _ => (Provider::Local, body.principal.as_str()),
    };
    let described = body.account_type.is_some() || body.roles.is_some();
    if provider == Provider::Local && !described {
        let found = call.identity()?.principal_of(subject).await?;
        return found.ok_or_else(|| {
            let problem =
                format!("{subject:?} is no account here; for somebody else say account_type and roles as well");
            Problem::field("principal", problem)
        });
    }
    let account_type = match body.account_type.as_deref() {
        None => wharf_policy::AccountType::Human,
        Some(text) => text.parse().map_err(|_| Problem::field("account_type", "must be human or system"))?,
    };
    Ok(Principal::new(provider, subject, account_type, body.roles.clone().unwrap_or_default()))
}

/// What other rules would have said to the requests that the audit log holds.
#[utoipa::path(post, path = "/api/v1/policy/simulate", operation_id = "simulatePolicy", tag = "policy", request_body = SimulateRequest, responses((status = 200, body = Simulation)))]
pub(crate) async fn simulate(proof: Authorized<PolicyManage>, mut call: Call) -> Answer {
    let body: SimulateRequest = call.json().await?;
    let records = body.records.unwrap_or(RECORDS);
    if records == 0 || records > RECORDS_MAX {
        return Err(Problem::field("records", format!("must be from 1 to {RECORDS_MAX}")));
    }
    let rules = body.rules.into_iter().map(RuleDraft::from).collect();
    let proposal = Proposal { rules, add: body.add, remove: body.remove, records };
    let found = call.app.parts.registry.simulate(&proof, &proposal).await?;
    let changes = found.changes.into_iter().map(|(change, times)| Change {
        principal: change.asked.principal.name().to_owned(),
        action: change.asked.action.as_str(),
        repository: change.asked.repository.as_ref().map(ToString::to_string),
        allowed_now: change.now.allowed,
        rule_now: change.now.rule.map(|rule| rule.to_string()),
        allowed_then: change.then.allowed,
        rule_then: change.then.rule.map(|rule| rule.to_string()),
        times,
    });
    ok(&Simulation { records: found.records, questions: found.questions, changes: changes.collect() })
}
