use std::sync::Arc;

use async_trait::async_trait;

use super::support::{principal, stored};
use crate::{
    Access, AccountType, Action, Asked, Asker, Catalog, Delete, Engine, Limits, Principal, Provider, Pull, Push,
    Question, Reason, Resource, RuleSet, RuleStore, StoredRule, VersionCheck, explain, explain_asker, simulate,
};

fn asker(principal: Principal) -> Asker {
    Asker::new(principal, None, Arc::from("r-1"))
}

fn alice() -> Asker {
    asker(principal(Provider::Local, "alice", AccountType::Human, &[]))
}

fn name(text: &str) -> wharf_oci::RepositoryName {
    text.parse().expect("a name")
}

#[test]
fn an_open_registry_lets_anonymous_pull_and_the_proof_says_what() {
    let ok =
        Engine::open().authorize::<Pull>(&asker(Principal::anonymous()), name("team/app")).expect("open allows all");
    assert_eq!(ok.action(), Action::Pull);
    assert_eq!(ok.repository(), &name("team/app"));
    assert_eq!(&*ok.attribution().rule, "open");
}

#[test]
fn f07_rules_that_are_set_are_merged_with_the_defaults() {
    let engine = Engine::with_defaults();
    let ci = asker(principal(Provider::Local, "ci", AccountType::System, &[]));
    assert!(engine.authorize::<Pull>(&ci, name("a")).is_err());
    engine.set_rules(&[stored("r", 1, r#"{"effect":"allow","subjects":["ci"]}"#)]);
    assert_eq!(&*engine.authorize::<Pull>(&ci, name("a")).expect("allowed").attribution().rule, "r");
    assert!(engine.authorize::<Pull>(&alice(), name("a")).is_ok(), "the defaults are still there");
    engine.set_rules(&[]);
    assert!(engine.authorize::<Pull>(&ci, name("a")).is_err());
}

struct Store(Option<Vec<StoredRule>>);

#[async_trait]
impl RuleStore for Store {
    async fn load_enabled_policy_rules(&self) -> Result<Vec<StoredRule>, Box<dyn std::error::Error + Send + Sync>> {
        self.0.clone().ok_or_else(|| "the database is down".into())
    }
}

#[tokio::test]
async fn f07_s003_a_load_that_fails_leaves_the_last_good_set() {
    let engine = Engine::with_defaults();
    let deny = stored("r", 1, r#"{"effect":"deny","repositories":["secret"]}"#);
    engine.reload(&Store(Some(vec![deny]))).await.expect("loaded");
    assert!(engine.authorize::<Pull>(&alice(), name("secret")).is_err());
    engine.reload(&Store(None)).await.expect_err("failed");
    assert!(engine.authorize::<Pull>(&alice(), name("secret")).is_err(), "never an empty set because a load failed");
    engine.reload(&Store(Some(Vec::new()))).await.expect("loaded");
    assert!(engine.authorize::<Pull>(&alice(), name("secret")).is_ok());
}

#[test]
fn s025_credentials_only_narrow() {
    let engine = Engine::with_defaults();
    let lines = |lines: &[(&str, &[Action])]| -> Option<Arc<[Access]>> {
        let line = |(text, actions): &(&str, &[Action])| Access {
            resource: Resource::Repositories(text.parse().expect("a pattern")),
            actions: actions.to_vec(),
        };
        Some(lines.iter().map(line).collect())
    };
    let with = |bearer, api_token| Asker { limits: Limits { bearer, api_token }, ..alice() };
    let reason = |asker: &Asker| engine.authorize::<Push>(asker, name("team/app")).expect_err("too narrow").reason;

    let narrow = with(lines(&[("team/app", &[Action::Pull])]), None);
    assert!(engine.authorize::<Pull>(&narrow, name("team/app")).is_ok());
    assert_eq!(reason(&narrow), Reason::BearerScope);
    assert!(engine.authorize::<Catalog>(&narrow, ()).is_err());
    assert!(engine.authorize::<VersionCheck>(&with(lines(&[]), lines(&[])), ()).is_ok(), "P-063");
    assert_eq!(reason(&with(None, lines(&[("other/**", &[Action::Push])]))), Reason::TokenScope);
    assert!(engine.authorize::<Push>(&with(None, lines(&[("team/**", &[Action::Push])])), name("team/app")).is_ok());
    assert!(engine.authorize::<Delete>(&with(None, lines(&[("team/**", &[Action::Push])])), name("team/app")).is_err());

    let robot =
        Asker { limits: narrow.limits.clone(), ..asker(principal(Provider::Local, "ci", AccountType::System, &[])) };
    let denied = engine.authorize::<Pull>(&robot, name("team/app")).expect_err("no rule allows it");
    assert_eq!(denied.reason, Reason::Policy { rule: None }, "a scope never widens");
}

#[test]
fn explanations_say_why_in_words() {
    let rules = RuleSet::merged(&[
        stored(
            "r10",
            10,
            r#"{"effect":"allow","roles":["ci"],"actions":["registry:push"],"repositories":["team/**"]}"#,
        ),
        stored("r90", 90, r#"{"effect":"deny","repositories":["team/prod"]}"#),
    ]);
    let deploy = principal(Provider::Local, "deploy", AccountType::System, &["ci"]);
    let said = |repository: &str| {
        let repository = name(repository);
        let question = Question { principal: &deploy, action: Action::Push, repository: Some(&repository) };
        let found = explain(&question, &rules);
        (
            found.summary,
            found.considered.into_iter().map(|rule| format!("{}: {}", rule.rule.id, rule.why)).collect::<Vec<_>>(),
        )
    };
    let (summary, why) = said("team/prod");
    assert_eq!(summary, "deny: rule r90 matches; r10 matched too, but a deny wins");
    assert_eq!(why[0], "r10: roles, actions, repositories match");
    assert_eq!(why[1], "r90: repositories match");
    assert_eq!(why[2], "builtin:admin: roles: needs admin, has ci");
    assert_eq!(why[3], "builtin:human: account_types: system is not among them");
    let (summary, why) = said("other");
    assert_eq!(summary, "deny: no rule matches, and what no rule allows is denied");
    assert_eq!(why[0], "r10: repositories: no pattern matches other");
    assert_eq!(said("team/a").0, "allow: rule r10 matches, and no rule denies");

    let limited = Asker { limits: Limits { bearer: Some(Arc::from([])), api_token: None }, ..asker(deploy.clone()) };
    let found = explain_asker(&limited, Action::Push, Some(&name("team/a")), &rules);
    assert!(!found.decision.allowed);
    assert_eq!(found.summary, "deny: the scope of the bearer token leaves this out, although the rules allow it");
}

#[test]
fn a_simulation_lists_what_would_be_different() {
    let asked = |subject: &str, repository: &str| Asked {
        principal: principal(Provider::Local, subject, AccountType::Human, &[]),
        action: Action::Push,
        repository: Some(name(repository)),
    };
    let proposed = RuleSet::merged(&[stored(
        "freeze",
        1,
        r#"{"effect":"deny","actions":["registry:push"],"repositories":["prod/**"]}"#,
    )]);
    let changes = simulate([asked("alice", "prod/app"), asked("alice", "dev/app")], &RuleSet::defaults(), &proposed);
    assert_eq!(changes.len(), 1);
    assert!(changes[0].now.allowed && !changes[0].then.allowed);
    assert_eq!(changes[0].then.rule.as_deref(), Some("freeze"));
}

#[test]
fn s001_only_the_engine_makes_proofs() {
    let sources = [
        ("access", include_str!("../access.rs")),
        ("action", include_str!("../action.rs")),
        ("asker", include_str!("../asker.rs")),
        ("authorized", include_str!("../authorized.rs")),
        ("explain", include_str!("../explain.rs")),
        ("set", include_str!("../set.rs")),
    ];
    for (file, source) in sources {
        assert!(!source.contains("Authorized::new("), "{file}");
    }
    let authorized = include_str!("../authorized.rs");
    assert!(authorized.contains("pub(crate) fn new(") && !authorized.contains("pub fn new("));
    assert!(!authorized.contains("Default") && !authorized.contains("Deserialize"));
    assert_eq!(include_str!("../engine.rs").matches("Authorized::new(").count(), 1);
}
