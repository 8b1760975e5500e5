//! The audit log: read, verified, asked what was asked.

use wharf_meta::{AuditEntry, AuditFilter, BrokenChain, ChainVerifier, IntactChain};
use wharf_oci::RepositoryName;
use wharf_policy::{AccountType, Action, Asked, AuditRead, Authorized, Principal, Provider};

use crate::{Error, Registry};

/// How many records and seals are read at a time.
const PORTION: u32 = 1_000;

impl Registry {
    /// At most `limit` records that pass `filter`, the newest first, strictly before the sequence `before`.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn audit(
        &self,
        _ok: &Authorized<AuditRead>,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, Error> {
        self.parts.meta.audit(filter, before, limit).await.map_err(Error::meta("reading the audit log"))
    }

    /// At most `limit` records in their order, strictly after the sequence `after`.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn audit_in_order(
        &self,
        _ok: &Authorized<AuditRead>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, Error> {
        self.parts.meta.audit_in_order(after, limit).await.map_err(Error::meta("reading the audit log"))
    }

    /// Whether the log is as it was sealed; if not, the first record that is not.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`]: it could not be read, which says nothing about the log.
    ///
    /// # Source
    ///
    /// S-078.
    pub async fn verify_audit(&self, _ok: &Authorized<AuditRead>) -> Result<Result<IntactChain, BrokenChain>, Error> {
        let failed = Error::meta("verifying the audit log");
        verify(&*self.parts.meta).await.map_err(failed)
    }
}

/// Follows the chain from its beginning to its end.
pub(crate) async fn verify(meta: &dyn wharf_meta::Metadata) -> wharf_meta::Result<Result<IntactChain, BrokenChain>> {
    let mut seals = Vec::new();
    loop {
        let page = meta
            .audit_seals(seals.last().map_or(i64::MIN, |seal: &wharf_meta::Seal| seal.last_sequence), PORTION)
            .await?;
        if page.is_empty() {
            break;
        }
        seals.extend(page);
    }
    let mut after = i64::MIN;
    let first = meta.audit_in_order(after, 1).await?.first().map(|entry| entry.sequence);
    let mut verifier = match ChainVerifier::new(seals, first) {
        Ok(verifier) => verifier,
        Err(broken) => return Ok(Err(broken)),
    };
    loop {
        let page = meta.audit_in_order(after, PORTION).await?;
        let Some(last) = page.last() else { return Ok(verifier.finish()) };
        after = last.sequence;
        for entry in &page {
            if let Err(broken) = verifier.record(entry) {
                return Ok(Err(broken));
            }
        }
    }
}

/// The questions to the policy that a record tells of: what was done or denied, and what tokens were asked for, with the
/// roles that the principal had then.
pub(crate) fn asked(entry: &AuditEntry) -> Vec<Asked> {
    let Some(principal) = principal(entry) else { return Vec::new() };
    let repository = || entry.repository.as_ref().and_then(|name| name.parse::<RepositoryName>().ok());
    let one = |action, repository| vec![Asked { principal: principal.clone(), action, repository }];
    match entry.action.as_str() {
        "blob.push" | "blob.mount" | "manifest.push" | "tag.create" | "tag.move" => one(Action::Push, repository()),
        "blob.delete" | "manifest.delete" | "tag.delete" => one(Action::Delete, repository()),
        "denied" => match entry.target.as_ref().and_then(|action| action.parse().ok()) {
            Some(action) => one(action, repository()),
            None => Vec::new(),
        },
        "token.issue" => issued(entry)
            .map_or_else(Vec::new, |scopes| scopes.iter().flat_map(|scope| of_scope(&principal, scope)).collect()),
        _ => Vec::new(),
    }
}

fn principal(entry: &AuditEntry) -> Option<Principal> {
    let account_type: AccountType = entry.account_type.parse().ok()?;
    let (provider, subject) = match entry.principal.split_once(':') {
        _ if account_type == AccountType::Anonymous => return Some(Principal::anonymous()),
        Some(("mcias", subject)) => (Provider::Mcias, subject),
        Some(("oidc", subject)) => (Provider::Oidc, subject),
        _ => (Provider::Local, entry.principal.as_str()),
    };
    let roles =
        detail(entry).and_then(|detail| serde_json::from_value(detail["roles"].clone()).ok()).unwrap_or_default();
    Some(Principal::new(provider, subject, account_type, roles))
}

fn detail(entry: &AuditEntry) -> Option<serde_json::Value> {
    serde_json::from_str(entry.detail.as_ref()?).ok()
}

fn issued(entry: &AuditEntry) -> Option<Vec<wharf_oci::Scope>> {
    let detail = detail(entry)?;
    let texts: Vec<&str> = detail["access"].as_array()?.iter().filter_map(serde_json::Value::as_str).collect();
    wharf_oci::parse_scopes(texts.into_iter()).ok()
}

fn of_scope(principal: &Principal, scope: &wharf_oci::Scope) -> Vec<Asked> {
    use wharf_oci::{ScopeAction, ScopeResource};
    let asked = |action, repository| Asked { principal: principal.clone(), action, repository };
    match &scope.resource {
        ScopeResource::Catalog => vec![asked(Action::Catalog, None)],
        ScopeResource::Repository(name) => {
            let actions = scope.actions.iter().filter_map(|action| match action {
                ScopeAction::Pull => Some(Action::Pull),
                ScopeAction::Push => Some(Action::Push),
                ScopeAction::Delete => Some(Action::Delete),
                ScopeAction::All => None,
            });
            actions.map(|action| asked(action, Some(name.clone()))).collect()
        }
    }
}
