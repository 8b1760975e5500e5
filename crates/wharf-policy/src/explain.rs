//! Why: every rule in force, and what stands for or against it.

use wharf_oci::RepositoryName;

use crate::evaluate::Field;
use crate::{Action, Asker, Decision, Effect, Question, Rule, RuleSet, evaluate};

/// A decision with its reasons.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What [`evaluate`] says, narrowed by the credentials if the asker was explained.
    pub decision: Decision,
    /// The reason in a sentence.
    pub summary: String,
    /// Every rule in force, in priority order.
    pub considered: Vec<Considered>,
}

/// A rule, and whether it matches.
#[derive(Clone, Debug)]
pub struct Considered {
    /// The rule.
    pub rule: Rule,
    /// Whether every populated field matches.
    pub matched: bool,
    /// Why, or which field does not and what it was compared with.
    pub why: String,
}

/// Explains what the rules say to `question`.
pub fn explain(question: &Question<'_>, rules: &RuleSet) -> Explanation {
    let decision = evaluate(question, rules);
    let considered: Vec<Considered> = rules.rules().iter().map(|rule| consider(rule, question)).collect();
    let summary = summary(&decision, &considered, question.action);
    Explanation { decision, summary, considered }
}

/// Explains what `asker` may do, credentials included.
pub fn explain_asker(
    asker: &Asker,
    action: Action,
    repository: Option<&RepositoryName>,
    rules: &RuleSet,
) -> Explanation {
    let question = Question { principal: &asker.principal, action, repository };
    let mut explanation = explain(&question, rules);
    if let Some(limit) = asker.limits.against(action, repository)
        && explanation.decision.allowed
    {
        explanation.decision.allowed = false;
        explanation.summary = format!("deny: {limit} leaves this out, although the rules allow it");
    }
    explanation
}

fn consider(rule: &Rule, question: &Question<'_>) -> Considered {
    let mismatch = rule.mismatch(question);
    let why = match mismatch {
        None => matching(rule),
        Some(field) => mismatching(rule, field, question),
    };
    Considered { rule: rule.clone(), matched: mismatch.is_none(), why }
}

fn matching(rule: &Rule) -> String {
    let fields = [
        (!rule.subjects.is_empty(), "subjects"),
        (!rule.account_types.is_empty(), "account_types"),
        (!rule.roles.is_empty(), "roles"),
        (!rule.actions.is_empty(), "actions"),
        (!rule.repositories.is_empty(), "repositories"),
    ];
    let fields: Vec<&str> =
        fields.into_iter().filter(|(is_populated, _)| *is_populated).map(|(_, name)| name).collect();
    if fields.is_empty() { "it matches everything".to_owned() } else { format!("{} match", fields.join(", ")) }
}

fn mismatching(rule: &Rule, field: Field, question: &Question<'_>) -> String {
    let principal = question.principal;
    match field {
        Field::Actions => format!("actions: {} is not among them", question.action),
        Field::AccountTypes => format!("account_types: {} is not among them", principal.account_type()),
        Field::Subjects if principal.is_anonymous() => "subjects: anonymous is none of them".to_owned(),
        Field::Subjects => format!("subjects: {} is not among them", principal.name()),
        Field::Roles if principal.roles().is_empty() => format!("roles: needs {}, has none", rule.roles.join(" or ")),
        Field::Roles => format!("roles: needs {}, has {}", rule.roles.join(" or "), principal.roles().join(", ")),
        Field::Repositories => match question.repository {
            Some(name) => format!("repositories: no pattern matches {name}"),
            None => "repositories: this is not about a repository".to_owned(),
        },
    }
}

fn summary(decision: &Decision, considered: &[Considered], action: Action) -> String {
    let matched = |effect| considered.iter().filter(move |rule| rule.matched && rule.rule.effect == effect);
    let others: Vec<&str> = matched(Effect::Allow).map(|rule| &*rule.rule.id).collect();
    match (&decision.rule, decision.allowed) {
        (Some(rule), true) if action == Action::VersionCheck => {
            format!("allow: rule {rule} matches, and nothing can forbid the version check")
        }
        (Some(rule), true) => format!("allow: rule {rule} matches, and no rule denies"),
        (Some(rule), false) if others.is_empty() => format!("deny: rule {rule} matches"),
        (Some(rule), false) => {
            format!("deny: rule {rule} matches; {} matched too, but a deny wins", others.join(", "))
        }
        (None, _) => "deny: no rule matches, and what no rule allows is denied".to_owned(),
    }
}
