//! Scopes of API tokens, and how access is spelled in bearer tokens.

use wharf_oci::{Scope, ScopeAction, ScopeResource};
use wharf_policy::{Access, Action, Pattern, Resource};

/// The most scopes of one API token.
pub(crate) const TOKEN_SCOPES_MAX: usize = 64;

/// Why a text is no scope of an API token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("holds {text:?}, which is no scope: {problem}; write for example repository:team/**:pull,push")]
pub(crate) struct TokenScopeError {
    text: String,
    problem: String,
}

/// Reads `repository:<pattern>:<actions>` or `registry:catalog:*`. Unlike in a request for a bearer token nothing is
/// passed over: whoever writes this wants to know.
pub(crate) fn parse(text: &str) -> Result<Access, TokenScopeError> {
    let failed = |problem: String| TokenScopeError { text: text.chars().take(100).collect(), problem };
    if text == "registry:catalog:*" {
        return Ok(Access { resource: Resource::Catalog, actions: vec![Action::Catalog] });
    }
    let parts = text.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':'));
    let (pattern, actions) = parts.ok_or_else(|| failed("it is not repository:PATTERN:ACTIONS".into()))?;
    let pattern: Pattern = pattern.parse().map_err(|error: wharf_policy::PatternError| failed(error.to_string()))?;
    let mut allowed = Vec::new();
    for word in actions.split(',') {
        match ScopeAction::parse(word) {
            Some(ScopeAction::All) => allowed.extend([Action::Pull, Action::Push, Action::Delete]),
            Some(word) => allowed.push(action(word)),
            None => return Err(failed(format!("{word:?} is not pull, push, delete or *"))),
        }
    }
    Ok(Access { resource: Resource::Repositories(pattern), actions: allowed })
}

/// The permission that a word of a repository's scope stands for.
pub(crate) fn action(word: ScopeAction) -> Action {
    match word {
        ScopeAction::Pull => Action::Pull,
        ScopeAction::Push => Action::Push,
        ScopeAction::Delete => Action::Delete,
        ScopeAction::All => Action::Catalog,
    }
}

/// The scope that `access` is in a bearer token; `None` for what only API tokens have.
pub(crate) fn scope(access: &Access) -> Option<Scope> {
    let resource = match &access.resource {
        Resource::Repository(name) => ScopeResource::Repository(name.clone()),
        Resource::Catalog => ScopeResource::Catalog,
        Resource::Repositories(_) => return None,
    };
    let words = access.actions.iter().filter_map(|action| match action {
        Action::Pull => Some(ScopeAction::Pull),
        Action::Push => Some(ScopeAction::Push),
        Action::Delete => Some(ScopeAction::Delete),
        Action::Catalog => Some(ScopeAction::All),
        _ => None,
    });
    Some(Scope { resource, actions: words.collect() })
}

/// What a scope of a bearer token allows.
pub(crate) fn access(scope: &Scope) -> Access {
    match &scope.resource {
        ScopeResource::Catalog => {
            let actions = if scope.actions.contains(&ScopeAction::All) { vec![Action::Catalog] } else { Vec::new() };
            Access { resource: Resource::Catalog, actions }
        }
        ScopeResource::Repository(name) => {
            let all = [Action::Pull, Action::Push, Action::Delete];
            let actions = if scope.actions.contains(&ScopeAction::All) {
                all.to_vec()
            } else {
                scope.actions.iter().map(|word| action(*word)).collect()
            };
            Access { resource: Resource::Repository(name.clone()), actions }
        }
    }
}
