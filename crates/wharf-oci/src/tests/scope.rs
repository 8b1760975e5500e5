use proptest::prelude::*;

use crate::{Challenge, ChallengeError, Scope, ScopeAction, ScopeError, parse_scopes};

#[track_caller]
fn check(values: &[&str], expected: &[&str]) {
    let scopes: Vec<String> =
        parse_scopes(values.iter().copied()).expect("within limits").iter().map(Scope::to_string).collect();
    assert_eq!(scopes, expected, "{values:?}");
}

#[test]
fn p086_scopes_come_repeated_and_several_in_one_value() {
    check(&["repository:t/a:pull,push repository:t/s:pull"], &["repository:t/a:pull,push", "repository:t/s:pull"]);
    check(&["repository:t/a:pull+repository:t/s:pull"], &["repository:t/a:pull", "repository:t/s:pull"]);
    check(&["repository:t/a:pull", "repository:t/a:push"], &["repository:t/a:pull,push"]);
    check(&["registry:catalog:*"], &["registry:catalog:*"]);
    check(&["", "   "], &[]);
}

#[test]
fn p077_p087_what_means_nothing_is_left_out() {
    check(&["repository(plugin):t/a:pull"], &["repository:t/a:pull"]);
    check(&["repository(plugin:t/a:pull"], &[]);
    check(&["repository:t/a:pull,fly,PULL"], &["repository:t/a:pull"]);
    check(&["repository:t/a:fly"], &["repository:t/a:"]);
    check(&["repository:../beta:pull", "repository:host:5000/a:pull", "registry:other:*", "x", "a:b", "::"], &[]);
}

#[test]
fn b085_what_a_stranger_asks_for_is_bounded() {
    let many = vec!["repository:a:pull"; 17].join(" ");
    assert_eq!(parse_scopes([many.as_str()].into_iter()), Err(ScopeError::TooMany));
    let long = "x".repeat(20 << 10);
    assert_eq!(parse_scopes([long.as_str()].into_iter()), Err(ScopeError::TooLong));
    let lines = "repository:a:pull\r\nX: y";
    assert_eq!(parse_scopes([lines].into_iter()), Err(ScopeError::ControlCharacter));
}

#[test]
fn p065_a_challenge_quotes_everything_and_leaves_out_what_is_empty() {
    let name = "t/a".parse().expect("a valid name");
    let bearer = |scopes, error| {
        let (realm, service) = ("https://r.example/v2/token".to_owned(), "r.example".to_owned());
        Challenge::Bearer { realm, service, scopes, error }.to_string()
    };
    assert_eq!(bearer(vec![], None), r#"Bearer realm="https://r.example/v2/token",service="r.example""#);
    let push = Scope::repository(&name, &[ScopeAction::Push, ScopeAction::Pull]);
    assert_eq!(
        bearer(vec![push, Scope::catalog()], Some(ChallengeError::InsufficientScope)),
        r#"Bearer realm="https://r.example/v2/token",service="r.example",scope="repository:t/a:pull,push registry:catalog:*",error="insufficient_scope""#
    );
}

#[test]
fn s045_nothing_ends_a_quoted_value() {
    let challenge = Challenge::Basic { realm: "a\"b\\c\r\nSet-Cookie: x=1é".to_owned() };
    assert_eq!(challenge.to_string(), r#"Basic realm="a\"b\\cSet-Cookie: x=1",charset="UTF-8""#);
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_read_prints_as_what_reads_the_same(text in ".{0,200}") {
        if let Ok(scopes) = parse_scopes([text.as_str()].into_iter()) {
            let printed: Vec<String> = scopes.iter().map(Scope::to_string).collect();
            let printed = printed.join(" ");
            prop_assert_eq!(parse_scopes([printed.as_str()].into_iter()), Ok(scopes));
        }
    }
}
