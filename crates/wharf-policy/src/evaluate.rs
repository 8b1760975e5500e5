//! Questions and their answers (F-04).

use std::sync::Arc;

use wharf_oci::RepositoryName;

use crate::{Action, Effect, Principal, Rule, RuleSet};

/// What policy is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// Who asks.
    pub principal: &'q Principal,
    /// To do what.
    pub action: Action,
    /// On which repository; `None`: on the registry as a whole.
    pub repository: Option<&'q RepositoryName>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The id of the rule that decided: the first deny that matches, else the first allow; `None`: no rule matches.
    pub rule: Option<Arc<str>>,
}

/// Answers `question` by `rules`: of all that match, any that denies decides, whatever its priority; else any that allows;
/// no match is a denial (F-04, S-004).
///
/// The version check is allowed whatever the rules say (F-06): it tells nothing but that this is a registry, and no client
/// can log in without it.
pub fn evaluate(question: &Question<'_>, rules: &RuleSet) -> Decision {
    let decided = |allowed, rule: &Rule| Decision { allowed, rule: Some(Arc::clone(&rule.id)) };
    if question.action != Action::VersionCheck
        && let Some(rule) = rules.first(Effect::Deny, question)
    {
        return decided(false, rule);
    }
    match rules.first(Effect::Allow, question) {
        Some(rule) => decided(true, rule),
        None => Decision { allowed: false, rule: None },
    }
}

/// The fields of a rule that can stand against a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `subjects`.
    Subjects,
    /// `account_types`.
    AccountTypes,
    /// `roles`.
    Roles,
    /// `actions`.
    Actions,
    /// `repositories`.
    Repositories,
}

impl Rule {
    /// Whether every populated field matches (F-05).
    pub fn matches(&self, question: &Question<'_>) -> bool {
        self.mismatch(question).is_none()
    }

    /// The first field that does not match.
    pub fn mismatch(&self, question: &Question<'_>) -> Option<Field> {
        let principal = question.principal;
        let is_subject = |entry: &String| is_subject(entry, principal);
        if !self.actions.is_empty() && !self.actions.contains(&question.action) {
            return Some(Field::Actions);
        }
        if !self.account_types.is_empty() && !self.account_types.contains(&principal.account_type()) {
            return Some(Field::AccountTypes);
        }
        if !self.subjects.is_empty() && !self.subjects.iter().any(is_subject) {
            return Some(Field::Subjects);
        }
        if !self.roles.is_empty() && !self.roles.iter().any(|role| principal.has_role(role)) {
            return Some(Field::Roles);
        }
        let is_there = |name: &RepositoryName| self.repositories.iter().any(|pattern| pattern.matches(name.as_str()));
        if !self.repositories.is_empty() && !question.repository.is_some_and(is_there) {
            return Some(Field::Repositories);
        }
        None
    }
}

/// `name`, or `provider:name`; anonymous is no subject.
fn is_subject(entry: &str, principal: &Principal) -> bool {
    if principal.is_anonymous() {
        return false;
    }
    entry == principal.subject()
        || entry
            .strip_prefix(principal.provider().as_str())
            .and_then(|rest| rest.strip_prefix(':'))
            .is_some_and(|subject| subject == principal.subject())
}
