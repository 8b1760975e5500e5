//! Accounts, tokens, keys and rules.

use std::sync::Arc;

use wharf_base::{AccountId, ManualClock, RuleId, Secret, SeededRng, TokenId};
use wharf_policy::AccountType;

use super::fixture::*;
use crate::{
    Account, AccountChange, ApiToken, AuditRecord, ChangeAccount, CreateAccount, CreateToken, Metadata, NewApiToken,
    RuleText, SigningKey, TokenKind, WriteRule,
};

type Subject = Arc<dyn Metadata>;

fn account(name: &str, roles: &[&str]) -> Account {
    Account {
        id: AccountId::generate(&ManualClock::at(at(0)), &SeededRng::new(name.bytes().map(u64::from).sum())),
        name: name.to_owned(),
        account_type: AccountType::Human,
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        password_hash: Some("$argon2id$…".into()),
        enabled: true,
        created_at: at(1),
        created_by: "root".to_owned(),
        updated_at: at(1),
    }
}

fn token(number: u64, account: &str, kind: TokenKind, tokens_max: u32) -> NewApiToken {
    let token = ApiToken {
        id: TokenId::generate(&ManualClock::at(at(number)), &SeededRng::new(number)),
        account: account.to_owned(),
        kind,
        description: "for a test".to_owned(),
        scopes: vec!["repository:team/**:pull".to_owned()],
        networks: vec!["192.0.2.0/24".to_owned()],
        created_at: at(number),
        created_by: "root".to_owned(),
        expires_at: at(1_000 + number),
        last_used_at: None,
    };
    NewApiToken { token, secret_sha256: [u8::try_from(number).unwrap(); 32], tokens_max }
}

fn rule_id(number: u64) -> RuleId {
    RuleId::generate(&ManualClock::at(at(number)), &SeededRng::new(number))
}

fn text(priority: i64, rule_json: &str) -> RuleText {
    RuleText { priority, enabled: true, rule_json: rule_json.to_owned(), description: "why".to_owned() }
}

/// By name, once.
pub async fn an_account_is_kept_as_it_was_made(metadata: Subject) {
    let alice = account("alice", &["dev"]);
    assert_eq!(metadata.create_account(&alice, &by("root")).await.unwrap(), CreateAccount::Created);
    assert_eq!(metadata.create_account(&account("alice", &[]), &by("root")).await.unwrap(), CreateAccount::NameTaken);
    assert_eq!(metadata.account("alice").await.unwrap(), Some(alice));
    assert_eq!(metadata.account("bob").await.unwrap(), None);
    metadata.create_account(&account("bob", &[]), &by("root")).await.unwrap();
    let names = async |after| -> Vec<String> {
        metadata.accounts(after, 10).await.unwrap().into_iter().map(|account| account.name).collect()
    };
    assert_eq!(names(None).await, ["alice", "bob"]);
    assert_eq!(names(Some("alice")).await, ["bob"]);
}

/// What is not named stays.
pub async fn an_account_changes_only_where_it_is_told_to(metadata: Subject) {
    metadata.create_account(&account("alice", &["dev"]), &by("root")).await.unwrap();
    let change = AccountChange { enabled: Some(false), ..AccountChange::default() };
    let changed = metadata.change_account("alice", &change, &by("root"), at(2)).await.unwrap();
    let expected = Account { enabled: false, updated_at: at(2), ..account("alice", &["dev"]) };
    assert_eq!(changed, ChangeAccount::Changed(expected.clone()));
    assert_eq!(metadata.account("alice").await.unwrap(), Some(expected));
    assert_eq!(metadata.change_account("bob", &change, &by("root"), at(2)).await.unwrap(), ChangeAccount::Unknown);
    let stale = AccountChange { version: Some(at(1).as_micros()), ..change.clone() };
    assert_eq!(metadata.change_account("alice", &stale, &by("root"), at(3)).await.unwrap(), ChangeAccount::Conflict);
    let stale = metadata.delete_account("alice", stale.version, &by("root"), at(3)).await.unwrap();
    assert_eq!(stale, ChangeAccount::Conflict);
    let current = AccountChange { version: Some(at(2).as_micros()), ..change };
    match metadata.change_account("alice", &current, &by("root"), at(1)).await.unwrap() {
        ChangeAccount::Changed(account) => assert!(account.version() > at(2).as_micros(), "whatever the clock says"),
        other => panic!("{other:?}"),
    }
    let (old, new): (Secret<String>, Secret<String>) = ("$argon2id$…".into(), "stronger".into());
    assert!(metadata.rehash("alice", &old, &new).await.unwrap());
    assert!(!metadata.rehash("alice", &old, &new).await.unwrap(), "it is not the old one any more");
}

/// Disabled, demoted or deleted.
pub async fn the_last_administrator_stays(metadata: Subject) {
    metadata.create_account(&account("root", &["admin"]), &by("root")).await.unwrap();
    metadata.create_account(&account("alice", &["dev"]), &by("root")).await.unwrap();
    let disable = AccountChange { enabled: Some(false), ..AccountChange::default() };
    let demote = AccountChange { roles: Some(vec!["admins".to_owned()]), ..AccountChange::default() };
    for change in [&disable, &demote] {
        let answer = metadata.change_account("root", change, &by("root"), at(2)).await.unwrap();
        assert_eq!(answer, ChangeAccount::LastAdmin);
    }
    assert_eq!(metadata.delete_account("root", None, &by("root"), at(2)).await.unwrap(), ChangeAccount::LastAdmin);
    assert_eq!(metadata.account("root").await.unwrap(), Some(account("root", &["admin"])));
    let promote = AccountChange { roles: Some(vec!["admin".to_owned()]), ..AccountChange::default() };
    metadata.change_account("alice", &promote, &by("root"), at(3)).await.unwrap();
    assert!(matches!(
        metadata.delete_account("root", None, &by("root"), at(4)).await.unwrap(),
        ChangeAccount::Changed(_)
    ));
    assert_eq!(metadata.account("root").await.unwrap(), None);
}

/// With its account, by the hash of its secret or its id.
pub async fn s036_a_token_is_found_by_the_hash_of_its_secret(metadata: Subject) {
    metadata.create_account(&account("ci", &[]), &by("root")).await.unwrap();
    let new = token(7, "ci", TokenKind::Api, 2);
    assert_eq!(metadata.create_token(&new, &by("root")).await.unwrap(), CreateToken::Created);
    let expected = Some((new.token.clone(), account("ci", &[])));
    assert_eq!(metadata.token_by_secret(&[7; 32]).await.unwrap(), expected);
    assert_eq!(metadata.token_by_id(new.token.id).await.unwrap(), expected);
    assert_eq!(metadata.token_by_secret(&[8; 32]).await.unwrap(), None);
    let of_nobody = token(8, "nobody", TokenKind::Api, 2);
    assert_eq!(metadata.create_token(&of_nobody, &by("root")).await.unwrap(), CreateToken::AccountUnknown);

    metadata.note_tokens_used(vec![(new.token.id, at(9))]).await.unwrap();
    let used = metadata.token_by_id(new.token.id).await.unwrap().unwrap().0;
    assert_eq!(used.last_used_at, Some(at(9)));
    metadata.delete_account("ci", None, &by("root"), at(10)).await.unwrap();
    assert_eq!(metadata.token_by_secret(&[7; 32]).await.unwrap(), None, "it goes with its account");
}

/// Of refresh tokens the oldest makes room instead.
pub async fn an_account_has_so_many_tokens_of_a_kind(metadata: Subject) {
    metadata.create_account(&account("ci", &[]), &by("root")).await.unwrap();
    for (number, expected) in [(1, CreateToken::Created), (2, CreateToken::Created), (3, CreateToken::TooMany)] {
        let answer = metadata.create_token(&token(number, "ci", TokenKind::Api, 2), &by("root")).await.unwrap();
        assert_eq!(answer, expected, "{number}");
    }
    for number in 11..=13 {
        let answer = metadata.create_token(&token(number, "ci", TokenKind::Refresh, 2), &by("root")).await.unwrap();
        assert_eq!(answer, CreateToken::Created);
    }
    assert_eq!(metadata.token_by_secret(&[11; 32]).await.unwrap(), None);
    let of = async |kind| metadata.tokens_of("ci", kind, None, 10).await.unwrap().len();
    assert_eq!((of(TokenKind::Api).await, of(TokenKind::Refresh).await), (2, 2));
    let all = metadata.tokens(None, 10).await.unwrap();
    assert_eq!(all.len(), 4);
    assert_eq!(metadata.tokens(Some(all[0].id), 10).await.unwrap().len(), 3);
}

/// Somebody else's, and one that is not there, are one answer.
pub async fn s010_a_token_is_deleted_by_its_own_account_or_for_all(metadata: Subject) {
    for name in ["ci", "other"] {
        metadata.create_account(&account(name, &[]), &by("root")).await.unwrap();
    }
    let new = token(1, "ci", TokenKind::Api, 2);
    metadata.create_token(&new, &by("root")).await.unwrap();
    let id = new.token.id;
    assert!(!metadata.delete_token(Some("other"), id, &by("other"), at(2)).await.unwrap());
    assert!(metadata.delete_token(Some("ci"), id, &by("ci"), at(2)).await.unwrap());
    assert!(!metadata.delete_token(None, id, &by("root"), at(2)).await.unwrap());
    metadata.create_token(&token(2, "ci", TokenKind::Api, 2), &by("root")).await.unwrap();
    assert_eq!(metadata.remove_expired_tokens(at(1_002)).await.unwrap(), 0);
    assert_eq!(metadata.remove_expired_tokens(at(1_003)).await.unwrap(), 1);
}

/// The first of two replicas makes it.
pub async fn there_is_one_first_key_and_new_ones_retire_the_old(metadata: Subject) {
    let key = |id: &str, second| SigningKey {
        id: id.to_owned(),
        algorithm: "EdDSA".to_owned(),
        private_key: Secret::new(vec![1, 2, 3]),
        created_at: at(second),
        signs_from: at(second + 60),
        retired_at: None,
    };
    assert!(metadata.add_signing_key(&key("a", 1), Some(at(0)), &by("root")).await.unwrap());
    assert!(!metadata.add_signing_key(&key("b", 1), Some(at(0)), &by("root")).await.unwrap());
    assert!(metadata.add_signing_key(&key("c", 100), None, &by("root")).await.unwrap());
    let retired = SigningKey { retired_at: Some(at(160)), ..key("a", 1) };
    assert_eq!(metadata.signing_keys().await.unwrap(), [retired, key("c", 100)]);
    assert_eq!(metadata.remove_retired_keys(at(160)).await.unwrap(), 0);
    assert_eq!(metadata.remove_retired_keys(at(161)).await.unwrap(), 1);
    assert_eq!(metadata.signing_keys().await.unwrap(), [key("c", 100)]);
}

/// F-08: `enabled = 1`, priority order.
pub async fn f08_enabled_rules_are_loaded_in_priority_order(metadata: Subject) {
    let write = async |number, priority, enabled| {
        let text = RuleText { enabled, ..text(priority, &format!("{{\"n\":{number}}}")) };
        metadata.create_rule(rule_id(number), &text, &by("root"), at(number)).await.unwrap()
    };
    write(1, 50, true).await;
    write(2, -5, true).await;
    write(3, 10, false).await;
    write(4, 50, true).await;
    let loaded = metadata.load_enabled_policy_rules().await.unwrap();
    let seen: Vec<_> = loaded.iter().map(|rule| (rule.priority, rule.rule_json.as_str())).collect();
    assert_eq!(seen, [(-5, "{\"n\":2}"), (50, "{\"n\":1}"), (50, "{\"n\":4}")]);
    let page = metadata.rules(None, 3).await.unwrap();
    assert_eq!(page.iter().map(|rule| rule.rule.priority).collect::<Vec<_>>(), [-5, 10, 50]);
    let last = &page[2].rule;
    let rest = metadata.rules(Some((last.priority, last.id.clone())), 3).await.unwrap();
    assert_eq!(rest.iter().map(|rule| rule.rule.id.clone()).collect::<Vec<_>>(), [rule_id(4).to_string()]);
}

/// What one has read is what one replaces.
pub async fn a_rule_changes_only_from_the_version_that_was_read(metadata: Subject) {
    let id = rule_id(1).to_string();
    let written = metadata.create_rule(rule_id(1), &text(1, "{}"), &by("root"), at(1)).await.unwrap();
    let WriteRule::Written(first) = written else { panic!("{written:?}") };
    assert_eq!((first.version, first.created_by.as_str()), (1, "root"));
    let replaced = metadata.replace_rule(&id, Some(1), &text(2, "{}"), &by("alice"), at(2)).await.unwrap();
    let WriteRule::Written(second) = replaced else { panic!("{replaced:?}") };
    assert_eq!((second.version, second.rule.priority, second.updated_by.as_str()), (2, 2, "alice"));
    assert_eq!(
        metadata.replace_rule(&id, Some(1), &text(3, "{}"), &by("bob"), at(3)).await.unwrap(),
        WriteRule::Conflict
    );
    assert_eq!(metadata.delete_rule(&id, Some(1), &by("bob"), at(3)).await.unwrap(), WriteRule::Conflict);
    assert_eq!(metadata.rule(&id).await.unwrap(), Some(second.clone()));
    assert_eq!(metadata.delete_rule(&id, None, &by("bob"), at(4)).await.unwrap(), WriteRule::Written(second));
    assert_eq!(metadata.delete_rule(&id, None, &by("bob"), at(4)).await.unwrap(), WriteRule::Unknown);
    assert_eq!(metadata.rule(&id).await.unwrap(), None);
}

/// Each kind by its own number; what fails counts nothing.
pub async fn s009_every_change_is_counted(metadata: Subject) {
    let versions = async || metadata.versions().await.unwrap();
    let start = versions().await;
    metadata.create_account(&account("ci", &[]), &by("root")).await.unwrap();
    metadata.create_account(&account("ci", &[]), &by("root")).await.unwrap();
    let with_account = versions().await;
    assert_eq!(with_account.identities, start.identities + 1);
    metadata.create_rule(rule_id(1), &text(1, "{}"), &by("root"), at(1)).await.unwrap();
    let with_rule = versions().await;
    assert_eq!((with_rule.rules, with_rule.identities), (start.rules + 1, with_account.identities));
}

/// Several at once, with what may be absent and with texts that one of the databases does not have.
pub async fn s076_records_are_written_in_their_order_as_they_are(metadata: Subject) {
    let full =
        AuditRecord::done(&by("alice"), at(1), "test.full").on(&name("a/b")).to("nul \0, \"quoted\" \\ \u{1f433}");
    let bare =
        AuditRecord { detail: None, rule_id: None, source: None, ..AuditRecord::done(&by("bob"), at(2), "test.bare") };
    metadata.append_audit(vec![full.clone(), bare.clone()]).await.unwrap();
    metadata.append_audit(Vec::new()).await.unwrap();
    let entries = metadata.audit_in_order(0, 10).await.unwrap();
    assert_eq!(entries.len(), 2);
    for (entry, record) in entries.iter().zip([&full, &bare]) {
        assert_eq!((entry.at, entry.action.as_str(), &entry.principal), (record.at, record.action, &record.principal));
        let target = entry.target.as_ref().map(|target| target.replace('\u{fffd}', "\0"));
        assert_eq!(
            (&entry.repository, target, &entry.rule_id),
            (&record.repository, record.target.clone(), &record.rule_id)
        );
        assert_eq!(entry.detail, record.detail.as_ref().map(ToString::to_string));
        assert_eq!(entry.source, record.source.map_or_else(String::new, |source| source.to_string()));
    }
}
