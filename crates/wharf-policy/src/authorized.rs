use std::sync::Arc;

use wharf_oci::RepositoryName;

use crate::{Action, Asker, Attribution, Permission, Principal};

/// Proof that policy allowed action `A` on one target for the request at hand.
///
/// Only [`Engine::authorize`](crate::Engine::authorize) makes one (S-001), so a use case that takes
/// `&Authorized<Push>` cannot be reached without the question having been asked.
#[derive(Clone, Debug)]
pub struct Authorized<A: Permission> {
    asker: Asker,
    target: A::Target,
    rule: Arc<str>,
}

impl<A: Permission> Authorized<A> {
    pub(crate) fn new(asker: Asker, target: A::Target, rule: Arc<str>) -> Self {
        Self { asker, target, rule }
    }

    /// Who was allowed.
    pub fn principal(&self) -> &Principal {
        &self.asker.principal
    }

    /// Who was allowed, with credentials and request: to ask about something else on the same behalf.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// What was allowed.
    pub fn action(&self) -> Action {
        A::ACTION
    }

    /// Whom records name for what comes of it.
    pub fn attribution(&self) -> Attribution {
        Attribution {
            principal: self.asker.principal.clone(),
            source: self.asker.source,
            request_id: Arc::clone(&self.asker.request_id),
            action: A::ACTION,
            rule: Arc::clone(&self.rule),
        }
    }
}

impl<A: Permission<Target = RepositoryName>> Authorized<A> {
    /// The repository it was allowed on.
    pub fn repository(&self) -> &RepositoryName {
        &self.target
    }
}
