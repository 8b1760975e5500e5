use crate::{Action, Authorized, Permission, Principal};

/// Policy does not allow this; carries what was asked, for the answer and the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy does not allow {action}")]
pub struct Denied {
    /// What was asked.
    pub action: Action,
}

/// Answers questions by the rules in force.
#[derive(Debug)]
pub struct Engine {
    policy: Policy,
}

#[derive(Debug)]
enum Policy {
    Open,
}

impl Engine {
    /// Everybody may do everything: `wharf serve --open`.
    pub fn open() -> Self {
        Self { policy: Policy::Open }
    }

    /// Asks whether `principal` may do `A` to `target`. Looks at nothing but its arguments and the rules, so the
    /// answer cannot tell whether the target exists (S-006).
    ///
    /// # Errors
    ///
    /// [`Denied`] when no rule allows it.
    pub fn authorize<A: Permission>(&self, principal: &Principal, target: A::Target) -> Result<Authorized<A>, Denied> {
        match self.policy {
            Policy::Open => Ok(Authorized::new(principal.clone(), target)),
        }
    }
}
