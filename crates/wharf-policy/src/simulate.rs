//! What would be different under other rules.

use wharf_oci::RepositoryName;

use crate::{Action, Decision, Principal, Question, RuleSet, evaluate};

/// A question that was asked before.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who.
    pub principal: Principal,
    /// To do what.
    pub action: Action,
    /// Where.
    pub repository: Option<RepositoryName>,
}

/// A question with another answer.
#[derive(Clone, Debug)]
pub struct Change {
    /// The question.
    pub asked: Asked,
    /// The answer by the rules in force.
    pub now: Decision,
    /// The answer by the proposed ones.
    pub then: Decision,
}

/// The questions that `proposed` answers differently from `current`, in their order.
pub fn simulate(asked: impl IntoIterator<Item = Asked>, current: &RuleSet, proposed: &RuleSet) -> Vec<Change> {
    let changes = asked.into_iter().filter_map(|asked| {
        let question =
            Question { principal: &asked.principal, action: asked.action, repository: asked.repository.as_ref() };
        let (now, then) = (evaluate(&question, current), evaluate(&question, proposed));
        (now.allowed != then.allowed).then_some(Change { asked, now, then })
    });
    changes.collect()
}
