use proptest::prelude::*;

use crate::{AccountType, Action, Effect, Rule};

fn parse(json: &str) -> Result<Rule, String> {
    Rule::parse("id", 1, "", json).map_err(|error| format!("{}: {}", error.field, error.problem))
}

#[track_caller]
fn refused(json: &str, field: &str) {
    let error = parse(json).expect_err(json);
    assert!(error.starts_with(&format!("{field}: ")), "{json}: {error}");
}

#[test]
fn s003_what_is_no_rule_is_refused_by_the_name_of_its_field() {
    refused("", "rule");
    refused("[]", "rule");
    refused("null", "rule");
    refused(r#"{"effect":"allow"} x"#, "rule");
    refused(r#"{"effect":"allow","effect":"deny"}"#, "rule");
    refused(r#"{"effect":"allow","roles":[],"roles":[]}"#, "rule");
    refused("{}", "effect");
    refused(r#"{"effect":""}"#, "effect");
    refused(r#"{"effect":"Allow"}"#, "effect");
    refused(r#"{"effect":null}"#, "effect");
    refused(r#"{"effect":"allow","repositorys":["a"]}"#, "repositorys");
    refused(r#"{"effect":"allow","repository":"a"}"#, "repository");
    refused(r#"{"effect":"allow","priority":1}"#, "priority");
    refused(r#"{"effect":"allow","subjects":"alice"}"#, "subjects");
    refused(r#"{"effect":"allow","subjects":null}"#, "subjects");
    refused(r#"{"effect":"allow","subjects":[""]}"#, "subjects");
    refused(r#"{"effect":"allow","subjects":[1]}"#, "subjects");
    refused(r#"{"effect":"allow","roles":{}}"#, "roles");
    refused(r#"{"effect":"allow","account_types":["robot"]}"#, "account_types");
    refused(r#"{"effect":"allow","actions":["pull"]}"#, "actions");
    refused(r#"{"effect":"allow","actions":["registry:fly"]}"#, "actions");
    refused(r#"{"effect":"allow","repositories":["team/["]}"#, "repositories");
    refused(&format!(r#"{{"effect":"allow","roles":[{}]}}"#, vec!["\"a\""; 257].join(",")), "roles");
    refused(&format!(r#"{{"effect":"allow","roles":["{}"]}}"#, "a".repeat(16 << 10)), "rule");
}

#[test]
fn s003_an_unknown_member_is_told_the_one_that_was_meant() {
    let error = parse(r#"{"effect":"allow","repositorys":["a"]}"#).expect_err("unknown");
    assert!(error.contains("repositories, perhaps?"), "{error}");
}

#[test]
fn f05_a_rule_is_read_as_it_is_written() {
    let json = r#"{"effect":"deny","subjects":["alice","oidc:ci"],"account_types":["human"],"roles":["dev"],
                   "actions":["registry:pull"],"repositories":["team/**"]}"#;
    let rule = parse(json).expect("a rule");
    assert_eq!(rule.effect, Effect::Deny);
    assert_eq!(rule.subjects, ["alice", "oidc:ci"]);
    assert_eq!(rule.account_types, [AccountType::Human]);
    assert_eq!(rule.roles, ["dev"]);
    assert_eq!(rule.actions, [Action::Pull]);
    assert_eq!(rule.repositories[0].as_str(), "team/**");
    assert!(!rule.matches_everything());
    assert!(parse(r#"{"effect":"deny","roles":[]}"#).expect("a rule").matches_everything());
}

fn rules() -> impl Strategy<Value = Rule> {
    let texts = || prop::collection::vec("[a-z:/ \"\\\\]{1,6}", 0..3);
    let of = |all: &'static [Action]| prop::collection::vec(prop::sample::select(all.to_vec()), 0..3);
    let types = prop::collection::vec(prop::sample::select(AccountType::ALL.to_vec()), 0..3);
    let patterns = prop::collection::vec("[a-c/*?]{1,8}", 0..3);
    (any::<bool>(), texts(), types, texts(), of(Action::ALL), patterns).prop_map(
        |(allows, subjects, account_types, roles, actions, patterns)| Rule {
            id: "id".into(),
            priority: 1,
            description: String::new(),
            effect: if allows { Effect::Allow } else { Effect::Deny },
            subjects,
            account_types,
            roles,
            actions,
            repositories: patterns.iter().map(|text| text.parse().expect("a pattern")).collect(),
        },
    )
}

proptest! {
    #[test]
    fn a_rule_prints_as_what_reads_the_same(rule in rules()) {
        prop_assert_eq!(parse(&rule.to_json()), Ok(rule));
    }

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = parse(&text);
    }
}
