//! The rules in force, and the questions put to them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use wharf_oci::RepositoryName;

use crate::set::OPEN;
use crate::{Action, Asker, Authorized, Limit, Permission, Question, RuleSet, StoredRule, Target, evaluate};

/// Where rules are kept (F-07, F-08).
#[async_trait]
pub trait RuleStore: Send + Sync {
    /// The rows of `policy_rules` that are enabled, by priority and then id.
    ///
    /// # Errors
    ///
    /// The store did not answer; never an empty list in that case.
    async fn load_enabled_policy_rules(&self) -> Result<Vec<StoredRule>, Box<dyn std::error::Error + Send + Sync>>;
}

/// Why something may not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy does not allow {action}{}", on(.repository.as_ref()))]
pub struct Denied {
    /// What was asked.
    pub action: Action,
    /// On what.
    pub repository: Option<RepositoryName>,
    /// What stands against it.
    pub reason: Reason,
}

/// What stands against a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The bearer token does not say so; another one may.
    BearerScope,
    /// The API token's scopes leave it out.
    TokenScope,
    /// A rule that denies, or no rule that allows.
    Policy {
        /// The rule that denies; `None`: no rule allows it.
        rule: Option<Arc<str>>,
    },
}

fn on(repository: Option<&RepositoryName>) -> String {
    repository.map_or_else(String::new, |name| format!(" on {name}"))
}

/// Answers questions by the rules in force.
#[derive(Debug)]
pub struct Engine {
    open: bool,
    rules: ArcSwap<RuleSet>,
}

impl Engine {
    /// Everybody may do everything: `wharf serve --open`.
    pub fn open() -> Self {
        Self { open: true, rules: ArcSwap::from_pointee(RuleSet::defaults()) }
    }

    /// The built-in defaults (F-06), until rules are set or loaded.
    pub fn with_defaults() -> Self {
        Self { open: false, rules: ArcSwap::from_pointee(RuleSet::defaults()) }
    }

    /// Whether everybody may do everything.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<RuleSet> {
        self.rules.load_full()
    }

    /// Puts `stored`, merged with the defaults, in force (F-07). Rows that cannot be parsed are left out, and stay
    /// visible in [`RuleSet::broken`].
    pub fn set_rules(&self, stored: &[StoredRule]) {
        self.rules.store(Arc::new(RuleSet::merged(stored)));
    }

    /// Loads the enabled rules from `store` and puts them in force. When that fails the last good set stays (S-003).
    ///
    /// # Errors
    ///
    /// What the store said.
    pub async fn reload(&self, store: &dyn RuleStore) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let stored = store.load_enabled_policy_rules().await?;
        self.set_rules(&stored);
        Ok(())
    }

    /// Asks whether `asker` may do `A` to `target`. Looks at nothing but its arguments and the rules, so the answer
    /// cannot tell whether the target exists (S-006).
    ///
    /// # Errors
    ///
    /// [`Denied`] when credentials are too narrow, a rule denies, or no rule allows it.
    pub fn authorize<A: Permission>(&self, asker: &Asker, target: A::Target) -> Result<Authorized<A>, Denied> {
        match self.permits(asker, A::ACTION, target.repository()) {
            Ok(rule) => Ok(Authorized::new(asker.clone(), target, rule)),
            Err(reason) => Err(Denied { action: A::ACTION, repository: target.repository().cloned(), reason }),
        }
    }

    /// The same question about an action that is not known when compiling; answers with the rule that allows it.
    ///
    /// # Errors
    ///
    /// What stands against it.
    pub fn permits(
        &self,
        asker: &Asker,
        action: Action,
        repository: Option<&RepositoryName>,
    ) -> Result<Arc<str>, Reason> {
        match asker.limits.against(action, repository) {
            Some(Limit::Bearer) => return Err(Reason::BearerScope),
            Some(Limit::ApiToken) => return Err(Reason::TokenScope),
            None if self.open => return Ok(Arc::clone(&OPEN)),
            None => {}
        }
        let question = Question { principal: &asker.principal, action, repository };
        let decision = evaluate(&question, &self.rules.load());
        if decision.allowed {
            Ok(decision.rule.unwrap_or_default())
        } else {
            Err(Reason::Policy { rule: decision.rule })
        }
    }
}
