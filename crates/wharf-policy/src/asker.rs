use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use wharf_oci::RepositoryName;

use crate::{Access, Action, Principal};

/// A principal that asks for something: who, with which credentials, from where, in which request.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who.
    pub principal: Principal,
    /// What its credentials narrow its rights to.
    pub limits: Limits,
    /// The client's address, if there is one (S-079).
    pub source: Option<IpAddr>,
    /// The id of the request, for records and logs.
    pub request_id: Arc<str>,
}

impl Asker {
    /// A principal whose credentials narrow nothing.
    pub fn new(principal: Principal, source: Option<IpAddr>, request_id: Arc<str>) -> Self {
        Self { principal, limits: Limits::default(), source, request_id }
    }
}

/// What credentials narrow a principal's rights to; `None` narrows nothing. They never widen anything.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// The access of a bearer token: another token may allow more (P-070).
    pub bearer: Option<Arc<[Access]>>,
    /// The scopes of an API token: they stay as they are for the token's life.
    pub api_token: Option<Arc<[Access]>>,
}

impl Limits {
    /// Which of the credentials leaves `action` on `repository` out, if one does. The version check needs a valid token,
    /// not a scope (P-063).
    pub fn against(&self, action: Action, repository: Option<&RepositoryName>) -> Option<Limit> {
        let leaves_out = |access: &Option<Arc<[Access]>>| {
            access.as_ref().is_some_and(|access| !access.iter().any(|line| line.allows(action, repository)))
        };
        if action == Action::VersionCheck {
            None
        } else if leaves_out(&self.bearer) {
            Some(Limit::Bearer)
        } else if leaves_out(&self.api_token) {
            Some(Limit::ApiToken)
        } else {
            None
        }
    }
}

/// Which of a principal's credentials is too narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The bearer token; another one may do.
    Bearer,
    /// The API token.
    ApiToken,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer => "the scope of the bearer token",
            Self::ApiToken => "the scopes of the API token",
        })
    }
}

/// What became of a request, in the words that records of it share.
#[derive(Clone, Debug)]
pub struct Attribution {
    /// Who.
    pub principal: Principal,
    /// From where.
    pub source: Option<IpAddr>,
    /// In which request.
    pub request_id: Arc<str>,
    /// To do what.
    pub action: Action,
    /// The rule that allowed it.
    pub rule: Arc<str>,
}
