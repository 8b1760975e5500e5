use std::sync::Arc;

/// What kind of account stands behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccountType {
    /// Nobody in particular: a request without credentials.
    Anonymous,
}

/// Who asks. Anonymous is a principal like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    subject: Arc<str>,
    account_type: AccountType,
}

impl Principal {
    /// A request without credentials.
    pub fn anonymous() -> Self {
        Self { subject: "".into(), account_type: AccountType::Anonymous }
    }

    /// The name that rules, upload sessions and records know; empty for anonymous.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What kind of account it is.
    pub fn account_type(&self) -> AccountType {
        self.account_type
    }
}
