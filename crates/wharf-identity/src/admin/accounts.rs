use std::sync::Arc;

use wharf_base::{AccountId, Secret};
use wharf_meta::{Account, AccountChange, ChangeAccount as Changed, CreateAccount};
use wharf_policy::{AccountManage, AccountSelf, AccountType, Authorized, Provider};

use super::{ADMIN, AdminError, check_reach, check_roles};
use crate::{AccountName, Identity, password};

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its name.
    pub name: AccountName,
    /// A person or a robot.
    pub account_type: AccountType,
    /// Its roles.
    pub roles: Vec<String>,
    /// A person has one, a robot has none.
    pub password: Option<Secret<String>>,
}

/// What of an account shall be different; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ChangeAccount {
    /// All of its roles.
    pub roles: Option<Vec<String>>,
    /// Whether it can be logged into.
    pub enabled: Option<bool>,
    /// The version of it that the writer has read; `None`: whatever it is.
    pub version: Option<i64>,
}

impl Identity {
    /// At most `limit` accounts by name, strictly after `after`.
    ///
    /// # Errors
    ///
    /// [`AdminError::Meta`].
    pub async fn accounts(
        &self,
        _ok: &Authorized<AccountManage>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Account>, AdminError> {
        Ok(self.meta.accounts(after, limit).await?)
    }

    /// The account of that name.
    ///
    /// # Errors
    ///
    /// [`AdminError::AccountUnknown`].
    pub async fn account(&self, _ok: &Authorized<AccountManage>, name: &str) -> Result<Account, AdminError> {
        self.existing(name).await
    }

    /// The principal that the account of that name is, with its roles of now; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`AdminError::Meta`].
    pub async fn principal_of(&self, name: &str) -> Result<Option<wharf_policy::Principal>, AdminError> {
        Ok(self.meta.account(name).await?.map(|account| crate::local::principal(&account)))
    }

    /// Makes an account.
    ///
    /// # Errors
    ///
    /// [`AdminError::NameTaken`]; [`AdminError::BeyondGranter`]; [`AdminError::Invalid`] for roles or password.
    pub async fn create_account(&self, ok: &Authorized<AccountManage>, new: NewAccount) -> Result<Account, AdminError> {
        check_roles(&new.roles)?;
        check_reach(ok.principal(), new.roles.iter())?;
        let password_hash = match (new.account_type, new.password) {
            (AccountType::Human, Some(password)) => Some(self.hashed("password", password).await?),
            (AccountType::Human, None) => {
                return Err(AdminError::invalid("password", "is missing: a person needs one"));
            }
            (AccountType::System, None) => {
                if new.roles.iter().any(|role| role == ADMIN) {
                    return Err(AdminError::invalid(
                        "roles",
                        "holds admin, which is for people: robots administer nothing",
                    ));
                }
                None
            }
            (AccountType::System, Some(_)) => {
                return Err(AdminError::invalid("password", "is not for robots; make a token for it instead"));
            }
            (AccountType::Anonymous, _) => {
                return Err(AdminError::invalid("account_type", "must be human or system"));
            }
        };
        let now = self.clock.now();
        let account = Account {
            id: AccountId::generate(&*self.clock, &*self.rng),
            name: new.name.to_string(),
            account_type: new.account_type,
            roles: new.roles,
            password_hash,
            enabled: true,
            created_at: now,
            created_by: ok.principal().name().to_owned(),
            updated_at: now,
        };
        match self.meta.create_account(&account, &ok.attribution()).await? {
            CreateAccount::Created => {
                self.directory.changed();
                Ok(account)
            }
            CreateAccount::NameTaken => Err(AdminError::NameTaken(account.name)),
        }
    }

    /// Changes roles, or whether it can be logged into.
    ///
    /// # Errors
    ///
    /// [`AdminError::AccountUnknown`]; [`AdminError::BeyondGranter`]; [`AdminError::LastAdmin`]; [`AdminError::Conflict`].
    pub async fn change_account(
        &self,
        ok: &Authorized<AccountManage>,
        name: &str,
        wanted: ChangeAccount,
    ) -> Result<Account, AdminError> {
        let account = self.within_reach(ok, name).await?;
        if let Some(roles) = &wanted.roles {
            check_roles(roles)?;
            check_reach(ok.principal(), roles.iter())?;
            if account.account_type == AccountType::System && roles.iter().any(|role| role == ADMIN) {
                return Err(AdminError::invalid(
                    "roles",
                    "holds admin, which is for people: robots administer nothing",
                ));
            }
        }
        let ChangeAccount { roles, enabled, version } = wanted;
        let change = AccountChange { roles, enabled, version, password_hash: None };
        self.apply(ok, name, &change).await
    }

    /// Gives somebody else's account a new password.
    ///
    /// # Errors
    ///
    /// [`AdminError::AccountUnknown`]; [`AdminError::BeyondGranter`]; [`AdminError::Invalid`].
    pub async fn set_password(
        &self,
        ok: &Authorized<AccountManage>,
        name: &str,
        password: Secret<String>,
    ) -> Result<(), AdminError> {
        let account = self.within_reach(ok, name).await?;
        if account.account_type == AccountType::System {
            return Err(AdminError::invalid("password", "is not for robots; make a token for it instead"));
        }
        let password_hash = Some(self.hashed("password", password).await?);
        self.apply(ok, name, &AccountChange { password_hash, ..AccountChange::default() }).await.map(|_| ())
    }

    /// Deletes an account with its tokens, if it is still in `version`; `None`: whatever it is.
    ///
    /// # Errors
    ///
    /// [`AdminError::AccountUnknown`]; [`AdminError::BeyondGranter`]; [`AdminError::LastAdmin`]; [`AdminError::Conflict`].
    pub async fn delete_account(
        &self,
        ok: &Authorized<AccountManage>,
        name: &str,
        version: Option<i64>,
    ) -> Result<(), AdminError> {
        self.within_reach(ok, name).await?;
        let deleted = self.meta.delete_account(name, version, &ok.attribution(), self.clock.now()).await?;
        self.directory.changed();
        changed(name, deleted).map(|_| ())
    }

    /// Gives one's own account a new password.
    ///
    /// # Errors
    ///
    /// [`AdminError::WrongPassword`]; [`AdminError::NotLocal`]; [`AdminError::Invalid`].
    pub async fn set_own_password(
        &self,
        ok: &Authorized<AccountSelf>,
        current: &Secret<String>,
        new: Secret<String>,
    ) -> Result<(), AdminError> {
        let account = self.own(ok).await?;
        if !self.passwords.verify(account.password_hash.as_ref(), current).await? {
            return Err(AdminError::WrongPassword);
        }
        let password_hash = Some(self.hashed("new", new).await?);
        let change = AccountChange { password_hash, ..AccountChange::default() };
        let done = self.meta.change_account(&account.name, &change, &ok.attribution(), self.clock.now()).await?;
        self.directory.changed();
        changed(&account.name, done).map(|_| ())
    }

    /// The local account of whoever asks.
    pub(super) async fn own(&self, ok: &Authorized<AccountSelf>) -> Result<Account, AdminError> {
        let principal = ok.principal();
        if principal.provider() != Provider::Local {
            return Err(AdminError::NotLocal(principal.name().to_owned()));
        }
        self.existing(principal.subject()).await
    }

    pub(super) async fn existing(&self, name: &str) -> Result<Account, AdminError> {
        self.meta.account(name).await?.ok_or_else(|| AdminError::AccountUnknown(name.to_owned()))
    }

    /// The account, if whoever asks may govern one with its roles.
    pub(super) async fn within_reach(&self, ok: &Authorized<AccountManage>, name: &str) -> Result<Account, AdminError> {
        let account = self.existing(name).await?;
        check_reach(ok.principal(), account.roles.iter())?;
        Ok(account)
    }

    async fn apply(
        &self,
        ok: &Authorized<AccountManage>,
        name: &str,
        change: &AccountChange,
    ) -> Result<Account, AdminError> {
        let done = self.meta.change_account(name, change, &ok.attribution(), self.clock.now()).await?;
        self.directory.changed();
        changed(name, done)
    }

    async fn hashed(&self, field: &'static str, text: Secret<String>) -> Result<Secret<String>, AdminError> {
        password::check(&text).map_err(|error| AdminError::invalid(field, error.to_string()))?;
        let rng = Arc::clone(&self.rng);
        let hashing = tokio::task::spawn_blocking(move || password::hash(&text, &*rng)).await;
        hashing.ok().and_then(Result::ok).ok_or_else(|| AdminError::invalid(field, "could not be hashed; try again"))
    }
}

fn changed(name: &str, answer: Changed) -> Result<Account, AdminError> {
    match answer {
        Changed::Changed(account) => Ok(account),
        Changed::Unknown => Err(AdminError::AccountUnknown(name.to_owned())),
        Changed::LastAdmin => Err(AdminError::LastAdmin(name.to_owned())),
        Changed::Conflict => Err(AdminError::Conflict),
    }
}
