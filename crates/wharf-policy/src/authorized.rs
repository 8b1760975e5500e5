use wharf_oci::RepositoryName;

use crate::{Action, Permission, Principal};

/// Proof that policy allowed action `A` on one target for the request at hand.
///
/// Only [`Engine::authorize`](crate::Engine::authorize) makes one (S-001), so a use case that takes
/// `&Authorized<Push>` cannot be reached without the question having been asked.
#[derive(Clone, Debug)]
pub struct Authorized<A: Permission> {
    principal: Principal,
    target: A::Target,
}

impl<A: Permission> Authorized<A> {
    pub(crate) fn new(principal: Principal, target: A::Target) -> Self {
        Self { principal, target }
    }

    /// Who was allowed.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What was allowed.
    pub fn action(&self) -> Action {
        A::ACTION
    }
}

impl<A: Permission<Target = RepositoryName>> Authorized<A> {
    /// The repository it was allowed on.
    pub fn repository(&self) -> &RepositoryName {
        &self.target
    }
}
