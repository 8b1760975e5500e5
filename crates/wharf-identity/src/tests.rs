//! The room as a whole, over a real database and on a clock that moves when told to.

mod own_tokens;
mod providers;
mod sessions;
mod sign_ons;
mod world;

use std::time::Duration;

use wharf_base::Secret;
use wharf_meta::{AuditFilter, SigningKey, TokenKind};
use wharf_policy::{AccountType, Action, Limits, Provider};

use crate::{AuthError, Credentials, NewToken, Origin, Place};
use world::{PASSWORD, World};

#[tokio::test]
async fn f14_a_name_and_a_password_are_exchanged_for_a_token_that_says_who() {
    let world = World::new().await;
    world.human("alice", &["dev"]).await;
    let asker = world.with_token_of("alice").await.expect("a token that is good");
    assert_eq!(asker.principal.name(), "alice");
    assert_eq!(asker.principal.provider(), Provider::Local);
    assert_eq!(asker.principal.account_type(), AccountType::Human);
    assert_eq!(asker.principal.roles(), ["dev"]);
}

#[tokio::test]
async fn b097_unknown_disabled_sso_only_and_wrong_are_one_answer() {
    let world = World::new().await;
    world.human("alice", &[]).await;
    world.human("disabled", &[]).await;
    world.change("disabled", None, Some(false)).await;
    world.robot("robot").await;
    for (name, password) in [
        ("alice", "wrong password"),
        ("nobody", PASSWORD),
        ("disabled", PASSWORD),
        ("robot", PASSWORD),
        ("", PASSWORD),
        ("alice", ""),
    ] {
        let error = world.log_in(name, password).await.expect_err(name);
        assert!(matches!(error, AuthError::WrongCredentials), "{name}: {error:?}");
    }
    assert!(world.log_in("alice", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn s030_passwords_are_hashed_whole() {
    let world = World::new().await;
    let long = "x".repeat(72);
    let (one, other) = (format!("{long}a"), format!("{long}b"));
    world.human_with("alice", &[], &one).await;
    assert!(world.log_in("alice", &other).await.is_err());
    assert!(world.log_in("alice", &one).await.is_ok());
    let hash = world.meta.account("alice").await.expect("an answer").expect("alice").password_hash.expect("a hash");
    assert!(hash.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.expose());
}

#[tokio::test]
async fn s028_a_weaker_hash_is_replaced_at_the_next_login() {
    let world = World::new().await;
    world.human("alice", &[]).await;
    let old = world.meta.account("alice").await.expect("an answer").expect("alice").password_hash.expect("a hash");
    let weaker = world.weaker_hash();
    assert!(world.meta.rehash("alice", &old, &weaker).await.expect("an answer"));
    world.identity.changed();
    assert!(world.log_in("alice", PASSWORD).await.is_ok());
    let new = world.meta.account("alice").await.expect("an answer").expect("alice").password_hash.expect("a hash");
    assert!(new.expose().contains("m=19456"), "{}", new.expose());
    assert!(world.log_in("alice", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn b098_an_account_that_is_attacked_from_one_network_is_open_to_its_owner_from_another() {
    let world = World::new().await;
    world.human("alice", &[]).await;
    for _ in 0..10 {
        let error = world.log_in_from("192.0.2.1", "alice", "wrong password").await.expect_err("wrong");
        assert!(matches!(error, AuthError::WrongCredentials), "{error:?}");
    }
    let error = world.log_in_from("192.0.2.1", "alice", PASSWORD).await.expect_err("too many");
    let AuthError::TooManyAttempts { retry_after } = error else { panic!("{error:?}") };
    assert_eq!(retry_after, Duration::from_secs(10));
    assert!(world.log_in_from("192.0.2.2", "alice", PASSWORD).await.is_ok(), "the owner comes from elsewhere");
    world.clock.advance(Duration::from_secs(10));
    assert!(world.log_in_from("192.0.2.1", "alice", PASSWORD).await.is_ok(), "no lock-out is for ever");
}

#[tokio::test]
async fn s029_one_network_may_fail_fifty_times_over_all_names() {
    let world = World::new().await;
    for number in 0..50 {
        let error =
            world.log_in_from("192.0.2.1", &format!("user{number}"), "wrong password").await.expect_err("wrong");
        assert!(matches!(error, AuthError::WrongCredentials), "{number}: {error:?}");
    }
    let error = world.log_in_from("192.0.2.1", "another", "wrong password").await.expect_err("too many");
    assert!(matches!(error, AuthError::TooManyAttempts { .. }), "{error:?}");
}

#[tokio::test]
async fn b081_what_a_token_was_issued_for_ends_with_the_account_and_with_the_api_token() {
    let world = World::new().await;
    world.human("alice", &["dev"]).await;
    let bearer = world.bearer("alice").await;
    world.remember(&bearer).await;
    world.change("alice", Some(&["ops"]), None).await;
    let asker = world.authenticate(&bearer, Place::Registry).await.expect("still good");
    assert_eq!(asker.principal.roles(), ["ops"], "roles are those of now (S-027)");
    world.remember(&bearer).await;
    world.change("alice", None, Some(false)).await;
    assert!(world.authenticate(&bearer, Place::Registry).await.is_err());

    world.robot("ci").await;
    let (id, secret) = world.token("ci", NewToken::default()).await;
    let login = world.log_in("ci", secret.expose()).await.expect("the robot's own");
    let bearer = world.identity.issue(&login, &[], &world.origin()).expect("a token").token;
    assert!(world.authenticate(&bearer, Place::Registry).await.is_ok());
    world.delete_token(id).await;
    assert!(world.authenticate(&bearer, Place::Registry).await.is_err());
    assert!(world.authenticate(&secret, Place::Registry).await.is_err());
}

#[tokio::test]
async fn b100_a_robots_secret_is_good_for_that_robot_until_it_ends() {
    let world = World::new().await;
    world.robot("ci").await;
    world.robot("other").await;
    let life = Some(Duration::from_secs(86_400));
    let (_, secret) = world.token("ci", NewToken { life, ..NewToken::default() }).await;
    assert!(world.log_in("ci", secret.expose()).await.is_ok());
    let text = secret.expose();
    let wrong_checksum = format!("{}{}", &text[..text.len() - 1], if text.ends_with('x') { 'y' } else { 'x' });
    for (name, password) in [
        ("other", text.clone()),
        ("ci", wrong_checksum),
        ("ci", format!("{text}\n")),
        ("", text.clone()),
        ("CI", text.clone()),
    ] {
        assert!(world.log_in(name, &password).await.is_err(), "{name} {password}");
    }
    world.clock.advance(Duration::from_secs(86_400));
    assert!(world.log_in("ci", text).await.is_err(), "it has ended");
}

#[tokio::test]
async fn s036_a_token_may_be_bound_to_networks_and_only_its_hash_is_kept() {
    let world = World::new().await;
    world.robot("ci").await;
    let networks = vec!["192.0.2.0/24".to_owned()];
    let (_, secret) = world.token("ci", NewToken { networks, ..NewToken::default() }).await;
    assert!(world.log_in_from("192.0.2.77", "ci", secret.expose()).await.is_ok());
    assert!(world.log_in_from("198.51.100.1", "ci", secret.expose()).await.is_err());
    let stored = std::fs::read(world.directory.path().join("wharf.db")).expect("the database");
    let log = std::fs::read(world.directory.path().join("wharf.db-wal")).unwrap_or_default();
    for bytes in [stored, log] {
        let found = bytes.windows(secret.expose().len()).any(|window| window == secret.expose().as_bytes());
        assert!(!found, "the secret is in the database");
    }
}

#[tokio::test]
async fn s024_each_kind_of_token_is_good_in_its_places_and_nowhere_else() {
    let world = World::new().await;
    world.human("alice", &[]).await;
    let login = world.log_in("alice", PASSWORD).await.expect("alice");
    let bearer = world.identity.issue(&login, &[], &world.origin()).expect("a token").token;
    let refresh = world.identity.refresh_token(&login, &world.origin()).await.expect("an answer").expect("one");
    let (_, api) = world.token("alice", NewToken::default()).await;

    let accepts = async |token: &Secret<String>, place| world.authenticate(token, place).await.is_ok();
    assert!(accepts(&bearer, Place::Registry).await);
    assert!(!accepts(&bearer, Place::Api).await, "ours are for content");
    assert!(accepts(&api, Place::Registry).await);
    assert!(accepts(&api, Place::Api).await);
    assert!(!accepts(&refresh, Place::Registry).await);
    assert!(!accepts(&refresh, Place::Api).await);

    let origin = world.origin();
    assert!(world.identity.log_in_with_refresh_token(&refresh, &origin).await.is_ok());
    assert!(world.identity.log_in_with_refresh_token(&refresh, &origin).await.is_ok(), "again (P-102)");
    assert!(world.identity.log_in_with_refresh_token(&api, &origin).await.is_err());
    assert!(world.identity.log_in_with_refresh_token(&bearer, &origin).await.is_err());
    for token in [&bearer, &refresh] {
        assert!(world.log_in("alice", token.expose()).await.is_err(), "no password");
    }
}

#[tokio::test]
async fn what_a_connection_remembers_is_one_token_as_it_came_and_ends_with_any_change() {
    let world = World::new().await;
    world.human("alice", &[]).await;
    world.human("bob", &[]).await;
    let (alice, bob) = (world.bearer("alice").await, world.bearer("bob").await);
    for (token, name) in [(&alice, "alice"), (&bob, "bob"), (&bob, "bob"), (&alice, "alice"), (&alice, "alice")] {
        let asker = world.authenticate(token, Place::Registry).await.expect("a good token");
        assert_eq!(asker.principal.name(), name);
    }
    world.remember(&alice).await;
    assert!(!world.recalls(&bob), "only the last one");

    let text = alice.expose();
    for other in [&text[..text.len() - 1], &format!("{text}A"), &format!("x{}", &text[1..])] {
        let other = Secret::from(other);
        assert!(!world.recalls(&other));
        assert!(world.authenticate(&other, Place::Registry).await.is_err());
    }

    world.rotate().await;
    assert!(!world.recalls(&alice), "the key that signed it may be gone");
    world.remember(&alice).await;
    world.clock.advance(crate::jwt::LIFE_MAX);
    assert!(!world.recalls(&alice));
    assert!(world.authenticate(&alice, Place::Registry).await.is_err(), "its life is over");
}

#[tokio::test]
async fn a_connection_remembers_what_an_api_token_has_fetched_within_its_networks_its_life_and_its_scopes() {
    let world = World::new().await;
    world.robot("ci").await;
    let (networks, scopes) = (vec!["192.0.2.0/24".to_owned()], vec!["repository:team/app:pull".to_owned()]);
    let new = NewToken { networks, scopes, life: Some(Duration::from_secs(3_600)), ..NewToken::default() };
    let (id, secret) = world.token("ci", new).await;
    world.clock.advance(Duration::from_secs(3_600 - 30));
    let login = world.log_in("ci", secret.expose()).await.expect("the robot");
    let bearer = world.identity.issue(&login, &[], &world.origin()).expect("a token").token;
    world.remember(&bearer).await;

    let app = "team/app".parse().expect("a name");
    for _ in 0..2 {
        let asker = world.authenticate(&bearer, Place::Registry).await.expect("a good token");
        let limit = Limits { bearer: None, ..asker.limits };
        assert!(limit.against(Action::Pull, Some(&app)).is_none());
        assert!(limit.against(Action::Push, Some(&app)).is_some(), "the API token's scopes");
    }

    let elsewhere = Origin { source: Some([198, 51, 100, 1].into()), ..world.origin() };
    assert!(!world.recalls_from(&elsewhere, &bearer));
    let credentials = Credentials::Bearer(bearer.expose());
    let asked = world.identity.authenticate(&credentials, &elsewhere, Place::Registry, &world.connection).await;
    assert!(asked.is_err(), "not from there");
    assert!(world.recalls(&bearer), "from where it may be used");

    world.clock.advance(Duration::from_secs(30));
    assert!(!world.recalls(&bearer), "the API token has ended, the other has a while to live");
    assert!(world.authenticate(&bearer, Place::Registry).await.is_err());

    let (other, secret) = world.token("ci", NewToken::default()).await;
    assert_ne!(other, id);
    let login = world.log_in("ci", secret.expose()).await.expect("the robot");
    let bearer = world.identity.issue(&login, &[], &world.origin()).expect("a token").token;
    world.remember(&bearer).await;
    world.delete_token(other).await;
    assert!(!world.recalls(&bearer));
    assert!(world.authenticate(&bearer, Place::Registry).await.is_err());
}

#[tokio::test]
async fn p079_nothing_is_anonymous() {
    let world = World::new().await;
    let (origin, connection) = (world.origin(), &world.connection);
    let asker = world.identity.authenticate(&Credentials::None, &origin, Place::Registry, connection).await;
    let asker = asker.expect("anybody");
    assert!(asker.principal.is_anonymous());
}

#[tokio::test]
async fn s076_logins_failures_and_tokens_are_recorded_without_any_secret() {
    let world = World::new().await;
    world.human("alice", &[]).await;
    assert!(world.log_in("alice", "canary wrong password").await.is_err());
    world.bearer("alice").await;
    world.flush().await;
    let records = world.meta.audit(&AuditFilter::default(), None, 100).await.expect("records");
    let seen: Vec<String> =
        records.iter().rev().map(|entry| format!("{} {} {}", entry.action, entry.principal, entry.outcome)).collect();
    assert_eq!(
        seen,
        [
            "key.rotate wharf done",
            "account.create root done",
            "login  failed",
            "login alice done",
            "token.issue alice done",
        ]
    );
    let text = format!("{records:?}");
    assert!(!text.contains("canary") && !text.contains(PASSWORD) && !text.contains("argon2"), "{text}");
    assert!(records.iter().all(|entry| entry.sha256.is_some()), "all of them are sealed");
}

#[tokio::test]
async fn a_new_key_signs_after_a_minute_and_the_old_one_verifies_what_it_signed() {
    let world = World::new().await;
    world.human("alice", &[]).await;
    let before = world.bearer("alice").await;
    let kid = |token: &Secret<String>| crate::jwt::member("kid")(token.expose().split('.').next().expect("a header"));
    world.rotate().await;
    let during = world.bearer("alice").await;
    assert_eq!(kid(&before), kid(&during), "not every replica knows the new key yet");
    world.clock.advance(Duration::from_secs(60));
    let after = world.bearer("alice").await;
    assert_ne!(kid(&before), kid(&after));
    for token in [&before, &during, &after] {
        assert!(world.authenticate(token, Place::Registry).await.is_ok());
    }
    let keys = world.identity.jwks();
    assert_eq!(keys["keys"].as_array().expect("keys").len(), 2);
    assert!(!keys.to_string().contains("\"d\""), "no private half");
}

#[tokio::test]
async fn s080_the_first_start_makes_an_admin_and_the_second_does_not() {
    let world = World::new().await;
    let made = crate::ensure_admin(&*world.meta, None, &*world.clock, &*world.rng).await.expect("an answer");
    let password = made.expect("a password");
    assert!(password.expose().len() >= 26, "128 bits at least");
    assert!(world.log_in("admin", password.expose()).await.is_ok());
    assert!(crate::ensure_admin(&*world.meta, None, &*world.clock, &*world.rng).await.expect("an answer").is_none());
    let short = crate::ensure_admin(&*world.meta, Some("Harbor12345".into()), &*world.clock, &*world.rng).await;
    assert!(short.is_err(), "eleven characters");

    let reset = crate::reset_admin(&*world.meta, &*world.clock, &*world.rng).await.expect("a password");
    world.identity.changed();
    assert_ne!(reset, password);
    assert!(world.log_in("admin", password.expose()).await.is_err());
    assert!(world.log_in("admin", reset.expose()).await.is_ok());
}

#[tokio::test]
async fn p096_refresh_tokens_make_room_for_new_ones() {
    let world = World::new().await;
    world.human("alice", &[]).await;
    let login = world.log_in("alice", PASSWORD).await.expect("alice");
    let origin = world.origin();
    let first = world.identity.refresh_token(&login, &origin).await.expect("an answer").expect("one");
    for _ in 0..50 {
        world.clock.advance(Duration::from_millis(1));
        world.identity.refresh_token(&login, &origin).await.expect("an answer").expect("one");
    }
    assert!(world.identity.log_in_with_refresh_token(&first, &origin).await.is_err(), "the oldest made room");
    let kept = world.meta.tokens_of("alice", TokenKind::Refresh, None, 100).await.expect("tokens");
    assert_eq!(kept.len(), 50);
    let (id, _) = world.token("alice", NewToken::default()).await;
    world.identity.set_password(&world.proof(), "alice", "another password".into()).await.expect("a password");
    let kept = world.meta.tokens_of("alice", TokenKind::Refresh, None, 100).await.expect("tokens");
    assert!(kept.is_empty(), "a new password ends the logins that the old one began");
    assert!(world.meta.token_by_id(id).await.expect("an answer").is_some(), "API tokens are managed on their own");
}

#[tokio::test]
async fn s029_tokens_are_asked_for_so_often_and_then_later() {
    let auth = crate::Config { tokens_per_principal: 2, tokens_per_source: 3, ..crate::Config::default() };
    let world = World::with(crate::Configs { auth, ..crate::Configs::default() }).await;
    world.human("alice", &[]).await;
    world.human("bob", &[]).await;
    let (alice, bob) =
        (world.log_in("alice", PASSWORD).await.expect("alice"), world.log_in("bob", PASSWORD).await.expect("bob"));
    let ask = |login| world.identity.issue(login, &[], &world.origin()).map(|_| ());
    assert!(ask(&alice).is_ok() && ask(&alice).is_ok());
    let Err(AuthError::TooManyAttempts { retry_after }) = ask(&bob).and_then(|()| ask(&bob)) else {
        panic!("too many")
    };
    assert!(retry_after <= Duration::from_secs(20), "{retry_after:?}");
    world.clock.advance(Duration::from_secs(30));
    assert!(ask(&alice).is_ok());
}

/// Several providers at once: the first that knows the name decides, and a local name never leaves the registry.
#[tokio::test]
async fn f14_providers_are_asked_in_their_order() {
    let mcias = wharf_testkit::FakeMcias::start().await;
    mcias.add_user("alice", "canary-of-another-alice", "human", &["admin"]);
    mcias.add_user("carol", PASSWORD, "human", &["dev"]);
    let certificate = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(certificate.path(), mcias.ca_pem()).expect("writing");
    let sso = crate::mcias::Config {
        url: Some(mcias.url()),
        ca_certificate: Some(certificate.path().to_owned()),
        ..crate::mcias::Config::default()
    };
    let world = World::with(crate::Configs { mcias: sso, ..crate::Configs::default() }).await;
    world.human("alice", &[]).await;
    assert_eq!(world.log_in("alice", PASSWORD).await.expect("the local one").principal.name(), "alice");
    assert!(world.log_in("alice", "canary-of-another-alice").await.is_err(), "the name is a local one");
    assert_eq!(mcias.logins(), 0, "and its password was never handed on");
    let carol = world.log_in("carol", PASSWORD).await.expect("the other one");
    assert_eq!(carol.principal.name(), "mcias:carol");
    let issued = world.identity.issue(&carol, &[], &world.origin()).expect("a token");
    assert!(issued.token.expose().starts_with("canary-mcias-token-"), "her token is the one of MCIAS");
    assert!(world.authenticate(&issued.token, Place::Api).await.is_ok());

    let garbled = format!("{}x", world.bearer("alice").await.expose());
    let asked = mcias.validations();
    assert!(world.authenticate(&garbled.as_str().into(), Place::Registry).await.is_err());
    assert_eq!(mcias.validations(), asked, "a token of ours that is not good is not tried elsewhere (S-024)");
    mcias.misbehave(wharf_testkit::Fault::HangUp);
    let error = world.log_in("dave", PASSWORD).await.expect_err("nobody can say");
    assert!(matches!(error, AuthError::Unavailable { .. }), "{error:?}");
    assert!(world.log_in("alice", PASSWORD).await.is_ok());
}

#[test]
fn s070_a_key_never_prints() {
    let key = SigningKey {
        id: "wharf-1".to_owned(),
        algorithm: "EdDSA".to_owned(),
        private_key: Secret::new(vec![1, 2, 3]),
        created_at: wharf_base::Timestamp::from_micros(0),
        signs_from: wharf_base::Timestamp::from_micros(0),
        retired_at: None,
    };
    assert!(format!("{key:?}").contains("private_key: [redacted]"));
}
