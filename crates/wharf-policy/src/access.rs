use wharf_oci::RepositoryName;

use crate::{Action, Pattern};

/// One line of what credentials may be used for, such as `repository:team/app:pull,push`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// What it is about.
    pub resource: Resource,
    /// What may be done to it. Empty: it was asked for and refused (P-089).
    pub actions: Vec<Action>,
}

/// What a line of access is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// One repository.
    Repository(RepositoryName),
    /// The repositories that a pattern matches; only API tokens have these.
    Repositories(Pattern),
    /// The list of repositories.
    Catalog,
}

impl Access {
    /// Whether this line is about `repository`, or about the registry as a whole when that is `None`.
    pub fn is_about(&self, repository: Option<&RepositoryName>) -> bool {
        match (&self.resource, repository) {
            (Resource::Repository(own), Some(asked)) => own == asked,
            (Resource::Repositories(pattern), Some(asked)) => pattern.matches(asked.as_str()),
            (Resource::Catalog, None) => true,
            _ => false,
        }
    }

    /// Whether this line allows `action` on `repository`.
    pub fn allows(&self, action: Action, repository: Option<&RepositoryName>) -> bool {
        self.actions.contains(&action) && self.is_about(repository)
    }
}
