//! Who may do what. Pure: no I/O, no time.
//!
//! The heart of this room is a value, [`Authorized`]: proof that policy allowed one action on one target for the
//! request at hand. Only [`Engine::authorize`] makes one, and every use case asks for one, so a route that forgot to
//! ask does not compile (S-001).

mod access;
mod action;
mod asker;
mod authorized;
mod engine;
mod evaluate;
mod explain;
mod pattern;
mod principal;
mod rule;
mod set;
mod simulate;

pub use access::{Access, Resource};
pub use action::{
    AccountManage, AccountSelf, Action, AuditRead, BackupCreate, Catalog, CheckManage, Delete, GcManage, Permission,
    PolicyManage, Pull, Push, Target, UnknownAction, VersionCheck,
};
pub use asker::{Asker, Attribution, Limit, Limits};
pub use authorized::Authorized;
pub use engine::{Denied, Engine, Reason, RuleStore};
pub use evaluate::{Decision, Field, Question, evaluate};
pub use explain::{Considered, Explanation, explain, explain_asker};
pub use pattern::{PATTERN_MAX_BYTES, Pattern, PatternError};
pub use principal::{AccountType, Principal, Provider, UnknownAccountType};
pub use rule::{Effect, MEMBERS, Rule, RuleError, StoredRule};
pub use set::{BUILTIN_PRIORITY, BrokenRule, RuleSet};
pub use simulate::{Asked, Change, simulate};

#[cfg(test)]
mod tests;
