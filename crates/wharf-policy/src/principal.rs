use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What kind of account stands behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountType {
    /// A person.
    Human,
    /// A robot: a program with an account of its own.
    System,
    /// Nobody in particular: a request without credentials.
    Anonymous,
}

impl AccountType {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Human, Self::System, Self::Anonymous];

    /// The name that rules and rows use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::System => "system",
            Self::Anonymous => "anonymous",
        }
    }
}

impl fmt::Display for AccountType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No account type has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an account type; the account types are human, system, anonymous")]
pub struct UnknownAccountType(pub String);

impl FromStr for AccountType {
    type Err = UnknownAccountType;

    fn from_str(text: &str) -> Result<Self, UnknownAccountType> {
        let found = Self::ALL.iter().copied().find(|account_type| account_type.as_str() == text);
        found.ok_or_else(|| UnknownAccountType(text.to_owned()))
    }
}

/// Who vouched for a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Provider {
    /// Nobody: anonymous.
    Nobody,
    /// An account of this registry.
    Local,
    /// The single sign-on.
    Mcias,
    /// An OpenID Connect issuer.
    Oidc,
}

impl Provider {
    /// The name that stands in front of a subject.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::Local => "local",
            Self::Mcias => "mcias",
            Self::Oidc => "oidc",
        }
    }
}

/// Who asks. Anonymous is a principal like any other. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    provider: Provider,
    subject: String,
    name: String,
    account_type: AccountType,
    roles: Vec<String>,
}

impl Principal {
    /// A principal that `provider` vouches for. `subject` is the name that this provider knows it by.
    pub fn new(provider: Provider, subject: &str, account_type: AccountType, mut roles: Vec<String>) -> Self {
        roles.sort_unstable();
        roles.dedup();
        let name = match provider {
            Provider::Nobody | Provider::Local => subject.to_owned(),
            Provider::Mcias | Provider::Oidc => format!("{}:{subject}", provider.as_str()),
        };
        Self(Arc::new(Inner { provider, subject: subject.to_owned(), name, account_type, roles }))
    }

    /// A request without credentials.
    pub fn anonymous() -> Self {
        Self::new(Provider::Nobody, "", AccountType::Anonymous, Vec::new())
    }

    /// Whether it is nobody in particular.
    pub fn is_anonymous(&self) -> bool {
        self.0.account_type == AccountType::Anonymous
    }

    /// The name that its provider knows it by, and rules may use; empty for anonymous.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The name that sessions and records know, different for each principal: the subject of a local account, else
    /// `provider:subject` (local names hold no colon); empty for anonymous.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Who vouched.
    pub fn provider(&self) -> Provider {
        self.0.provider
    }

    /// What kind of account it is.
    pub fn account_type(&self) -> AccountType {
        self.0.account_type
    }

    /// Its roles, sorted, each once.
    pub fn roles(&self) -> &[String] {
        &self.0.roles
    }

    /// Whether it has the role.
    pub fn has_role(&self, role: &str) -> bool {
        self.0.roles.binary_search_by(|own| own.as_str().cmp(role)).is_ok()
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { name, account_type, roles, .. } = &*self.0;
        write!(f, "{account_type} {name:?} {roles:?}")
    }
}
