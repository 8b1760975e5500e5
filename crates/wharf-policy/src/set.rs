//! Rules in force: stored ones and built-in ones, with an index so that a question looks only at those it can meet.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::{AccountType, Action, Effect, Question, Rule, StoredRule};

/// The priority of the built-in rules: behind whatever people write.
pub const BUILTIN_PRIORITY: i64 = 1_000_000;

/// The rules that are always in force (F-06). Robots get nothing by default, and however they come by a role, they
/// administer nothing (S-037).
static BUILTIN: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule =
        |name: &str, effect, account_types: &[AccountType], roles: &[&str], actions: &[Action], why: &str| Rule {
            id: format!("builtin:{name}").into(),
            priority: BUILTIN_PRIORITY,
            description: why.to_owned(),
            effect,
            subjects: Vec::new(),
            account_types: account_types.to_vec(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            actions: actions.to_vec(),
            repositories: Vec::new(),
        };
    let content = [Action::Pull, Action::Push, Action::Delete, Action::Catalog];
    let administration = [Action::PolicyManage, Action::AccountManage, Action::AccountSelf];
    let human = [AccountType::Human];
    vec![
        rule("admin", Effect::Allow, &[], &["admin"], &[], "the role admin may do everything"),
        rule("human", Effect::Allow, &human, &[], &content, "people may pull, push, delete and list"),
        rule(
            "robots",
            Effect::Deny,
            &[AccountType::System],
            &[],
            &administration,
            "robots manage neither accounts, tokens nor rules",
        ),
        rule("self", Effect::Allow, &human, &[], &[Action::AccountSelf], "people manage their own password and tokens"),
        rule(
            "version-check",
            Effect::Allow,
            &[],
            &[],
            &[Action::VersionCheck],
            "anybody may ask whether this is a registry",
        ),
    ]
});

/// Rules in priority order, ready for questions.
#[derive(Debug)]
pub struct RuleSet {
    rules: Vec<Rule>,
    broken: Vec<BrokenRule>,
    /// By action, then effect: first what denies.
    index: Vec<[Bucket; 2]>,
}

/// Which rules a question can meet: by their place in the order.
#[derive(Debug, Default)]
struct Bucket {
    /// Those that name no repository, or patterns that do not begin with a plain segment.
    general: Vec<u32>,
    /// The others, by the first segment of their patterns.
    by_segment: HashMap<Box<str>, Vec<u32>>,
}

/// A row that is no rule: it neither allows nor denies, and is reported until somebody mends it (S-003).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRule {
    /// The row's id.
    pub id: String,
    /// What is wrong with it.
    pub problem: String,
}

impl RuleSet {
    /// The built-in rules alone (F-06).
    pub fn defaults() -> Self {
        Self::merged(&[])
    }

    /// `stored` merged with the built-in rules (F-07). The order of `stored` does not matter.
    pub fn merged(stored: &[StoredRule]) -> Self {
        let mut broken = Vec::new();
        let mut rules: Vec<Rule> = BUILTIN.clone();
        for row in stored {
            match Rule::try_from(row) {
                Ok(rule) => rules.push(rule),
                Err(problem) => broken.push(BrokenRule { id: row.id.clone(), problem: problem.to_string() }),
            }
        }
        broken.sort_by(|a, b| a.id.cmp(&b.id));
        rules.sort_by(|a, b| (a.priority, &a.id).cmp(&(b.priority, &b.id)));
        let index = index(&rules);
        Self { rules, broken, index }
    }

    /// All rules by priority, then id.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rows that are no rules.
    pub fn broken(&self) -> &[BrokenRule] {
        &self.broken
    }

    /// The first rule of that effect that matches.
    pub(crate) fn first(&self, effect: Effect, question: &Question<'_>) -> Option<&Rule> {
        let bucket = &self.index[question.action as usize][effect as usize];
        let segment = question.repository.and_then(|name| name.as_str().split('/').next());
        let by_segment = segment.and_then(|segment| bucket.by_segment.get(segment));
        let first_of = |places: &[u32]| places.iter().copied().find(|at| self.rules[*at as usize].matches(question));
        let at = match (first_of(&bucket.general), by_segment.and_then(|places| first_of(places))) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        self.rules.get(at as usize)
    }

    /// Whether the id is that of a built-in rule.
    pub fn is_builtin(id: &str) -> bool {
        id.starts_with("builtin:")
    }
}

fn index(rules: &[Rule]) -> Vec<[Bucket; 2]> {
    let mut index: Vec<[Bucket; 2]> = Action::ALL.iter().map(|_| Default::default()).collect();
    for (at, rule) in (0_u32..).zip(rules) {
        let actions = if rule.actions.is_empty() { Action::ALL } else { &rule.actions };
        let segments: Option<Vec<String>> = rule.repositories.iter().map(crate::Pattern::first_segment).collect();
        for action in actions {
            let bucket = &mut index[*action as usize][rule.effect as usize];
            match &segments {
                Some(segments) if !segments.is_empty() => {
                    for segment in segments {
                        let places = bucket.by_segment.entry(segment.as_str().into()).or_default();
                        if places.last() != Some(&at) {
                            places.push(at);
                        }
                    }
                }
                _ if bucket.general.last() == Some(&at) => {}
                _ => bucket.general.push(at),
            }
        }
    }
    index
}

/// The id of what decides for an [open](crate::Engine::open) registry.
pub(crate) static OPEN: LazyLock<Arc<str>> = LazyLock::new(|| "open".into());
