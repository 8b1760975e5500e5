use wharf_oci::RepositoryName;

use crate::{AccountType, Action, Principal, Provider, StoredRule};

pub(super) fn principal(provider: Provider, subject: &str, account_type: AccountType, roles: &[&str]) -> Principal {
    Principal::new(provider, subject, account_type, roles.iter().map(|role| (*role).to_owned()).collect())
}

pub(super) fn stored(id: &str, priority: i64, rule_json: &str) -> StoredRule {
    StoredRule { id: id.to_owned(), priority, rule_json: rule_json.to_owned(), description: String::new() }
}

/// Random rules and questions from a seed, out of so few words that they meet.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).expect("an index")]
    }

    /// A JSON list that is empty in half of all cases.
    fn list(&mut self, of: &[&str]) -> String {
        let length = if self.below(2) == 0 { 0 } else { 1 + self.below(2) };
        let entries: Vec<String> = (0..length).map(|_| format!("\"{}\"", self.one(of))).collect();
        format!("[{}]", entries.join(","))
    }

    pub(super) fn rule(&mut self, number: u64) -> StoredRule {
        let effect = self.one(&["allow", "allow", "deny"]);
        let subjects = self.list(
            &["alice", "bob", "mcias:alice", "local:bob", "oidc:x", ""]
                .map(|name| if name.is_empty() { "zoe" } else { name }),
        );
        let types = self.list(&["human", "system", "anonymous"]);
        let roles = self.list(&["dev", "ops", "admin"]);
        let actions: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
        let actions = self.list(&actions);
        let repositories = self.list(&["a", "a/*", "a/**", "**", "*/b", "b/?", "[ab]/c", "**/c", "a/b"]);
        let json = format!(
            r#"{{"effect":"{effect}","subjects":{subjects},"account_types":{types},"roles":{roles},"actions":{actions},"repositories":{repositories}}}"#
        );
        let priority = i64::try_from(self.below(5)).expect("a small number");
        stored(&format!("r{number}"), priority, &json)
    }

    pub(super) fn principal(&mut self) -> Principal {
        let account_type = self.one(AccountType::ALL);
        if account_type == AccountType::Anonymous {
            return Principal::anonymous();
        }
        let provider = self.one(&[Provider::Local, Provider::Mcias, Provider::Oidc]);
        let subject = self.one(&["alice", "bob", "x"]);
        let roles: &[&[&str]] = &[&[], &["dev"], &["ops", "dev"], &["admin"]];
        principal(provider, subject, account_type, self.one(roles))
    }

    pub(super) fn target(&mut self) -> (Action, Option<RepositoryName>) {
        let action = self.one(Action::ALL);
        let is_content = matches!(action, Action::Pull | Action::Push | Action::Delete);
        let name = self.one(&["a", "b", "a/b", "b/c", "a/b/c", "a/c", "c"]);
        (action, is_content.then(|| name.parse().expect("a name")))
    }
}
