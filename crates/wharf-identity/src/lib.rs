//! Who is asking: local accounts and robots, API tokens, single sign-on (MCIAS), workload identity (OIDC).
//!
//! This room says who, never whether: what comes out of it is a principal and what its credentials narrow it to, and
//! policy is asked with that. The providers stand behind one trait and are asked in the configured order; one that could
//! not find out ends the matter with an error, because "could not ask" is neither a yes nor a no (S-033).
//!
//! What a bearer token is, is decided by its form before anybody is asked about it (S-024): an API token by its prefix, our
//! own by its key's id or its issuer, and anything else is for the single sign-on, if there is one.

mod admin;
mod audit_queue;
mod config;
mod directory;
mod error;
mod first;
mod holder;
mod identity;
mod issue;
mod jwt;
mod limits;
mod local;
pub mod mcias;
mod name;
pub mod oidc;
mod password;
mod provider;
mod remembered;
mod scopes;
mod sealed;
mod secret_text;
mod session;
mod sign_on;

pub use admin::{ADMIN, AdminError, ChangeAccount, NewAccount, NewToken};
pub use config::{AuditConfig, Config, ProviderName};
pub use error::{AuthError, StartError};
pub use first::{FIRST_ACCOUNT, ensure_admin, reset_admin};
pub use identity::{Configs, Credentials, Identity, Origin, Parts, Place};
pub use issue::Issued;
pub use name::{AccountName, NameError};
pub use password::PasswordError;
pub use provider::{Attempt, Login, Proof, Provider, Unavailable, Verdict};
pub use remembered::Remembered;
pub use sealed::{open, seal};
pub use session::{NewSession, Visitor};
pub use sign_on::BegunSignIn;
/// What of the metadata crosses this room's interface.
pub use wharf_meta::{Account, ApiToken, Session, SigningKey};

#[cfg(test)]
mod tests;
