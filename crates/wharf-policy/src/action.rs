use std::fmt;

use wharf_oci::RepositoryName;

/// Everything that policy can be asked about. One list, shared by routes, rules and explanations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `GET /v2/`.
    VersionCheck,
    /// Read blobs, manifests, tags and referrers of a repository.
    Pull,
    /// Write blobs, manifests and tags of a repository.
    Push,
    /// Remove blobs, manifests and tags of a repository.
    Delete,
    /// List the repositories.
    Catalog,
}

impl Action {
    /// The name that rules use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VersionCheck => "registry:version_check",
            Self::Pull => "registry:pull",
            Self::Push => "registry:push",
            Self::Delete => "registry:delete",
            Self::Catalog => "registry:catalog",
        }
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
    type Target: Clone + fmt::Debug + Send + Sync;
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
}
