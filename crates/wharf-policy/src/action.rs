use std::fmt;
use std::str::FromStr;

use wharf_oci::RepositoryName;

/// Declares the actions: one list, shared by routes, rules and explanations.
macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
        /// Everything that policy can be asked about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action {$(
            $(#[$doc])*
            $name,
        )+}

        impl Action {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name that rules use.
            pub const fn as_str(self) -> &'static str {
                match self {$(
                    Self::$name => $text,
                )+}
            }
        }
    };
}

actions! {
    /// `GET /v2/`.
    VersionCheck = "registry:version_check";
    /// Read blobs, manifests, tags and referrers of a repository.
    Pull = "registry:pull";
    /// Write blobs, manifests and tags of a repository.
    Push = "registry:push";
    /// Remove blobs, manifests and tags of a repository.
    Delete = "registry:delete";
    /// List the repositories.
    Catalog = "registry:catalog";
    /// Read and change the rules, ask for explanations and simulations.
    PolicyManage = "policy:manage";
    /// Read and change accounts and robots, and the API tokens of all of them; rotate signing keys.
    AccountManage = "account:manage";
    /// Read one's own account; change one's own password and API tokens.
    AccountSelf = "account:self";
    /// Read, verify and export the audit log.
    AuditRead = "audit:read";
    /// Watch, run, hold and release collection.
    GcManage = "gc:manage";
    /// Run and watch checks of what is stored, and repair what they find.
    CheckManage = "check:manage";
    /// Copy everything: all content of all repositories, accounts, rules and the audit log.
    BackupCreate = "backup:create";
}

/// No action has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{:?} is not an action; the actions are {}", .0, names())]
pub struct UnknownAction(pub String);

fn names() -> String {
    Action::ALL.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text).ok_or_else(|| UnknownAction(text.to_owned()))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An action as a type, with the kind of target it has, so that a proof for one cannot stand in for another.
pub trait Permission: Send + Sync + 'static {
    /// The action itself.
    const ACTION: Action;
    /// What it is done to: a repository, or `()` for the registry as a whole.
    type Target: Target;
}

/// What an action is done to.
pub trait Target: Clone + fmt::Debug + Send + Sync + 'static {
    /// The repository, if it is one.
    fn repository(&self) -> Option<&RepositoryName>;
}

impl Target for RepositoryName {
    fn repository(&self) -> Option<&RepositoryName> {
        Some(self)
    }
}

impl Target for () {
    fn repository(&self) -> Option<&RepositoryName> {
        None
    }
}

macro_rules! permission {
    ($($(#[$doc:meta])* $name:ident: $target:ty;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl Permission for $name {
            const ACTION: Action = Action::$name;
            type Target = $target;
        }
    )+};
}

permission! {
    /// [`Action::VersionCheck`].
    VersionCheck: ();
    /// [`Action::Pull`].
    Pull: RepositoryName;
    /// [`Action::Push`].
    Push: RepositoryName;
    /// [`Action::Delete`].
    Delete: RepositoryName;
    /// [`Action::Catalog`].
    Catalog: ();
    /// [`Action::PolicyManage`].
    PolicyManage: ();
    /// [`Action::AccountManage`].
    AccountManage: ();
    /// [`Action::AccountSelf`].
    AccountSelf: ();
    /// [`Action::AuditRead`].
    AuditRead: ();
    /// [`Action::GcManage`].
    GcManage: ();
    /// [`Action::CheckManage`].
    CheckManage: ();
    /// [`Action::BackupCreate`].
    BackupCreate: ();
}
