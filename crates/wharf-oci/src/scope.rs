//! What a bearer token is asked for, and what it says: token scopes.

use std::collections::BTreeSet;
use std::fmt;

use crate::RepositoryName;
use crate::limits::{SCOPE_MAX_BYTES, SCOPES_MAX};

/// What may be done, in the words of token scopes. `push` does not include `delete` (S-025).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeAction {
    /// Read.
    Pull,
    /// Write.
    Push,
    /// Remove.
    Delete,
    /// Whatever there is (P-076).
    All,
}

impl ScopeAction {
    /// As scopes spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::All => "*",
        }
    }

    /// The action of that name; others mean nothing here (P-087).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pull, Self::Push, Self::Delete, Self::All].into_iter().find(|action| action.as_str() == text)
    }
}

/// What a scope is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeResource {
    /// `repository:<name>`.
    Repository(RepositoryName),
    /// `registry:catalog`.
    Catalog,
}

impl ScopeResource {
    /// The type, as scopes and tokens spell it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Repository(_) => "repository",
            Self::Catalog => "registry",
        }
    }

    /// The name within the type.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Repository(name) => name.as_str(),
            Self::Catalog => "catalog",
        }
    }

    /// The resource of that type and name; `repository(plugin)` is `repository` (P-077).
    #[must_use]
    pub fn parse(kind: &str, name: &str) -> Option<Self> {
        let kind = kind.split_once('(').map_or(kind, |(kind, class)| if class.ends_with(')') { kind } else { "" });
        match (kind, name) {
            ("repository", _) => name.parse().ok().map(Self::Repository),
            ("registry", "catalog") => Some(Self::Catalog),
            _ => None,
        }
    }
}

/// One resource and what is wanted of it, as in `repository:team/app:pull,push`. Prints as that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The resource.
    pub resource: ScopeResource,
    /// The actions; may be none.
    pub actions: BTreeSet<ScopeAction>,
}

impl Scope {
    /// A scope on one repository.
    #[must_use]
    pub fn repository(name: &RepositoryName, actions: &[ScopeAction]) -> Self {
        Self { resource: ScopeResource::Repository(name.clone()), actions: actions.iter().copied().collect() }
    }

    /// The scope of the catalog, `registry:catalog:*`.
    #[must_use]
    pub fn catalog() -> Self {
        Self { resource: ScopeResource::Catalog, actions: [ScopeAction::All].into() }
    }

    /// Reads one scope; split at its first and its last colon. `None` for what means nothing here: an unknown type, a
    /// name that is none (P-087).
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let resource = ScopeResource::parse(kind, name)?;
        Some(Self { resource, actions: actions.split(',').filter_map(ScopeAction::parse).collect() })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.resource.kind(), self.resource.name())?;
        for (index, action) in self.actions.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { "," }, action.as_str())?;
        }
        Ok(())
    }
}

/// Why a request for scopes is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// More than 16 of them.
    #[error("more than {SCOPES_MAX} scopes are asked for")]
    TooMany,
    /// Longer than the limit.
    #[error("the scopes have more than {SCOPE_MAX_BYTES} bytes")]
    TooLong,
    /// Something that no scope holds.
    #[error("a scope holds a control character")]
    ControlCharacter,
}

/// The union of the scopes in `values`, each resource once, in the order asked. A value may hold several scopes with
/// spaces between them, which a form writes as `+` (P-086). Scopes that mean nothing here are left out (P-087).
///
/// # Errors
///
/// [`ScopeError`]: what a stranger sends is bounded before it is looked at (security requirements, §3.1).
///
/// # Source
///
/// distribution token specification, "Requesting a token"; P-076, P-077, P-086, P-087.
pub fn parse_scopes<'v>(values: impl Iterator<Item = &'v str>) -> Result<Vec<Scope>, ScopeError> {
    let mut scopes: Vec<Scope> = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    for value in values {
        bytes += value.len();
        if bytes > SCOPE_MAX_BYTES {
            return Err(ScopeError::TooLong);
        }
        if value.chars().any(char::is_control) {
            return Err(ScopeError::ControlCharacter);
        }
        for text in value.split([' ', '+']).filter(|text| !text.is_empty()) {
            count += 1;
            if count > SCOPES_MAX {
                return Err(ScopeError::TooMany);
            }
            let Some(scope) = Scope::parse(text) else { continue };
            match scopes.iter_mut().find(|known| known.resource == scope.resource) {
                Some(known) => known.actions.extend(scope.actions),
                None => scopes.push(scope),
            }
        }
    }
    Ok(scopes)
}
