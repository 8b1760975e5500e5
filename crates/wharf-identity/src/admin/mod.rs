//! Administration of accounts, robots, tokens and signing keys.
//!
//! Nobody can give what they do not have: whoever grants a role must have it, and an account with a role that one lacks
//! is out of reach, unless one is `admin` (S-037).

mod accounts;
mod tokens;

use wharf_policy::Principal;

pub use accounts::{ChangeAccount, NewAccount};
pub use tokens::NewToken;

/// The role that may do everything.
pub const ADMIN: &str = "admin";

/// Most roles of an account.
const ROLES_MAX: usize = 64;

/// Why an administrative use case was not carried out; nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// One of the values is not acceptable; `problem` continues a sentence that begins with the field.
    #[error("{field} {problem}")]
    Invalid {
        /// The field, as the administration API spells it.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// There is no account of that name.
    #[error("there is no account {0}")]
    AccountUnknown(String),
    /// There is one already.
    #[error("there is an account {0} already; choose another name")]
    NameTaken(String),
    /// Nobody could administer the registry afterwards.
    #[error(
        "{0} is the last account that can be logged into and has the role admin; give that role to another one first"
    )]
    LastAdmin(String),
    /// One may only grant, and take, what one has.
    #[error("only an account with the role {0} can give it, take it away, or change an account that has it")]
    BeyondGranter(String),
    /// There is no such token, or it is somebody else's.
    #[error("there is no such token")]
    TokenUnknown,
    /// The account has as many as it may have.
    #[error("{account} has {max} tokens, which is the limit; delete one that is no longer needed")]
    TooManyTokens {
        /// Whose.
        account: String,
        /// The limit.
        max: u32,
    },
    /// Its account is not one of this registry.
    #[error("{0} is not an account of this registry: passwords and tokens are kept where it comes from")]
    NotLocal(String),
    /// Somebody has changed it since it was read.
    #[error("the account was changed by somebody else meanwhile; read it again")]
    Conflict,
    /// The current password is not that.
    #[error("the current password is not right")]
    WrongPassword,
    /// The password could not be looked at.
    #[error(transparent)]
    Auth(#[from] crate::AuthError),
    /// The metadata database did not answer.
    #[error("the metadata database did not answer")]
    Meta(#[from] wharf_meta::Error),
}

impl AdminError {
    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { field, problem: problem.into() }
    }
}

/// Whether `granter` may give, take or govern all of `roles`.
fn check_reach<'r>(granter: &Principal, mut roles: impl Iterator<Item = &'r String>) -> Result<(), AdminError> {
    if granter.has_role(ADMIN) {
        return Ok(());
    }
    match roles.find(|role| !granter.has_role(role)) {
        Some(role) => Err(AdminError::BeyondGranter(role.clone())),
        None => Ok(()),
    }
}

/// Roles as rules spell them: 1 to 64 letters, digits, `.`, `_`, `:`, `-`.
fn check_roles(roles: &[String]) -> Result<(), AdminError> {
    if roles.len() > ROLES_MAX {
        return Err(AdminError::invalid("roles", format!("may hold at most {ROLES_MAX}")));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    match roles.iter().find(|role| role.is_empty() || role.len() > 64 || !role.chars().all(plain)) {
        Some(role) => Err(AdminError::invalid(
            "roles",
            format!("holds {role:?}; a role is 1 to 64 letters, digits, '.', '_', ':' and '-'"),
        )),
        None => Ok(()),
    }
}
