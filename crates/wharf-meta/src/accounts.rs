//! Local accounts: people and robots.

use wharf_base::{AccountId, Secret, Timestamp};
use wharf_policy::{AccountType, Attribution};

use crate::audit::{self, AuditRecord};
use crate::changes::{self, Kind};
use crate::sql::{Locks, Micros, OptionalExtension as _, Result, Row, Tx, params, parsed, statements, texts};

/// The role that may do everything. There is always an enabled account that has it.
const ADMIN: &str = "admin";

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id; the same for its whole life.
    pub id: AccountId,
    /// Its name, unique.
    pub name: String,
    /// A person, or a robot.
    pub account_type: AccountType,
    /// Its roles.
    pub roles: Vec<String>,
    /// The hash of its password in PHC form; robots have none.
    pub password_hash: Option<Secret<String>>,
    /// Whether it can be logged into.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Account {
    /// Another one after each change.
    pub fn version(&self) -> i64 {
        self.updated_at.as_micros()
    }
}

/// What of an account shall be different; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// The version that it must still be in; `None`: whatever it is.
    pub version: Option<i64>,
    /// All of its roles.
    pub roles: Option<Vec<String>>,
    /// Whether it can be logged into.
    pub enabled: Option<bool>,
    /// The hash of its password.
    pub password_hash: Option<Secret<String>>,
}

/// The answer to making an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateAccount {
    /// It is there.
    Created,
    /// There is one of that name already.
    NameTaken,
}

/// The answer to changing an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeAccount {
    /// As it is now.
    Changed(Account),
    /// There is none of that name.
    Unknown,
    /// Nobody could administer the registry afterwards; nothing has changed.
    LastAdmin,
    /// It is in another version than expected; nothing has changed.
    Conflict,
}

statements! {
    FIND =
        "select id, name, account_type, roles, password_hash, enabled, created_at_us, created_by, updated_at_us
           from accounts
          where name = $1";
    PAGE =
        "select id, name, account_type, roles, password_hash, enabled, created_at_us, created_by, updated_at_us
           from accounts
          where name > $1
          order by name
          limit $2";
    INSERT =
        "insert into accounts (id, name, account_type, roles, password_hash, enabled, created_at_us, created_by,
                               updated_at_us)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $7)
             on conflict do nothing";
    UPDATE = "update accounts set roles = $1, password_hash = $2, enabled = $3, updated_at_us = $4 where name = $5";
    REHASH = "update accounts set password_hash = $1 where name = $2 and password_hash = $3";
    DELETE = "delete from accounts where name = $1";
    FORGET_LOGINS = "delete from api_tokens where account_id = $1 and kind = 'refresh'";
    OTHER_ADMIN =
        "select 1 from accounts where enabled = 1 and instr(roles, '\"admin\"') > 0 and name > '' and name <> $1 limit 1",
    postgres:
        "select 1 from accounts
          where enabled = 1 and strpos(roles, '\"admin\"') > 0 and name > '' and name <> $1
          limit 1";
}

pub(crate) fn find(tx: &Tx<'_>, name: &str) -> Result<Option<Account>> {
    tx.prepare_cached(FIND)?.query_row([name], |row| account(row, 0)).optional()
}

pub(crate) fn page(tx: &Tx<'_>, after: Option<&str>, limit: u32) -> Result<Vec<Account>> {
    tx.prepare_cached(PAGE)?.query_map(params![after.unwrap_or(""), limit], |row| account(row, 0))?.collect()
}

pub(crate) fn create(tx: &Tx<'_>, new: &Account, by: &Attribution) -> Result<CreateAccount> {
    tx.lock(Locks::identities)?;
    let inserted = tx.prepare_cached(INSERT)?.execute(params![
        new.id.to_string(),
        new.name,
        new.account_type.as_str(),
        texts(&new.roles),
        new.password_hash.as_ref().map(|hash| hash.expose()),
        new.enabled,
        Micros(new.created_at),
        new.created_by,
    ])?;
    if inserted == 0 {
        return Ok(CreateAccount::NameTaken);
    }
    let detail = serde_json::json!({ "account_type": new.account_type.as_str(), "new_roles": new.roles });
    audit::append(tx, &AuditRecord::done(by, new.created_at, "account.create").to(&new.name).with(detail))?;
    changes::note(tx, Kind::Identities)?;
    Ok(CreateAccount::Created)
}

pub(crate) fn change(
    tx: &Tx<'_>,
    name: &str,
    change: &AccountChange,
    by: &Attribution,
    now: Timestamp,
) -> Result<ChangeAccount> {
    tx.lock(Locks::identities)?;
    let Some(mut account) = find(tx, name)? else { return Ok(ChangeAccount::Unknown) };
    if change.version.is_some_and(|version| version != account.version()) {
        return Ok(ChangeAccount::Conflict);
    }
    let was_admin = is_admin(&account);
    let mut detail = serde_json::Map::new();
    if let Some(roles) = &change.roles {
        account.roles.clone_from(roles);
        detail.insert("new_roles".into(), roles.clone().into());
    }
    if let Some(enabled) = change.enabled {
        account.enabled = enabled;
        detail.insert("enabled".into(), enabled.into());
    }
    if was_admin && !is_admin(&account) && !has_other_admin(tx, name)? {
        return Ok(ChangeAccount::LastAdmin);
    }
    let action = if change.password_hash.is_some() { "account.password" } else { "account.change" };
    if let Some(hash) = &change.password_hash {
        account.password_hash = Some(hash.clone());
    }
    // Also when the clock stands, or was put back: it is the version.
    account.updated_at = now.max(Timestamp::from_micros(account.version().saturating_add(1)));
    if change.password_hash.is_some() {
        // Whoever knew the old password may have a token to fetch others with.
        tx.prepare_cached(FORGET_LOGINS)?.execute([account.id.to_string()])?;
    }
    tx.prepare_cached(UPDATE)?.execute(params![
        texts(&account.roles),
        account.password_hash.as_ref().map(|hash| hash.expose()),
        account.enabled,
        Micros(account.updated_at),
        name,
    ])?;
    audit::append(tx, &AuditRecord::done(by, now, action).to(name).with(detail.into()))?;
    changes::note(tx, Kind::Identities)?;
    Ok(ChangeAccount::Changed(account))
}

/// Stores a stronger hash of the same password, if the old one is still in force. Nothing anybody would notice.
pub(crate) fn rehash(tx: &Tx<'_>, name: &str, old: &Secret<String>, new: &Secret<String>) -> Result<bool> {
    Ok(tx.prepare_cached(REHASH)?.execute(params![new.expose(), name, old.expose()])? > 0)
}

/// Its tokens go with it, by cascade.
pub(crate) fn delete(
    tx: &Tx<'_>,
    name: &str,
    version: Option<i64>,
    by: &Attribution,
    now: Timestamp,
) -> Result<ChangeAccount> {
    tx.lock(Locks::identities)?;
    let Some(account) = find(tx, name)? else { return Ok(ChangeAccount::Unknown) };
    if version.is_some_and(|version| version != account.version()) {
        return Ok(ChangeAccount::Conflict);
    }
    if is_admin(&account) && !has_other_admin(tx, name)? {
        return Ok(ChangeAccount::LastAdmin);
    }
    tx.prepare_cached(DELETE)?.execute([name])?;
    audit::append(tx, &AuditRecord::done(by, now, "account.delete").to(name))?;
    changes::note(tx, Kind::Identities)?;
    Ok(ChangeAccount::Changed(account))
}

fn is_admin(account: &Account) -> bool {
    account.enabled && account.roles.iter().any(|role| role == ADMIN)
}

fn has_other_admin(tx: &Tx<'_>, name: &str) -> Result<bool> {
    Ok(tx.prepare_cached(OTHER_ADMIN)?.query_row([name], |_| Ok(())).optional()?.is_some())
}

/// The account whose columns begin at `first`.
pub(crate) fn account(row: &Row<'_>, first: usize) -> Result<Account> {
    Ok(Account {
        id: parsed(row, first)?,
        name: row.get(first + 1)?,
        account_type: parsed(row, first + 2)?,
        roles: crate::sql::text_list(row, first + 3)?,
        password_hash: row.get::<Option<String>>(first + 4)?.map(Secret::from),
        enabled: row.get(first + 5)?,
        created_at: row.get::<Micros>(first + 6)?.0,
        created_by: row.get(first + 7)?,
        updated_at: row.get::<Micros>(first + 8)?.0,
    })
}
