use wharf_oci::RepositoryName;

use super::support::{Random, principal, stored};
use crate::{AccountType, Action, Effect, Principal, Provider, Question, Rule, RuleSet, StoredRule, evaluate, explain};

fn ask(rules: &RuleSet, principal: &Principal, action: Action, repository: Option<&str>) -> String {
    let repository: Option<RepositoryName> = repository.map(|name| name.parse().expect("a name"));
    let decision = evaluate(&Question { principal, action, repository: repository.as_ref() }, rules);
    format!("{} {}", if decision.allowed { "yes" } else { "no" }, decision.rule.as_deref().unwrap_or("-"))
}

#[test]
fn f06_the_built_in_rules_as_anybody_can_read_them() {
    let rules = RuleSet::defaults();
    let who = [
        ("role admin", principal(Provider::Local, "root", AccountType::Human, &["admin"])),
        ("human", principal(Provider::Local, "alice", AccountType::Human, &[])),
        ("system", principal(Provider::Local, "ci", AccountType::System, &[])),
        ("system, role admin", principal(Provider::Local, "ci", AccountType::System, &["admin"])),
        ("anonymous", Principal::anonymous()),
    ];
    let mut table = String::new();
    for (name, principal) in who {
        let allowed = |action: &&Action| {
            let is_content = matches!(action, Action::Pull | Action::Push | Action::Delete);
            ask(&rules, &principal, **action, is_content.then_some("team/app")).starts_with("yes")
        };
        let actions: Vec<&str> = Action::ALL.iter().filter(allowed).map(|action| action.as_str()).collect();
        table += &format!("{name}: {}\n", actions.join(" "));
    }
    assert_eq!(
        table,
        "\
role admin: registry:version_check registry:pull registry:push registry:delete registry:catalog policy:manage account:manage account:self audit:read gc:manage check:manage backup:create
human: registry:version_check registry:pull registry:push registry:delete registry:catalog account:self
system: registry:version_check
system, role admin: registry:version_check registry:pull registry:push registry:delete registry:catalog audit:read gc:manage check:manage backup:create
anonymous: registry:version_check
"
    );
}

#[test]
fn f04_a_deny_wins_whatever_its_priority_and_no_match_is_a_denial() {
    let rules = RuleSet::merged(&[
        stored(
            "allow",
            10,
            r#"{"effect":"allow","subjects":["ci"],"actions":["registry:push"],"repositories":["team/**"]}"#,
        ),
        stored("deny", 90, r#"{"effect":"deny","repositories":["team/prod"]}"#),
    ]);
    let ci = principal(Provider::Local, "ci", AccountType::System, &[]);
    assert_eq!(ask(&rules, &ci, Action::Push, Some("team/app")), "yes allow");
    assert_eq!(ask(&rules, &ci, Action::Push, Some("team/prod")), "no deny");
    assert_eq!(ask(&rules, &ci, Action::Pull, Some("team/app")), "no -");
    assert_eq!(ask(&rules, &ci, Action::Push, Some("other/app")), "no -");
}

#[test]
fn f06_the_version_check_cannot_be_forbidden() {
    let rules = RuleSet::merged(&[stored("deny", 1, r#"{"effect":"deny"}"#)]);
    assert_eq!(ask(&rules, &Principal::anonymous(), Action::VersionCheck, None), "yes builtin:version-check");
    let root = principal(Provider::Local, "root", AccountType::Human, &["admin"]);
    assert_eq!(ask(&rules, &root, Action::Pull, Some("a")), "no deny");
}

#[test]
fn f05_a_rule_about_repositories_is_not_about_the_registry() {
    let rules = RuleSet::merged(&[stored("all", 1, r#"{"effect":"allow","repositories":["**"]}"#)]);
    let ci = principal(Provider::Local, "ci", AccountType::System, &[]);
    assert_eq!(ask(&rules, &ci, Action::Pull, Some("a/b")), "yes all");
    for action in [Action::Catalog, Action::PolicyManage, Action::AuditRead] {
        assert!(ask(&rules, &ci, action, None).starts_with("no"), "{action}");
    }
}

#[test]
fn f05_a_subject_is_a_name_or_a_provider_and_a_name() {
    let rules = RuleSet::merged(&[
        stored("bare", 1, r#"{"effect":"allow","subjects":["x"],"actions":["registry:pull"]}"#),
        stored("bound", 2, r#"{"effect":"allow","subjects":["mcias:x"],"actions":["registry:push"]}"#),
        stored("empty", 3, r#"{"effect":"allow","subjects":["local:"],"actions":["registry:delete"]}"#),
    ]);
    for (provider, pulls, pushes) in
        [(Provider::Local, true, false), (Provider::Mcias, true, true), (Provider::Oidc, true, false)]
    {
        let x = principal(provider, "x", AccountType::System, &[]);
        assert_eq!(ask(&rules, &x, Action::Pull, Some("a")).starts_with("yes"), pulls, "{provider:?}");
        assert_eq!(ask(&rules, &x, Action::Push, Some("a")).starts_with("yes"), pushes, "{provider:?}");
    }
    assert_eq!(ask(&rules, &Principal::anonymous(), Action::Delete, Some("a")), "no -", "anonymous is no subject");
}

#[test]
fn s003_rows_that_are_no_rules_change_nothing_and_are_told() {
    let rules = RuleSet::merged(&[
        stored("b", 1, r#"{"effect":"allow","repositorys":["**"]}"#),
        stored("a", 1, "not json"),
        stored("c", 1, r#"{"effect":"allow","repositories":["["]}"#),
    ]);
    assert_eq!(rules.rules(), RuleSet::defaults().rules());
    let broken: Vec<_> = rules.broken().iter().map(|broken| broken.id.as_str()).collect();
    assert_eq!(broken, ["a", "b", "c"]);
    assert!(rules.broken()[1].problem.contains("repositorys"));
}

/// The requirement, read as plainly as it can be: no index, no order, nothing shared with the evaluator.
fn naive(rules: &[Rule], question: &Question<'_>) -> bool {
    let who = question.principal;
    let anonymous = who.account_type() == AccountType::Anonymous;
    let names = [who.subject().to_owned(), format!("{}:{}", who.provider().as_str(), who.subject())];
    let mut matching = Vec::new();
    for rule in rules {
        let mut all = true;
        if !rule.subjects.is_empty() {
            all &= !anonymous && rule.subjects.iter().any(|entry| names.contains(entry));
        }
        if !rule.account_types.is_empty() {
            all &= rule.account_types.contains(&who.account_type());
        }
        if !rule.roles.is_empty() {
            all &= rule.roles.iter().any(|entry| who.roles().contains(entry));
        }
        if !rule.actions.is_empty() {
            all &= rule.actions.contains(&question.action);
        }
        if !rule.repositories.is_empty() {
            all &= question
                .repository
                .is_some_and(|name| rule.repositories.iter().any(|entry| entry.matches(name.as_str())));
        }
        if all {
            matching.push(rule.effect);
        }
    }
    if question.action == Action::VersionCheck {
        return true;
    }
    !matching.contains(&Effect::Deny) && matching.contains(&Effect::Allow)
}

#[test]
fn f04_s004_a_million_questions_are_answered_as_the_requirement_reads() {
    let mut random = Random::new(7);
    for _ in 0..10_000 {
        let rows: Vec<StoredRule> = (0..random.below(12)).map(|number| random.rule(number)).collect();
        let mut shuffled = rows.clone();
        shuffled.reverse();
        let (set, other) = (RuleSet::merged(&rows), RuleSet::merged(&shuffled));
        assert_eq!(set.rules(), other.rules(), "the order of rows does not matter");
        for _ in 0..100 {
            let principal = random.principal();
            let (action, name) = random.target();
            let question = Question { principal: &principal, action, repository: name.as_ref() };
            let decision = evaluate(&question, &set);
            assert_eq!(decision.allowed, naive(set.rules(), &question), "{question:?} by {:?}", set.rules());
        }
        let principal = random.principal();
        let (action, name) = random.target();
        let question = Question { principal: &principal, action, repository: name.as_ref() };
        let explanation = explain(&question, &set);
        assert_eq!(explanation.decision, evaluate(&question, &set));
        let deciding =
            explanation.considered.iter().find(|rule| Some(&rule.rule.id) == explanation.decision.rule.as_ref());
        assert!(deciding.is_none_or(|rule| rule.matched));
    }
}
