//! The policy's rules: written, explained, tried out.

use std::collections::HashMap;

use async_trait::async_trait;
use wharf_base::RuleId;
use wharf_meta::{AuditFilter, Metadata, PolicyRule, RuleText, WriteRule};
use wharf_oci::RepositoryName;
use wharf_policy::{
    Action, Asked, Authorized, Change, Effect, Explanation, PolicyManage, Principal, Question, Rule, RuleError,
    RuleSet, RuleStore, StoredRule, evaluate, explain, simulate,
};

use crate::Registry;

/// The longest description of a rule, in bytes.
const DESCRIPTION_MAX_BYTES: usize = 512;

/// How many rules are read at a time.
const PORTION: u32 = 1_000;

/// How many records of the audit log are read at a time.
const RECORDS_PORTION: u32 = 1_000;

/// A rule as somebody wants it.
#[derive(Clone, Debug)]
pub struct RuleDraft {
    /// Lower comes first.
    pub priority: i64,
    /// Whether it is in force.
    pub enabled: bool,
    /// What it is for.
    pub description: String,
    /// The rule itself, unchecked.
    pub rule_json: String,
    /// Whether it is meant to match every request, should it do so (S-005).
    pub matches_everything: bool,
}

/// Why a rule was not written; nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// It is none.
    #[error(transparent)]
    Invalid(#[from] RuleError),
    /// It matches every request there is, and nobody said that this is meant.
    #[error("the rule matches every request there is; if that is meant, say \"matches_everything\": true")]
    MatchesEverything,
    /// There is none of that id.
    #[error("there is no rule {0}")]
    Unknown(String),
    /// It is one of those that cannot be changed.
    #[error("rule {0} is built in and cannot be changed; write one that denies what it allows")]
    Builtin(String),
    /// Somebody else has changed it since.
    #[error("the rule has been changed since you read it; read it again")]
    Conflict,
    /// There are as many as there may be.
    #[error("there are as many rules as there may be; delete one that is no longer needed")]
    TooMany,
    /// One may only give what one has (S-037).
    #[error("the rule allows more than you may do yourself; an administrator can write it")]
    BeyondGranter,
    /// Whoever writes it could not take it back.
    #[error("with this rule you could not manage the policy any more, and so not take it back")]
    LocksOut,
    /// The metadata database did not answer.
    #[error("the metadata database did not answer")]
    Meta(#[from] wharf_meta::Error),
    /// The rule is written, and not yet in force here.
    #[error("the rule is written, and comes into force within seconds; it could not be loaded at once")]
    Reload(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Rules to try out.
#[derive(Clone, Debug, Default)]
pub struct Proposal {
    /// The rules.
    pub rules: Vec<RuleDraft>,
    /// Whether they come beside the stored ones rather than in their place.
    pub add: bool,
    /// Stored rules to leave out, by id.
    pub remove: Vec<String>,
    /// How many of the newest audit records are looked at.
    pub records: u32,
}

/// What would be different.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// How many records were looked at.
    pub records: usize,
    /// How many different questions they hold.
    pub questions: usize,
    /// The questions with another answer, and how often each was asked.
    pub changes: Vec<(Change, usize)>,
}

impl Registry {
    /// The stored rules, at most `limit`, by priority and then id, strictly after `after`.
    ///
    /// # Errors
    ///
    /// [`RulesError::Meta`].
    pub async fn rules(
        &self,
        _ok: &Authorized<PolicyManage>,
        after: Option<(i64, String)>,
        limit: u32,
    ) -> Result<Vec<PolicyRule>, RulesError> {
        Ok(self.parts.meta.rules(after, limit).await?)
    }

    /// The built-in rules, which are always in force.
    pub fn builtin_rules(&self, _ok: &Authorized<PolicyManage>) -> Vec<Rule> {
        RuleSet::defaults().rules().to_vec()
    }

    /// The stored rule of that id.
    ///
    /// # Errors
    ///
    /// [`RulesError::Unknown`].
    pub async fn rule(&self, _ok: &Authorized<PolicyManage>, id: &str) -> Result<PolicyRule, RulesError> {
        self.parts.meta.rule(id).await?.ok_or_else(|| RulesError::Unknown(id.to_owned()))
    }

    /// Writes a rule, which is in force from the answer on.
    ///
    /// # Errors
    ///
    /// [`RulesError`].
    ///
    /// # Source
    ///
    /// F-05, F-08, S-003, S-005, S-009, S-037.
    pub async fn create_rule(
        &self,
        ok: &Authorized<PolicyManage>,
        draft: &RuleDraft,
    ) -> Result<PolicyRule, RulesError> {
        let id = RuleId::generate(&*self.parts.clock, &*self.parts.rng);
        let text = self.checked(ok, draft, &id.to_string()).await?;
        let written = self.parts.meta.create_rule(id, &text, &ok.attribution(), self.now()).await?;
        self.in_force(written, &id.to_string()).await
    }

    /// Puts another rule in the place of one, if that is still in `version`; `None`: whatever it is.
    ///
    /// # Errors
    ///
    /// [`RulesError`].
    pub async fn replace_rule(
        &self,
        ok: &Authorized<PolicyManage>,
        id: &str,
        version: Option<i64>,
        draft: &RuleDraft,
    ) -> Result<PolicyRule, RulesError> {
        let text = self.checked(ok, draft, id).await?;
        let written = self.parts.meta.replace_rule(id, version, &text, &ok.attribution(), self.now()).await?;
        self.in_force(written, id).await
    }

    /// Deletes a rule, if it is still in `version`; `None`: whatever it is.
    ///
    /// # Errors
    ///
    /// [`RulesError`].
    pub async fn delete_rule(
        &self,
        ok: &Authorized<PolicyManage>,
        id: &str,
        version: Option<i64>,
    ) -> Result<PolicyRule, RulesError> {
        if RuleSet::is_builtin(id) {
            return Err(RulesError::Builtin(id.to_owned()));
        }
        // Without a deny more is allowed than before: to take one away is to give.
        let found = self.rule(ok, id).await?;
        if let Ok(rule) = Rule::try_from(&found.rule)
            && rule.effect == Effect::Deny
        {
            check_grant(ok.principal(), &rule, &self.parts.policy.rules())?;
        }
        let deleted = self.parts.meta.delete_rule(id, version, &ok.attribution(), self.now()).await?;
        self.in_force(deleted, id).await
    }

    /// What the rules in force say about somebody, and why.
    pub fn explain(
        &self,
        _ok: &Authorized<PolicyManage>,
        principal: &Principal,
        action: Action,
        repository: Option<&RepositoryName>,
    ) -> (Explanation, Vec<wharf_policy::BrokenRule>) {
        let rules = self.parts.policy.rules();
        (explain(&Question { principal, action, repository }, &rules), rules.broken().to_vec())
    }

    /// What other rules would have said to the requests that the audit log holds. `find` knows whom a name in the log
    /// stands for, with the roles of today.
    ///
    /// # Errors
    ///
    /// [`RulesError::Invalid`]; [`RulesError::Meta`].
    pub async fn simulate(&self, ok: &Authorized<PolicyManage>, proposal: &Proposal) -> Result<Simulation, RulesError> {
        let proposed = self.proposed(ok, proposal).await?;
        let mut records = 0;
        let mut before = None;
        let mut questions: Vec<(Asked, usize)> = Vec::new();
        let mut known = HashMap::new();
        while records < proposal.records as usize {
            let wanted = RECORDS_PORTION.min(proposal.records - u32::try_from(records).unwrap_or(u32::MAX));
            let page = self.parts.meta.audit(&AuditFilter::default(), before, wanted).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.sequence);
            records += page.len();
            for asked in page.iter().flat_map(crate::audit::asked) {
                let at = *known.entry(key(&asked)).or_insert(questions.len());
                match questions.get_mut(at) {
                    Some((_, times)) => *times += 1,
                    None => questions.push((asked, 1)),
                }
            }
        }
        let current = self.parts.policy.rules();
        let changes = simulate(questions.iter().map(|(asked, _)| asked.clone()), &current, &proposed);
        let times = |change: &Change| {
            known.get(&key(&change.asked)).and_then(|at| questions.get(*at)).map_or(0, |found| found.1)
        };
        let changes = changes.into_iter().map(|change| {
            let times = times(&change);
            (change, times)
        });
        Ok(Simulation { records, questions: questions.len(), changes: changes.collect() })
    }

    async fn proposed(&self, ok: &Authorized<PolicyManage>, proposal: &Proposal) -> Result<RuleSet, RulesError> {
        let mut rules =
            if proposal.add || !proposal.remove.is_empty() { self.enabled_rules(ok).await? } else { Vec::new() };
        rules.retain(|rule| !proposal.remove.contains(&rule.id));
        for (index, draft) in proposal.rules.iter().enumerate().filter(|(_, draft)| draft.enabled) {
            let id = format!("proposed:{}", index + 1);
            let rule = Rule::parse(&id, draft.priority, &draft.description, &draft.rule_json)?;
            rules.push(stored(&rule));
        }
        Ok(RuleSet::merged(&rules))
    }

    async fn enabled_rules(&self, ok: &Authorized<PolicyManage>) -> Result<Vec<StoredRule>, RulesError> {
        let mut rules = Vec::new();
        let mut after = None;
        loop {
            let page = self.rules(ok, after, PORTION).await?;
            let Some(last) = page.last() else { return Ok(rules) };
            after = Some((last.rule.priority, last.rule.id.clone()));
            rules.extend(page.into_iter().filter(|rule| rule.enabled).map(|rule| rule.rule));
        }
    }

    /// The rule in its canonical form, if it is one and whoever writes it may.
    async fn checked(
        &self,
        ok: &Authorized<PolicyManage>,
        draft: &RuleDraft,
        id: &str,
    ) -> Result<RuleText, RulesError> {
        if RuleSet::is_builtin(id) {
            return Err(RulesError::Builtin(id.to_owned()));
        }
        let is_line =
            draft.description.len() <= DESCRIPTION_MAX_BYTES && !draft.description.chars().any(char::is_control);
        if !is_line {
            let problem = format!("must be one line of at most {DESCRIPTION_MAX_BYTES} bytes");
            return Err(RuleError { field: "description".into(), problem }.into());
        }
        let rule = Rule::parse(id, draft.priority, &draft.description, &draft.rule_json)?;
        if rule.matches_everything() && !draft.matches_everything {
            return Err(RulesError::MatchesEverything);
        }
        if draft.enabled {
            check_grant(ok.principal(), &rule, &self.parts.policy.rules())?;
            let mut rules = self.enabled_rules(ok).await?;
            rules.retain(|other| other.id != id);
            rules.push(stored(&rule));
            check_way_back(ok.principal(), &RuleSet::merged(&rules))?;
        }
        Ok(RuleText {
            priority: draft.priority,
            enabled: draft.enabled,
            rule_json: rule.to_json(),
            description: draft.description.clone(),
        })
    }

    /// What was written comes into force here before the answer, elsewhere within two seconds (S-009).
    async fn in_force(&self, written: WriteRule, id: &str) -> Result<PolicyRule, RulesError> {
        let rule = match written {
            WriteRule::Written(rule) => rule,
            WriteRule::Unknown => return Err(RulesError::Unknown(id.to_owned())),
            WriteRule::Conflict => return Err(RulesError::Conflict),
            WriteRule::TooMany => return Err(RulesError::TooMany),
        };
        self.reload_rules().await.map_err(RulesError::Reload)?;
        Ok(rule)
    }

    /// Puts the stored rules in force, and says which rows are none (S-003). One at a time: whoever loads last has read
    /// last, so an older set never comes after a newer one.
    ///
    /// # Errors
    ///
    /// The metadata database did not answer; what was in force stays.
    pub async fn reload_rules(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let _one = self.reloading.lock().await;
        self.parts.policy.reload(&Stored(&*self.parts.meta)).await?;
        for broken in self.parts.policy.rules().broken() {
            tracing::error!(
                rule.id = broken.id,
                "policy rule {} is not in force: {}; mend or delete it with `wharf policy`",
                broken.id,
                broken.problem
            );
        }
        Ok(())
    }
}

/// The metadata database as the policy knows it.
struct Stored<'m>(&'m dyn Metadata);

#[async_trait]
impl RuleStore for Stored<'_> {
    async fn load_enabled_policy_rules(&self) -> Result<Vec<StoredRule>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.load_enabled_policy_rules().await?)
    }
}

fn stored(rule: &Rule) -> StoredRule {
    StoredRule {
        id: rule.id.to_string(),
        priority: rule.priority,
        rule_json: rule.to_json(),
        description: rule.description.clone(),
    }
}

/// Whoever lets somebody do something must be let do it by one rule: with the same patterns, or with none (S-037). A rule
/// that denies gives nothing; one that is taken away does, and is asked about in the same way.
fn check_grant(granter: &Principal, rule: &Rule, rules: &RuleSet) -> Result<(), RulesError> {
    let is_about = |holder: &Rule| {
        let question = |action| Question { principal: granter, action, repository: None };
        let without_place = Rule { repositories: Vec::new(), ..holder.clone() };
        let actions = if rule.actions.is_empty() { Action::ALL } else { &rule.actions };
        holder.effect == Effect::Allow && actions.iter().all(|action| without_place.matches(&question(*action)))
    };
    let has_place = |holder: &Rule| {
        holder.repositories.is_empty()
            || (!rule.repositories.is_empty() && rule.repositories.iter().all(|own| holder.repositories.contains(own)))
    };
    let covers = |holder: &&Rule| is_about(holder) && has_place(holder);
    if granter.is_anonymous() || (rule.effect == Effect::Allow && !rules.rules().iter().any(|holder| covers(&holder))) {
        return Err(RulesError::BeyondGranter);
    }
    Ok(())
}

/// Whoever writes a rule can still manage the policy with it.
fn check_way_back(granter: &Principal, proposed: &RuleSet) -> Result<(), RulesError> {
    let question = Question { principal: granter, action: Action::PolicyManage, repository: None };
    if evaluate(&question, proposed).allowed { Ok(()) } else { Err(RulesError::LocksOut) }
}

/// What makes two questions the same.
fn key(asked: &Asked) -> (String, Vec<String>, Action, Option<RepositoryName>) {
    let Asked { principal, action, repository } = asked;
    (principal.name().to_owned(), principal.roles().to_vec(), *action, repository.clone())
}
