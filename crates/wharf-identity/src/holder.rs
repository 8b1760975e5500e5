//! Whose a token of ours is: what it says of rights only narrows, and whose it is, is looked up as it is now (S-027).

use std::net::IpAddr;
use std::sync::Arc;

use wharf_base::{Timestamp, TokenId};
use wharf_policy::{Access, Asker, Limits, Principal, Provider};

use crate::directory::{KnownAccount, OfAccount};
use crate::jwt::Claims;
use crate::{Origin, identity, local};

/// To whom a token was issued, as it says itself.
pub(crate) enum IssuedTo<'a> {
    /// Anybody, or somebody whom another provider has vouched for.
    Foreign(Principal),
    /// The local account of this name.
    Account(&'a str),
    /// Whoever has the API token, or refresh token, that it was fetched with.
    ApiToken(TokenId),
}

impl<'a> IssuedTo<'a> {
    /// `None`: nobody that could be told.
    pub(crate) fn of(claims: &'a Claims) -> Option<Self> {
        let provider = claims.wharf.provider.as_str();
        if provider.is_empty() {
            return Some(Self::Foreign(Principal::anonymous()));
        }
        if provider == Provider::Local.as_str() {
            return Some(match &claims.wharf.token {
                Some(id) => Self::ApiToken(id.parse().ok()?),
                None => Self::Account(&claims.sub),
            });
        }
        if provider != Provider::Oidc.as_str() {
            return None;
        }
        let account_type = claims.wharf.account_type.parse().ok()?;
        Some(Self::Foreign(Principal::new(Provider::Oidc, &claims.sub, account_type, claims.wharf.roles.clone())))
    }
}

/// Whoever a token of ours stands for.
#[derive(Clone)]
pub(crate) struct Holder {
    principal: Principal,
    /// What it was fetched with, if that was an API token or a refresh token: its end, scopes and networks hold as well.
    fetched_with: Option<FetchedWith>,
}

#[derive(Clone)]
struct FetchedWith {
    found: Arc<OfAccount>,
    scopes: Option<Arc<[Access]>>,
}

impl Holder {
    /// Anybody, or somebody whom another provider has vouched for.
    pub(crate) fn foreign(principal: Principal) -> Self {
        Self { principal, fetched_with: None }
    }

    /// A local account; `None`: it is disabled.
    pub(crate) fn of_account(known: &KnownAccount) -> Option<Self> {
        known.account.enabled.then(|| Self { principal: known.principal.clone(), fetched_with: None })
    }

    /// The account of the API token that the token with these claims was fetched with; `None`: it is another's, or may not be
    /// used from `source` now.
    pub(crate) fn of_api_token(
        found: Arc<OfAccount>,
        claims: &Claims,
        now: Timestamp,
        source: Option<IpAddr>,
    ) -> Option<Self> {
        let (token, account) = &*found;
        if account.name != claims.sub || !local::is_good(&found, now, source) {
            return None;
        }
        let (principal, scopes) = (local::principal(account), local::access(&token.scopes));
        Some(Self { principal, fetched_with: Some(FetchedWith { found, scopes }) })
    }

    /// Whether it may still ask, from `source`: for as long as nothing about identities changes, after which it is looked up
    /// anew.
    pub(crate) fn is_good(&self, now: Timestamp, source: Option<IpAddr>) -> bool {
        self.fetched_with.as_ref().is_none_or(|with| local::is_good(&with.found, now, source))
    }

    /// Who asks with a token of so much access.
    pub(crate) fn asker(self, access: Arc<[Access]>, origin: &Origin) -> Asker {
        let limits = Limits { bearer: Some(access), api_token: self.fetched_with.and_then(|with| with.scopes) };
        identity::asker(self.principal, limits, origin)
    }
}
